// How values are written in JSON: each type reads (`from`) and writes (`to`) one.

import { bytesOf, floatFromHex } from './bytes.mjs';

const same = (value) => value;

export const plain = { from: same, to: same }; // number, text, bool
export const integer = { from: BigInt, to: String };
export const bytes = {
  from: (text) => Buffer.from(text, 'hex'),
  to: (value) => (Buffer.isBuffer(value) ? value : bytesOf(value)).toString('hex'),
};
const floats = (Type) => ({
  from: (text) => new Type(Uint8Array.from(Buffer.from(text, 'hex')).buffer),
  to: (value) => bytesOf(value).toString('hex'),
});
export const float32 = floats(Float32Array);
export const float64 = floats(Float64Array);
export const bits = {
  from: (text) => Uint8Array.from(text, Number),
  to: (value) => Array.from(value, Number).join(''),
};
export const nullable = (type) => ({
  from: (value) => (value === null ? null : type.from(value)),
  to: (value) => (value === null ? null : type.to(value)),
});
export const list = (type) => ({ from: (value) => value.map(type.from), to: (value) => Array.from(value, type.to) });
export const tuple = (...types) => ({
  from: (value) => types.map((type, k) => type.from(value[k])),
  to: (value) => types.map((type, k) => type.to(value[k])),
});

const mapping = (keyFrom) => (type) => ({
  from: (value) => new Map(Object.entries(value).map(([key, each]) => [keyFrom(key), type.from(each)])),
  to: (value) => Object.fromEntries([...value].map(([key, each]) => [key, type.to(each)])),
});
export const byId = mapping(Number);
export const byName = mapping(same);

/** An object of exactly these members; members of a value that are not listed are left out. */
export const object = (members) => {
  const entries = Object.entries(members);
  const through = (way) => (value) => {
    const out = {};
    for (const [name, type] of entries) out[name] = type[way](value[name]);
    return out;
  };
  return { from: through('from'), to: through('to') };
};

const asListed = (...names) => Object.fromEntries(names.map((name) => [name, plain]));

export const Encoding = object({
  ...asListed('ring_bits', 'value_bits', 'weighting', 'weight_max'),
  clip: { from: floatFromHex },
});
export const PruningPolicy = plain;
export const Params = {
  from: (value) => ({ ...value, encoding: Encoding.from(value.encoding) }),
};
export const Layout = plain;
export const Derived = object({ digest: bytes, ...asListed('holders', 'extras', 'block_size'), worst_case: integer });
export const Header = object({ session: bytes, round: integer, sender: plain });
export const TimeRecord = object({
  ...asListed('has_time', 'has_model', 'was_straggler', 'weight'),
  down: integer, select: integer, mask: integer, up: integer, fit: list(integer), entropy: bytes,
});
const advertised = {
  channel_key: bytes, mask_key: bytes, record_commitment: bytes, seed_commitment: bytes, signature: bytes,
};
export const Bundle = object({ sender: plain, ...advertised });
export const Envelope = object({ peer: plain, shares: bytes, record: bytes, commitments: bytes });
export const Opened = object({ key_share: bytes, self_share: bytes, record: TimeRecord });
export const Judged = plain;
export const Found = object({ target: integer, target_fit: integer, verdicts: byId(Judged) });
export const Scores = object({ layer: plain, change: list(integer), scale: list(integer) });
export const Next = object({ model: float32, slots: list(plain), histogram: list(plain) });
export const Lasting = object({ round: integer, model: float32, history: nullable(float32) });

const shares = list(tuple(plain, bytes));
const signature = bytes;

/** The fields of each kind of message, but for the header's. */
export const FIELDS = {
  Open: object({ config: bytes, directory: bytes, model: bytes, history: bytes, target: integer }),
  Advertise: object(advertised),
  Roster: object({ bundles: list(Bundle) }),
  ShareKeys: object({ envelopes: list(Envelope), own_commitments: bytes, signature }),
  Deliver: object({ envelopes: list(Envelope), model: float32, u2: bytes }),
  MaskedInput: object({ vector: bytes, signature }),
  Announce: object({ survivors: list(plain), u3: bytes }),
  Consistent: object({ statement: bytes, signature }),
  Agreed: object({ signatures: shares }),
  Unmask: object({ self_shares: shares, key_shares: shares, signature }),
  Neighbourhood: object({
    count: plain, root: bytes, members: list(object({ position: plain, bundle: Bundle, proof: list(bytes) })),
  }),
};
