// Labelled digests and the contexts of a round: CTX-1 … CTX-5.

import { createHash } from 'node:crypto';

import { byNumber, bytesOf, u32, u64 } from './bytes.mjs';
import { need } from './errors.mjs';

export const PREFIX = 'clip-ref/v1/';

export const isAscii = (text) => [...text].every((letter) => letter.codePointAt(0) < 128);

/** CTX-2: SHA-256 over the label and each part, every one preceded by its length. */
export const digest = (label, parts) => {
  need(isAscii(label), 'CTX-2', 'a label is ASCII');
  const full = Buffer.from(PREFIX + label);
  const hash = createHash('sha256').update(u32(full.length)).update(full);
  for (const part of parts) hash.update(u64(part.length)).update(part);
  return hash.digest();
};

/** CTX-2: the digest `model` of a Float32Array. */
export const modelDigest = (model) => digest('model', [Buffer.from('<f4'), bytesOf(model)]);

const fields = ({ session, round, config, directory, model, history, target }) => {
  need(session.length === 16, 'CTX-3', 'a session has 16 bytes');
  const parts = [session, u64(round), config, directory, model, history];
  if (target !== 0n) parts.push(u64(target));
  return parts;
};

/** CTX-3: the context before the roster is known. */
export const ctx0Of = (opening) => digest('context0', fields(opening));

/** CTX-4: the context, with the digest of the roster. */
export const ctxOf = (opening, roster) => digest('context', [...fields(opening), roster]);

/** CTX-5: the context of masks, from the ids of U2, on a graph their positions. */
export const maskContext = (ctx, u2) => {
  const ids = [...u2].sort(byNumber);
  return digest('context of masks', [ctx, ...ids.map(u32)]);
};
