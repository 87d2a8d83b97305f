// One length for every masked input: PAD-1 … PAD-6.

import { ringType } from './bytes.mjs';
import { checkWeight, encodeSlots } from './codec.mjs';
import { need } from './errors.mjs';
import { extrasOf } from './parameters.mjs';

/**
 * The padded vector: the coded update where held, then the extras. `bucket` is that of the client's own time on a
 * graph, or null where it has none, and in a clique.
 */
export const pad = (coded, held, keep, weight, params, bucket) => {
  const { policy, encoding, neighbours } = params;
  const levels = policy.grid.length;
  const level = policy.grid.indexOf(keep);
  need(level >= 0, 'PAD-3', `the grid has no level ${keep}`);
  checkWeight(weight, encoding, 'PAD-4');
  need(coded.length === held.reduce((sum, bit) => sum + bit, 0), 'PAD-2', 'a coded update has what is held');
  const slots = new Map([[policy.mean === 'levels' ? level : 0, weight]]);
  if (bucket !== null) {
    const there = neighbours > 0 && Number.isInteger(bucket) && bucket >= 0 && bucket < policy.bucket_count;
    need(there, 'PAD-6', `there is no bucket ${bucket}`);
    slots.set(levels + bucket, 1);
  }
  const extras = extrasOf(params);
  const vector = new (ringType(encoding.ring_bits))(held.length + extras);
  let next = 0;
  held.forEach((bit, coordinate) => {
    if (bit) vector[coordinate] = coded[next++];
  });
  vector.set(encodeSlots(slots, extras, encoding), held.length);
  return vector;
};
