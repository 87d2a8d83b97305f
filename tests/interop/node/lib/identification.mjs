// Who is a straggler, and what each client keeps, in integers alone: IDN-1 … IDN-12.

import { sorted } from './bytes.mjs';
import { need } from './errors.mjs';
import { blockSize, needsHistory } from './parameters.mjs';

const MOST = (1n << 64n) - 1n;
const saturated = (time) => (time > MOST ? MOST : time);

/** IDN-2: the time at the grid's entry `level`, µs. */
export const elapsed = (record, level) => {
  need(Number.isInteger(level) && level >= 0 && level < record.fit.length, 'IDN-2', 'a level is one of the grid');
  return saturated(record.down + record.select + record.fit[level] + record.mask + record.up);
};

const falls = (fit) => fit.every((time, k) => k === 0 || time <= fit[k - 1]);

/** IDN-1: whether a record takes part. */
export const isValid = (record, params) =>
  record.has_time && record.fit.length === params.policy.grid.length && falls(record.fit) &&
  record.weight >= 1 && record.weight <= params.encoding.weight_max;

/** IDN-5. */
export const isStraggler = (time, was, target, margin) =>
  1000n * time > BigInt(1000 + margin) * target || (was && time > target);

/** IDN-6, IDN-7: the largest level whose time does not pass the limit, else the smallest. */
export const keepLevel = (times, limit, grid) => {
  const found = times.findIndex((time) => time <= limit);
  return found < 0 ? { keep: grid[grid.length - 1], saturated: true } : { keep: grid[found], saturated: false };
};

const largestOf = (times) => times.reduce((a, b) => (a > b ? a : b), 0n);

/** T*, f* and a verdict on each client, from a map of the records of U2 by id. */
export const identify = (records, params, round) => {
  const { policy } = params;
  need(records.size > 0, 'IDN-3', 'there are no records');
  need(round >= 1n, 'IDN-9', 'rounds begin at 1');
  const verdicts = new Map();
  for (const [id] of sorted(records)) verdicts.set(id, { straggler: false, keep: 1000, saturated: false, ahead: [] });

  const taking = sorted(records)
    .filter(([, record]) => isValid(record, params))
    .map(([id, record]) => ({ id, record, time: elapsed(record, 0) }))
    .sort((a, b) => (a.time > b.time ? -1 : a.time < b.time ? 1 : a.id - b.id));
  const count = Math.floor((policy.straggler_share * taking.length) / 1000);
  const candidates = taking.slice(0, count); // IDN-3
  const target = largestOf(taking.slice(count).map(({ time }) => time)); // IDN-4
  const stragglers = candidates.filter(({ record, time }) =>
    isStraggler(time, record.was_straggler, target, policy.margin),
  );
  const slow = new Set(stragglers.map(({ id }) => id));
  const target_fit = largestOf(taking.filter(({ id }) => !slow.has(id)).map(({ record }) => record.fit[0])); // IDN-7

  for (const { id, record } of stragglers) {
    const times = policy.network_aware ? record.fit.map((_, level) => elapsed(record, level)) : record.fit;
    const found = keepLevel(times, policy.network_aware ? target : target_fit, policy.grid);
    verdicts.set(id, { straggler: true, ...found, ahead: [] });
  }

  // IDN-9: who may not prune.
  const lacks = ({ has_model }) => needsHistory(policy) && !has_model;
  const nobody =
    BigInt(round) <= BigInt(policy.warm_up) || records.size < policy.min_roster ||
    (policy.mean === 'holder' && [...records.values()].some(lacks));
  for (const [id, verdict] of verdicts) if (nobody || lacks(records.get(id))) verdict.keep = 1000;

  // IDN-8: blocks that prune alike, in ascending level and id; the last takes what is left over.
  const pruning = sorted(verdicts)
    .filter(([, { keep }]) => keep < 1000)
    .sort(([a, { keep: x }], [b, { keep: y }]) => x - y || a - b);
  const size = blockSize(params);
  const blocks = Math.floor(pruning.length / size);
  const levels = Array.from({ length: blocks }, (_, block) => pruning[block * size][1].keep);
  pruning.forEach(([, verdict], k) => {
    const block = Math.min(Math.floor(k / size), blocks - 1);
    verdict.keep = blocks === 0 ? 1000 : levels[block];
    if (policy.spread && blocks > 0) verdict.ahead = levels.slice(0, block); // IDN-12
  });
  return { target, target_fit, verdicts };
};
