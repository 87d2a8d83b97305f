// Which neurons a keep level prunes: SEL-1 … SEL-9.

import { need } from './errors.mjs';
import { invariant } from './invariance.mjs';
import { permutation } from './randomness.mjs';

/** SEL-1: neurons by ascending A/B, then index, compared crosswise. */
export const ranking = ({ change, scale }) =>
  change
    .map((_, j) => j)
    .sort((i, j) => {
      const [left, right] = [change[i] * scale[j], change[j] * scale[i]];
      return left < right ? -1 : left > right ? 1 : i - j;
    });

/** SEL-2 … SEL-5, SEL-9: the neurons that may be pruned, first to go first. */
export const pruningOrder = (scores, policy, entropy, round) => {
  const fixed = policy.selection === 'ordered';
  let order = fixed ? scores.change.map((_, j) => j).reverse() : ranking(scores);
  if (policy.selection === 'paper' || policy.selection === 'strict') {
    const still = invariant(scores, policy.threshold);
    order = order.filter((j) => still[j]);
    if (policy.selection === 'paper') {
      const slack = permutation(entropy, `slack ${scores.layer}`, scores.change.length);
      order.push(...slack.filter((j) => !still[j]));
    }
  }
  if (policy.age_cap === 0) return order;
  const spared = Number(BigInt(round) % BigInt(policy.age_cap));
  return order.filter((j) => j % policy.age_cap !== spared);
};

/** SEL-6: how many neurons of n a keep level keeps. */
export const keptCount = (neurons, keep) => Math.max(1, Math.floor((keep * neurons) / 1000));

/** SEL-6 … SEL-8: a map of the neurons that are kept behind the blocks `ahead`, ascending, by layer. */
export const select = (scores, keep, ahead, policy, entropy, round) => {
  for (const level of [keep, ...ahead]) need(level >= 1 && level <= 1000, 'SEL-6', `no keep level: ${level} ‰`);
  return new Map(
    scores.map((layer) => {
      const neurons = layer.change.length;
      const order = pruningOrder(layer, policy, entropy, round);
      const countAt = (level) => Math.min(neurons - keptCount(neurons, level), order.length);
      const begin = ahead.reduce((sum, level) => sum + countAt(level), 0);
      const places = Array.from({ length: countAt(keep) }, (_, k) => (begin + k) % order.length);
      const pruned = new Set(places.map((place) => order[place]));
      return [layer.layer, layer.change.map((_, j) => j).filter((j) => !pruned.has(j))];
    }),
  );
};
