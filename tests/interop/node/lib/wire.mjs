// Every message as bytes, and back, strictly: WIR-1 … WIR-5.

import { arrayFrom, bytesOf, ringType, SERVER, u16, u32, u64, u8 } from './bytes.mjs';
import { need, PartyRefusal } from './errors.mjs';

const MAGIC = Buffer.from('CLIP');
const VERSION = 1;
const HEADER = 35;
const SHARES = 80;

export const KINDS = [
  'Open', 'Advertise', 'Roster', 'ShareKeys', 'Deliver', 'MaskedInput', 'Announce', 'Consistent', 'Agreed', 'Unmask',
  'Neighbourhood',
];
const FROM_SERVER = new Set(['Open', 'Roster', 'Deliver', 'Announce', 'Agreed', 'Neighbourhood']);

/** WIR-2: the bytes of a time record on a grid of `levels`. */
export const recordLength = (levels) => 71 + 8 * levels;

/** How many bytes tell a set of positions among `count`. */
export const bitmapLength = (count) => Math.ceil(count / 8);

// --- to bytes ---

const fixed = (bytes, ...lengths) => {
  need(lengths.includes(bytes.length), 'WIR-1', `a field has ${lengths.join(' or ')} bytes, not ${bytes.length}`);
  return bytes;
};

const counted = (list, write) => [u32(list.length), ...list.flatMap(write)];
const sized = (bytes) => [u32(bytes.length), bytes];

const putBundle = (bundle) => [
  fixed(bundle.channel_key, 32), fixed(bundle.mask_key, 32), fixed(bundle.record_commitment, 0, 32),
  fixed(bundle.seed_commitment, 0, 32), fixed(bundle.signature, 0, 64),
];
const putListed = (bundle) => [u32(bundle.sender), ...putBundle(bundle)];
const putEnvelope = ({ peer, shares, record, commitments }) => [
  u32(peer), ...sized(shares), ...sized(record), fixed(commitments, 0, 64),
];
const putShare = ([id, share]) => [u32(id), fixed(share, 32)];

const PUT = {
  Open: (m) => [fixed(m.config, 32), fixed(m.directory, 32), fixed(m.model, 32), fixed(m.history, 32), u64(m.target)],
  Advertise: putBundle,
  Roster: (m) => counted(m.bundles, putListed),
  ShareKeys: (m) => [
    ...counted(m.envelopes, putEnvelope), fixed(m.own_commitments, 0, 64), fixed(m.signature, 0, 64),
  ],
  Deliver: (m) => [...counted(m.envelopes, putEnvelope), ...sized(m.u2), bytesOf(m.model)],
  MaskedInput: (m) => [bytesOf(m.vector), fixed(m.signature, 0, 64)],
  Announce: (m) => [...counted(m.survivors, (id) => [u32(id)]), ...sized(m.u3)],
  Consistent: (m) => [fixed(m.statement, 32), fixed(m.signature, 0, 64)],
  Agreed: (m) => counted(m.signatures, ([id, signature]) => [u32(id), fixed(signature, 64)]),
  Unmask: (m) => [
    ...counted(m.self_shares, putShare), ...counted(m.key_shares, putShare), fixed(m.signature, 0, 64),
  ],
  Neighbourhood: (m) => [
    u32(m.count), fixed(m.root, 32),
    ...counted(m.members, ({ position, bundle, proof }) => [
      u32(position), ...putListed(bundle), u8(proof.length), ...proof.map((sibling) => fixed(sibling, 32)),
    ]),
  ],
};

/** WIR-1: the canonical bytes of a message. `header` has session, round and sender. */
export const encode = (kind, header, fields) => {
  need(header.session.length === 16, 'CTX-3', 'a session has 16 bytes');
  return Buffer.concat([
    MAGIC, u16(VERSION), u8(KINDS.indexOf(kind) + 1), header.session, u64(header.round), u32(header.sender),
    ...PUT[kind](fields),
  ]);
};

/** WIR-2. */
export const encodeRecord = (record) => Buffer.concat([
  u8(Number(record.has_time)), u8(Number(record.has_model)), u8(Number(record.was_straggler)),
  u64(record.down), u64(record.select), u64(record.mask), u64(record.up), ...record.fit.map(u64),
  u32(record.weight), fixed(record.entropy, 32),
]);

// --- from bytes ---

class Reader {
  constructor(bytes, culprit) {
    this.bytes = bytes;
    this.culprit = culprit;
    this.at = 0;
  }

  refuse(rule, detail) {
    throw new PartyRefusal(rule, this.culprit, detail);
  }

  take(length) {
    if (this.at + length > this.bytes.length) this.refuse('WIR-3', 'bytes are missing');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  u8() {
    return this.take(1)[0];
  }

  u16() {
    return this.take(2).readUInt16LE();
  }

  u32() {
    return this.take(4).readUInt32LE();
  }

  u64() {
    return this.take(8).readBigUInt64LE();
  }

  id() {
    const id = this.u32();
    if (id === SERVER) this.refuse('WIR-4', "an id in a list is a client's");
    return id;
  }

  count(most) {
    const count = this.u32();
    if (count > most) this.refuse('WIR-5', `counts ${count} of at most ${most}`);
    return count;
  }

  /** A list of at most `most` entries whose keys ascend strictly: WIR-4, WIR-5. */
  list(most, read, keyOf) {
    const entries = [];
    let last = -1;
    for (let left = this.count(most); left > 0; left--) {
      const entry = read();
      const key = keyOf(entry);
      if (key <= last) this.refuse('WIR-4', 'a list ascends strictly');
      last = key;
      entries.push(entry);
    }
    return entries;
  }

  sized(length) {
    if (this.u32() !== length) this.refuse('WIR-5', `a field has ${length} bytes`);
    return this.take(length);
  }

  array(Type, length) {
    return arrayFrom(Type, this.take(length * Type.BYTES_PER_ELEMENT));
  }

  end() {
    if (this.at !== this.bytes.length) this.refuse('WIR-3', 'bytes are trailing');
  }
}

const takeBundle = (r, { hardened }, sender) => ({
  sender,
  channel_key: r.take(32),
  mask_key: r.take(32),
  record_commitment: r.take(hardened ? 32 : 0),
  seed_commitment: r.take(hardened ? 32 : 0),
  signature: r.take(hardened ? 64 : 0),
});

const takeEnvelopes = (r, { clients, neighbours, levels, hardened }) =>
  r.list(
    neighbours || clients - 1,
    () => ({
      peer: r.id(),
      shares: r.sized(SHARES),
      record: r.sized(neighbours ? 0 : recordLength(levels) + 16),
      commitments: r.take(hardened ? 64 : 0),
    }),
    ({ peer }) => peer,
  );

// On a graph a view of a roster of at most n clients; in a clique no bytes.
const takeView = (r, { clients, neighbours }) => {
  const length = r.u32();
  if (length > (neighbours ? bitmapLength(clients) : 0)) r.refuse('WIR-5', 'a view is too long');
  return r.take(length);
};

const idOf = ([id]) => id;
const takeShares = (r, { clients }) => r.list(clients, () => [r.id(), r.take(32)], idOf);
const takeSignature = (r, { hardened }) => r.take(hardened ? 64 : 0);

const TAKE = {
  Open: (r) => ({ config: r.take(32), directory: r.take(32), model: r.take(32), history: r.take(32), target: r.u64() }),
  Advertise: (r, lengths) => takeBundle(r, lengths),
  Roster: (r, lengths) => ({
    bundles: r.list(lengths.clients, () => takeBundle(r, lengths, r.id()), ({ sender }) => sender),
  }),
  ShareKeys: (r, lengths) => ({
    envelopes: takeEnvelopes(r, lengths),
    own_commitments: r.take(lengths.hardened ? 64 : 0),
    signature: takeSignature(r, lengths),
  }),
  Deliver: (r, lengths) => ({
    envelopes: takeEnvelopes(r, lengths),
    u2: takeView(r, lengths),
    model: r.array(Float32Array, lengths.model),
  }),
  MaskedInput: (r, lengths) => ({
    vector: r.array(ringType(lengths.ring_bits), lengths.vector),
    signature: takeSignature(r, lengths),
  }),
  Announce: (r, lengths) => ({
    survivors: r.list(lengths.clients, () => r.id(), (id) => id),
    u3: takeView(r, lengths),
  }),
  Consistent: (r, lengths) => ({ statement: r.take(32), signature: takeSignature(r, lengths) }),
  Agreed: (r, { clients }) => ({ signatures: r.list(clients, () => [r.id(), r.take(64)], idOf) }),
  Unmask: (r, lengths) => ({
    self_shares: takeShares(r, lengths),
    key_shares: takeShares(r, lengths),
    signature: takeSignature(r, lengths),
  }),
  Neighbourhood: (r, lengths) => {
    const count = r.count(lengths.clients);
    const most = lengths.neighbours ? lengths.neighbours + 1 : lengths.clients;
    const member = () => {
      const position = r.u32();
      const bundle = takeBundle(r, lengths, r.id());
      return { position, bundle, proof: Array.from({ length: r.u8() }, () => r.take(32)) };
    };
    return { count, root: r.take(32), members: r.list(most, member, ({ position }) => position) };
  },
};

/** What the header says, however odd; refused if there is none. */
const takeHeader = (r) => {
  if (!r.take(4).equals(MAGIC)) r.refuse('WIR-3', 'another magic');
  if (r.u16() !== VERSION) r.refuse('WIR-3', 'another version');
  return { kind: KINDS[r.u8() - 1], session: r.take(16), round: r.u64(), sender: r.u32() };
};

/** The header of a message that a round begins with. */
export const readHeader = (bytes, culprit) => takeHeader(new Reader(bytes, culprit));

/**
 * WIR-3 … WIR-5: the fields of the message that is expected: `kind`, from `expected.sender` in `expected.session`
 * and `expected.round`. Whatever is wrong is that sender's fault.
 */
export const decode = (bytes, kind, expected, lengths) => {
  const r = new Reader(bytes, expected.sender === SERVER ? 'server' : expected.sender);
  const header = takeHeader(r);
  if (header.kind !== kind) r.refuse('WIR-3', `is no ${kind}`);
  if (!header.session.equals(expected.session)) r.refuse('WIR-3', 'another session');
  if (header.round !== BigInt(expected.round)) r.refuse('WIR-3', 'another round');
  if (header.sender !== expected.sender) r.refuse('WIR-3', 'another sender');
  if (FROM_SERVER.has(kind) !== (header.sender === SERVER)) r.refuse('WIR-3', `does not send a ${kind}`);
  const fields = TAKE[kind](r, lengths);
  r.end();
  return kind === 'Advertise' ? { ...fields, sender: header.sender } : fields;
};

/** WIR-2: the time record in these bytes, which came from `sender`. */
export const decodeRecord = (bytes, levels, sender) => {
  const r = new Reader(bytes, sender);
  if (bytes.length !== recordLength(levels)) r.refuse('WIR-2', 'a record of another length');
  const flag = () => {
    const value = r.u8();
    if (value > 1) r.refuse('WIR-2', 'a flag is 0 or 1');
    return value === 1;
  };
  return {
    has_time: flag(), has_model: flag(), was_straggler: flag(),
    down: r.u64(), select: r.u64(), mask: r.u64(), up: r.u64(),
    fit: Array.from({ length: levels }, () => r.u64()),
    weight: r.u32(), entropy: r.take(32),
  };
};
