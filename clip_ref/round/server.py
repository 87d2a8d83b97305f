"""The server's side of a round.   Spec: round, rules ROU-9..ROU-13, ROU-19, ROU-20.

It relays what it cannot read, adds up what it cannot see through, and takes off the masks of the sum alone. Masked inputs are
added on arrival: memory does not grow with the number of clients.
"""

from collections.abc import Iterable, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref import aggregation, agreement, graph, invariance, keys, masking, selection, shamir, wire
from clip_ref.aggregation import Aggregate
from clip_ref.canonical import digest, little_endian, mask_context
from clip_ref.errors import ContributionError, PreconditionError, RoundAborted
from clip_ref.keys import NO_IDENTITIES, Directory
from clip_ref.layout import Layout
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    Deliver,
    Header,
    MaskedInput,
    Member,
    Neighbourhood,
    Open,
    Roster,
    ShareKeys,
    Unmask,
    check_same_ids,
)
from clip_ref.params import Params
from clip_ref.round.client import KEY_SHARE, SELF_SHARE, sizes
from clip_ref.round.cost import Leg, Work
from clip_ref.round.state import State
from clip_ref.scores import LayerScores
from clip_ref.values import ClientId, Digest, SecretKey, Seed


class Server:
    """The server in one round: `open`, then on each leg `accept` the messages and `close` the leg.

    `accept` raises `ContributionError` that names the sender of a message that breaks a rule, and is then as before; `close_…`
    raises `RoundAborted` where fewer than t clients are left.
    """

    def __init__(self, *, params: Params, layout: Layout, state: State, directory: Directory = NO_IDENTITIES) -> None:
        """A server about to open the round that `state` says comes next; level `hardened` needs the clients' directory."""
        if params.hardened != bool(directory.keys):
            raise PreconditionError(
                rule="ROU-18", detail="security level `hardened` needs a directory of identities, `basic` has none"
            )
        self.work = Work()
        self.params, self._layout, self._state = params, layout, state
        self.sizes = sizes(params=params, layout=layout)
        self._directory = directory
        self.context = state.context(params=params, layout=layout, directory=directory)
        self._ctx0 = self.context.ctx0()
        self._leg: Leg | None = None
        self._opened = False
        self.u1: dict[ClientId, Advertise] = {}
        self.u2: dict[ClientId, ShareKeys] = {}
        self.u3: list[ClientId] = []
        self.u4: dict[ClientId, Consistent] = {}
        self._holders_of: dict[ClientId, tuple[ClientId, ...]] = {}
        self.u5: dict[ClientId, Unmask] = {}

    def open(self) -> Open:
        """ROU-9: announce the digests of the model and its history."""
        if self._opened:
            raise PreconditionError(rule="ROU-9", detail="a server opens one round, once: make another for the next")
        self._opened, self._leg = True, Leg.ADVERTISE
        return Open(self.context)

    def accept(self, message: ClientMessage) -> None:
        """ROU-10: take one client's message of the current leg, or refuse it and name the client."""
        if isinstance(message, Advertise):
            self._accept_advertise(message)
        elif isinstance(message, ShareKeys):
            self._accept_share_keys(message)
        elif isinstance(message, MaskedInput):
            self._accept_masked_input(message)
        elif isinstance(message, Consistent):
            self._accept_consistent(message)
        else:
            self._accept_unmask(message)

    def _expect(self, message: ClientMessage, leg: Leg, before: object, done: object) -> None:
        who = message.sender
        if self._leg is not leg:
            raise self._blame(who, "kind", f"a {type(message).__name__} does not belong to the leg {self._leg}")
        if isinstance(before, dict | list) and who not in before:
            raise self._blame(who, "sender", "has missed an earlier leg of this round")
        if isinstance(done, dict | list) and who in done:
            raise self._blame(who, "sender", "has answered already")
        if self.params.hardened:
            agreement.check_signature(
                message=message,
                header=Header(self.context.session, self.context.round, who),
                context=self._ctx0 if leg is Leg.ADVERTISE else self._ctx,
                directory=self._directory,
            )
            self.work += Work(signatures=1)

    def _accept_advertise(self, message: Advertise) -> None:
        self._expect(message, Leg.ADVERTISE, None, self.u1)
        message.check()
        if len(self.u1) == self.params.clients:
            raise self._blame(message.sender, "sender", f"the roster of {self.params.clients} is full")
        self.u1[message.sender] = message

    def _accept_share_keys(self, message: ShareKeys) -> None:
        self._expect(message, Leg.SHARE, self.u1, self.u2)
        peers = [u for u in self._holders(message.sender) if u != message.sender]
        check_same_ids(
            (e.peer for e in message.envelopes), peers, culprit=message.sender, field="envelopes", rule="ROU-10"
        )
        for envelope in message.envelopes:
            lengths = (len(envelope.shares), len(envelope.record))
            if lengths != (self.sizes.sealed_shares, self.sizes.sealed_record):
                raise self._blame(message.sender, "envelopes", f"ciphertexts of {lengths} bytes")
        self.u2[message.sender] = message

    def _accept_masked_input(self, message: MaskedInput) -> None:
        self._expect(message, Leg.INPUT, self.u2, self.u3)
        vector = message.vector
        if vector.dtype != self._total.dtype or vector.shape != self._total.shape:
            raise self._blame(message.sender, "vector", f"must be {self._total.dtype.name}[{len(self._total)}]")
        aggregation.add(total=self._total, vector=vector)
        self.u3.append(message.sender)

    def _accept_consistent(self, message: Consistent) -> None:
        self._expect(message, Leg.CONSISTENCY, self.u3, self.u4)
        if message.statement != self._views:
            raise self._blame(message.sender, "statement", "is about another U2 or U3")
        self.u4[message.sender] = message

    def _accept_unmask(self, message: Unmask) -> None:
        self._expect(message, Leg.UNMASK, self.u3, self.u5)
        owners = [u for u in self._holders(message.sender) if u in self.u2]
        survivors = set(self.u3)
        for field, shares, expected in (
            ("self_shares", message.self_shares, [u for u in owners if u in survivors]),
            ("key_shares", message.key_shares, [u for u in owners if u not in survivors]),
        ):
            check_same_ids((u for u, _ in shares), expected, culprit=message.sender, field=field, rule="ROU-10")
            if self.params.hardened:
                self._check_shares(message.sender, field, shares)
        self.u5[message.sender] = message

    def _check_shares(self, holder: ClientId, field: str, shares: tuple[tuple[ClientId, bytes], ...]) -> None:
        """ROU-19: each share is the one that its owner committed to for this holder: a corrupt one is found by itself."""
        secret = SELF_SHARE if field == "self_shares" else KEY_SHARE
        for owner, share in shares:
            message = self.u2[owner]
            both = message.own_commitments if owner == holder else self._sealed[owner][holder].commitments
            promised = both[32:] if secret == SELF_SHARE else both[:32]
            found = agreement.share_commitment(share=share, secret=secret, owner=owner, holder=holder, ctx=self._ctx)
            if found != promised:
                raise ContributionError(
                    rule="ROU-19",
                    culprit=holder,
                    field=field,
                    detail=f"the share of client {owner}'s {secret} is not the one that was committed to",
                )

    def close_advertise(self) -> Roster:
        """U1 is complete: everybody's keys, in ascending id."""
        self._enough(Leg.ADVERTISE, "U1", len(self.u1))
        self.u1 = dict(sorted(self.u1.items()))
        self._leg = Leg.SHARE
        roster = Roster(tuple(self.u1.values()))
        self._position = {u: k for k, u in enumerate(self.u1)}
        if self.params.neighbours:
            self._leaves = graph.merkle_levels([self._leaf(bundle) for bundle in roster.bundles])
            root = Digest(self._leaves[-1][0])
            self._ctx: Digest = self.context.ctx(graph.roster_digest(root=root, count=len(self.u1)))
        else:
            self._ctx = self.context.ctx(roster.digest())
        return roster

    def _leaf(self, bundle: Advertise) -> Digest:
        header = Header(self.context.session, self.context.round, bundle.sender)
        return graph.leaf(position=self._position[bundle.sender], bundle=wire.encode(bundle, header))

    def rosters(self, roster: Roster) -> Mapping[ClientId, Roster | Neighbourhood]:
        """What each client of U1 is sent of the roster: all of it in a clique, its neighbourhood on a graph (ROU-20)."""
        if not self.params.neighbours:
            return dict.fromkeys(self.u1, roster)
        root = Digest(self._leaves[-1][0])
        members = {
            u: Member(self._position[u], bundle, graph.merkle_proof(self._leaves, self._position[u]))
            for u, bundle in self.u1.items()
        }
        return {u: Neighbourhood(len(self.u1), root, tuple(members[v] for v in self._holders(u))) for u in self.u1}

    def _holders(self, owner: ClientId) -> tuple[ClientId, ...]:
        """Who holds shares of `owner`'s secrets, itself included, ascending: all of U1, or its neighbourhood."""
        if owner not in self._holders_of:
            if self.params.neighbours:
                mine = self._position[owner]
                near = graph.neighbours(
                    seed=graph.graph_seed(ctx=self._ctx),
                    count=len(self.u1),
                    degree=self.params.neighbours,
                    position=mine,
                )
                everybody = list(self.u1)
                self._holders_of[owner] = tuple(everybody[p] for p in sorted((mine, *near)))
            else:
                self._holders_of[owner] = tuple(self.u1)
        return self._holders_of[owner]

    def _view(self, clients: Iterable[ClientId]) -> Iterable[int]:
        """How views name clients: by id in a clique, by position in the roster on a graph."""
        return [self._position[u] for u in clients] if self.params.neighbours else clients

    def _bits(self, clients: Iterable[ClientId]) -> bytes:
        """On a graph: a view as a bitmap."""
        if not self.params.neighbours:
            return b""
        return graph.bitmap(positions=self._view(clients), count=len(self.u1))

    def close_share(self) -> dict[ClientId, Deliver]:
        """U2 is complete: to each of its clients the envelopes meant for it, and the model."""
        self._enough(Leg.SHARE, "U2", len(self.u2))
        self.u2 = dict(sorted(self.u2.items()))
        self._leg = Leg.INPUT
        self._total = np.zeros(self.sizes.vector, dtype=self.sizes.ring.dtype)
        self._sealed = {u: {e.peer: e for e in message.envelopes} for u, message in self.u2.items()}
        u2 = self._bits(self.u2)
        return {
            receiver: Deliver(
                tuple(
                    attrs.evolve(self._sealed[sender][receiver], peer=sender)
                    for sender in self._holders(receiver)
                    if sender != receiver and sender in self.u2
                ),
                self._state.model,
                u2,
            )
            for receiver in self.u2
        }

    def close_input(self) -> Announce:
        """U3 is complete: whose inputs are in the sum."""
        self._enough(Leg.INPUT, "U3", len(self.u3))
        self.u3.sort()
        self._leg = Leg.CONSISTENCY if self.params.hardened else Leg.UNMASK
        self._views = agreement.views(ctx=self._ctx, u2=self._view(self.u2), u3=self._view(self.u3))
        return Announce((), self._bits(self.u3)) if self.params.neighbours else Announce(tuple(self.u3))

    def close_consistency(self) -> Agreed:
        """U4 is complete, at level `hardened`: the signatures of everybody who was told the same."""
        self._enough(Leg.CONSISTENCY, "U4", len(self.u4))
        self._leg = Leg.UNMASK
        return Agreed(tuple((u, self.u4[u].signature) for u in sorted(self.u4)))

    def agreed_for(self, agreed: Agreed, client: ClientId) -> Agreed:
        """What `client` is sent of the signatures: all in a clique, those of its neighbourhood on a graph."""
        if not self.params.neighbours:
            return agreed
        near = set(self._holders(client))
        return Agreed(tuple((u, signature) for u, signature in agreed.signatures if u in near))

    def close_unmask(self) -> Aggregate:
        """ROU-11..ROU-13: take the masks off the sum with exactly t shares of each secret, and decode it."""
        self._enough(Leg.UNMASK, "U5", len(self.u5))
        self._leg = None
        self.total_unmasked = self._unmasked()
        self.sum_digest = digest("sum", (little_endian(self.total_unmasked),))
        self.work += Work(coded=self._layout.size)
        return aggregation.aggregate(
            total=self.total_unmasked,
            model=self._state.model,
            params=self.params,
            survivors=len(self.u3),
            held=self._held,
        )

    def _unmasked(self) -> NDArray[np.unsignedinteger]:
        survivors = set(self.u3)
        dropped = [u for u in self.u2 if u not in survivors]
        self_shares = {a.sender: dict(a.self_shares) for a in self.u5.values()}
        key_shares = {a.sender: dict(a.key_shares) for a in self.u5.values()}
        ctx = mask_context(ctx=self._ctx, u2=self._view(self.u2))

        def combined(shares: Mapping[ClientId, Mapping[ClientId, bytes]], owner: ClientId) -> bytes:
            threshold = self.params.threshold
            answered = [(x, u) for x, u in enumerate(self._holders(owner), start=1) if u in shares][:threshold]
            if len(answered) < threshold:
                raise RoundAborted(
                    rule="ROU-11",
                    stage="U5",
                    have=len(answered),
                    need=threshold,
                    detail=f"so many holders of client {owner}'s secrets have answered; no sum was revealed",
                )
            return shamir.combine(shares={x: shares[u][owner] for x, u in answered}, threshold=threshold)

        self_seeds = []
        for u in self.u3:
            seed = Seed(combined(self_shares, u))
            if self.params.hardened:
                committed = agreement.seed_commitment(seed=seed, owner=u, ctx0=self._ctx0)
                if committed != self.u1[u].seed_commitment:
                    raise ContributionError(
                        rule="ROU-12",
                        culprit=u,
                        field="seed_commitment",
                        detail="the shares that it committed to do not give the seed that it committed to",
                    )
            self_seeds.append(keys.self_mask_seed(self_seed=seed, me=u, ctx=ctx))
        dangling = {}
        for gone in dropped:
            secret = SecretKey(combined(key_shares, gone))
            if keys.public_key(secret) != self.u1[gone].mask_key:
                raise ContributionError(
                    rule="ROU-12",
                    culprit=gone,
                    field="mask_key",
                    detail="the shares of its mask key do not give the key it advertised: a share of it is corrupt",
                )
            for u in [u for u in self._holders(gone) if u in survivors and u != gone]:
                dangling[u, gone] = keys.pair_seed(
                    secret=secret, me=gone, peer=u, peer_key=self.u1[u].mask_key, ctx=ctx
                )
        masks, secrets = len(self_seeds) + len(dangling), len(self.u3) + len(dropped)
        self.work += Work(
            scalar_multiplications=len(dangling) + len(dropped),
            mask_bytes=masks * self._total.nbytes,
            shared_bytes=32 * secrets * self.params.threshold,
        )
        return masking.unmask(ring=self.sizes.ring, total=self._total, self_seeds=self_seeds, dangling=dangling)

    def _scores(self) -> Sequence[LayerScores]:
        """What the clients score, too."""
        state, mode = self._state, self.params.policy.scored
        return invariance.score(model=state.model, history=state.history, layout=self._layout, mode=mode)

    def _held(self, keep: int) -> NDArray[np.bool_]:
        """Which coordinates a keep level holds: public, so the server can tell for the mean `levels`."""
        if keep == 1000:
            return np.ones(self._layout.size, dtype=bool)
        if not hasattr(self, "_selector"):
            history = self._state.history
            policy = self.params.policy
            if history is None and policy.needs_history:
                raise PreconditionError(rule="ROU-13", detail="a client claims to have pruned, but there is no history")
            scores = self._scores()
            self.work += Work(scored=self._layout.size)
            self._selector = selection.selector(
                scores=scores, policy=policy, entropy=self._ctx, round=self.context.round
            )
        return self._layout.held(self._selector(keep))

    def _enough(self, leg: Leg, stage: str, have: int) -> None:
        """ROU-11: abort below the threshold, before anything further is asked or revealed."""
        if self._leg is not leg:
            raise PreconditionError(rule="ROU-9", detail=f"the leg {leg} is not open")
        need = self.params.threshold if stage in ("U4", "U5") else self.params.min_survivors
        if have < need:
            self._leg = None
            raise RoundAborted(rule="ROU-11", stage=stage, have=have, need=need, detail="nothing was revealed")

    def _blame(self, culprit: ClientId, field: str, detail: str) -> ContributionError:
        return ContributionError(rule="ROU-10", culprit=culprit, field=field, detail=detail)
