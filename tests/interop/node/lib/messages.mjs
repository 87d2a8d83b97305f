// What can be checked of messages without knowing the round: MSG-1 … MSG-3.

import { ascends, SERVER, u32 } from './bytes.mjs';
import { digest } from './context.mjs';
import { needOf } from './errors.mjs';
import { checkPublicKey } from './keys.mjs';

/** MSG-1: both keys are good, and not one key twice. */
export const checkAdvertise = (bundle) => {
  checkPublicKey(bundle.channel_key, bundle.sender);
  checkPublicKey(bundle.mask_key, bundle.sender);
  needOf(bundle.sender, !bundle.channel_key.equals(bundle.mask_key), 'MSG-1', 'advertises one key twice');
};

/** MSG-2: ids in a list of `culprit`'s ascend strictly and are clients'. */
export const checkIds = (ids, culprit = 'server') => {
  needOf(culprit, ids.every((id) => Number.isInteger(id) && id >= 0 && id < SERVER), 'MSG-2', "ids are clients'");
  needOf(culprit, ascends(ids), 'MSG-2', 'ids ascend strictly');
};

/** MSG-3. */
export const rosterDigest = (bundles) =>
  digest('roster', bundles.map((bundle) =>
    Buffer.concat([u32(bundle.sender), bundle.channel_key, bundle.mask_key, bundle.record_commitment, bundle.seed_commitment]),
  ));
