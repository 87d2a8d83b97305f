// What the parties of a run agree on, checked, and what follows from it: PAR-1 … PAR-10.

import { floatToHex } from './bytes.mjs';
import { digest } from './context.mjs';
import { need } from './errors.mjs';

// In the order of declaration, which PAR-9 takes them in.
const FIELDS = ['clients', 'neighbours', 'threshold', 'min_survivors', 'colluders', 'policy', 'encoding', 'security'];
const POLICY = [
  'straggler_share', 'margin', 'grid', 'network_aware', 'score', 'selection', 'threshold', 'slack_seed', 'age_cap',
  'mean', 'holder_cap', 'anonymity_blocks', 'spread', 'bucket_first', 'bucket_ratio', 'bucket_count', 'min_roster',
  'warm_up', 'deadline',
];
const ENCODING = ['ring_bits', 'clip', 'value_bits', 'weighting', 'weight_max'];

const CHOICES = {
  score: ['l1', 'mean', 'norm', 'max', 'size'],
  selection: ['rank', 'paper', 'strict', 'ordered'],
  slack_seed: ['records', 'context'],
  mean: ['dilute', 'levels', 'holder', 'strata'],
  weighting: ['examples', 'buckets', 'uniform'],
  security: ['basic', 'hardened'],
};

const within = (value, low, high, rule, name) =>
  need(Number.isInteger(value) && value >= low && value <= high, rule, `${name} is ${low} … ${high}, not ${value}`);

const chosen = (object, name) =>
  need(CHOICES[name].includes(object[name]), 'PAR-1', `${name} is one of ${CHOICES[name]}, not ${object[name]}`);

export const checkPolicy = (policy) => {
  within(policy.straggler_share, 0, 500, 'PAR-1', 'p');
  within(policy.margin, 0, 1000, 'PAR-1', 'margin');
  within(policy.threshold, 0, 10000, 'PAR-1', 'threshold');
  for (const name of ['score', 'selection', 'slack_seed', 'mean']) chosen(policy, name);
  const { grid } = policy;
  need(grid.length >= 1 && grid.length <= 64 && grid[0] === 1000, 'PAR-2', 'a grid has 1 … 64 levels from 1000 ‰');
  need(grid.every((level, k) => level >= 1 && (k === 0 || level < grid[k - 1])), 'PAR-2', 'a grid descends to 1 ‰');
  const least = grid[grid.length - 1];
  need(policy.age_cap === 0 || policy.age_cap * least >= 2000, 'PAR-3', 'an age cap is at least 2000/r_min');
  need(policy.min_roster >= 0, 'PAR-3', 'min_roster is at least 0');
  need(policy.warm_up >= 1, 'PAR-3', 'the warm-up is at least 1 round');
  within(policy.holder_cap, 1, 64, 'PAR-3', 'the cap of holder and strata');
  need(policy.bucket_first >= 1, 'PAR-3', "the first bucket's edge is at least 1 µs");
  within(policy.bucket_ratio, 1001, 2000, 'PAR-3', "the buckets' ratio");
  within(policy.bucket_count, 1, 4096, 'PAR-3', 'the number of buckets');
  within(policy.deadline, 0, 2 ** 53 - 1, 'PAR-3', 'the deadline');
  const unknown = policy.selection === 'paper' && policy.slack_seed === 'records';
  need(!(policy.mean === 'levels' && unknown), 'PAR-4', 'levels does not go with slack from the records');
  need(!(policy.mean === 'levels' && policy.spread), 'PAR-4', 'levels does not go with spread');
  return policy;
};

/** The score that a policy goes by: where scores count for nothing, one that takes no history. */
export const scoredBy = ({ selection, threshold, score }) =>
  selection === 'ordered' || (selection === 'paper' && threshold === 0) ? 'size' : score;

/** IDN-9: whether scores take the history. */
export const needsHistory = (policy) => scoredBy(policy) !== 'size';

export const checkEncoding = (encoding) => {
  need([32, 64].includes(encoding.ring_bits), 'PAR-5', 'a ring has 32 or 64 bits');
  need(Number.isFinite(encoding.clip) && encoding.clip > 0, 'PAR-5', 'C is positive and finite');
  within(encoding.value_bits, 2, 32, 'PAR-5', 'q');
  within(encoding.weight_max, 1, 2 ** 32 - 1, 'PAR-5', 'weight_max');
  chosen(encoding, 'weighting');
  return encoding;
};

/** The largest value that a coordinate is quantised to: 2^(q−1) − 1. */
export const largest = (encoding) => 2 ** (encoding.value_bits - 1) - 1;

/** How many hold a client's secrets, itself included. */
export const holdersOf = (params) => (params.neighbours ? params.neighbours + 1 : params.clients);

/** PAD-1: how many ring elements stand behind the update. */
export const extrasOf = (params) =>
  params.policy.grid.length + (params.neighbours ? params.policy.bucket_count : 0);

/** IDN-8: how many stragglers prune alike at least. */
export const blockSize = (params) => (params.policy.anonymity_blocks ? params.colluders + 2 : 1);

export const isHardened = (params) => params.security === 'hardened';

// PAR-7: how many of n clients may scale their values.
const scaling = (n, { mean, straggler_share }) => {
  if (mean === 'holder') return n;
  return mean === 'strata' ? Math.floor((straggler_share * n) / 1000) : 0;
};

/** PAR-7: the largest absolute value of a coordinate of the sum. */
export const worstCase = ({ clients, encoding, policy }) => {
  const terms = clients + (policy.holder_cap - 1) * scaling(clients, policy);
  return BigInt(terms) * BigInt(encoding.weight_max) * BigInt(largest(encoding));
};

const checkGraph = ({ clients: n, neighbours: k, min_survivors, threshold, policy }) => {
  need(k % 2 === 0, 'PAR-10', 'k is even');
  within(k, 2, 254, 'PAR-10', 'k');
  need(k < n - 1, 'PAR-10', 'k is below n − 1');
  need(n <= 2 ** 20, 'PAR-10', 'n is at most 2²⁰');
  within(min_survivors, threshold, n, 'PAR-10', 'min_survivors');
  need(!['holder', 'strata'].includes(policy.mean), 'PAR-10', `a graph has no mean ${policy.mean}`);
  need(!policy.spread, 'PAR-10', 'a graph has no blocks that take turns');
  need(!(policy.selection === 'paper' && policy.slack_seed === 'records'), 'PAR-10', 'a graph has no slack from records');
  need(!policy.anonymity_blocks, 'PAR-10', 'a graph has no anonymity blocks');
  need(policy.network_aware, 'PAR-10', 'a graph has no levels by computation alone');
};

export const checkParams = (params) => {
  const { clients: n, neighbours: k, threshold: t, min_survivors, colluders: c, policy, encoding } = params;
  checkPolicy(policy);
  checkEncoding(encoding);
  chosen(params, 'security');
  if (k === 0) {
    within(n, 2, 255, 'PAR-6', 'n');
    need(min_survivors === t, 'PAR-6', 'min_survivors is t in a clique');
  } else {
    checkGraph(params);
  }
  const holders = holdersOf(params);
  within(t, 2, holders, 'PAR-6', 't');
  within(c, 0, t - 1, 'PAR-6', 'c');
  need(worstCase(params) < 1n << BigInt(encoding.ring_bits - 1), 'PAR-7', 'the largest sum passes R/2');
  if (isHardened(params)) {
    need(2 * t > holders + c, 'PAR-8', '2t is above the holders and c');
    const candidates = policy.anonymity_blocks ? Math.floor((policy.straggler_share * n) / 1000) : 0;
    need(t - candidates >= c + 2, 'PAR-8', 't less the candidates is at least c + 2');
  }
  return params;
};

const twoThirds = (count) => Math.min(count, Math.floor((2 * count) / 3) + 1);

/** PAR-6, PAR-10: the thresholds where none are given. */
export const thresholds = (params, clients, neighbours) => {
  const threshold = twoThirds(neighbours ? neighbours + 1 : clients);
  const min_survivors = neighbours ? twoThirds(clients) : threshold;
  checkParams({ ...params, clients, neighbours, threshold, min_survivors });
  return { threshold, min_survivors };
};

const written = (value) => {
  if (Array.isArray(value)) return value.join(',');
  if (typeof value === 'boolean') return value ? '1' : '0';
  return String(value);
};

/** PAR-9: names and values of every field, in the order of declaration. */
export const paramsDigest = (params) => {
  const parts = [];
  const add = (object, names) => {
    for (const name of names) {
      parts.push(name);
      if (name === 'policy') add(object.policy, POLICY);
      else if (name === 'encoding') add(object.encoding, ENCODING);
      else parts.push(name === 'clip' ? floatToHex(object.clip) : written(object[name]));
    }
  };
  add(params, FIELDS);
  return digest('params', parts.map((part) => Buffer.from(part)));
};

export const derived = (params) => ({
  digest: paramsDigest(params),
  holders: holdersOf(params),
  extras: extrasOf(params),
  block_size: blockSize(params),
  worst_case: worstCase(params),
});
