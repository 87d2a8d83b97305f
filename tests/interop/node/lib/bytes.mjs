// Integers and arrays as bytes. Unsigned, little-endian, at their width (CTX-1).

import { need } from './errors.mjs';

export const SERVER = 0xffffffff;
export const ZERO_DIGEST = Buffer.alloc(32);

export const u8 = (value) => {
  need(Number.isInteger(value) && value >= 0 && value < 2 ** 8, 'CTX-1', `${value} is no u8`);
  return Buffer.of(value);
};

export const u16 = (value) => {
  need(Number.isInteger(value) && value >= 0 && value < 2 ** 16, 'CTX-1', `${value} is no u16`);
  const out = Buffer.alloc(2);
  out.writeUInt16LE(value);
  return out;
};

export const u32 = (value) => {
  need(Number.isInteger(value) && value >= 0 && value < 2 ** 32, 'CTX-1', `${value} is no u32`);
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};

export const u64 = (value) => {
  const big = BigInt(value);
  need(big >= 0n && big < 1n << 64n, 'CTX-1', `${value} is no u64`);
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(big);
  return out;
};

/** The bytes of a value of variable length, preceded by their number as a u32. */
export const prefixed = (bytes) => Buffer.concat([u32(bytes.length), bytes]);

/** An id of a client: below the server's. */
export const checkId = (id) => {
  need(Number.isInteger(id) && id >= 0 && id < SERVER, 'PAR-6', `${id} is no client's id`);
  return id;
};

export const ascends = (ids) => ids.every((id, k) => k === 0 || ids[k - 1] < id);

export const byNumber = (a, b) => a - b;

/** A map's entries in ascending key. */
export const sorted = (map) => [...map].sort(([a], [b]) => a - b);

/** The bytes of a typed array, little-endian as on every machine that Node runs on. */
export const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

/** A copy of bytes as a typed array; `null` where the length does not divide. */
export const arrayFrom = (Type, bytes) => {
  const width = Type.BYTES_PER_ELEMENT;
  if (bytes.length % width) return null;
  const out = new Type(bytes.length / width);
  out.buffer && new Uint8Array(out.buffer).set(bytes);
  return out;
};

export const isFinite32 = (floats) => floats.every(Number.isFinite);

/** The array type of ring elements of b bits. */
export const ringType = (bits) => (bits === 64 ? BigUint64Array : Uint32Array);

/** Round a float64 to the nearest integer, ties to even. Exact: from 2⁵² on every float64 is an integer. */
export const roundHalfEven = (x) => {
  const down = Math.floor(x);
  const rest = x - down;
  if (rest !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
};

/** Round a fraction of two BigInts, the lower one positive, to the nearest integer, ties to even. */
export const divideHalfEven = (over, under) => {
  let quotient = over / under;
  let rest = over % under;
  if (rest < 0n) {
    rest += under;
    quotient -= 1n;
  }
  const twice = 2n * rest;
  if (twice > under || (twice === under && quotient % 2n !== 0n)) quotient += 1n;
  return quotient;
};

/** A float64 from text like 0x1.8000000000000p+3; NaN for any other text. */
export const floatFromHex = (text) => {
  const found = /^(-?)0x([01])\.([0-9a-f]+)p([+-]\d+)$/.exec(text);
  if (!found) return /^-?inf$/.test(text) ? Infinity * (text[0] === '-' ? -1 : 1) : NaN;
  const [, sign, first, digits, exponent] = found;
  const value = (Number(BigInt(`0x${first}${digits}`)) / 16 ** digits.length) * 2 ** Number(exponent);
  return sign ? -value : value;
};

/** The text of a float64 that floatFromHex reads. */
export const floatToHex = (value) => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const sign = bits >> 63n ? '-' : '';
  const raw = Number((bits >> 52n) & 0x7ffn);
  const digits = (bits & 0xfffffffffffffn).toString(16).padStart(13, '0');
  const exponent = raw === 0 ? -1022 : raw - 1023;
  return `${sign}0x${raw === 0 ? 0 : 1}.${digits}p${exponent < 0 ? '' : '+'}${exponent}`;
};
