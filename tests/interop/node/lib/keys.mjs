// Key agreement, sealed messages and signatures: KEY-1 … KEY-9.

import {
  createCipheriv, createDecipheriv, createPrivateKey, createPublicKey, diffieHellman, sign as signWith,
  verify as verifyWith,
} from 'node:crypto';

import { prefixed, sorted, u32, ZERO_DIGEST } from './bytes.mjs';
import { digest } from './context.mjs';
import { need, needOf, PartyRefusal } from './errors.mjs';
import { derive } from './randomness.mjs';

// What stands before a raw key of 32 bytes in PKCS #8 and SubjectPublicKeyInfo: RFC 8410.
const DER = {
  x25519: { secret: Buffer.from('302e020100300506032b656e04220420', 'hex'), open: Buffer.from('302a300506032b656e032100', 'hex') },
  ed25519: { secret: Buffer.from('302e020100300506032b657004220420', 'hex'), open: Buffer.from('302a300506032b6570032100', 'hex') },
};

// KEY-3: the canonical u-coordinates of order 1, 2, 4 and 8 on the curve and its twist: 0, 1, 2²⁵⁵ − 20 and two more.
const LOW_ORDER = new Set([
  '00'.repeat(32),
  '01' + '00'.repeat(31),
  'ec' + 'ff'.repeat(30) + '7f',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
]);

const NONCE = Buffer.alloc(12);
const TAG = 16;

/** KEY-1: a secret is exactly 32 bytes. */
export const checkSecret = (secret) => {
  need(secret.length === 32, 'KEY-1', 'a secret has 32 bytes');
  return secret;
};

const secretKey = (kind, secret) =>
  createPrivateKey({ key: Buffer.concat([DER[kind].secret, checkSecret(secret)]), format: 'der', type: 'pkcs8' });

const openKey = (kind, key) =>
  createPublicKey({ key: Buffer.concat([DER[kind].open, key]), format: 'der', type: 'spki' });

const publicOf = (kind, secret) =>
  createPublicKey(secretKey(kind, secret)).export({ format: 'der', type: 'spki' }).subarray(-32);

export const publicKey = (secret) => publicOf('x25519', secret);

export const identityKey = (secret) => publicOf('ed25519', secret);

// Little-endian: 2²⁵⁵ − 19 is ed ff … ff 7f.
const isCanonical = (key) => {
  if (key[31] !== 0x7f) return key[31] < 0x7f;
  for (let k = 30; k > 0; k--) if (key[k] !== 0xff) return true;
  return key[0] < 0xed;
};

/** KEY-2, KEY-3. */
export const checkPublicKey = (key, culprit) => {
  needOf(culprit, key.length === 32 && isCanonical(key), 'KEY-2', 'a public key is a reduced u-coordinate');
  needOf(culprit, !LOW_ORDER.has(key.toString('hex')), 'KEY-3', 'a public key is not of low order');
};

/** The X25519 shared secret with a peer. */
export const agree = (secret, peer, peerKey) => {
  checkSecret(secret);
  checkPublicKey(peerKey, peer);
  return diffieHellman({ privateKey: secretKey('x25519', secret), publicKey: openKey('x25519', peerKey) });
};

/** KEY-4. `ctx` is the context of masks. */
export const pairSeed = (secret, me, peer, peerKey, ctx) =>
  derive(agree(secret, peer, peerKey), ctx, 'pairwise mask', [Math.min(me, peer), Math.max(me, peer)]);

/** KEY-5. `ctx` is the context of masks. */
export const selfMaskSeed = (selfSeed, me, ctx) => derive(checkSecret(selfSeed), ctx, 'self mask', [me]);

// KEY-6: a key of its own for each context, purpose and direction, and the associated data.
const channel = (shared, ctx, purpose, sender, receiver) => ({
  key: derive(shared, ctx, `channel ${purpose}`, [sender, receiver]),
  data: Buffer.concat([ctx, prefixed(Buffer.from(purpose)), u32(sender), u32(receiver)]),
});

export const seal = (plain, shared, ctx, purpose, sender, receiver) => {
  const { key, data } = channel(shared, ctx, purpose, sender, receiver);
  const cipher = createCipheriv('chacha20-poly1305', key, NONCE, { authTagLength: TAG });
  cipher.setAAD(data);
  const body = cipher.update(plain);
  cipher.final();
  return Buffer.concat([body, cipher.getAuthTag()]);
};

export const unseal = (sealed, shared, ctx, purpose, sender, receiver) => {
  const { key, data } = channel(shared, ctx, purpose, sender, receiver);
  needOf(sender, sealed.length >= TAG, 'KEY-6', 'a sealed message ends with a tag');
  const cipher = createDecipheriv('chacha20-poly1305', key, NONCE, { authTagLength: TAG });
  cipher.setAAD(data);
  cipher.setAuthTag(sealed.subarray(-TAG));
  const plain = cipher.update(sealed.subarray(0, -TAG));
  try {
    cipher.final();
  } catch {
    throw new PartyRefusal('KEY-6', sender, 'a sealed message does not open');
  }
  return plain;
};

/** KEY-7: sign a digest, and nothing else. */
export const sign = (secret, statement) => {
  need(statement.length === 32, 'KEY-7', 'a digest of 32 bytes is signed');
  return signWith(null, statement, secretKey('ed25519', secret));
};

/** KEY-9: refuse, with the signer named, whatever is not its signature over the statement. */
export const verify = (directory, signer, signature, statement) => {
  need(statement.length === 32, 'KEY-7', 'a digest of 32 bytes is signed');
  const key = directory.get(signer);
  needOf(signer, key !== undefined, 'KEY-9', 'is not in the directory');
  let good = false;
  try {
    good = verifyWith(null, statement, openKey('ed25519', key), signature);
  } catch {
    // A key that is no point, or a signature of another length, verifies nothing.
  }
  needOf(signer, good, 'KEY-9', 'did not sign this');
};

/** KEY-8. `directory` maps ids to Ed25519 public keys. */
export const directoryDigest = (directory) =>
  directory.size === 0
    ? ZERO_DIGEST
    : digest('directory', sorted(directory).map(([id, key]) => Buffer.concat([u32(id), key])));
