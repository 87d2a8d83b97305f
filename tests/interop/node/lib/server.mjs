// A server's round: ROU-9 … ROU-13, ROU-19.

import { byNumber, ringType, SERVER, ZERO_DIGEST } from './bytes.mjs';
import { checkSignature, commitSeed, commitShare, viewsOf } from './agreement.mjs';
import { add, aggregate } from './aggregation.mjs';
import { lengthsOf } from './client.mjs';
import { ctx0Of, ctxOf, maskContext, modelDigest } from './context.mjs';
import { need, needOf, RoundAborted } from './errors.mjs';
import { allProofs, bitmapOf, graphSeed, leafOf, neighbours, rootOf, rosterRoot } from './graph.mjs';
import { scoresOf } from './invariance.mjs';
import { directoryDigest, pairSeed, publicKey, selfMaskSeed } from './keys.mjs';
import { checkLayout, configDigest, heldOf, keepAll, layoutSize } from './layout.mjs';
import { unmask } from './masking.mjs';
import { checkAdvertise, rosterDigest } from './messages.mjs';
import { checkParams, isHardened, needsHistory, paramsDigest, scoredBy } from './parameters.mjs';
import { select } from './selection.mjs';
import { combine } from './shamir.mjs';
import { checkModel } from './state.mjs';
import { decode, encode } from './wire.mjs';

const NONE = Buffer.alloc(0);
const same = (ids, due) => ids.length === due.length && ids.every((id, k) => id === due[k]);

export class Server {
  constructor({ params, layout, session, round, model, history, target, directory }) {
    checkParams(params);
    checkLayout(layout);
    checkModel(model, layoutSize(layout));
    if (history !== null) checkModel(history, layoutSize(layout));
    need(round >= 1n, 'ROU-2', 'rounds begin at 1');
    need(isHardened(params) === directory.size > 0, 'ROU-18', 'hardened takes a directory, basic none');
    Object.assign(this, { params, layout, model, history, directory });
    this.hardened = isHardened(params);
    this.lengths = lengthsOf(params, layout);
    this.header = { session, round, sender: SERVER };
    this.opening = {
      session, round, target,
      config: configDigest(paramsDigest(params), layout),
      directory: directoryDigest(directory),
      model: modelDigest(model),
      history: history === null ? ZERO_DIGEST : modelDigest(history),
    };
    this.ctx0 = ctx0Of(this.opening);
    this.legs = ['advertise', 'share', 'input', ...(this.hardened ? ['consistency'] : []), 'unmask'];
    this.leg = -1; // the place in `legs` of the leg that is open
    this.answers = new Map(); // of this leg, by client
  }

  get stage() {
    return { advertise: 'U1', share: 'U2', input: 'U3', consistency: 'U4', unmask: 'U5' }[this.legs[this.leg]];
  }

  /** ROU-9. */
  open() {
    need(this.leg === -1, 'ROU-9', 'a round opens once');
    this.leg = 0;
    return new Map([[SERVER, encode('Open', this.header, this.opening)]]);
  }

  /** ROU-10: a refused message leaves the server as it was. */
  accept(sender, bytes) {
    needOf(sender, this.leg >= 0 && this.leg < this.legs.length, 'ROU-10', 'no leg is open');
    const leg = this.legs[this.leg];
    needOf(sender, !this.answers.has(sender), 'ROU-10', 'has answered already');
    if (leg !== 'advertise') needOf(sender, this.left.includes(sender), 'ROU-10', 'missed an earlier leg');
    const kind = {
      advertise: 'Advertise', share: 'ShareKeys', input: 'MaskedInput', consistency: 'Consistent', unmask: 'Unmask',
    }[leg];
    const header = { ...this.header, sender };
    const message = decode(bytes, kind, header, this.lengths);
    if (this.hardened) {
      checkSignature(kind, header, message, leg === 'advertise' ? this.ctx0 : this.ctx, this.directory);
    }
    this[`take_${leg}`](sender, message, bytes);
    this.answers.set(sender, message);
    return null;
  }

  /** ROU-11: the end of a leg: what each client is sent, or what the round yields. */
  close() {
    need(this.leg >= 0 && this.leg < this.legs.length, 'ROU-9', 'no leg is open');
    const { params, stage } = this;
    const leg = this.legs[this.leg];
    const there = [...this.answers.keys()].sort(byNumber);
    const least = params.neighbours && ['U1', 'U2', 'U3'].includes(stage) ? params.min_survivors : params.threshold;
    if (there.length < least) {
      this.leg = this.legs.length;
      throw new RoundAborted('ROU-11', stage, `${there.length} clients are left of ${least}`);
    }
    this.left = leg === 'consistency' ? this.left : there; // all of U3 may unmask
    const answers = this.answers;
    this.answers = new Map();
    this.leg += 1;
    try {
      return this[`close_${leg}`](there, answers);
    } catch (error) {
      this.leg = this.legs.length;
      throw error;
    }
  }

  // --- U1 ---

  take_advertise(sender, bundle) {
    needOf(sender, this.answers.size < this.params.clients, 'ROU-10', 'the roster is full');
    checkAdvertise(bundle);
  }

  close_advertise(u1, answers) {
    const bundles = u1.map((id) => answers.get(id));
    this.bundles = answers;
    this.positions = new Map(u1.map((id, position) => [id, position]));
    if (!this.params.neighbours) {
      this.ctx = ctxOf(this.opening, rosterDigest(bundles));
      this.near = new Map(u1.map((id) => [id, u1]));
      const bytes = encode('Roster', this.header, { bundles });
      return new Map(u1.map((id) => [id, bytes]));
    }
    const leaves = bundles.map((bundle, position) =>
      leafOf(position, encode('Advertise', { ...this.header, sender: bundle.sender }, bundle)),
    );
    const root = rootOf(leaves);
    const count = u1.length;
    this.ctx = ctxOf(this.opening, rosterRoot(root, count));
    const seed = graphSeed(this.ctx);
    const proofs = allProofs(leaves);
    this.near = new Map();
    return new Map(
      u1.map((id, mine) => {
        const places = [mine, ...neighbours(seed, count, this.params.neighbours, mine)].sort(byNumber);
        this.near.set(id, places.map((position) => u1[position]));
        const members = places.map((position) => ({ position, bundle: bundles[position], proof: proofs[position] }));
        return [id, encode('Neighbourhood', this.header, { count, root, members })];
      }),
    );
  }

  // Whose ids, of `set`, are in a client's neighbourhood, itself included: in a clique everybody's.
  nearIn(id, set) {
    return this.near.get(id).filter((other) => set.has(other));
  }

  view(ids) {
    return this.params.neighbours ? bitmapOf(ids.map((id) => this.positions.get(id)), this.positions.size) : NONE;
  }

  // Ids, or on a graph positions.
  places(ids) {
    return this.params.neighbours ? ids.map((id) => this.positions.get(id)) : ids;
  }

  // --- U2 ---

  take_share(sender, { envelopes }) {
    const due = this.near.get(sender).filter((id) => id !== sender);
    needOf(sender, same(envelopes.map(({ peer }) => peer), due), 'ROU-10', 'has envelopes for others than those due');
  }

  close_share(u2, answers) {
    this.u2 = u2;
    this.shareKeys = answers;
    this.maskCtx = maskContext(this.ctx, this.places(u2));
    this.total = new (ringType(this.params.encoding.ring_bits))(this.lengths.vector);
    const there = new Set(u2);
    const byReceiver = new Map(u2.map((id) => [id, []]));
    for (const sender of u2) {
      for (const envelope of answers.get(sender).envelopes) byReceiver.get(envelope.peer)?.push({ ...envelope, peer: sender });
    }
    const view = this.view(u2);
    this.in2 = there;
    return new Map(
      u2.map((id) => [id, encode('Deliver', this.header, { envelopes: byReceiver.get(id), model: this.model, u2: view })]),
    );
  }

  // --- U3 ---

  take_input(sender, { vector }) {
    add(this.total, vector);
  }

  close_input(u3) {
    this.u3 = u3;
    this.in3 = new Set(u3);
    if (this.hardened) this.views = viewsOf(this.ctx, this.places(this.u2), this.places(u3));
    const survivors = this.params.neighbours ? [] : u3;
    const bytes = encode('Announce', this.header, { survivors, u3: this.view(u3) });
    return new Map(u3.map((id) => [id, bytes]));
  }

  // --- U4 ---

  take_consistency(sender, { statement }) {
    needOf(sender, statement.equals(this.views), 'ROU-10', 'was told another U2 or U3');
  }

  close_consistency(u4, answers) {
    const in4 = new Set(u4);
    return new Map(
      this.u3.map((id) => {
        const signatures = this.nearIn(id, in4).map((signer) => [signer, answers.get(signer).signature]);
        return [id, encode('Agreed', this.header, { signatures })];
      }),
    );
  }

  // --- U5 ---

  take_unmask(sender, { self_shares, key_shares }) {
    const near = this.nearIn(sender, this.in2);
    const survivors = near.filter((id) => this.in3.has(id));
    const dropped = near.filter((id) => !this.in3.has(id));
    needOf(sender, same(self_shares.map(([id]) => id), survivors), 'ROU-10', 'has other shares of b than those due');
    needOf(sender, same(key_shares.map(([id]) => id), dropped), 'ROU-10', 'has other shares of keys than those due');
    if (!this.hardened) return;
    for (const [owner, share] of key_shares) this.checkShare(sender, owner, share, 'mask key', 0);
    for (const [owner, share] of self_shares) this.checkShare(sender, owner, share, 'self mask', 32);
  }

  /** ROU-19: each share stands or falls by itself. */
  checkShare(holder, owner, share, secret, from) {
    const { envelopes, own_commitments } = this.shareKeys.get(owner);
    const committed = owner === holder ? own_commitments : envelopes.find(({ peer }) => peer === holder).commitments;
    const expected = commitShare(share, secret, owner, holder, this.ctx);
    needOf(holder, committed.subarray(from, from + 32).equals(expected), 'ROU-19', `a wrong share of ${owner}'s`);
  }

  /** ROU-11, ROU-12: the secret of `owner`, from the shares of the t smallest ids that answered. */
  rebuild(owner, answers, list) {
    const { threshold } = this.params;
    const holders = this.near.get(owner);
    const shares = new Map();
    holders.forEach((holder, position) => {
      if (shares.size === threshold || !answers.has(holder)) return;
      shares.set(position + 1, answers.get(holder)[list].find(([id]) => id === owner)[1]);
    });
    if (shares.size < threshold) throw new RoundAborted('ROU-11', 'U5', `${shares.size} holders of ${owner}'s are left`);
    return combine(shares, threshold);
  }

  close_unmask(u5, answers) {
    const selfSeeds = [];
    const dangling = [];
    for (const owner of this.u2) {
      if (this.in3.has(owner)) {
        const seed = this.rebuild(owner, answers, 'self_shares');
        if (this.hardened) {
          const good = commitSeed(seed, owner, this.ctx0).equals(this.bundles.get(owner).seed_commitment);
          needOf(owner, good, 'ROU-12', 'committed to another b');
        }
        selfSeeds.push(selfMaskSeed(seed, owner, this.maskCtx));
        continue;
      }
      const secret = this.rebuild(owner, answers, 'key_shares');
      needOf(owner, publicKey(secret).equals(this.bundles.get(owner).mask_key), 'ROU-12', 'advertised another key');
      for (const survivor of this.nearIn(owner, this.in3)) {
        const seed = pairSeed(secret, owner, survivor, this.bundles.get(survivor).mask_key, this.maskCtx);
        dangling.push([survivor, owner, seed]);
      }
    }
    const sum = unmask(this.total, selfSeeds, dangling);
    return { sum, ...aggregate(sum, this.model, this.params, this.u3.length, this.levelsHeld()) };
  }

  /** ROU-13: what each keep level holds, by the clients' own rules; asked for only where it has weight. */
  levelsHeld() {
    const { params, layout, model, history, ctx } = this;
    const { policy } = params;
    if (policy.mean !== 'levels') return new Map();
    let scores = null;
    return {
      get: (keep) => {
        if (keep === 1000) return heldOf(layout, keepAll(layout));
        need(history !== null || !needsHistory(policy), 'ROU-13', 'a level has weight, but there is no history');
        scores ??= scoresOf(model, history, layout, scoredBy(policy));
        return heldOf(layout, select(scores, keep, [], policy, ctx, this.header.round));
      },
    };
  }
}

/** Run a script against a server, as `round.server` asks for. */
export const runServer = ({ script, ...begun }, entry) => {
  const server = new Server(begun);
  return script.map(({ event, sender, data }) =>
    entry(() => {
      if (event === 'open') return server.open();
      return event === 'accept' ? server.accept(sender, data) : server.close();
    }),
  );
};
