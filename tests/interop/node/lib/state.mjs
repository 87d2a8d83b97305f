// What lasts from one round to the next: ROU-1, ROU-2.

import { isFinite32 } from './bytes.mjs';
import { modelDigest } from './context.mjs';
import { need } from './errors.mjs';

/** ROU-1: a model is finite and has the layout's length. */
export const checkModel = (model, size) => {
  need(model.length === size, 'ROU-1', `a model has ${size} weights`);
  need(isFinite32(model), 'ROU-1', 'a model is finite');
};

/** ROU-2: the state after a round that yielded a model, or none. */
export const nextState = ({ round, model, history, yielded }) => {
  for (const each of [model, history, yielded]) if (each !== null) checkModel(each, model.length);
  const next = round + 1n;
  if (yielded === null || modelDigest(yielded).equals(modelDigest(model))) return { round: next, model, history };
  return { round: next, model: yielded, history: model };
};
