// Shares and time records on their way to every peer: BRO-1 … BRO-5.

import { sorted, u32 } from './bytes.mjs';
import { digest } from './context.mjs';
import { need, needOf } from './errors.mjs';
import { seal, unseal } from './keys.mjs';
import { decodeRecord, encodeRecord } from './wire.mjs';

const NONE = Buffer.alloc(0);

/** BRO-1, BRO-2: the envelope for a peer, without commitments. On a graph there is no record. */
export const sealEnvelope = (sender, receiver, shared, ctx, keyShare, selfShare, record) => {
  need(sender !== receiver, 'BRO-1', 'a client seals nothing for itself');
  need(keyShare.length === 32 && selfShare.length === 32, 'BRO-1', 'a share has 32 bytes');
  return {
    peer: receiver,
    shares: seal(Buffer.concat([keyShare, selfShare]), shared, ctx, 'shares', sender, receiver),
    record: record === null ? NONE : seal(encodeRecord(record), shared, ctx, 'record', sender, receiver),
    commitments: NONE,
  };
};

/** BRO-3: the two shares in an envelope as it was delivered. */
export const openShares = ({ peer, shares }, receiver, shared, ctx) => {
  const opened = unseal(shares, shared, ctx, 'shares', peer, receiver);
  needOf(peer, opened.length === 64, 'BRO-3', 'sealed something else than two shares');
  return { key_share: opened.subarray(0, 32), self_share: opened.subarray(32) };
};

/** BRO-4: the record in an envelope as it was delivered. */
export const openRecord = ({ peer, record }, receiver, shared, ctx, levels) =>
  decodeRecord(unseal(record, shared, ctx, 'record', peer, receiver), levels, peer);

/** BRO-5: from a map of the records of U2 by id. */
export const slackEntropy = (records, ctx) =>
  digest('slack', [ctx, ...sorted(records).map(([id, record]) => Buffer.concat([u32(id), encodeRecord(record)]))]);
