// The model that a straggler trains, and its update put back in its place: SUB-1 … SUB-4.

import { need } from './errors.mjs';
import { heldOf, layoutSize } from './layout.mjs';

/** SUB-1, SUB-2: the held coordinates of the model, in their order. */
export const extract = (model, layout, kept) => {
  need(model.length === layoutSize(layout), 'SUB-1', `a model has ${layoutSize(layout)} weights`);
  const held = heldOf(layout, kept);
  return model.filter((_, coordinate) => held[coordinate]);
};

/** SUB-3, SUB-4: each number of a sub-model's update at its coordinate, 0 elsewhere. */
export const expand = (delta, layout, kept) => {
  const held = heldOf(layout, kept);
  need(delta.length === held.reduce((sum, bit) => sum + bit, 0), 'SUB-3', 'an update has a number for each held coordinate');
  const full = new Float32Array(held.length);
  let next = 0;
  held.forEach((bit, coordinate) => {
    if (bit) full[coordinate] = delta[next++];
  });
  return full;
};
