// A client's round: ROU-3 … ROU-8, ROU-16, ROU-18, ROU-20 … ROU-23.

import { arrayFrom, checkId, isFinite32, SERVER } from './bytes.mjs';
import { checkAgreed, checkSignature, commitRecord, commitSeed, commitShare, signed, viewsOf } from './agreement.mjs';
import { holderWeights, scaledAmong } from './aggregation.mjs';
import { openRecord, openShares, sealEnvelope, slackEntropy } from './broadcast.mjs';
import { encode as encodeUpdate, encodeScaled } from './codec.mjs';
import { ctx0Of, ctxOf, maskContext, modelDigest } from './context.mjs';
import { ArgumentRefusal, need, needOf, PartyRefusal } from './errors.mjs';
import { bucketOf, checkProof, graphSeed, judge, leafOf, neighbours, positionsIn, rosterRoot, UNSLOWED } from './graph.mjs';
import { elapsed, identify, isValid } from './identification.mjs';
import { scoresOf } from './invariance.mjs';
import {
  agree, checkSecret, directoryDigest, identityKey, pairSeed, publicKey, selfMaskSeed,
} from './keys.mjs';
import { checkParams, extrasOf, isHardened, paramsDigest, scoredBy } from './parameters.mjs';
import { checkLayout, configDigest, heldOf, keepAll, layoutSize } from './layout.mjs';
import { mask } from './masking.mjs';
import { checkAdvertise, checkIds, rosterDigest } from './messages.mjs';
import { pad } from './padding.mjs';
import { derive, randomBytes } from './randomness.mjs';
import { select } from './selection.mjs';
import { split } from './shamir.mjs';
import { decode, encode, encodeRecord, readHeader } from './wire.mjs';

const NONE = Buffer.alloc(0);

/** What fixes the lengths of a run's messages. */
export const lengthsOf = (params, layout) => ({
  clients: params.clients,
  levels: params.policy.grid.length,
  model: layoutSize(layout),
  vector: layoutSize(layout) + extrasOf(params),
  ring_bits: params.encoding.ring_bits,
  hardened: isHardened(params),
  neighbours: params.neighbours,
});

const server = (good, rule, detail) => needOf('server', good, rule, detail);

export class Client {
  /** `begun` has me, params, layout, record, history, entropy, identity, directory and session. It keeps a journal. */
  constructor(begun) {
    const { me, params, layout, record, entropy, identity, directory, session } = begun;
    checkId(me);
    checkParams(params);
    checkLayout(layout);
    need(entropy.length === 32, 'ROU-3', 'entropy has 32 bytes');
    need(record.fit.length === params.policy.grid.length, 'WIR-2', 'a record has a time for each level');
    encodeRecord({ ...record, entropy }); // its own entropy is yet to come
    if (isHardened(params)) {
      need(identity !== null, 'ROU-18', 'hardened takes an identity');
      need(directory.get(me)?.equals(identityKey(checkSecret(identity))), 'ROU-18', 'the directory has another key');
    } else {
      need(identity === null && directory.size === 0, 'ROU-18', 'basic takes no identities');
    }
    need(session !== null || !isHardened(params), 'ROU-22', 'hardened takes a session');
    need(session === null || session.length === 16, 'CTX-3', 'a session has 16 bytes');
    Object.assign(this, begun);
    this.hardened = isHardened(params);
    this.lengths = lengthsOf(params, layout);
    this.steps = ['open', 'roster', 'deliver', 'masked_input', 'announce', ...(this.hardened ? ['agreed'] : [])];
    this.next = 0; // the place in `steps` of the step that is due
    this.out = false; // a message was refused at the step that was due
    this.taken = new Map(); // by step: what was given, and the answer
  }

  /** ROU-16: a client that stands where one with this journal stood. */
  static restored(begun, journal) {
    const client = new Client(begun);
    for (const { step, data } of journal) {
      try {
        client.take(step, data);
      } catch (error) {
        if (!(error instanceof PartyRefusal)) throw error;
      }
    }
    return client;
  }

  /** ROU-23: all that is random follows from the round's entropy and from what was announced. */
  draw(use) {
    return derive(this.entropy, this.ctx0, `client ${use}`, [this.me]);
  }

  /**
   * ROU-3: the answer to what is given at a step. `write` is called with what has to be in the journal before the
   * answer leaves: ROU-16.
   */
  take(step, data, write = () => {}) {
    const message = step === 'masked_input' ? null : this.decode(step, data);
    const before = this.taken.get(step);
    if (before !== undefined) {
      if (before.data.equals(data)) return before.answer;
      if (message === null) throw new ArgumentRefusal('ROU-3', 'another update was taken');
      throw new PartyRefusal('ROU-3', 'server', `another ${step} was taken`);
    }
    need(!this.out, 'ROU-3', 'is out of the round');
    need(this.steps[this.next] === step, 'ROU-3', `is not at ${step}`);
    const given = message ?? this.updateFrom(data);
    if (step === 'open') this.checkOpening(given); // one that is refused uses nothing up: ROU-4
    write({ step, data });
    try {
      const answer = this[`at_${step}`](given);
      this.taken.set(step, { data, answer });
      this.next += 1;
      return answer;
    } catch (refusal) {
      if (refusal instanceof PartyRefusal) this.out = true;
      throw refusal;
    }
  }

  // Bytes that are no message of this step leave the client as it was. The `Open` that was taken says which session and
  // round all that follow must be of.
  decode(step, data) {
    const kind = {
      open: 'Open',
      roster: this.params.neighbours ? 'Neighbourhood' : 'Roster',
      deliver: 'Deliver',
      announce: 'Announce',
      agreed: 'Agreed',
    }[step];
    const { session, round } = this.header ?? readHeader(data, 'server');
    const message = decode(data, kind, { session, round, sender: SERVER }, this.lengths);
    return { ...message, session, round };
  }

  /** A message of mine, signed at `hardened`. */
  say(kind, fields, context = this.ctx) {
    const full = this.hardened
      ? signed(kind, this.header, fields, context, this.identity)
      : { ...fields, signature: NONE };
    return encode(kind, this.header, full);
  }

  /** ROU-4, ROU-22. */
  checkOpening(opening) {
    const { params, layout } = this;
    server(this.session === null || opening.session.equals(this.session), 'ROU-22', 'another session');
    server(opening.config.equals(configDigest(paramsDigest(params), layout)), 'ROU-4', 'another configuration');
    server(opening.directory.equals(directoryDigest(this.directory)), 'ROU-4', 'another directory');
    server(opening.round >= 1n, 'ROU-4', 'rounds begin at 1');
  }

  /** ROU-4. */
  at_open(opening) {
    const { hardened } = this;
    this.opening = opening;
    this.header = { session: opening.session, round: opening.round, sender: this.me };
    this.ctx0 = ctx0Of(opening);
    this.channelSecret = this.draw('channel key');
    this.maskSecret = this.draw('mask key');
    this.selfSeed = this.draw('self mask seed');
    const has_model = this.history !== null && modelDigest(this.history).equals(opening.history);
    this.record = { ...this.record, has_model, entropy: this.draw('record') };
    const fields = {
      channel_key: publicKey(this.channelSecret),
      mask_key: publicKey(this.maskSecret),
      record_commitment: hardened ? commitRecord(this.record, this.me, this.ctx0) : NONE,
      seed_commitment: hardened ? commitSeed(this.selfSeed, this.me, this.ctx0) : NONE,
    };
    this.advertise = this.say('Advertise', fields, this.ctx0);
    return this.advertise;
  }

  /** ROU-5, ROU-20. */
  at_roster(message) {
    const { params, me } = this;
    const places = params.neighbours ? this.readNeighbourhood(message) : this.readRoster(message);
    for (const bundle of this.bundles.values()) checkAdvertise(bundle);
    if (this.hardened) {
      server([...this.bundles.keys()].every((id) => this.directory.has(id)), 'ROU-5', 'has an id that nobody knows');
      for (const [id, bundle] of this.bundles) {
        if (id !== me) {
          checkSignature('Advertise', { ...this.header, sender: id }, bundle, this.ctx0, this.directory);
        }
      }
    }
    this.places = places; // by id: the position in the roster
    this.holders = [...this.bundles.keys()]; // of my secrets, ascending
    const t = params.threshold;
    const shares = (secret, use) =>
      split(secret, t, this.holders.length, randomBytes(this.draw(use), (t - 1) * secret.length));
    const keyShares = shares(this.maskSecret, 'mask key shares');
    const selfShares = shares(this.selfSeed, 'self mask shares');
    const commitments = (k) =>
      this.hardened
        ? Buffer.concat([
            commitShare(keyShares[k], 'mask key', me, this.holders[k], this.ctx),
            commitShare(selfShares[k], 'self mask', me, this.holders[k], this.ctx),
          ])
        : NONE;
    this.channels = new Map();
    this.dealt = new Map(); // by owner: the shares that I hold
    const envelopes = [];
    let own_commitments = NONE;
    const record = params.neighbours ? null : this.record;
    this.holders.forEach((id, k) => {
      if (id === me) {
        this.dealt.set(me, { key_share: keyShares[k], self_share: selfShares[k] });
        own_commitments = commitments(k);
        return;
      }
      const shared = agree(this.channelSecret, id, this.bundles.get(id).channel_key);
      this.channels.set(id, shared);
      const envelope = sealEnvelope(me, id, shared, this.ctx, keyShares[k], selfShares[k], record);
      envelopes.push({ ...envelope, commitments: commitments(k) });
    });
    return this.say('ShareKeys', { envelopes, own_commitments });
  }

  // My own entry is there, as I sent it.
  checkMine(bundle) {
    server(bundle !== undefined, 'ROU-5', 'lacks my own entry');
    const mine = encode('Advertise', this.header, bundle);
    server(mine.equals(this.advertise), 'ROU-5', 'has my own entry changed');
  }

  readRoster({ bundles }) {
    const { params } = this;
    checkIds(bundles.map(({ sender }) => sender));
    server(bundles.length >= params.threshold && bundles.length <= params.clients, 'ROU-5', 'a roster has t … n entries');
    this.bundles = new Map(bundles.map((bundle) => [bundle.sender, bundle]));
    this.checkMine(this.bundles.get(this.me));
    this.ctx = ctxOf(this.opening, rosterDigest(bundles));
    return new Map(bundles.map(({ sender }) => [sender, sender]));
  }

  readNeighbourhood({ count, root, members }) {
    const { params } = this;
    server(count >= params.min_survivors && count <= params.clients, 'ROU-5', 'a roster has min_survivors … n entries');
    checkIds(members.map(({ bundle }) => bundle.sender));
    this.bundles = new Map(members.map(({ bundle }) => [bundle.sender, bundle]));
    this.checkMine(this.bundles.get(this.me));
    this.ctx = ctxOf(this.opening, rosterRoot(root, count));
    const mine = members.find(({ bundle }) => bundle.sender === this.me).position;
    server(mine < count, 'ROU-20', 'a position is one of the roster');
    const due = new Set([mine, ...neighbours(graphSeed(this.ctx), count, params.neighbours, mine)]);
    const good = members.length === due.size && members.every(({ position }) => due.has(position));
    server(good, 'ROU-20', 'members are the client and its neighbours');
    for (const { position, bundle, proof } of members) {
      const canonical = encode('Advertise', { ...this.header, sender: bundle.sender }, bundle);
      checkProof(root, count, position, leafOf(position, canonical), proof);
    }
    this.count = count;
    return new Map(members.map(({ bundle, position }) => [bundle.sender, position]));
  }

  /** ROU-6, ROU-21. */
  at_deliver({ envelopes, u2, model }) {
    const { params, me } = this;
    const senders = envelopes.map(({ peer }) => peer);
    checkIds(senders);
    server(senders.every((id) => this.channels.has(id)), 'ROU-6', 'has an envelope of a stranger');
    server(senders.length >= params.threshold - 1, 'ROU-6', 'has envelopes of fewer than t − 1 peers');
    // U2: all of it, by id or on a graph by position, and those of my neighbourhood by id.
    this.u2 = params.neighbours ? positionsIn(u2, this.count) : [me, ...senders];
    if (params.neighbours) {
      server(this.u2.length >= params.min_survivors, 'ROU-21', 'U2 has fewer than min_survivors');
      const there = this.holders.filter((id) => this.u2.includes(this.places.get(id)));
      const told = new Set([me, ...senders]);
      const same = there.length === told.size && there.every((id) => told.has(id));
      server(same, 'ROU-21', 'U2 is not those whose envelopes came');
    }
    this.near = this.holders.filter((id) => id === me || senders.includes(id));
    server(isFinite32(model), 'ROU-6', 'a model is finite');
    server(modelDigest(model).equals(this.opening.model), 'ROU-6', 'another model than announced');
    this.model = model;

    const records = new Map([[me, this.record]]);
    for (const envelope of envelopes) {
      const { peer } = envelope;
      const shared = this.channels.get(peer);
      const opened = openShares(envelope, me, shared, this.ctx);
      opened.record = params.neighbours ? null : openRecord(envelope, me, shared, this.ctx, this.lengths.levels);
      if (this.hardened) this.checkCommitments(envelope, opened);
      this.dealt.set(peer, opened);
      records.set(peer, opened.record);
    }
    const verdict = params.neighbours ? this.judgeMyself() : this.plan(records);
    return { kept: this.kept, verdict };
  }

  checkCommitments({ peer, commitments }, { key_share, self_share, record }) {
    const expected = Buffer.concat([
      commitShare(key_share, 'mask key', peer, this.me, this.ctx),
      commitShare(self_share, 'self mask', peer, this.me, this.ctx),
    ]);
    needOf(peer, commitments.equals(expected), 'AGR-3', 'committed to other shares');
    if (record === null) return;
    const same = commitRecord(record, peer, this.ctx0).equals(this.bundles.get(peer).record_commitment);
    needOf(peer, same, 'AGR-1', 'committed to another record');
  }

  judgeMyself() {
    const { record, params } = this;
    const levels = record.fit.map((_, level) => elapsed(record, level));
    const valid = isValid(record, params);
    const { target } = this.opening;
    const verdict = valid ? judge({ ...record, elapsed: levels, target, params, round: this.header.round }) : UNSLOWED;
    this.bucket = valid ? bucketOf(levels[0], params.policy) : null;
    this.among = new Map();
    this.assign(verdict.keep, this.keeper(null)(verdict));
    return verdict;
  }

  plan(records) {
    const { params } = this;
    const { verdicts } = identify(records, params, this.header.round);
    const verdict = verdicts.get(this.me);
    const keeps = this.keeper(records);
    this.bucket = null;
    this.assign(verdict.keep, keeps(verdict));
    const weights = new Map([...records].map(([id, { weight }]) => [id, weight]));
    const levels = new Map([...verdicts].map(([id, { keep }]) => [id, keep]));
    this.among = scaledAmong(weights, levels, this.me, params.policy.mean);
    if (this.among.size > 0) {
      const byTurn = new Map(); // what each keep level holds, behind what is ahead of it
      const held = new Map();
      for (const id of this.among.keys()) {
        const { keep, ahead } = verdicts.get(id);
        const turn = `${keep} ${ahead}`;
        if (!byTurn.has(turn)) byTurn.set(turn, heldOf(this.layout, keeps({ keep, ahead })));
        held.set(id, byTurn.get(turn));
      }
      this.total = [...this.among.values()].reduce((a, b) => a + b, 0);
      this.holderWeights = holderWeights(this.among, held, this.lengths.model);
    }
    return verdict;
  }

  /** A function that says what a keep level keeps, behind the levels ahead of it. */
  keeper(records) {
    const { policy } = this.params;
    const all = keepAll(this.layout);
    let scores = null;
    return ({ keep, ahead }) => {
      if (keep === 1000) return all;
      scores ??= scoresOf(this.model, this.history, this.layout, scoredBy(policy));
      const drawn = policy.selection === 'paper' && policy.slack_seed === 'records';
      const entropy = drawn ? slackEntropy(records, this.ctx) : this.ctx;
      return select(scores, keep, ahead, policy, entropy, this.header.round);
    };
  }

  assign(keep, kept) {
    this.keep = keep;
    this.kept = kept;
    this.held = heldOf(this.layout, kept);
  }

  /** An update of the sub-model: a rejected one uses nothing up (ROU-3). */
  updateFrom(data) {
    const update = arrayFrom(Float32Array, data);
    const size = this.held.reduce((sum, bit) => sum + bit, 0);
    need(update !== null && update.length === size, 'SUB-3', `an update has ${size} numbers`);
    need(isFinite32(update), 'COD-2', 'an update is finite');
    return update;
  }

  /** ROU-7. */
  at_masked_input(update) {
    const { params, me } = this;
    const { weight } = this.record;
    const coded =
      this.among.size > 0
        ? encodeScaled(
            update, weight, this.total, this.holderWeights.filter((_, j) => this.held[j]), params.policy.holder_cap,
            params.encoding,
          )
        : encodeUpdate(update, weight, params.encoding);
    const padded = pad(coded, this.held, this.keep, weight, params, this.bucket);
    const ctx = maskContext(this.ctx, this.u2);
    const pairSeeds = new Map(
      this.near
        .filter((id) => id !== me)
        .map((id) => [id, pairSeed(this.maskSecret, me, id, this.bundles.get(id).mask_key, ctx)]),
    );
    const vector = mask(padded, selfMaskSeed(this.selfSeed, me, ctx), pairSeeds, me);
    return this.say('MaskedInput', { vector });
  }

  /** ROU-8, ROU-21. */
  at_announce({ survivors, u3 }) {
    const { params, me } = this;
    if (params.neighbours) server(survivors.length === 0, 'ROU-21', 'on a graph U3 is a view');
    this.u3 = params.neighbours ? positionsIn(u3, this.count) : survivors;
    const u2 = new Set(this.u2);
    server(this.u3.every((id) => u2.has(id)), 'ROU-8', 'U3 is not in U2');
    const in3 = new Set(this.u3);
    server(in3.has(this.places.get(me)), 'ROU-8', 'U3 lacks me');
    this.nearIn3 = this.near.filter((id) => in3.has(this.places.get(id)));
    server(this.nearIn3.length >= params.threshold, 'ROU-8', 'U3 has fewer than t clients');
    if (params.neighbours) server(this.u3.length >= params.min_survivors, 'ROU-21', 'U3 has fewer than min_survivors');
    if (!this.hardened) return this.unmask();
    this.views = viewsOf(this.ctx, this.u2, this.u3);
    return this.say('Consistent', { statement: this.views });
  }

  /** AGR-7, AGR-8. */
  at_agreed({ signatures }) {
    const { params } = this;
    checkAgreed(signatures, this.views, this.nearIn3, params.threshold, this.ctx, this.directory, this.header);
    return this.unmask();
  }

  // One share for each client of U2 that I hold one of, and never both.
  unmask() {
    const survived = new Set(this.nearIn3);
    const dropped = this.near.filter((id) => !survived.has(id));
    return this.say('Unmask', {
      self_shares: this.nearIn3.map((id) => [id, this.dealt.get(id).self_share]),
      key_shares: dropped.map((id) => [id, this.dealt.get(id).key_share]),
    });
  }
}

/** Run a script against a client, as `round.client` asks for: one entry for each step, a refusal or what it says. */
export const runClient = ({ script, ...begun }, entry) => {
  let client = new Client(begun);
  const journal = [];
  return script.map(({ step, data }) =>
    entry(() => {
      if (step === 'restart') {
        client = Client.restored(begun, journal);
        return null;
      }
      return client.take(step, data, (given) => journal.push(given));
    }),
  );
};
