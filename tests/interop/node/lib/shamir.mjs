// Secret sharing, bytewise over GF(2⁸): SHM-1 … SHM-5.

import { need } from './errors.mjs';

// Powers and logarithms to the base 3, which generates the field modulo x⁸ + x⁴ + x³ + x + 1.
const POWER = new Uint8Array(510);
const LOG = new Uint8Array(256);
for (let k = 0, value = 1; k < 255; k++) {
  POWER[k] = POWER[k + 255] = value;
  LOG[value] = k;
  value ^= (value << 1) ^ (value & 0x80 ? 0x11b : 0);
}

const times = (a, b) => (a === 0 || b === 0 ? 0 : POWER[LOG[a] + LOG[b]]);
const over = (a, b) => (a === 0 ? 0 : POWER[LOG[a] + 255 - LOG[b]]);

/** SHM-1, SHM-2: the shares of holders 1 … `holders`. */
export const split = (secret, threshold, holders, randomness) => {
  need(threshold >= 2 && threshold <= holders && holders <= 255, 'SHM-1', '2 ≤ t ≤ holders ≤ 255');
  need(secret.length > 0, 'SHM-1', 'a secret has at least one byte');
  need(randomness.length === (threshold - 1) * secret.length, 'SHM-2', '(t − 1) · |secret| random bytes are used');
  const coefficients = [secret];
  for (let k = 0; k < threshold - 1; k++) {
    coefficients.push(randomness.subarray(k * secret.length, (k + 1) * secret.length));
  }
  return Array.from({ length: holders }, (_, position) => {
    const share = Buffer.alloc(secret.length);
    for (let k = threshold - 1; k >= 0; k--) {
      for (let b = 0; b < share.length; b++) share[b] = times(share[b], position + 1) ^ coefficients[k][b];
    }
    return share;
  });
};

/** SHM-3: the weights of these holders in the interpolation at 0. */
export const lagrange = (points) => {
  need(points.length > 0, 'SHM-3', 'there is a holder');
  need(points.every((x) => Number.isInteger(x) && x >= 1 && x <= 255), 'SHM-3', 'a holder is 1 … 255');
  need(new Set(points).size === points.length, 'SHM-3', 'holders are distinct');
  return Buffer.from(
    points.map((x) => points.reduce((weight, other) => (other === x ? weight : times(weight, over(other, other ^ x))), 1)),
  );
};

/** SHM-3 … SHM-5: the secret, from a map of shares by holder. */
export const combine = (shares, threshold) => {
  need(shares.size === threshold, 'SHM-4', 'exactly t shares are combined');
  const pieces = [...shares.values()];
  need(pieces.length > 0, 'SHM-4', 'there is nothing to combine');
  need(pieces.every(({ length }) => length === pieces[0].length), 'SHM-5', 'shares have one length');
  const weights = lagrange([...shares.keys()]);
  const secret = Buffer.alloc(pieces[0].length);
  pieces.forEach((piece, k) => piece.forEach((byte, b) => (secret[b] ^= times(weights[k], byte))));
  return secret;
};
