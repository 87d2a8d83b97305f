// The table of operations: for each its inputs, its output, and what answers it.

import * as agreement from './agreement.mjs';
import * as aggregation from './aggregation.mjs';
import { arrayFrom, ringType } from './bytes.mjs';
import * as broadcast from './broadcast.mjs';
import { runClient } from './client.mjs';
import * as codec from './codec.mjs';
import * as context from './context.mjs';
import { need, Refusal } from './errors.mjs';
import * as graph from './graph.mjs';
import * as identification from './identification.mjs';
import * as invariance from './invariance.mjs';
import * as keys from './keys.mjs';
import * as layouts from './layout.mjs';
import { mask, unmask } from './masking.mjs';
import * as messages from './messages.mjs';
import { pad } from './padding.mjs';
import * as parameters from './parameters.mjs';
import * as randomness from './randomness.mjs';
import * as selection from './selection.mjs';
import { runServer } from './server.mjs';
import * as shamir from './shamir.mjs';
import { nextState } from './state.mjs';
import * as submodel from './submodel.mjs';
import {
  bits, Bundle, byId, byName, bytes, Derived, Encoding, Envelope, FIELDS, float32, float64, Found, Header, integer, Judged,
  Lasting, Layout, list, Next, nullable, object, Opened, Params, plain, PruningPolicy, Scores, TimeRecord, tuple,
} from './types.mjs';
import * as wire from './wire.mjs';

const WIRE_VERSION = 1;

const number = plain;
const text = plain;
const bool = plain;
const numbers = list(plain);
const raw = plain; // for what another input says how to read

const checkedParams = { from: (value) => parameters.checkParams(Params.from(value)) };
const checkedPolicy = { from: (value) => parameters.checkPolicy(PruningPolicy.from(value)) };
const checkedEncoding = { from: (value) => parameters.checkEncoding(Encoding.from(value)) };
const checkedLayout = { from: (value) => layouts.checkLayout(Layout.from(value)), to: Layout.to };
const directory = byId(bytes);

/** Bytes as ring elements; their length must divide. */
const elements = (buffer, ringBits) => {
  const array = arrayFrom(ringType(ringBits), buffer);
  need(array !== null, 'MSK-1', 'a vector is of whole elements');
  return array;
};

const fieldsFrom = (kind, fields, ringBits) => {
  const read = FIELDS[kind].from(fields);
  return kind === 'MaskedInput' ? { ...read, vector: elements(read.vector, ringBits) } : read;
};

/** True where nothing was refused. */
const passes = (check) => (inputs) => {
  check(inputs);
  return true;
};

const message = { kind: text, header: Header, fields: raw, ring_bits: number };
const opening = {
  session: bytes, round: integer, config: bytes, directory: bytes, model: bytes, history: bytes, target: integer,
};

/** The entry of a step in a script: `to` says how its output is written. */
const entryWith = (to) => (answer) => {
  try {
    return { output: to(answer()) };
  } catch (error) {
    if (error instanceof Refusal) return { error: error.error };
    throw error;
  }
};

const assignment = object({ kept: byName(numbers), verdict: Judged });
const clientEntry = entryWith((said) => (said === null ? null : Buffer.isBuffer(said) ? bytes.to(said) : assignment.to(said)));

const yielded = object({ sum: bytes, model: float32, slots: numbers, histogram: numbers });
const sent = byId(bytes);
const serverEntry = entryWith((said) => (said === null ? null : said instanceof Map ? sent.to(said) : yielded.to(said)));

const op = (inputs, output, call) => ({ inputs: Object.entries(inputs), output, call });

const OPERATIONS = {
  hello: op({ wire_version: number }, plain, () => ({ name: 'clip in JavaScript', wire_version: WIRE_VERSION })),

  'context.digest': op({ label: text, parts: list(bytes) }, bytes, ({ label, parts }) => context.digest(label, parts)),
  'context.model_digest': op({ model: float32 }, bytes, ({ model }) => context.modelDigest(model)),
  'context.ctx0': op(opening, bytes, context.ctx0Of),
  'context.ctx': op({ ...opening, roster: bytes }, bytes, (i) => context.ctxOf(i, i.roster)),
  'context.masks': op({ ctx: bytes, u2: numbers }, bytes, ({ ctx, u2 }) => context.maskContext(ctx, u2)),

  'parameters.derive': op({ params: checkedParams }, Derived, ({ params }) => parameters.derived(params)),
  'parameters.thresholds': op({ params: checkedParams, clients: number, neighbours: number }, plain, (i) =>
    parameters.thresholds(i.params, i.clients, i.neighbours)),
  'parameters.config': op({ params: checkedParams, layout: checkedLayout }, bytes, ({ params, layout }) =>
    layouts.configDigest(parameters.paramsDigest(params), layout)),

  'layout.describe': op({ layout: checkedLayout }, object({ size: number, digest: bytes }), ({ layout }) => ({
    size: layouts.layoutSize(layout),
    digest: layouts.layoutDigest(layout),
  })),
  'layout.held': op({ layout: checkedLayout, kept: byName(numbers) }, bits, (i) => layouts.heldOf(i.layout, i.kept)),
  'layout.shrunk': op({ layout: checkedLayout, kept: byName(numbers) }, Layout, (i) => layouts.shrunk(i.layout, i.kept)),

  'randomness.derive': op({ secret: bytes, salt: bytes, purpose: text, ids: numbers, length: number }, bytes, (i) =>
    randomness.derive(i.secret, i.salt, i.purpose, i.ids, i.length)),
  'randomness.bytes': op({ seed: bytes, length: number }, bytes, (i) => randomness.randomBytes(i.seed, i.length)),
  'randomness.mask': op({ seed: bytes, ring_bits: number, length: number }, bytes, (i) =>
    randomness.expand(i.seed, i.ring_bits, i.length)),
  'randomness.accumulate': op(
    { ring_bits: number, target: bytes, plus: list(bytes), minus: list(bytes) }, bytes,
    (i) => randomness.accumulate(elements(i.target, i.ring_bits), i.plus, i.minus)),
  'randomness.permutation': op({ entropy: bytes, purpose: text, length: number }, numbers, (i) =>
    randomness.permutation(i.entropy, i.purpose, i.length)),

  'keys.public_key': op({ secret: bytes }, bytes, ({ secret }) => keys.publicKey(secret)),
  'keys.agree': op({ secret: bytes, peer: number, peer_key: bytes }, bytes, (i) => keys.agree(i.secret, i.peer, i.peer_key)),
  'keys.pair_seed': op({ secret: bytes, me: number, peer: number, peer_key: bytes, ctx: bytes }, bytes, (i) =>
    keys.pairSeed(i.secret, i.me, i.peer, i.peer_key, i.ctx)),
  'keys.self_mask_seed': op({ self_seed: bytes, me: number, ctx: bytes }, bytes, (i) =>
    keys.selfMaskSeed(i.self_seed, i.me, i.ctx)),
  'keys.seal': op(
    { plain: bytes, shared: bytes, ctx: bytes, purpose: text, sender: number, receiver: number }, bytes,
    (i) => keys.seal(i.plain, i.shared, i.ctx, i.purpose, i.sender, i.receiver)),
  'keys.unseal': op(
    { sealed: bytes, shared: bytes, ctx: bytes, purpose: text, sender: number, receiver: number }, bytes,
    (i) => keys.unseal(i.sealed, i.shared, i.ctx, i.purpose, i.sender, i.receiver)),
  'keys.sign': op({ secret: bytes, statement: bytes }, bytes, (i) => keys.sign(i.secret, i.statement)),
  'keys.verify': op({ directory, signer: number, signature: bytes, statement: bytes }, bool,
    passes((i) => keys.verify(i.directory, i.signer, i.signature, i.statement))),
  'keys.directory_digest': op({ directory }, bytes, (i) => keys.directoryDigest(i.directory)),

  'shamir.split': op({ secret: bytes, threshold: number, holders: number, randomness: bytes }, list(bytes), (i) =>
    shamir.split(i.secret, i.threshold, i.holders, i.randomness)),
  'shamir.lagrange': op({ points: numbers }, bytes, ({ points }) => shamir.lagrange(points)),
  'shamir.combine': op({ shares: byId(bytes), threshold: number }, bytes, (i) => shamir.combine(i.shares, i.threshold)),

  'wire.encode': op(message, bytes, (i) => wire.encode(i.kind, i.header, fieldsFrom(i.kind, i.fields, i.ring_bits))),
  'wire.decode': op({ data: bytes, kind: text, expected: Header, lengths: raw }, raw, (i) =>
    FIELDS[i.kind].to(wire.decode(i.data, i.kind, i.expected, i.lengths))),
  'wire.encode_record': op({ record: TimeRecord }, bytes, ({ record }) => wire.encodeRecord(record)),
  'wire.decode_record': op({ data: bytes, lengths: raw, sender: number }, TimeRecord, (i) =>
    wire.decodeRecord(i.data, i.lengths.levels, i.sender)),

  'messages.check_advertise': op({ bundle: Bundle }, bool, passes(({ bundle }) => messages.checkAdvertise(bundle))),
  'messages.check_ids': op({ ids: numbers }, bool, passes(({ ids }) => messages.checkIds(ids))),
  'messages.roster_digest': op({ bundles: list(Bundle) }, bytes, ({ bundles }) => messages.rosterDigest(bundles)),

  'agreement.commit_record': op({ record: TimeRecord, owner: number, ctx0: bytes }, bytes, (i) =>
    agreement.commitRecord(i.record, i.owner, i.ctx0)),
  'agreement.commit_seed': op({ seed: bytes, owner: number, ctx0: bytes }, bytes, (i) =>
    agreement.commitSeed(i.seed, i.owner, i.ctx0)),
  'agreement.commit_share': op({ share: bytes, secret: text, owner: number, holder: number, ctx: bytes }, bytes, (i) =>
    agreement.commitShare(i.share, i.secret, i.owner, i.holder, i.ctx)),
  'agreement.statement': op({ ...message, context: bytes }, bytes, (i) =>
    agreement.statementOf(i.kind, i.header, fieldsFrom(i.kind, i.fields, i.ring_bits), i.context)),
  'agreement.check_signature': op({ ...message, context: bytes, directory }, bool, passes((i) => {
    const fields = fieldsFrom(i.kind, i.fields, i.ring_bits);
    agreement.checkSignature(i.kind, i.header, fields, i.context, i.directory);
  })),
  'agreement.views': op({ ctx: bytes, u2: numbers, u3: numbers }, bytes, (i) => agreement.viewsOf(i.ctx, i.u2, i.u3)),
  'agreement.check_agreed': op(
    {
      signatures: list(tuple(number, bytes)), views: bytes, u3: numbers, threshold: number, ctx: bytes, directory,
      header: Header,
    },
    bool,
    passes((i) => agreement.checkAgreed(i.signatures, i.views, i.u3, i.threshold, i.ctx, i.directory, i.header))),

  'broadcast.seal': op(
    {
      sender: number, receiver: number, shared: bytes, ctx: bytes, key_share: bytes, self_share: bytes,
      record: nullable(TimeRecord),
    },
    Envelope,
    (i) => broadcast.sealEnvelope(i.sender, i.receiver, i.shared, i.ctx, i.key_share, i.self_share, i.record)),
  'broadcast.open': op({ envelope: Envelope, receiver: number, shared: bytes, ctx: bytes, lengths: raw }, Opened, (i) => ({
    ...broadcast.openShares(i.envelope, i.receiver, i.shared, i.ctx),
    record: broadcast.openRecord(i.envelope, i.receiver, i.shared, i.ctx, i.lengths.levels),
  })),
  'broadcast.slack_entropy': op({ records: byId(TimeRecord), ctx: bytes }, bytes, (i) =>
    broadcast.slackEntropy(i.records, i.ctx)),

  'identification.elapsed': op({ record: TimeRecord, level: number }, integer, (i) =>
    identification.elapsed(i.record, i.level)),
  'identification.valid': op({ record: TimeRecord, params: checkedParams }, bool, (i) =>
    identification.isValid(i.record, i.params)),
  'identification.identify': op({ records: byId(TimeRecord), params: checkedParams, round: integer }, Found, (i) =>
    identification.identify(i.records, i.params, i.round)),

  'graph.neighbours': op({ seed: bytes, count: number, degree: number, position: number }, numbers, (i) =>
    graph.neighbours(i.seed, i.count, i.degree, i.position)),
  'graph.seed': op({ ctx: bytes }, bytes, ({ ctx }) => graph.graphSeed(ctx)),
  'graph.leaf': op({ position: number, bundle: bytes }, bytes, (i) => graph.leafOf(i.position, i.bundle)),
  'graph.root': op({ leaves: list(bytes) }, bytes, ({ leaves }) => graph.rootOf(leaves)),
  'graph.roster_digest': op({ root: bytes, count: number }, bytes, (i) => graph.rosterRoot(i.root, i.count)),
  'graph.proof': op({ leaves: list(bytes), position: number }, list(bytes), (i) => graph.proofOf(i.leaves, i.position)),
  'graph.check_proof': op(
    { root: bytes, count: number, position: number, leaf: bytes, proof: list(bytes) }, bool,
    passes((i) => graph.checkProof(i.root, i.count, i.position, i.leaf, i.proof))),
  'graph.bitmap': op({ positions: numbers, count: number }, bytes, (i) => graph.bitmapOf(i.positions, i.count)),
  'graph.positions': op({ bits: bytes, count: number }, numbers, (i) => graph.positionsIn(i.bits, i.count)),
  'graph.bucket_edges': op({ params: checkedParams }, list(integer), ({ params }) => graph.bucketEdges(params.policy)),
  'graph.bucket': op({ elapsed: integer, params: checkedParams }, number, (i) =>
    graph.bucketOf(i.elapsed, i.params.policy)),
  'graph.target': op({ histogram: numbers, params: checkedParams }, integer, (i) =>
    graph.targetOf(i.histogram, i.params.policy)),
  'graph.judge': op(
    {
      elapsed: list(integer), fit: list(integer), has_model: bool, was_straggler: bool, target: integer,
      params: checkedParams, round: integer,
    },
    Judged, graph.judge),
  'graph.choose': op(
    { clients: number, corrupt: number, dropped: number, security: number, failure: number, grinding: number }, plain,
    graph.choose),

  'invariance.quantise': op({ weights: float32 }, numbers, ({ weights }) => Array.from(weights, invariance.quantise)),
  'invariance.score': op(
    { model: float32, history: nullable(float32), layout: checkedLayout, mode: text }, list(Scores),
    (i) => invariance.scoresOf(i.model, i.history, i.layout, i.mode)),
  'invariance.invariant': op({ scores_of: Scores, threshold: number }, bits, (i) =>
    invariance.invariant(i.scores_of, i.threshold)),

  'selection.ranking': op({ scores: Scores }, numbers, ({ scores }) => selection.ranking(scores)),
  'selection.order': op({ scores: Scores, policy: checkedPolicy, entropy: bytes, round: integer }, numbers, (i) =>
    selection.pruningOrder(i.scores, i.policy, i.entropy, i.round)),
  'selection.select': op(
    { scores: list(Scores), keep: number, ahead: numbers, policy: checkedPolicy, entropy: bytes, round: integer },
    byName(numbers), (i) => selection.select(i.scores, i.keep, i.ahead, i.policy, i.entropy, i.round)),

  'submodel.extract': op({ model: float32, layout: checkedLayout, kept: byName(numbers) }, float32, (i) =>
    submodel.extract(i.model, i.layout, i.kept)),
  'submodel.expand': op({ delta: float32, layout: checkedLayout, kept: byName(numbers) }, float32, (i) =>
    submodel.expand(i.delta, i.layout, i.kept)),

  'codec.weight': op({ examples: number, encoding: checkedEncoding }, number, (i) => codec.weightOf(i.examples, i.encoding)),
  'codec.quantise': op({ update: float32, encoding: checkedEncoding }, numbers, (i) => codec.quantise(i.update, i.encoding)),
  'codec.encode': op({ update: float32, weight: number, encoding: checkedEncoding }, bytes, (i) =>
    codec.encode(i.update, i.weight, i.encoding)),
  'codec.encode_scaled': op(
    { update: float32, weight: number, total: number, holders: numbers, cap: number, encoding: checkedEncoding }, bytes,
    (i) => codec.encodeScaled(i.update, i.weight, i.total, i.holders, i.cap, i.encoding)),
  'codec.slots': op({ slots: byId(number), length: number, encoding: checkedEncoding }, bytes, (i) =>
    codec.encodeSlots(i.slots, i.length, i.encoding)),
  'codec.mean': op({ total: bytes, weight: numbers, encoding: checkedEncoding }, float64, (i) =>
    codec.decodeMean(elements(i.total, i.encoding.ring_bits), i.weight, i.encoding)),

  'padding.pad': op(
    { coded: bytes, held: bits, keep: number, weight: number, params: checkedParams, bucket: nullable(number) }, bytes,
    (i) => pad(elements(i.coded, i.params.encoding.ring_bits), i.held, i.keep, i.weight, i.params, i.bucket)),

  'masking.mask': op(
    { ring_bits: number, update: bytes, self_seed: bytes, pair_seeds: byId(bytes), sender: number }, bytes,
    (i) => mask(elements(i.update, i.ring_bits), i.self_seed, i.pair_seeds, i.sender)),
  'masking.unmask': op(
    { ring_bits: number, total: bytes, self_seeds: list(bytes), dangling: list(tuple(number, number, bytes)) }, bytes,
    (i) => unmask(elements(i.total, i.ring_bits), i.self_seeds, i.dangling)),

  'aggregation.add': op({ ring_bits: number, total: bytes, vector: bytes }, bytes, (i) =>
    aggregation.add(elements(i.total, i.ring_bits), elements(i.vector, i.ring_bits))),
  'aggregation.aggregate': op({ total: bytes, model: float32, params: checkedParams, survivors: number, held: byId(bits) }, Next, (i) =>
    aggregation.aggregate(elements(i.total, i.params.encoding.ring_bits), i.model, i.params, i.survivors, i.held)),
  'aggregation.holder_weights': op({ weights: byId(number), held: byId(bits), size: number }, numbers, (i) =>
    aggregation.holderWeights(i.weights, i.held, i.size)),
  'aggregation.scaled_among': op(
    { weights: byId(number), keep: byId(number), client: number, mean: text }, byId(number),
    (i) => aggregation.scaledAmong(i.weights, i.keep, i.client, i.mean)),

  'round.client': op(
    {
      me: number, params: checkedParams, layout: checkedLayout, record: TimeRecord, history: nullable(float32),
      entropy: bytes, identity: nullable(bytes), directory, session: nullable(bytes),
      script: list(object({ step: text, data: bytes })),
    },
    raw, (i) => runClient(i, clientEntry)),
  'round.server': op(
    {
      params: checkedParams, layout: checkedLayout, session: bytes, round: integer, model: float32,
      history: nullable(float32), target: integer, directory,
      script: list(object({ event: text, sender: nullable(number), data: bytes })),
    },
    raw, (i) => runServer(i, serverEntry)),
  'round.next_state': op(
    { round: integer, model: float32, history: nullable(float32), yielded: nullable(float32) }, Lasting, nextState),
};

/** The answer to a request, but for its id: CNF-2, CNF-3. */
export const answer = ({ operation, inputs }) => {
  const asked = OPERATIONS[operation];
  if (asked === undefined) return { unsupported: true };
  try {
    const values = {};
    for (const [name, type] of asked.inputs) values[name] = type.from(inputs[name]);
    return { output: asked.output.to(asked.call(values)) };
  } catch (error) {
    if (error instanceof Refusal) return { error: error.error };
    throw error;
  }
};
