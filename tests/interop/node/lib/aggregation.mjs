// From the bare sum over the survivors to the next model: AGG-1 … AGG-8.

import { isFinite32 } from './bytes.mjs';
import { centred, meanOf } from './codec.mjs';
import { need, needOf } from './errors.mjs';
import { extrasOf } from './parameters.mjs';

/** AGG-1: add a masked input to the running total, in place. The arrays wrap at R. */
export const add = (total, vector) => {
  need(vector.constructor === total.constructor && vector.length === total.length, 'AGG-1', 'an input has the length of the total');
  for (let k = 0; k < total.length; k++) total[k] += vector[k];
  return total;
};

const sumOf = (list) => list.reduce((a, b) => a + b, 0);

/** AGG-2: the weight of U3, level by level under `levels`, else at the first place alone. */
const readSlots = (extras, params, survivors) => {
  const most = survivors * params.encoding.weight_max;
  const slots = extras.slice(0, params.policy.grid.length);
  needOf('server', slots.every((slot) => slot >= 0 && slot <= most), 'AGG-2', 'an extra is 0 … |U3| · weight_max');
  const sum = sumOf(slots);
  needOf('server', sum >= survivors && sum <= most, 'AGG-2', 'extras add up to |U3| … |U3| · weight_max');
  return slots;
};

/** AGG-8: how many clients are in each bucket. */
const readHistogram = (extras, params, survivors) => {
  const histogram = extras.slice(params.policy.grid.length);
  const good = histogram.every((count) => count >= 0 && count <= survivors) && sumOf(histogram) <= survivors;
  needOf('server', good, 'AGG-8', 'a histogram counts at most |U3| clients');
  return histogram;
};

/** AGG-2 … AGG-8: the next model, from a sum over so many survivors. `held` maps a keep level to what it holds. */
export const aggregate = (total, model, params, survivors, held) => {
  const { encoding, policy } = params;
  const size = model.length;
  need(total.length === size + extrasOf(params), 'AGG-5', 'a total has the length of the padded vector');
  need(isFinite32(model), 'AGG-5', 'a model is finite');
  const extras = Array.from(total.subarray(size), (element) => centred(element, encoding.ring_bits));
  need(survivors >= 1 && survivors <= params.clients, 'AGG-2', 'a sum is over 1 … n clients');
  const slots = readSlots(extras, params, survivors);
  const histogram = readHistogram(extras, params, survivors);
  const weight = sumOf(slots);
  let divisors = new Array(size).fill(weight);
  if (policy.mean === 'levels') {
    divisors = new Array(size).fill(0); // AGG-3
    policy.grid.forEach((level, place) => {
      if (slots[place] === 0) return;
      const holds = held.get(level);
      need(holds?.length === size, 'AGG-3', `what level ${level} holds is not known`);
      for (let j = 0; j < size; j++) if (holds[j]) divisors[j] += slots[place];
    });
  }
  // AGG-6, AGG-7: rounded to float32 once.
  const next = Float32Array.from(model, (w, j) => w + meanOf(total[j], divisors[j], encoding));
  return { model: next, slots, histogram };
};

/** AGG-9: among whom a client scales its values, a map of their weights; an empty one: it does not. */
export const scaledAmong = (weights, keep, client, mean) => {
  const same = weights.size === keep.size && [...weights.keys()].every((id) => keep.has(id));
  need(same && keep.has(client), 'AGG-9', 'weight and keep level of each client are known');
  if (mean === 'holder') return weights;
  if (mean !== 'strata' || keep.get(client) === 1000) return new Map();
  return new Map([...weights].filter(([id]) => keep.get(id) < 1000));
};

/** AGG-4: the weight of each coordinate's holders; `weights` and `held` by client. */
export const holderWeights = (weights, held, size) => {
  need(size >= 0, 'AGG-4', 'a size is at least 0');
  const sums = new Array(size).fill(0);
  for (const [id, weight] of weights) {
    const holds = held.get(id);
    need(holds !== undefined && holds.length === size, 'AGG-4', 'it is known what each client holds');
    for (let j = 0; j < size; j++) if (holds[j]) sums[j] += weight;
  }
  return sums;
};
