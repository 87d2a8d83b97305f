// Where each neuron's weights sit in the flat model: LAY-1 … LAY-6.

import { ascends, prefixed, u32, u64, u8 } from './bytes.mjs';
import { digest } from './context.mjs';
import { need } from './errors.mjs';

const MOST_TOUCHED = 2 ** 26;

const positive = (value) => Number.isInteger(value) && value >= 1;
const distinct = (names) => new Set(names).size === names.length;

export const tensorSize = (tensor) => tensor.axes.reduce((size, axis) => size * axis.size, 1);

export const layoutSize = (layout) => layout.tensors.reduce((size, tensor) => size + tensorSize(tensor), 0);

/** LAY-1, LAY-2. */
export const checkLayout = (layout) => {
  const { tensors, layers } = layout;
  need(tensors.length > 0, 'LAY-1', 'a model has tensors');
  need(distinct(tensors.map(({ name }) => name)), 'LAY-1', 'tensors have distinct names');
  need(distinct(layers.map(({ name }) => name)), 'LAY-1', 'layers have distinct names');
  need(layers.every(({ neurons }) => positive(neurons)), 'LAY-1', 'a layer has at least one neuron');
  const neurons = new Map(layers.map((layer) => [layer.name, layer.neurons]));
  const touched = new Map(layers.map((layer) => [layer.name, 0]));
  for (const { axes } of tensors) {
    const axesOf = new Map();
    for (const { size, layer, inner } of axes) {
      need(positive(size), 'LAY-1', 'an axis has at least one index');
      need(positive(inner), 'LAY-1', 'inner is at least 1');
      if (layer === null) continue;
      need(neurons.has(layer), 'LAY-1', `no layer is named ${layer}`);
      need(size % (inner * neurons.get(layer)) === 0, 'LAY-1', 'a size is a multiple of inner · n');
      axesOf.set(layer, (axesOf.get(layer) ?? 0) + 1);
    }
    for (const [layer, count] of axesOf) {
      need(count <= 2, 'LAY-1', 'a tensor has at most two axes of one layer');
      touched.set(layer, touched.get(layer) + tensorSize({ axes }));
    }
  }
  for (const [layer, count] of touched) {
    need(count > 0, 'LAY-1', `layer ${layer} has no axis`);
    need(count <= MOST_TOUCHED, 'LAY-2', `the groups of ${layer} touch more than 2²⁶ weights`);
  }
  return layout;
};

/** The digest `layout`: each layer, then each tensor. */
export const layoutDigest = (layout) => {
  const text = (name) => prefixed(Buffer.from(name));
  const layers = layout.layers.map(({ name, neurons }) => Buffer.concat([u64(neurons), text(name)]));
  const tensors = layout.tensors.map(({ name, axes, uses }) =>
    Buffer.concat([
      text(name), u64(uses), u32(axes.length),
      ...axes.flatMap(({ size, layer, inner }) => [u64(size), u64(inner), u8(layer === null ? 0 : 1), text(layer ?? '')]),
    ]),
  );
  return digest('layout', [...layers, ...tensors]);
};

export const configDigest = (paramsDigest, layout) => digest('config', [paramsDigest, layoutDigest(layout)]);

/** Everything is kept. */
export const keepAll = (layout) =>
  new Map(layout.layers.map(({ name, neurons }) => [name, Array.from({ length: neurons }, (_, j) => j)]));

/** LAY-4: `kept` maps the name of every layer to the neurons that are kept. */
export const checkKept = (layout, kept) => {
  need(kept.size === layout.layers.length, 'LAY-4', 'a kept set names every layer and no other');
  for (const { name, neurons } of layout.layers) {
    const indices = kept.get(name);
    need(indices !== undefined && indices.length > 0, 'LAY-4', `at least one neuron of ${name} is kept`);
    need(indices.every((j) => Number.isInteger(j) && j >= 0 && j < neurons), 'LAY-4', 'a neuron is 0 … n − 1');
    need(ascends(indices), 'LAY-4', 'kept neurons ascend');
  }
};

/**
 * Call `visit(coordinate, neurons)` for each coordinate of a tensor, in C order: LAY-3. `neurons` holds, for each
 * axis, the neuron at this coordinate, or −1; it is the same array in every call.
 */
export const walk = (tensor, offset, neuronsOf, visit) => {
  const { axes } = tensor;
  const owners = axes.map(({ size, layer, inner }) =>
    Int32Array.from({ length: size }, (_, i) => (layer === null ? -1 : Math.floor(i / inner) % neuronsOf.get(layer))),
  );
  const index = new Array(axes.length).fill(0);
  const neurons = owners.map((owner) => owner[0]);
  const size = tensorSize(tensor);
  for (let k = 0; k < size; k++) {
    visit(offset + k, neurons);
    for (let a = axes.length - 1; a >= 0; a--) {
      index[a] = index[a] + 1 === axes[a].size ? 0 : index[a] + 1;
      neurons[a] = owners[a][index[a]];
      if (index[a] !== 0) break;
    }
  }
};

export const neuronCounts = (layout) => new Map(layout.layers.map(({ name, neurons }) => [name, neurons]));

/** LAY-5: a Uint8Array with 1 where all ends are kept. */
export const heldOf = (layout, kept) => {
  checkKept(layout, kept);
  const counts = neuronCounts(layout);
  const keeps = new Map([...kept].map(([name, indices]) => [name, new Set(indices)]));
  const held = new Uint8Array(layoutSize(layout));
  let offset = 0;
  for (const tensor of layout.tensors) {
    const sets = tensor.axes.map(({ layer }) => (layer === null ? null : keeps.get(layer)));
    walk(tensor, offset, counts, (coordinate, neurons) => {
      held[coordinate] = sets.every((set, a) => set === null || set.has(neurons[a])) ? 1 : 0;
    });
    offset += tensorSize(tensor);
  }
  return held;
};

/** LAY-6: the layout of the sub-model. */
export const shrunk = (layout, kept) => {
  checkKept(layout, kept);
  const counts = neuronCounts(layout);
  const shrink = (axis) =>
    axis.layer === null ? axis : { ...axis, size: (axis.size / counts.get(axis.layer)) * kept.get(axis.layer).length };
  return {
    tensors: layout.tensors.map((tensor) => ({ ...tensor, axes: tensor.axes.map(shrink) })),
    layers: layout.layers.map(({ name }) => ({ name, neurons: kept.get(name).length })),
  };
};
