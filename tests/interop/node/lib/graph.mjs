// Who masks and shares with whom where a clique is too dear, and how times travel then: GRA-1 … GRA-9.

import { byNumber, u32 } from './bytes.mjs';
import { digest } from './context.mjs';
import { need, needOf } from './errors.mjs';
import { isStraggler, keepLevel } from './identification.mjs';
import { needsHistory } from './parameters.mjs';
import { permutation } from './randomness.mjs';
import { bitmapLength } from './wire.mjs';

const MOST_TIME = (1n << 64n) - 1n;
const MOST_NEIGHBOURS = 254;

/** GRA-1: the k/2 before and behind a position on the circle of the permutation, or everybody else. */
export const neighbours = (seed, count, degree, position) => {
  need(degree >= 2 && degree % 2 === 0, 'GRA-1', 'k is even');
  need(Number.isInteger(position) && position >= 0 && position < count, 'GRA-1', 'a position is one of the roster');
  if (degree >= count - 1) return Array.from({ length: count }, (_, other) => other).filter((other) => other !== position);
  const circle = permutation(seed, 'graph', count);
  const at = circle.indexOf(position);
  const found = [];
  for (let step = 1; step <= degree / 2; step++) {
    found.push(circle[(at + step) % count], circle[(at - step + count) % count]);
  }
  return found.sort(byNumber);
};

/** GRA-2. */
export const graphSeed = (ctx) => digest('graph seed', [ctx]);

/** GRA-3: what stands at a position; `bundle` is the canonical `Advertise`. */
export const leafOf = (position, bundle) => digest('merkle leaf', [u32(position), bundle]);

const node = (left, right) => digest('merkle node', [left, right]);

// The rows of the tree from the leaves to the root; an odd last node moves up as it is.
const rowsOf = (leaves) => {
  const rows = [leaves];
  for (let row = leaves; row.length > 1; rows.push(row)) {
    const below = row;
    row = [];
    for (let k = 0; k < below.length; k += 2) row.push(k + 1 < below.length ? node(below[k], below[k + 1]) : below[k]);
  }
  return rows;
};

/** GRA-3: the root of the tree over these leaves. */
export const rootOf = (leaves) => (leaves.length === 0 ? digest('merkle empty', []) : rowsOf(leaves).at(-1)[0]);

/** GRA-3: what enters ctx in place of the roster's digest. */
export const rosterRoot = (root, count) => digest('roster root', [root, u32(count)]);

const proofIn = (rows, position) => {
  const siblings = [];
  rows.slice(0, -1).forEach((row, height) => {
    const sibling = (position >> height) ^ 1;
    if (sibling < row.length) siblings.push(row[sibling]);
  });
  return siblings;
};

/** GRA-4: the siblings from a leaf to the root. */
export const proofOf = (leaves, position) => {
  need(Number.isInteger(position) && position >= 0 && position < leaves.length, 'GRA-4', 'a position is one of the roster');
  return proofIn(rowsOf(leaves), position);
};

/** GRA-4: every position's proof, for a server. */
export const allProofs = (leaves) => {
  const rows = rowsOf(leaves);
  return leaves.map((_, position) => proofIn(rows, position));
};

/** GRA-4: refuse, with the server named, a leaf that is not proved to be at this position. */
export const checkProof = (root, count, position, leaf, proof) => {
  needOf('server', position >= 0 && position < count, 'GRA-4', 'a position is one of the roster');
  let digestHere = leaf;
  let left = proof;
  for (let at = position, width = count; width > 1; at >>= 1, width = Math.ceil(width / 2)) {
    const sibling = at ^ 1;
    if (sibling >= width) continue;
    needOf('server', left.length > 0, 'GRA-4', 'a sibling is missing');
    digestHere = at % 2 ? node(left[0], digestHere) : node(digestHere, left[0]);
    left = left.slice(1);
  }
  needOf('server', left.length === 0, 'GRA-4', 'a proof has too many siblings');
  needOf('server', digestHere.equals(root), 'GRA-4', 'a proof does not give the root');
};

/** GRA-5: a set of positions as a view. */
export const bitmapOf = (positions, count) => {
  need(count >= 0, 'GRA-5', 'a roster has at least 0 clients');
  need(positions.every((p) => Number.isInteger(p) && p >= 0 && p < count), 'GRA-5', 'a position is one of the roster');
  const bits = Buffer.alloc(bitmapLength(count));
  for (const p of positions) bits[p >> 3] |= 1 << (p & 7);
  return bits;
};

/** GRA-5: the positions in a view that the server sent, ascending. */
export const positionsIn = (bits, count) => {
  needOf('server', bits.length === bitmapLength(count), 'GRA-5', 'a view of another length');
  const found = [];
  for (let p = 0; p < bits.length * 8; p++) if (bits[p >> 3] & (1 << (p & 7))) found.push(p);
  needOf('server', found.every((p) => p < count), 'GRA-5', 'a view has a bit beyond the roster');
  return found;
};

/** GRA-6: the upper edges of the buckets, µs. */
export const bucketEdges = ({ bucket_first, bucket_ratio, bucket_count }) => {
  const edges = [BigInt(bucket_first)];
  while (edges.length < bucket_count) {
    edges.push((edges.at(-1) * BigInt(bucket_ratio) + 999n) / 1000n);
  }
  return edges;
};

/** GRA-6: the first bucket whose edge a time does not pass, else the last. */
export const bucketOf = (time, policy) => {
  const found = bucketEdges(policy).findIndex((edge) => time <= edge);
  return found < 0 ? policy.bucket_count - 1 : found;
};

/** GRA-7: T* from the histogram; 0: nobody prunes. */
export const targetOf = (histogram, policy) => {
  const clients = histogram.reduce((sum, count) => sum + count, 0);
  if (clients === 0) return 0n;
  const rank = clients - Math.floor((policy.straggler_share * clients) / 1000);
  let seen = 0;
  const bucket = histogram.findIndex((count) => (seen += count) >= rank);
  const edge = bucketEdges(policy)[bucket];
  return edge > MOST_TIME ? MOST_TIME : edge;
};

/** The verdict on a client that is no straggler. */
export const UNSLOWED = { straggler: false, keep: 1000, saturated: false, ahead: [] };

/** GRA-8: what a client with valid times finds about itself, from e(r) at each level and the T* that was announced. */
export const judge = ({ elapsed, has_model, was_straggler, target, params, round }) => {
  const { policy } = params;
  need(elapsed.length === policy.grid.length, 'GRA-8', 'each level takes a time');
  const idle = target === 0n || policy.straggler_share === 0 || round <= BigInt(policy.warm_up);
  if (idle || !isStraggler(elapsed[0], was_straggler, target, policy.margin)) return UNSLOWED;
  const may = has_model || !needsHistory(policy);
  const found = may ? keepLevel(elapsed, target, policy.grid) : { keep: 1000, saturated: false };
  return { straggler: true, ...found, ahead: [] };
};

// The binomial coefficients of `of` over 0 … `most`.
const binomials = (of, most) => {
  const row = [1n];
  for (let k = 1; k <= most; k++) row.push(k > of ? 0n : (row[k - 1] * BigInt(of - k + 1)) / BigInt(k));
  return row;
};

/** GRA-9: the least k and t; `corrupt` and `dropped` in ‰, the others in bits. */
export const choose = ({ clients, corrupt, dropped, security, failure, grinding }) => {
  const others = clients - 1;
  // weights(marked)(k)[x]: in how many of the draws of k from the others x are marked.
  const weights = (share) => {
    const marked = Math.floor((share * clients) / 1000);
    const yes = binomials(marked, MOST_NEIGHBOURS);
    const no = binomials(others - marked, MOST_NEIGHBOURS);
    return (k) => Array.from({ length: k + 1 }, (_, x) => yes[x] * no[k - x]);
  };
  const draws = binomials(others, MOST_NEIGHBOURS);
  const ofCorrupt = weights(corrupt);
  const ofDropped = weights(dropped);
  const tail = (terms, from) => terms.slice(Math.max(from, 0)).reduce((sum, term) => sum + term, 0n);
  const rare = (count, k, bits) => BigInt(clients) * count << BigInt(bits) <= draws[k];
  for (let k = 2; k <= MOST_NEIGHBOURS && k < others; k += 2) {
    const half = BigInt(k / 2);
    const connected = BigInt(clients) * BigInt(corrupt + dropped) ** half << BigInt(security) <= 1000n ** half;
    if (!connected) continue;
    const c = ofCorrupt(k);
    const d = ofDropped(k);
    for (let t = 2; t <= k + 1; t++) {
      if (!rare(tail(c, 2 * t - (k + 1)), k, security + grinding)) continue;
      // Fewer than t neighbours left: more than k − t of them dropped out.
      if (rare(tail(d, k - t + 1), k, failure)) return { neighbours: k, threshold: t };
      break;
    }
  }
  need(false, 'GRA-9', 'no k below 255 will do');
};
