// Who said what, and that everybody was told the same; at `hardened` alone: AGR-1 … AGR-8.

import { byNumber, u32 } from './bytes.mjs';
import { digest, isAscii } from './context.mjs';
import { need, needOf, PartyRefusal } from './errors.mjs';
import { checkSecret, sign, verify } from './keys.mjs';
import { checkIds } from './messages.mjs';
import { encode, encodeRecord } from './wire.mjs';

const NONE = Buffer.alloc(0);

/** AGR-1. */
export const commitRecord = (record, owner, ctx0) => digest('commit record', [ctx0, u32(owner), encodeRecord(record)]);

/** AGR-2. */
export const commitSeed = (seed, owner, ctx0) => digest('commit seed', [ctx0, u32(owner), checkSecret(seed)]);

/** AGR-3: `secret` is 'mask key' or 'self mask'. */
export const commitShare = (share, secret, owner, holder, ctx) => {
  need(isAscii(secret), 'AGR-3', "a secret's name is ASCII");
  return digest('commit share', [ctx, Buffer.from(secret), Buffer.concat([u32(owner), u32(holder)]), share]);
};

/** AGR-4: what is signed of a message. */
export const statementOf = (kind, header, fields, context) =>
  digest('signed', [context, encode(kind, header, { ...fields, signature: NONE })]);

/** AGR-4: the fields with the signature in them. */
export const signed = (kind, header, fields, context, identity) => ({
  ...fields,
  signature: sign(identity, statementOf(kind, header, fields, context)),
});

/** AGR-5: refuse a message that its sender did not sign in this context. */
export const checkSignature = (kind, header, fields, context, directory) =>
  verify(directory, header.sender, fields.signature, statementOf(kind, header, fields, context));

/** AGR-6: the statement about U2 and U3, on a graph by position. */
export const viewsOf = (ctx, u2, u3) => {
  const list = (ids) => Buffer.concat([...ids].sort(byNumber).map(u32));
  return digest('views', [ctx, list(u2), list(u3)]);
};

/** AGR-7, AGR-8: at least t distinct clients of `u3` signed one's own statement. */
export const checkAgreed = (signatures, views, u3, threshold, ctx, directory, header) => {
  const signers = signatures.map(([id]) => id);
  checkIds(signers);
  needOf('server', signers.every((id) => u3.includes(id)), 'AGR-7', 'a signer is not in U3');
  needOf('server', signers.length >= threshold, 'AGR-7', 'fewer than t signatures');
  for (const [sender, signature] of signatures) {
    try {
      checkSignature('Consistent', { ...header, sender }, { statement: views, signature }, ctx, directory);
    } catch (error) {
      if (!(error instanceof PartyRefusal)) throw error;
      throw new PartyRefusal('AGR-8', 'server', `client ${sender} did not sign this statement`);
    }
  }
};
