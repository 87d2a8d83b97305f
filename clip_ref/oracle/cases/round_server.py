"""Cases of a server's side of a round.   Spec: round."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from clip_ref.messages import (
    Advertise,
    ClientMessage,
    Consistent,
    MaskedInput,
    ShareKeys,
    Unmask,
)
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.rounds import (
    A,
    B,
    C,
    Changes,
    D,
    basic_play,
    graph_of,
    hardened_play,
    params_of,
    played_of,
    server_case,
)
from clip_ref.oracle.operations.round import Event, Happening, Step
from clip_ref.oracle.play import Kind, Play
from clip_ref.params import Mean, Score, Selection, SlackSeed
from clip_ref.values import ClientId, Digest


def make(book: Book) -> None:
    """Rounds that end well, rounds that do not, and messages that are refused."""
    _servers(book)
    _aborts(book)
    _refusals(book)
    _corrupt(book)


SERVED = ("MSK-6", "AGG-7", "ROU-10", "ROU-11", "ROU-12", "AGG-6", "COD-7", "AGG-1")
"""What it takes to serve a round."""


def _servers(book: Book) -> None:
    server_case(book, "a round of three", SERVED, played_of(), "SelfMasksLeftOn")
    on_time = played_of(params_of(4), lost=[(MaskedInput, D)])
    dangling = ("DanglingLeftOn", "DanglingReversed")
    server_case(book, "one dropped out before its input", (*SERVED, "KEY-4"), on_time, *dangling)
    early = played_of(params_of(4), lost=[(Advertise, A), (ShareKeys, C)])
    server_case(book, "one is not in U1, one not in U2", ("ROU-11", *SERVED), early, "SetUpDropOutKills")
    most = played_of(params_of(4), lost=[(ShareKeys, A), (MaskedInput, C)])
    server_case(book, "t are left: just enough", ("ROU-11", *SERVED, "KEY-4"), most, "AbortsAtThreshold")
    two = played_of(params_of(4), lost=[(MaskedInput, A), (MaskedInput, C)])
    server_case(
        book,
        "two dropped out: their mask with each other never was in the sum",
        ("MSK-7", *SERVED, "KEY-4"),
        two,
        *dangling,
        "DroppedPairsUnmasked",
    )
    silent = played_of(params_of(4), lost=[(Unmask, A), (Unmask, C)])
    server_case(
        book, "two do not unmask: t shares are enough", ("ROU-11", *SERVED, "SHM-3"), silent, "AbortsAtThreshold"
    )
    slow = played_of(slow=(C,))
    by_level = ("ROU-13", *SERVED, "AGG-3", "INV-3", "SEL-2", "LAY-5")
    server_case(book, "levels: a straggler", by_level, slow, "WholeWeightUnderLevels")
    server_case(book, "dilute: a straggler", SERVED, played_of(params_of(mean=Mean.DILUTE), slow=(C,)))
    server_case(book, "holder: a straggler", (*SERVED, "COD-5"), played_of(params_of(mean=Mean.HOLDER), slow=(C,)))
    strata = params_of(4, mean=Mean.STRATA, spread=True)
    apart = played_of(strata, slow=(C, D))
    server_case(book, "strata under spread", (*SERVED, "AGG-9", "COD-5"), apart)
    gone = played_of(strata, slow=(C, D), lost=[(MaskedInput, D)])
    comment = "strata under spread: a straggler drops out after it was counted in"
    server_case(book, comment, (*SERVED, "AGG-9", "COD-5", "KEY-4"), gone, *dangling)
    sizes = played_of(params_of(score=Score.SIZE), slow=(C,), history=None)
    comment = "sizes: a straggler without any history"
    server_case(book, comment, ("ROU-13", *SERVED, "AGG-3", "INV-9", "SEL-2", "LAY-5"), sizes, "HistoryAlwaysNeeded")
    public = params_of(selection=Selection.PAPER, slack_seed=SlackSeed.CONTEXT, kappa=0)
    server_case(book, "levels, slack from the context", (*by_level, "SEL-4"), played_of(public, slow=(C,)))
    server_case(book, "64 bits", SERVED, played_of(params_of(bits=64)))
    server_case(book, "the first round: no history is announced", (*SERVED, "ROU-9"), played_of(history=None, round=1))
    signed = (*SERVED, "AGR-4", "AGR-5", "AGR-6", "ROU-19")
    hardened = params_of(hardened=True)
    server_case(book, "hardened", signed, hardened_play())
    server_case(
        book, "hardened, one dropped out", (*signed, "KEY-4"), played_of(hardened, lost=[(MaskedInput, B)]), *dangling
    )
    absent = played_of(hardened, lost=[(Consistent, B)])
    server_case(book, "who did not sign may still unmask", ("ROU-10", *signed), absent, "OnlyU4Unmasks")
    on_graph = (*SERVED, "ROU-20", "GRA-1", "GRA-3", "GRA-4", "GRA-5", "AGG-8")
    for comment, found in (
        ("on a graph", played_of(graph_of(), target=1000)),
        ("on a graph, one dropped out", played_of(graph_of(), target=1000, lost=[(MaskedInput, ClientId(20))])),
        ("on a graph, one is not in U2", played_of(graph_of(), lost=[(ShareKeys, ClientId(0))])),
        ("on a graph, a straggler", played_of(graph_of(), target=1000, slow=(ClientId(20),))),
        ("hardened, on a graph", played_of(graph_of(hardened=True), target=1000, lost=[(MaskedInput, ClientId(40))])),
    ):
        server_case(book, comment, on_graph, found)


def _aborts(book: Book) -> None:
    rule, below = ("ROU-11",), "GoesOnBelowThreshold"
    kinds: tuple[tuple[Kind, str], ...] = ((Advertise, "U1"), (ShareKeys, "U2"), (MaskedInput, "U3"), (Unmask, "U5"))
    for kind, stage in kinds:
        played = played_of(lost=[(kind, A), (kind, C)])
        closed = Happening(Event.CLOSE, None, b"")
        script = [*played.happened, closed]
        at = len(script) - 2
        server_case(
            book,
            f"{stage} has fewer than t clients; then the round is over",
            rule,
            played,
            *((below,) if kind is not Unmask else ()),
            script=script,
            errors={at: stage, at + 1: "argument"},
        )
    hardened = played_of(params_of(hardened=True), lost=[(Consistent, A), (Consistent, C)])
    at = len(hardened.happened) - 1
    server_case(book, "U4 has fewer than t clients", rule, hardened, below, errors={at: "U4"})
    everybody = [ClientId(10 * k) for k in range(5)]
    few = played_of(graph_of(), lost=[(MaskedInput, u) for u in everybody[:3]])
    at = len(few.happened) - 1
    server_case(book, "on a graph U3 has fewer than min_survivors", rule, few, "MinSurvivorsLeftOut", errors={at: "U3"})
    near = {m.bundle.sender for m in few.message(everybody[0], Step.ROSTER).members}
    far = next(u for u in everybody if u not in near)
    holders = played_of(graph_of(), lost=[(Unmask, u) for u in everybody if u not in (everybody[0], far)])
    at = len(holders.happened) - 1
    server_case(
        book,
        "on a graph t have answered, but not t holders of everybody's secrets",
        rule,
        holders,
        "HoldersNotCounted",
        errors={at: "U5"},
    )


def _refusals(book: Book) -> None:
    played, hardened = basic_play(), hardened_play()
    script = played.happened
    rule = ("ROU-10",)
    at = {kind: 1 + k * 4 for k, kind in enumerate((Advertise, ShareKeys, MaskedInput, Unmask))}
    strictly = {kind: 1 + k * 4 for k, kind in enumerate((Advertise, ShareKeys, MaskedInput, Consistent, Unmask))}

    def refused(
        comment: str,
        flag: str,
        where: int,
        extra: Happening,
        culprit: int,
        rules: Sequence[str] = rule,
        of: Play = played,
    ) -> None:
        """Before the message at `where` another one arrives; the script goes on to the end of the leg."""
        ends = next(k for k in range(where, len(of.happened)) if of.happened[k].event is Event.CLOSE)
        whole = [*of.happened[:where], extra, *of.happened[where : ends + 1]]
        server_case(book, comment, rules, of, *((flag,) if flag else ()), script=whole, errors={where: culprit})

    for kind, name in (
        (Advertise, "Advertise"),
        (ShareKeys, "ShareKeys"),
        (MaskedInput, "MaskedInput"),
        (Unmask, "Unmask"),
    ):
        first = script[at[kind]]
        refused(
            f"a second {name} of one client: refused, the server is as before",
            "SecondAnswerTaken",
            at[kind] + 1,
            first,
            A,
        )
    refused("a message of another leg", "", at[ShareKeys], script[at[Advertise]], A, ("WIR-3", "ROU-10"))
    refused(
        "a message under another's name",
        "SenderNotHeld",
        at[ShareKeys],
        attrs.evolve(script[at[ShareKeys]], sender=C),
        C,
        ("WIR-3", "ROU-10"),
    )
    missed = played_of(lost=[(ShareKeys, A)])
    refused(
        "an input of a client that missed the leg before", "MissedLegTaken", 8, script[at[MaskedInput]], A, rule, missed
    )
    four = played_of(params_of(4))
    late = next(h for h in four.happened if h.sender == D)
    refused("one more client than n", "CrowdTaken", at[Advertise] + 3, late, D, rule)
    low = attrs.evolve(played.message(B, Step.ROSTER).bundles[0], mask_key=bytes(32))
    refused("a key of low order", "", at[Advertise], played.arrival(low), A, ("KEY-3", "ROU-10"))

    def resent(of: Play, where: int, change: Callable[[Any], Any], kind: Kind) -> Happening:
        message = of.arrived(where, kind)
        return of.arrival(change(message))

    less = resent(played, at[ShareKeys], lambda m: attrs.evolve(m, envelopes=m.envelopes[:1]), ShareKeys)
    refused("an envelope too few", "EnvelopesNotChecked", at[ShareKeys], less, A)
    odd = resent(
        played,
        at[ShareKeys],
        lambda m: attrs.evolve(m, envelopes=(attrs.evolve(m.envelopes[0], peer=A), *m.envelopes[1:])),
        ShareKeys,
    )
    refused("an envelope for itself", "EnvelopesNotChecked", at[ShareKeys], odd, A)
    none = resent(played, at[Unmask], lambda m: attrs.evolve(m, self_shares=m.self_shares[1:]), Unmask)
    refused("a share too few", "UnmaskNotChecked", at[Unmask], none, A)
    turned = resent(
        played,
        at[Unmask],
        lambda m: attrs.evolve(m, self_shares=m.self_shares[:2], key_shares=m.self_shares[2:]),
        Unmask,
    )
    refused("a share of a mask key of one who is there", "UnmaskNotChecked", at[Unmask], turned, A)
    sealed = ("AGR-5", "KEY-9", "ROU-10")

    def bent(message: Any) -> Any:
        vector = message.vector.copy()
        vector[0] += 1
        return attrs.evolve(message, vector=vector)

    flag = "SignaturesNotChecked"
    tampered = resent(hardened, strictly[MaskedInput], bent, MaskedInput)
    refused(
        "hardened: an input that was changed on the way", flag, strictly[MaskedInput], tampered, A, sealed, hardened
    )
    forged = resent(hardened, strictly[Advertise], lambda m: attrs.evolve(m, seed_commitment=bytes(32)), Advertise)
    refused(
        "hardened: an Advertise that was changed on the way", flag, strictly[Advertise], forged, A, sealed, hardened
    )
    lie = hardened.signed(Consistent(A, Digest(book.bytes("statement"))), hardened.ctx)
    refused(
        "a statement about another U2 or U3",
        "StatementsNotChecked",
        strictly[Consistent],
        hardened.arrival(lie),
        A,
        rule,
        hardened,
    )
    opened, closed = script[0], Happening(Event.CLOSE, None, b"")
    order = ("ROU-9",)
    server_case(
        book, "a leg is closed before the round is open", order, played, script=[closed], errors={0: "argument"}
    )
    server_case(book, "opened twice", order, played, script=[opened, *script], errors={1: "argument"})
    early = [script[1], *script]
    server_case(book, "a message before the round is open", ("ROU-10",), played, script=early, errors={0: A})
    over = [*script, closed]
    server_case(book, "closed once too often", order, played, script=over, errors={len(script): "argument"})


def _corrupt(book: Book) -> None:
    """Clients that lie, and sign what they lie."""

    def bent_shares(field: str) -> Changes:
        def change(of: Play, message: ClientMessage) -> ClientMessage:
            if not isinstance(message, Unmask) or message.sender != A:
                return message
            (owner, share), *rest = getattr(message, field)
            bent: dict[str, Any] = {field: ((owner, bytes([share[0] ^ 1]) + share[1:]), *rest)}
            return attrs.evolve(message, **bent)

        return change

    keyed = played_of(lost=[(MaskedInput, C)], change=bent_shares("key_shares"))
    at = len(keyed.happened) - 1
    server_case(
        book,
        "basic: a corrupt share of a mask key",
        ("ROU-12", "SHM-4"),
        keyed,
        "RebuiltKeyNotChecked",
        errors={at: C},
    )
    selfed = played_of(change=bent_shares("self_shares"))
    at = len(selfed.happened) - 1
    server_case(
        book,
        "basic: a corrupt share of a self mask's seed",
        ("AGG-2", "ROU-12"),
        selfed,
        "SlotsNotChecked",
        errors={at: "server"},
    )
    honest = played_of(params_of(hardened=True), lost=[(MaskedInput, C)])
    for field, what in (("self_shares", "a self mask's seed"), ("key_shares", "a mask key")):
        where = next(k for k, h in enumerate(honest.happened) if k > len(honest.happened) - 4 and h.sender == A)
        message = honest.signed(
            bent_shares(field)(honest, attrs.evolve(honest.arrived(where, Unmask), signature=b"")), honest.ctx
        )
        script = [*honest.happened[:where], honest.arrival(message), *honest.happened[where:]]
        server_case(
            book,
            f"hardened: a corrupt share of {what}; its sender is named, and its good answer is taken",
            ("ROU-19", "AGR-3"),
            honest,
            "SharesNotHeldAgainstCommitments",
            script=script,
            errors={where: A},
        )

    def other_seed(of: Play, message: ClientMessage) -> ClientMessage:
        if isinstance(message, Advertise) and message.sender == B:
            context = of.message(B, Step.OPEN).context
            return of.signed(attrs.evolve(message, seed_commitment=book.bytes("seed commitment")), context.ctx0())
        return message

    broken = played_of(params_of(hardened=True), change=other_seed)
    server_case(
        book,
        "hardened: a seed that its client did not commit to",
        ("ROU-12", "AGR-2"),
        broken,
        "RebuiltSeedNotChecked",
        errors={len(broken.happened) - 1: B},
    )

    def pruned(of: Play, message: ClientMessage) -> ClientMessage:
        if not isinstance(message, MaskedInput) or message.sender != A:
            return message
        vector, weight = message.vector.copy(), of.entrants[A].record.weight
        vector[12] -= weight
        vector[14] += weight
        return attrs.evolve(message, vector=vector)

    claimed = played_of(params_of(), history=None, round=1, change=pruned)
    server_case(
        book,
        "a client says that it pruned, and there is no history",
        ("ROU-13",),
        claimed,
        "PrunedWithoutHistoryTaken",
        errors={len(claimed.happened) - 1: "argument"},
    )
