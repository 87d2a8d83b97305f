// Keys, keystreams, masks and permutations, each a function of a secret: RND-1 … RND-6.

import { createCipheriv, hkdfSync } from 'node:crypto';

import { arrayFrom, ringType, u32 } from './bytes.mjs';
import { PREFIX } from './context.mjs';
import { need } from './errors.mjs';

const EMPTY = Buffer.alloc(0);
const BLOCK = 1 << 16;

/** RND-1: HKDF-SHA256 with the labelled purpose and the ids in the info. */
export const derive = (secret, salt, purpose, ids = [], length = 32) => {
  need(length >= 1 && length <= 255 * 32, 'RND-1', 'HKDF-SHA256 yields 1 … 8160 bytes');
  const label = Buffer.from(PREFIX + purpose);
  const info = Buffer.concat([u32(label.length), label, ...ids.map(u32)]);
  return Buffer.from(hkdfSync('sha256', secret, salt, info, length));
};

/** RND-2: a function that yields the next n bytes of a seed's keystream. */
export const keystream = (seed) => {
  need(seed.length === 32, 'KEY-1', 'a seed has 32 bytes');
  const made = derive(seed, EMPTY, 'prg');
  const cipher = createCipheriv('aes-128-ctr', made.subarray(0, 16), made.subarray(16));
  return (length) => cipher.update(Buffer.alloc(length));
};

/** RND-6: the first bytes of a seed's keystream. */
export const randomBytes = (seed, length) => {
  need(length >= 0, 'RND-6', 'a length is at least 0');
  return keystream(seed)(length);
};

/** RND-3: the first elements of a seed's mask. */
export const expand = (seed, bits, length) => {
  need(length >= 0, 'RND-3', 'a length is at least 0');
  return arrayFrom(ringType(bits), keystream(seed)(length * (bits / 8)));
};

/** RND-4: `target` with the masks of `plus` added and those of `minus` subtracted, in place, block by block. */
export const accumulate = (target, plus, minus) => {
  const Type = target.constructor;
  const streams = [...plus.map((seed) => [keystream(seed), true]), ...minus.map((seed) => [keystream(seed), false])];
  for (let from = 0; from < target.length; from += BLOCK) {
    const block = target.subarray(from, from + BLOCK);
    for (const [next, adds] of streams) {
      const mask = arrayFrom(Type, next(block.byteLength));
      // The arrays wrap at R.
      if (adds) for (let k = 0; k < block.length; k++) block[k] += mask[k];
      else for (let k = 0; k < block.length; k++) block[k] -= mask[k];
    }
  }
  return target;
};

/** RND-5: a shared permutation of 0 … length − 1. */
export const permutation = (entropy, purpose, length) => {
  need(entropy.length === 32, 'RND-5', 'the entropy of a permutation has 32 bytes');
  need(length >= 0 && length < 2 ** 31, 'RND-5', 'a permutation has fewer than 2³¹ entries');
  const next = keystream(derive(entropy, EMPTY, purpose));
  const words = [];
  const draw = () => {
    if (words.length === 0) for (const word of arrayFrom(Uint32Array, next(1024)).reverse()) words.push(word);
    return words.pop();
  };
  const order = Array.from({ length }, (_, index) => index);
  for (let top = length - 1; top >= 1; top--) {
    const limit = 2 ** 32 - (2 ** 32 % (top + 1));
    let word = draw();
    while (word >= limit) word = draw();
    const other = word % (top + 1);
    [order[top], order[other]] = [order[other], order[top]];
  }
  return order;
};
