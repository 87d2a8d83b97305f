// A float update as ring elements, and a sum of them as a mean: COD-1 … COD-7.

import { divideHalfEven, isFinite32, ringType, roundHalfEven } from './bytes.mjs';
import { need } from './errors.mjs';
import { largest } from './parameters.mjs';

/** COD-1: the weight of an update from so many examples. */
export const weightOf = (examples, { weighting, weight_max }) => {
  need(Number.isInteger(examples) && examples >= 1, 'COD-1', 'an update comes from at least one example');
  if (weighting === 'uniform') return 1;
  const weight = Math.min(examples, weight_max);
  return weighting === 'buckets' ? 2 ** Math.floor(Math.log2(weight)) : weight;
};

/** COD-2, COD-3: the quantised values of an update. */
export const quantise = (update, encoding) => {
  need(isFinite32(update), 'COD-2', 'an update is finite');
  const most = largest(encoding);
  const { clip } = encoding;
  return Array.from(update, (value) => roundHalfEven((Math.max(-clip, Math.min(clip, value)) * most) / clip));
};

export const checkWeight = (weight, encoding, rule) =>
  need(Number.isInteger(weight) && weight >= 1 && weight <= encoding.weight_max, rule, 'a weight is 1 … weight_max');

// An integer modulo R, as an element of `Type`, whose arrays wrap.
const toRing = (integers, bits) => {
  const Type = ringType(bits);
  return Type.from(integers, bits === 64 ? undefined : (value) => Number(BigInt.asUintN(32, value)));
};

/** COD-4. */
export const encode = (update, weight, encoding) => {
  checkWeight(weight, encoding, 'COD-4');
  const values = quantise(update, encoding).map((value) => BigInt(weight) * BigInt(value));
  return toRing(values, encoding.ring_bits);
};

/** COD-5: each value times min(W/h_j, cap), rounded half to even. */
export const encodeScaled = (update, weight, total, holders, cap, encoding) => {
  checkWeight(weight, encoding, 'COD-4');
  need(holders.length === update.length, 'COD-5', 'each coordinate has the weight of its holders');
  need(holders.every((held) => held >= 0), 'COD-5', "a holders' weight is at least 0");
  const values = quantise(update, encoding).map((value, j) => {
    const held = BigInt(holders[j]);
    if (held === 0n) {
      need(value === 0, 'COD-5', 'nobody holds a coordinate with a value');
      return 0n;
    }
    const bare = BigInt(weight) * BigInt(value);
    return BigInt(total) >= BigInt(cap) * held ? bare * BigInt(cap) : divideHalfEven(bare * BigInt(total), held);
  });
  return toRing(values, encoding.ring_bits);
};

/** COD-6: the extras, from a map of integers by place. */
export const encodeSlots = (slots, length, encoding) => {
  need(length >= 0, 'COD-6', 'a length is at least 0');
  const extras = new (ringType(encoding.ring_bits))(length);
  for (const [place, value] of slots) {
    need(place >= 0 && place < length, 'COD-6', 'a place is one of the extras');
    need(Number.isInteger(value) && value >= 0 && value <= encoding.weight_max, 'COD-6', 'an extra is 0 … weight_max');
    extras[place] = encoding.ring_bits === 64 ? BigInt(value) : value;
  }
  return extras;
};

/** The centred representative of a ring element, as a float64, rounded once. */
export const centred = (element, bits) => (bits === 64 ? Number(BigInt.asIntN(64, element)) : element | 0);

/** COD-7: the mean of a coordinate with centred sum S; each step rounds once, in this order. */
export const meanOf = (element, divisor, encoding) =>
  divisor === 0 ? 0 : (centred(element, encoding.ring_bits) * encoding.clip) / (largest(encoding) * divisor);

/** COD-7. */
export const decodeMean = (total, weights, encoding) => {
  need(total.length === weights.length, 'COD-7', 'each coordinate has a divisor');
  need(weights.every((weight) => Number.isInteger(weight) && weight >= 0), 'COD-7', 'a divisor is at least 0');
  return Float64Array.from(weights, (weight, j) => meanOf(total[j], weight, encoding));
};
