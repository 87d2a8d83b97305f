// Masks on one update, and off the sum: MSK-1 … MSK-7.

import { need } from './errors.mjs';
import { accumulate } from './randomness.mjs';

/** y_u: `pairSeeds` maps peers to the seeds of pairwise masks. The end with the smaller id adds: MSK-5. */
export const mask = (update, selfSeed, pairSeeds, sender) => {
  need(!pairSeeds.has(sender), 'MSK-2', 'a client has no mask with itself');
  const plus = [selfSeed];
  const minus = [];
  for (const [peer, seed] of pairSeeds) (sender < peer ? plus : minus).push(seed);
  return accumulate(update.slice(), plus, minus);
};

/** MSK-6, MSK-7: the bare sum; `dangling` lists [survivor, dropped, seed]. */
export const unmask = (total, selfSeeds, dangling) => {
  const plus = [];
  const minus = [...selfSeeds];
  for (const [survivor, dropped, seed] of dangling) {
    need(survivor !== dropped, 'MSK-7', 'nobody survives and drops out');
    (survivor < dropped ? minus : plus).push(seed);
  }
  return accumulate(total.slice(), plus, minus);
};
