// Which neurons a keep level prunes: SEL-1 … SEL-7.

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

/** SEL-2 … SEL-5: the neurons that may be pruned, first to go first. */
export const pruningOrder = (scores, policy, entropy, round) => {
  let order = ranking(scores);
  if (policy.selection !== 'rank') {
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

/** SEL-6, SEL-7: a map of the neurons that are kept, ascending, by layer. */
export const select = (scores, keep, policy, entropy, round) => {
  need(keep >= 1 && keep <= 1000, 'SEL-6', `a keep level is 1 … 1000 ‰, not ${keep}`);
  return new Map(
    scores.map((layer) => {
      const neurons = layer.change.length;
      const pruned = new Set(pruningOrder(layer, policy, entropy, round).slice(0, neurons - keptCount(neurons, keep)));
      return [layer.layer, layer.change.map((_, j) => j).filter((j) => !pruned.has(j))];
    }),
  );
};
