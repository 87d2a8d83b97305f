// How much each neuron changed since the history model, as ratios of integers: INV-1 … INV-9.

import { isFinite32, roundHalfEven } from './bytes.mjs';
import { need } from './errors.mjs';
import { layoutSize, neuronCounts, tensorSize, walk } from './layout.mjs';

const UNIT = 2 ** 24;
const LARGEST = 2 ** 31 - 1;
const FLOAT_UNIT = 1n << 32n;
const FLOAT_MOST = 2 ** 30;

/** INV-2: a weight in units of 2⁻²⁴, saturated. The product is exact in float64. */
export const quantise = (weight) => Math.max(-LARGEST, Math.min(LARGEST, roundHalfEven(weight * UNIT)));

/** INV-5: call `visit(coordinate, neurons)` for each coordinate of the union of a layer's groups. */
const walkGroups = (layout, layer, visit) => {
  const counts = neuronCounts(layout);
  let offset = 0;
  for (const tensor of layout.tensors) {
    const ends = tensor.axes.flatMap((axis, a) => (axis.layer === layer ? [a] : []));
    if (ends.length > 0) {
      walk(tensor, offset, counts, (coordinate, neurons) => {
        const first = neurons[ends[0]];
        const second = neurons[ends[ends.length - 1]];
        visit(coordinate, first === second ? [first] : [first, second]);
      });
    }
    offset += tensorSize(tensor);
  }
};

/** INV-3, INV-4. */
const exactScores = (model, history, layout, { name, neurons }) => {
  const change = new Array(neurons).fill(0n);
  const before = new Array(neurons).fill(0n);
  const size = new Array(neurons).fill(0n);
  let all = 0n;
  let count = 0n;
  walkGroups(layout, name, (coordinate, ends) => {
    const old = quantise(history[coordinate]);
    const moved = BigInt(Math.abs(quantise(model[coordinate]) - old));
    const weight = BigInt(Math.abs(old));
    all += weight;
    count += 1n;
    for (const j of ends) {
      change[j] += moved;
      before[j] += weight;
      size[j] += 1n;
    }
  });
  const scale = before.map((sum, j) => {
    const floor = (size[j] * all) / (1000n * count);
    return [1n, floor, sum].reduce((a, b) => (a > b ? a : b));
  });
  return { layer: name, change, scale };
};

// 0/0 is 0, and what else a denominator of 0 gives saturates.
const ratio = (over, under) => (under === 0 ? (over === 0 ? 0 : FLOAT_MOST) : over / under);

/** INV-6, INV-7. */
const floatScores = (model, history, layout, { name, neurons }, mode) => {
  let squares = 0;
  let count = 0;
  walkGroups(layout, name, (coordinate) => {
    squares += history[coordinate] ** 2;
    count += 1;
  });
  const floor = 1e-3 * Math.sqrt(squares / count);
  const zeros = () => new Array(neurons).fill(0);
  const [size, sum, most, moved, before] = [zeros(), zeros(), zeros(), zeros(), zeros()];
  walkGroups(layout, name, (coordinate, ends) => {
    const old = history[coordinate];
    const change = Math.abs(model[coordinate] - old);
    const relative = ratio(change, Math.max(Math.abs(old), floor));
    for (const j of ends) {
      size[j] += 1;
      sum[j] += relative;
      most[j] = Math.max(most[j], relative);
      moved[j] += change ** 2;
      before[j] += old ** 2;
    }
  });
  const scores = {
    mean: (j) => sum[j] / size[j],
    max: (j) => most[j],
    norm: (j) => ratio(Math.sqrt(moved[j]), Math.max(Math.sqrt(before[j]), floor * Math.sqrt(size[j]))),
  };
  return {
    layer: name,
    change: size.map((_, j) => BigInt(roundHalfEven(Math.min(scores[mode](j), FLOAT_MOST) * 2 ** 32))),
    scale: size.map(() => FLOAT_UNIT),
  };
};

/** INV-9. */
const sizes = (model, layout, { name, neurons }) => {
  const change = new Array(neurons).fill(0n);
  const scale = new Array(neurons).fill(0n);
  walkGroups(layout, name, (coordinate, ends) => {
    const weight = BigInt(Math.abs(quantise(model[coordinate])));
    for (const j of ends) {
      change[j] += weight;
      scale[j] += 1n;
    }
  });
  return { layer: name, change, scale };
};

/** INV-1: the scores of every prunable layer, in the layout's order; the history is null where there is none. */
export const scoresOf = (model, history, layout, mode) => {
  for (const weights of history === null ? [model] : [model, history]) {
    need(weights.length === layoutSize(layout), 'INV-1', `a model has ${layoutSize(layout)} weights`);
    need(isFinite32(weights), 'INV-1', 'weights are finite');
  }
  need(history !== null || mode === 'size', 'INV-1', `${mode} takes the model before`);
  return layout.layers.map((layer) => {
    if (mode === 'size') return sizes(model, layout, layer);
    return mode === 'l1' ? exactScores(model, history, layout, layer) : floatScores(model, history, layout, layer, mode);
  });
};

/** INV-8: true where a neuron is invariant. */
export const invariant = ({ change, scale }, threshold) => {
  need(change.length === scale.length, 'INV-8', 'each neuron has a change and a scale');
  const sum = (list) => list.reduce((a, b) => a + b, 0n);
  const [changes, scales] = [sum(change), sum(scale)];
  return change.map((a, j) => 1000n * a * scales < BigInt(threshold) * changes * scale[j]);
};
