"""Cases of whole rounds.   Spec: round.

The scripts are those of rounds that were really played, with something changed where a case says so.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

import attrs
import numpy as np

from clip_ref import graph
from clip_ref.canonical import model_digest
from clip_ref.errors import SERVER
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    MaskedInput,
    ShareKeys,
    TimeRecord,
    Unmask,
)
from clip_ref.oracle.case import Book, Wrong, derived
from clip_ref.oracle.cases.small import dense, f32, policy, record
from clip_ref.oracle.operations.round import Event, Happening, Step, Told
from clip_ref.oracle.play import Entrant, Kind, Play, identities, play
from clip_ref.params import Encoding, Mean, Params, SecurityLevel, Selection, SlackSeed
from clip_ref.round import State
from clip_ref.values import ClientId, Digest, Floats, RoundNumber

IDS = tuple(map(ClientId, (3, 8, 2**31 + 5, 2**32 - 2)))
"""Clients, ascending."""

A, B, C, D = IDS

HISTORY = f32(*((7 * k % 23 - 11) / 8 for k in range(12)))
"""The model before."""

MODEL = HISTORY + f32(*((5 * k % 13 - 6) / 64 for k in range(12)))
"""w_i."""

Changes = Callable[[Play, ClientMessage], ClientMessage]


def make(book: Book) -> None:
    """What lasts, then a client's side, then a server's."""
    _lasting(book)
    _constructed(book)
    _clients(book)
    _order(book)
    _opened(book)
    _rosters(book)
    _delivered(book)
    _inputs(book)
    _announced(book)
    _agreed(book)
    _restarts(book)
    _neighbourhoods(book)
    _views(book)
    _servers(book)
    _aborts(book)
    _refusals(book)
    _corrupt(book)


# Rounds


def _params(
    clients: int = 3,
    threshold: int = 2,
    *,
    hardened: bool = False,
    bits: int = 32,
    kappa: int = 1000,
    **changed: Any,
) -> Params:
    return Params(
        clients=clients,
        threshold=threshold,
        policy=policy(threshold=kappa, **changed),
        encoding=Encoding(ring_bits=bits, value_bits=10, weight_max=50),
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
    )


def _graph(*, hardened: bool = False, **changed: Any) -> Params:
    """Five clients on a circle, each with a neighbour on either side."""
    buckets = {"bucket_first": 500, "bucket_ratio": 2000, "bucket_count": 3}
    return Params(
        clients=5,
        neighbours=2,
        threshold=2,
        min_survivors=3,
        policy=policy(**(buckets | changed)),
        encoding=Encoding(value_bits=10, weight_max=50),
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
    )


def _update(client: ClientId, length: int) -> Floats:
    """Numbers of both signs; some are beyond the clipping bound."""
    return f32(*((31 * (client % 97) + 17 * k) % 41 / 16 - 1.25 for k in range(length)))


def _play(
    params: Params | None = None,
    *,
    slow: Collection[ClientId] = (),
    records: Mapping[ClientId, TimeRecord] | None = None,
    history: Floats | None = HISTORY,
    kept: Mapping[ClientId, Floats | None] | None = None,
    round: int = 3,
    target: int = 0,
    lost: Collection[tuple[Kind, ClientId]] = (),
    change: Changes | None = None,
    seed: str = "",
) -> Play:
    """A round of all clients that the parameters have room for; `slow` ones need half of the model.

    `kept` says who has kept another history than the server's.
    """
    found = params or _params()
    members = IDS[: found.clients] if found.clients <= len(IDS) else tuple(ClientId(10 * k) for k in range(found.clients))
    times = {u: record(1900, 1400, 900, weight=5 + u % 40) if u in slow else record(1000, weight=5 + u % 40) for u in members}
    entrants = {
        u: Entrant(
            record=times[u] if records is None or u not in records else records[u],
            history=history if kept is None or u not in kept else kept[u],
            entropy=derived("round", seed, "entropy", u, length=32),
            identity=derived("round", "identity", u, length=32) if found.hardened else None,
        )
        for u in members
    }
    return play(
        params=found,
        layout=dense(),
        state=State(b"sixteen bytes it", RoundNumber(round), MODEL, history, target),
        entrants=entrants,
        update=_update,
        lost=lost,
        **({} if change is None else {"change": change}),
    )


@cache
def _basic() -> Play:
    return _play()


@cache
def _hardened() -> Play:
    return _play(_params(hardened=True))


def _expect(entries: Any, errors: Mapping[int, int | str], comment: str) -> None:
    """Hold what came out against what a case says: which steps are refused, and whose fault that is."""
    found = {}
    for at, entry in enumerate(entries):
        if "error" in entry:
            error = entry["error"]
            found[at] = error.get("culprit", error.get("stage", "argument"))
    if found != errors:
        raise Wrong(f"{comment}: refused are {found}, said to be {dict(errors)}")


def _client(
    book: Book,
    comment: str,
    rules: Sequence[str],
    played: Play,
    me: ClientId = B,
    *flags: str,
    script: Sequence[Told] | None = None,
    errors: Mapping[int, int | str] | None = None,
    **changed: Any,
) -> None:
    """A case of a client's side: `errors` says at which steps it refuses, and whom it blames."""
    more = {} if script is None else {"script": list(script)}
    inputs = played.as_client(me, **more, **changed)
    out = book.valid("round.client", *dict.fromkeys((*rules, "ROU-3")), comment=comment, flags=flags, **inputs)
    _expect(out, errors or {}, comment)


def _server(
    book: Book,
    comment: str,
    rules: Sequence[str],
    played: Play,
    *flags: str,
    script: Sequence[Happening] | None = None,
    errors: Mapping[int, int | str] | None = None,
    **changed: Any,
) -> None:
    """A case of a server's side."""
    more = {} if script is None else {"script": list(script)}
    inputs = played.as_server(**more, **changed)
    out = book.valid("round.server", *dict.fromkeys((*rules, "ROU-9")), comment=comment, flags=flags, **inputs)
    _expect(out, errors or {}, comment)


# Between two rounds


def _lasting(book: Book) -> None:
    one, two, three = f32(1, 2), f32(3, 4), f32(5, 6)
    plain: dict[str, Any] = {"round": 7, "model": two, "history": one, "yielded": three}
    old = "HistoryIsLastRounds"
    for comment, flags, changed in (
        ("a model that differs: w_i becomes the history", (), {}),
        ("the first round", (), {"round": 1, "history": None}),
        ("aborted: the same model and history, the next number", ("AbortedTakesNoNumber", old), {"yielded": None}),
        ("aborted, and no history yet", ("AbortedTakesNoNumber", old), {"yielded": None, "history": None}),
        ("the same model again: the history stays", (old,), {"yielded": two}),
        ("the same model again, and no history", (old,), {"yielded": two, "history": None}),
        ("the history's model again", (), {"yielded": one}),
        ("−0 is not 0: models are told apart by digest", ("ModelsCompared",), {"model": f32(0, 1), "yielded": f32(-0.0, 1)}),
        ("the last round but one", (), {"round": 2**64 - 2}),
    ):
        book.valid("round.next_state", "ROU-2", "ROU-1", comment=comment, flags=flags, **plain | changed)
    nan = f32(1, float("nan"))
    for comment, changed in (
        ("NaN in the model", {"model": nan}),
        ("an infinity in the history", {"history": f32(float("inf"), 1)}),
        ("NaN in what the round yielded", {"yielded": nan}),
        ("a history of another length", {"history": f32(1, 2, 3)}),
        ("the next model is of another length", {"yielded": f32(1, 2, 3)}),
    ):
        flags = () if "length" in comment else ("NonFiniteState",)
        book.invalid("round.next_state", "ROU-1", comment=comment, flags=flags, **plain | changed)


# A client's side


def _constructed(book: Book) -> None:
    """What a client refuses before it is told anything."""
    basic, hardened = _basic(), _hardened()
    flag = ("IdentityNotChecked",)

    def refuse(rule: str, comment: str, played: Play, flags: tuple[str, ...] = (), **changed: Any) -> None:
        book.invalid("round.client", rule, comment=comment, flags=flags, **played.as_client(A, script=[], **changed))

    refuse("ROU-3", "31 bytes of entropy", basic, entropy=book.bytes("entropy", 31))
    refuse("PAR-6", "the server's id", basic, me=SERVER)
    refuse("ROU-18", "`hardened` without an identity", hardened, flag, identity=None)
    refuse("ROU-18", "`hardened` with another's identity", hardened, flag, identity=hardened.entrants[B].identity)
    refuse("ROU-18", "`hardened` with an empty directory", hardened, flag, directory={})
    refuse("ROU-18", "`basic` with an identity", basic, flag, identity=hardened.entrants[A].identity)
    refuse("ROU-18", "`basic` with a directory", basic, flag, directory=identities(hardened.entrants))
    empty: dict[str, Any] = {"script": []}
    book.invalid(
        "round.server",
        "ROU-18",
        comment="a server at `hardened` without a directory",
        flags=flag,
        **hardened.as_server(directory={}, **empty),
    )
    with_one = basic.as_server(directory=identities(hardened.entrants), **empty)
    book.invalid("round.server", "ROU-18", comment="a server at `basic` with one", flags=flag, **with_one)
    for comment, changed in (
        ("a server's model of another length", {"model": f32(1, 2), "history": None}),
        ("NaN in a server's model", {"model": f32(*[float("nan")] * 12)}),
    ):
        book.invalid("round.server", "ROU-1", comment=comment, **basic.as_server(**changed, **empty))


WHOLE = ("ROU-7", "ROU-4", "ROU-5", "ROU-6", "ROU-8", "MSK-5", "PAD-2", "COD-4", "COD-3")
"""What it takes to go through a round as a client."""


def _clients(book: Book) -> None:
    plain = _basic()
    for me, where in ((A, "the smallest id"), (B, "in the middle"), (C, "the largest id")):
        _client(book, f"a round of three, {where}", WHOLE, plain, me)
    late = _play(slow=(C,))
    prune = (*WHOLE, "IDN-6", "INV-3", "SEL-2", "SUB-2")
    _client(book, "a straggler: it trains a third", (*prune, "PAD-5"), late, C)
    _client(book, "beside a straggler", prune, late, A)
    _client(book, "a warm-up round: nobody prunes", (*WHOLE, "IDN-9"), _play(_params(warm_up=3), slow=(C,)), C)
    other = HISTORY + f32(*[1.0] * 12)
    for comment, found in (("without the history: it says so", None), ("another history than was announced", other)):
        _client(book, comment, ("ROU-4", *WHOLE), _play(slow=(C,), kept={C: found}), C, "HasModelAlways")
    _client(book, "the first round", (*WHOLE, "IDN-9"), _play(history=None, round=1))
    invalid = {B: record(1000, 2000, 3000, weight=9)}
    _client(book, "a record that takes no part", (*WHOLE, "IDN-1"), _play(records=invalid, slow=(C,)), B)
    dropped = (*WHOLE, "CTX-5")
    one_gone = _play(lost=[(MaskedInput, C)])
    both = "BothSharesRevealed"
    _client(book, "one dropped out: a share of its mask key", ("ROU-8", *dropped), one_gone, B, both, "SelfShareOfDropped")
    absent = _play(lost=[(ShareKeys, A)])
    _client(book, "one is not in U2: no mask with it", ("ROU-7", *dropped), absent, B, "MasksOverRoster")
    four = _play(_params(4), lost=[(ShareKeys, A), (MaskedInput, D)])
    _client(book, "one not in U2, one not in U3", ("ROU-8", *dropped), four, C, both, "MasksOverRoster")
    wide = _play(_params(bits=64, mean=Mean.DILUTE), slow=(C,))
    _client(book, "64 bits, dilute", (*prune, "PAD-4"), wide, C)
    paper = _params(mean=Mean.DILUTE, selection=Selection.PAPER, slack_seed=SlackSeed.RECORDS, kappa=0)
    _client(book, "slack from the records", ("SEL-4", *prune, "BRO-5"), _play(paper, slow=(C,)), C, "SlackFromContext")
    public = _params(selection=Selection.PAPER, slack_seed=SlackSeed.CONTEXT, kappa=0)
    _client(book, "slack from the context", (*prune, "SEL-4"), _play(public, slow=(C,)), C)
    holder = _play(_params(mean=Mean.HOLDER, holder_cap=2), slow=(C,))
    for me, who in ((A, "who prunes nothing"), (C, "the straggler")):
        _client(book, f"holder: {who} scales", (*prune, "COD-5", "AGG-4"), holder, me, "HoldersCounted")
    blocks = _params(4, anonymity_blocks=True)
    _client(book, "two stragglers in one block", (*prune, "IDN-8"), _play(blocks, slow=(C, D)), D)
    signed = (*WHOLE, "AGR-4", "AGR-1", "AGR-2", "AGR-3", "AGR-6", "AGR-7")
    hardened = _params(hardened=True)
    _client(book, "hardened", ("ROU-8", *signed), _play(hardened), B, "RevealsBeforeAgreement")
    _client(
        book,
        "hardened, one dropped out",
        ("ROU-8", *signed),
        _play(hardened, lost=[(MaskedInput, A)]),
        B,
        both,
        "RevealsBeforeAgreement",
    )
    _client(book, "hardened, t others agree", signed, _play(hardened, lost=[(Consistent, A)]), C)
    _client(book, "hardened, a straggler", (*signed, *prune), _play(hardened, slow=(C,)), C)
    _client(book, "alone in U1 with t − 1 others", WHOLE, _play(lost=[(Advertise, A)]), C)


def _order(book: Book) -> None:
    played, hardened = _basic(), _hardened()
    other = _play(seed="another round")
    rule = ("ROU-3",)
    again = "AnswersTwice"
    script = played.script(B)
    twice = [told for told in script for _ in range(2)]
    _client(book, "every message twice: the same answers", rule, played, B, script=twice)
    late = [*script, *script]
    _client(book, "all once more in the end: the same answers", rule, played, B, script=late)
    strict = hardened.script(B)
    _client(book, "every message twice, hardened", rule, hardened, B, script=[told for told in strict for _ in range(2)])
    opened = played.message(B, Step.OPEN)
    renamed = attrs.evolve(opened, context=attrs.evolve(opened.context, history=model_digest(MODEL)))
    bundles = tuple(other.told[B][1][1].bundles)
    mine = played.message(B, Step.ROSTER).bundles[1]
    roster = attrs.evolve(played.message(B, Step.ROSTER), bundles=(bundles[0], mine, bundles[2]))
    envelopes = attrs.evolve(played.message(B, Step.DELIVER), envelopes=played.message(B, Step.DELIVER).envelopes[:1])
    seconds: tuple[tuple[str, int, Told, int | str], ...] = (
        ("open", 1, played.tell(Step.OPEN, renamed), "server"),
        ("roster", 2, played.tell(Step.ROSTER, roster), "server"),
        ("deliver", 3, played.tell(Step.DELIVER, envelopes), "server"),
        ("update", 4, Told(Step.MASKED_INPUT, _update(C, 12).tobytes()), "argument"),
        ("announce", 5, played.tell(Step.ANNOUNCE, Announce((A, B))), "server"),
    )
    for name, at, second, culprit in seconds:
        _client(
            book,
            f"a second, different {name} at a step that it has taken; the round goes on",
            rule,
            played,
            B,
            again,
            script=[*script[:at], second, *script[at:]],
            errors={at: culprit},
        )
    _client(
        book,
        "a second, different agreed",
        ("ROU-3", "ROU-8"),
        hardened,
        B,
        again,
        script=[*strict, hardened.tell(Step.AGREED, Agreed(hardened.message(B, Step.AGREED).signatures[:2]))],
        errors={6: "server"},
    )
    for comment, told in (
        ("roster before open", [script[1]]),
        ("deliver before roster", [script[0], script[2]]),
        ("an update before deliver", [*script[:2], script[3]]),
        ("announce before the update", [*script[:3], script[4]]),
    ):
        _client(
            book,
            f"{comment}: refused, and nothing is used up",
            rule,
            played,
            B,
            "StepsInAnyOrder",
            script=[*told, *script],
            errors={len(told) - 1: "argument"},
        )
    unsigned = [*script, attrs.evolve(hardened, params=played.params).tell(Step.AGREED, Agreed(((A, bytes(64)),)))]
    _client(book, "agreed is no step at `basic`", rule, played, B, script=unsigned, errors={5: "argument"})
    for comment, flag, data in (
        ("of another round", "RoundNotChecked", script[1].data[:23] + b"\x04" + script[1].data[24:]),
        ("of another session", "SessionNotChecked", script[1].data[:7] + b"S" + script[1].data[8:]),
        ("of another sender", "SenderNotChecked", script[1].data[:31] + b"\x00\x00\x00\x00" + script[1].data[35:]),
        ("of another kind", "", script[0].data),
        ("with a byte too many", "", script[1].data + b"\x00"),
    ):
        _client(
            book,
            f"a roster {comment}: no message; the client is as before",
            ("WIR-3",),
            played,
            B,
            *((flag,) if flag else ()),
            script=[script[0], Told(Step.ROSTER, data), *script[1:]],
            errors={1: "server"},
        )


def _opened(book: Book) -> None:
    played, hardened = _basic(), _hardened()

    def variant(of: Play, **changed: Any) -> Told:
        opened = of.message(B, Step.OPEN)
        return of.tell(Step.OPEN, attrs.evolve(opened, context=attrs.evolve(opened.context, **changed)))

    script = played.script(B)
    out = {0: "server", 1: "argument"}
    for comment, flag, opened in (
        ("another configuration", "ConfigNotChecked", variant(played, config=book.bytes("config"))),
        ("a directory, where there is none", "DirectoryNotChecked", variant(played, directory=book.bytes("directory"))),
    ):
        _client(book, comment, ("ROU-4",), played, B, flag, script=[opened, script[1]], errors=out)
    _client(
        book,
        "another directory",
        ("ROU-4",),
        hardened,
        B,
        "DirectoryNotChecked",
        script=[variant(hardened, directory=book.bytes("directory")), hardened.script(B)[1]],
        errors=out,
    )
    zero = attrs.evolve(played.message(B, Step.OPEN).context, round=RoundNumber(0))
    first = attrs.evolve(played, state=attrs.evolve(played.state, round=RoundNumber(0)))
    _client(
        book,
        "round 0 is not after any",
        ("ROU-4",),
        played,
        B,
        "AnyRound",
        script=[first.tell(Step.OPEN, attrs.evolve(played.message(B, Step.OPEN), context=zero))],
        errors={0: "server"},
    )
    _client(
        book,
        "what it has and what is announced differ: it has no model",
        ("ROU-4",),
        played,
        B,
        script=[variant(played, history=model_digest(MODEL))],
    )
    damaged = [
        ("another version", script[0].data[:4] + b"\x09\x00" + script[0].data[6:]),
        ("cut short", script[0].data[:-1]),
        ("a byte too many", script[0].data + b"\x00"),
        ("empty", b""),
    ]
    for comment, data in damaged:
        _client(
            book,
            f"no message: {comment}; the client is as before",
            ("WIR-3",),
            played,
            B,
            script=[Told(Step.OPEN, data), script[0]],
            errors={0: "server"},
        )


def _rosters(book: Book) -> None:
    played, hardened = _basic(), _hardened()
    order, script = _play(_params(4)), played.script(B)
    roster = played.message(B, Step.ROSTER)
    mine = roster.bundles[1]

    def refused(
        comment: str, rule: str, flag: str, bundles: Sequence[Advertise], *, of: Play = played, culprit: int | str = "server"
    ) -> None:
        told = of.script(B)
        bad = of.tell(Step.ROSTER, attrs.evolve(of.message(B, Step.ROSTER), bundles=tuple(bundles)))
        _client(
            book,
            comment,
            ("ROU-5", rule),
            of,
            B,
            *((flag,) if flag else ()),
            script=[told[0], bad, told[1]],
            errors={1: culprit, 2: "argument"},
        )

    a, _, c = roster.bundles
    refused("fewer than t clients", "ROU-5", "SmallRosterTaken", [mine])
    refused("it is not in it", "ROU-5", "OwnKeysNotChecked", [a, c])
    refused("its own key is another", "ROU-5", "OwnKeysNotChecked", [a, attrs.evolve(mine, mask_key=c.mask_key), c])
    low = bytes(32)
    refused("a peer's key is of low order", "KEY-3", "PeerKeysNotChecked", [a, mine, attrs.evolve(c, mask_key=low)], culprit=C)
    refused(
        "a peer's channel key is of low order",
        "KEY-3",
        "",
        [attrs.evolve(a, channel_key=low), mine, c],
        culprit=A,
    )
    twice = attrs.evolve(c, mask_key=c.channel_key)
    refused("a peer's two keys are one", "MSG-1", "PeerKeysNotChecked", [a, mine, twice], culprit=C)
    x, y, z = hardened.message(B, Step.ROSTER).bundles
    flag = "RosterSignaturesNotChecked"
    refused("a peer's key is not the one it signed", "KEY-9", flag, [attrs.evolve(x, mask_key=z.mask_key), y, z], of=hardened, culprit=A)
    refused("a peer's commitment is not the one it signed", "KEY-9", flag, [x, y, attrs.evolve(z, seed_commitment=low)], of=hardened, culprit=C)
    swapped = attrs.evolve(z, signature=x.signature)
    refused("another's signature", "KEY-9", flag, [x, y, swapped], of=hardened, culprit=C)
    whole = order.message(B, Step.ROSTER)
    descending = played.tell(Step.ROSTER, attrs.evolve(roster, bundles=(c, mine, a)))
    crowded = attrs.evolve(order, params=_params()).tell(Step.ROSTER, whole)
    for comment, bad in (("ids that descend", descending), ("more than n clients", crowded)):
        _client(
            book,
            f"{comment}: no message; the client is as before",
            ("WIR-4" if bad is descending else "WIR-5", "ROU-5"),
            played,
            B,
            script=[script[0], bad, script[1]],
            errors={1: "server"},
        )
    stranger = attrs.evolve(c, sender=ClientId(C + 1))
    _client(
        book,
        "a peer that the server made up: it cannot tell at `basic`",
        ("ROU-5", "CTX-4"),
        played,
        B,
        script=[script[0], played.tell(Step.ROSTER, attrs.evolve(roster, bundles=(a, mine, stranger)))],
    )


def _delivered(book: Book) -> None:
    played, hardened = _basic(), _hardened()

    def refused(
        comment: str, rule: str, flag: str, change: Callable[[Any], Any], *, of: Play = played, culprit: int | str = "server"
    ) -> None:
        script = of.script(B)
        bad = of.tell(Step.DELIVER, change(of.message(B, Step.DELIVER)))
        _client(
            book,
            comment,
            tuple(dict.fromkeys((rule, "ROU-6"))),
            of,
            B,
            *((flag,) if flag else ()),
            script=[*script[:2], bad, *script[2:4]],
            errors={2: culprit, 3: "argument", 4: "argument"},
        )

    def envelopes(*which: int) -> Callable[[Any], Any]:
        return lambda m: attrs.evolve(m, envelopes=tuple(m.envelopes[k] for k in which))

    def touched(at: int, field: str, byte: int) -> Callable[[Any], Any]:
        def change(message: Any) -> Any:
            data = bytearray(getattr(message.envelopes[at], field))
            data[byte] ^= 1
            found = list(message.envelopes)
            found[at] = attrs.evolve(found[at], **{field: bytes(data)})
            return attrs.evolve(message, envelopes=tuple(found))

        return change

    refused("fewer than t − 1 envelopes", "ROU-6", "FewEnvelopesTaken", envelopes())

    def stranger(message: Any) -> Any:
        found = attrs.evolve(message.envelopes[1], peer=ClientId(C + 1))
        return attrs.evolve(message, envelopes=(message.envelopes[0], found))

    refused("an envelope of a client that is not in the roster", "ROU-6", "", stranger)

    def mine(message: Any) -> Any:
        return attrs.evolve(message, envelopes=(message.envelopes[0], attrs.evolve(message.envelopes[1], peer=B)))

    refused("an envelope from itself", "ROU-6", "", mine)
    for field in ("shares", "record"):
        refused(f"the {field} are not as they were sealed", "KEY-6", "", touched(1, field, 3), culprit=C)

    def crossed(message: Any) -> Any:
        one, two = message.envelopes
        return attrs.evolve(message, envelopes=(attrs.evolve(two, peer=A), attrs.evolve(one, peer=C)))

    refused("two envelopes are swapped", "KEY-6", "", crossed, culprit=A)
    other = MODEL + f32(*[1.0] * 12)
    refused("another model than announced", "ROU-6", "ModelDigestNotChecked", lambda m: attrs.evolve(m, model=other))
    refused("the history instead of the model", "ROU-6", "ModelDigestNotChecked", lambda m: attrs.evolve(m, model=HISTORY))
    for field, what in ((0, "mask key's"), (32, "self mask's")):
        refused(
            f"the {what} share is not committed to",
            "ROU-6",
            "DeliveredCommitmentsNotChecked",
            touched(0, "commitments", field),
            of=hardened,
            culprit=A,
        )

    def lying(of: Play, message: ClientMessage) -> ClientMessage:
        if isinstance(message, Advertise) and message.sender == C:
            opened = of.message(C, Step.OPEN).context
            return of.signed(attrs.evolve(message, record_commitment=book.bytes("record commitment")), opened.ctx0())
        return message

    lied = _play(_params(hardened=True), change=lying)
    _client(
        book,
        "a record that its client did not commit to",
        ("ROU-6", "AGR-1"),
        lied,
        B,
        "RecordCommitmentNotChecked",
        script=lied.script(B),
        errors={2: C},
    )
    nan = MODEL.copy()
    nan[4] = np.nan
    context = attrs.evolve(played.message(B, Step.OPEN).context, model=model_digest(nan))
    announced = attrs.evolve(played.message(B, Step.OPEN), context=context)
    alone = [played.tell(Step.OPEN, announced)]
    _client(book, "the digest of a model with NaN tells nothing", ("ROU-4",), played, B, script=alone)
    script = played.script(B)
    descending = played.message(B, Step.DELIVER)
    descending = attrs.evolve(descending, envelopes=descending.envelopes[::-1])
    _client(
        book,
        "envelopes that descend: no message; the client is as before",
        ("WIR-4", "ROU-6"),
        played,
        B,
        script=[*script[:2], played.tell(Step.DELIVER, descending), script[2]],
        errors={2: "server"},
    )


def _inputs(book: Book) -> None:
    played = _play(slow=(C,))
    script, rest = played.script(C), played.script(C)[4:]
    small = _update(C, 4)
    for comment, flag, wrong in (
        ("an update of the whole model from a straggler", "UpdateLengthNotChecked", _update(C, 12)),
        ("an update too short", "UpdateLengthNotChecked", small[:3]),
        ("NaN in the update", "BadUpdateUsesUp", f32(1, float("nan"), 2, 3)),
        ("an infinity in the update", "BadUpdateUsesUp", f32(1, 2, float("inf"), 3)),
    ):
        _client(
            book,
            f"{comment}: refused, and nothing is used up",
            ("ROU-7", "PAD-2") if flag == "UpdateLengthNotChecked" else ("ROU-3", "COD-2", "ROU-7"),
            played,
            C,
            flag,
            script=[*script[:3], Told(Step.MASKED_INPUT, wrong.tobytes()), script[3], *rest],
            errors={3: "argument"},
        )


def _announced(book: Book) -> None:
    played, hardened = _basic(), _hardened()

    def refused(comment: str, flag: str, survivors: Sequence[ClientId], *, of: Play = played) -> None:
        script = of.script(B)
        bad = of.tell(Step.ANNOUNCE, Announce(tuple(survivors)))
        _client(
            book,
            comment,
            ("ROU-8",),
            of,
            B,
            *((flag,) if flag else ()),
            script=[*script[:4], bad, script[4]],
            errors={4: "server", 5: "argument"},
        )

    absent = _play(lost=[(ShareKeys, A)])
    refused("U3 has a client that is not in U2", "SurvivorsNotInU2Taken", [A, B, C], of=absent)
    refused("U3 has a client of no roster", "SurvivorsNotInU2Taken", [ClientId(4), B, C])
    refused("it is not in U3 itself", "NotInU3Taken", [A, C])
    refused("U3 has fewer than t clients", "FewSurvivorsTaken", [B])
    refused("U3 is empty", "", [])
    refused("at `hardened`, too", "NotInU3Taken", [A, C], of=hardened)


def _agreed(book: Book) -> None:
    played = _hardened()
    script, good = played.script(B), played.message(B, Step.AGREED)
    dropped = _play(_params(4, threshold=3, hardened=True), lost=[(MaskedInput, D)])

    def refused(comment: str, rule: str, flag: str, found: Sequence[tuple[ClientId, bytes]], *, of: Play = played) -> None:
        told = of.script(B)
        bad = of.tell(Step.AGREED, Agreed(tuple(found)))
        _client(
            book,
            comment,
            (rule, "ROU-8"),
            of,
            B,
            flag,
            script=[*told[:5], bad, told[5]],
            errors={5: "server", 6: "argument"},
        )

    (a, by_a), (b, by_b), (c, by_c) = good.signatures
    few = "FewSignaturesTaken"
    refused("fewer than t signatures", "AGR-7", few, [(b, by_b)])
    refused("no signatures", "AGR-7", few, [])
    refused("a signature of a client that dropped out", "AGR-7", "StrangersSignaturesTaken", [*dropped.message(B, Step.AGREED).signatures, (D, by_a)], of=dropped)
    wrong = "AgreedSignaturesNotChecked"
    refused("signatures under each other's names", "AGR-8", wrong, [(a, by_b), (b, by_a)])
    bent = by_c[:-1] + bytes([by_c[-1] ^ 1])
    refused("one of three does not verify", "AGR-8", wrong, [(a, by_a), (b, by_b), (c, bent)])
    less = played.tell(Step.ANNOUNCE, Announce((A, B)))
    _client(
        book,
        "others were told another U3: their signatures do not verify",
        ("AGR-8", "ROU-8", "AGR-6"),
        played,
        B,
        wrong,
        script=[*script[:4], less, played.tell(Step.AGREED, Agreed(((a, by_a), (b, by_b))))],
        errors={5: "server"},
    )
    _client(
        book,
        "t signatures are enough",
        ("AGR-7", "ROU-8"),
        played,
        B,
        script=[*script[:5], played.tell(Step.AGREED, Agreed(((a, by_a), (c, by_c))))],
    )


def _restarts(book: Book) -> None:
    played, hardened = _play(), _play(_params(hardened=True), lost=[(MaskedInput, A)])
    again = Told(Step.RESTART, b"")
    script = played.script(B)
    rule, forgets = ("ROU-16",), "ForgetsAfterRestart"
    for at in range(len(script) + 1):
        _client(
            book,
            f"a restart after {at} steps",
            rule,
            played,
            B,
            *((forgets,) if 0 < at < len(script) else ()),
            script=[*script[:at], again, *script[at:]],
        )
    _client(
        book,
        "restarts everywhere, and every message again",
        rule,
        hardened,
        B,
        forgets,
        script=[told for one in hardened.script(B) for told in (one, again, one)],
    )
    _client(
        book,
        "a restart, and then another announce: still refused",
        (*rule, "ROU-8"),
        played,
        B,
        forgets,
        script=[*script, again, played.tell(Step.ANNOUNCE, Announce((A, B)))],
        errors={6: "server"},
    )
    bad = played.tell(Step.ANNOUNCE, Announce((A, C)))
    _client(
        book,
        "a message was refused: a restart does not bring the client back",
        rule,
        played,
        B,
        "RestartForgives",
        script=[*script[:4], bad, again, script[4]],
        errors={4: "server", 6: "argument"},
    )
    _client(
        book,
        "two restarts in a row, and another update",
        rule,
        played,
        B,
        forgets,
        script=[*script[:4], again, again, Told(Step.MASKED_INPUT, _update(C, 12).tobytes()), *script[3:]],
        errors={6: "argument"},
    )


ON_GRAPH = (*WHOLE, "ROU-20", "ROU-21", "GRA-1", "GRA-4", "GRA-5")
"""What it takes on a graph."""


def _neighbourhoods(book: Book) -> None:
    played = _play(_graph(), target=1000)
    me = ClientId(20)
    _client(book, "a round on a graph", ON_GRAPH, played, me)
    hardened = _play(_graph(hardened=True), target=1000)
    _client(book, "hardened, on a graph", ("AGR-6", *ON_GRAPH), hardened, me, "GraphStatementById")
    late = _play(_graph(), target=1000, slow=(me,))
    _client(book, "a straggler by its own judgement", (*ON_GRAPH, "GRA-8", "PAD-6"), late, me)
    silent = _play(_graph(), target=1000, records={me: record(9, has_time=False)})
    _client(book, "without times: in no bucket", ("PAD-6", *ON_GRAPH, "GRA-8"), silent, me, "NoTimeOnGraphCounted")
    _client(book, "T* = 0: nobody prunes", (*ON_GRAPH, "GRA-8"), _play(_graph(), slow=(me,)), me)
    script, good = played.script(me), played.message(me, Step.ROSTER)
    clique = _play(_params(5))
    _client(
        book,
        "a clique's roster on a graph: no message",
        ("WIR-3", "ROU-20"),
        played,
        me,
        script=[script[0], clique.script(me)[1], script[1]],
        errors={1: "server"},
    )
    _client(
        book,
        "a neighbourhood in a clique: no message",
        ("WIR-3", "ROU-20"),
        clique,
        me,
        script=[clique.script(me)[0], script[1], clique.script(me)[1]],
        errors={1: "server"},
    )
    mine = next(m for m in good.members if m.bundle.sender == me)
    one, two = (m for m in good.members if m is not mine)
    known = {m.position for m in good.members}
    far = min(
        (m for u in played.told for m in played.message(u, Step.ROSTER).members if m.position not in known),
        key=lambda m: m.position,
    )
    changes: tuple[tuple[str, str, str, Sequence[Any]], ...] = (
        ("a neighbour is missing", "ROU-20", "NeighboursNotChecked", (mine, two)),
        ("another in a neighbour's place", "ROU-20", "NeighboursNotChecked", (mine, two, far)),
        ("it is not in its own neighbourhood", "ROU-20", "", (one, two, far)),
        ("a proof that does not lead to the root", "GRA-4", "NeighboursNotProved", (mine, attrs.evolve(one, proof=two.proof), two)),
        ("a proof for another position", "GRA-4", "", (mine, attrs.evolve(one, position=far.position), two)),
    )
    for comment, rule, flag, members in changes:
        message = attrs.evolve(good, members=tuple(sorted(members, key=lambda m: m.position)))
        _client(
            book,
            comment,
            ("ROU-20", rule),
            played,
            me,
            *((flag,) if flag else ()),
            script=[script[0], played.tell(Step.ROSTER, message), script[1]],
            errors={1: "server", 2: "argument"},
        )
    for comment, rule, found in (
        ("more than k + 1 clients", "WIR-5", (*good.members, far)),
        ("a neighbour stands there twice", "WIR-4", (good.members[0], *good.members[:2])),
    ):
        _client(
            book,
            f"{comment}: no message; the client is as before",
            (rule, "ROU-20"),
            played,
            me,
            script=[script[0], played.tell(Step.ROSTER, attrs.evolve(good, members=found)), script[1]],
            errors={1: "server"},
        )
    small = attrs.evolve(good, count=2)
    _client(
        book,
        "another count than the tree has",
        ("ROU-20", "GRA-4", "GRA-3"),
        played,
        me,
        "NeighboursNotProved",
        script=[script[0], played.tell(Step.ROSTER, small)],
        errors={1: "server"},
    )


def _views(book: Book) -> None:
    played = _play(_graph(), target=1000)
    me = ClientId(20)
    script = played.script(me)
    deliver, roster = played.message(me, Step.DELIVER), played.message(me, Step.ROSTER)
    place = {m.bundle.sender: m.position for m in roster.members}
    near = [p for u, p in place.items() if u != me]
    everybody = set(range(5))

    def bits(found: Collection[int]) -> bytes:
        return graph.bitmap(positions=found, count=5)

    def refused_u2(comment: str, flag: str, u2: bytes, rule: str = "ROU-21", **more: Any) -> None:
        bad = played.tell(Step.DELIVER, attrs.evolve(deliver, u2=u2, **more))
        _client(
            book,
            comment,
            tuple(dict.fromkeys((rule, "ROU-21"))),
            played,
            me,
            flag,
            script=[*script[:2], bad, script[2]],
            errors={2: "server", 3: "argument"},
        )

    own = "GraphViewsNotChecked"
    refused_u2("U2 lacks the client itself", own, bits(everybody - {place[me]}))
    refused_u2("U2 lacks a neighbour whose envelope came", own, bits(everybody - {near[0]}))
    refused_u2("U2 has a neighbour whose envelope did not come", own, bits(everybody), envelopes=deliver.envelopes[1:])
    alone = "AloneOnGraph"
    refused_u2("fewer than t of its neighbourhood", alone, bits(everybody - set(near)), envelopes=())
    refused_u2("fewer than min_survivors in all", "FewOnGraphTaken", bits({place[me], near[0]}), envelopes=tuple(e for e in deliver.envelopes if place[e.peer] == near[0]))
    refused_u2("a bit beyond the roster", "StrayBitsTaken", bytes([bits(everybody)[0] | 0x20]), "GRA-5")

    def refused_u3(comment: str, flag: str, u3: bytes, rule: str = "ROU-21", of: Play = played) -> None:
        told = of.script(me)
        bad = of.tell(Step.ANNOUNCE, Announce((), u3))
        _client(
            book,
            comment,
            tuple(dict.fromkeys((rule, "ROU-21"))),
            of,
            me,
            flag,
            script=[*told[:4], bad, told[4]],
            errors={4: "server", 5: "argument"},
        )

    stranger = min(everybody - set(place.values()))
    away = next(u for u in played.entrants if u not in place)
    absent = _play(_graph(), target=1000, lost=[(ShareKeys, away)])
    refused_u3("U3 lacks the client itself", own, bits(everybody - {place[me]}))
    refused_u3("U3 lacks both neighbours", alone, bits(everybody - set(near)))
    refused_u3("U3 has fewer than min_survivors", "FewOnGraphTaken", bits({place[me], near[0]}))
    refused_u3("a bit beyond the roster, in U3", "StrayBitsTaken", bytes([bits(everybody)[0] | 0x80]), "GRA-5")
    if stranger != absent.message(me, Step.ROSTER).count:
        refused_u3("U3 has a stranger that is not in U2", "GraphU3NotInU2Taken", bits(everybody), of=absent)
    told = played.tell(Step.ANNOUNCE, Announce((), bits(everybody - {near[0]})))
    _client(
        book,
        "a neighbour dropped out: a share of its mask key",
        ("ROU-8", "ROU-21"),
        played,
        me,
        "BothSharesRevealed",
        script=[*script[:4], told],
    )
    told = played.tell(Step.ANNOUNCE, Announce((), bits(everybody - {stranger})))
    _client(
        book,
        "a stranger dropped out: no share of its secrets",
        ("ROU-8", "ROU-21"),
        played,
        me,
        script=[*script[:4], told],
    )


# A server's side

SERVED = ("MSK-6", "AGG-7", "ROU-10", "ROU-11", "ROU-12", "AGG-6", "COD-7", "AGG-1")
"""What it takes to serve a round."""


def _servers(book: Book) -> None:
    _server(book, "a round of three", SERVED, _play(), "SelfMasksLeftOn")
    on_time = _play(_params(4), lost=[(MaskedInput, D)])
    dangling = ("DanglingLeftOn", "DanglingReversed")
    _server(book, "one dropped out before its input", (*SERVED, "KEY-4"), on_time, *dangling)
    early = _play(_params(4), lost=[(Advertise, A), (ShareKeys, C)])
    _server(book, "one is not in U1, one not in U2", ("ROU-11", *SERVED), early, "SetUpDropOutKills")
    most = _play(_params(4), lost=[(ShareKeys, A), (MaskedInput, C)])
    _server(book, "t are left: just enough", ("ROU-11", *SERVED, "KEY-4"), most, "AbortsAtThreshold")
    two = _play(_params(4), lost=[(MaskedInput, A), (MaskedInput, C)])
    _server(
        book,
        "two dropped out: their mask with each other never was in the sum",
        ("MSK-7", *SERVED, "KEY-4"),
        two,
        *dangling,
        "DroppedPairsUnmasked",
    )
    silent = _play(_params(4), lost=[(Unmask, A), (Unmask, C)])
    _server(book, "two do not unmask: t shares are enough", ("ROU-11", *SERVED, "SHM-3"), silent, "AbortsAtThreshold")
    slow = _play(slow=(C,))
    by_level = ("ROU-13", *SERVED, "AGG-3", "INV-3", "SEL-2", "LAY-5")
    _server(book, "levels: a straggler", by_level, slow, "WholeWeightUnderLevels")
    _server(book, "dilute: a straggler", SERVED, _play(_params(mean=Mean.DILUTE), slow=(C,)))
    _server(book, "holder: a straggler", (*SERVED, "COD-5"), _play(_params(mean=Mean.HOLDER), slow=(C,)))
    public = _params(selection=Selection.PAPER, slack_seed=SlackSeed.CONTEXT, kappa=0)
    _server(book, "levels, slack from the context", (*by_level, "SEL-4"), _play(public, slow=(C,)))
    _server(book, "64 bits", SERVED, _play(_params(bits=64)))
    _server(book, "the first round: no history is announced", (*SERVED, "ROU-9"), _play(history=None, round=1))
    signed = (*SERVED, "AGR-4", "AGR-5", "AGR-6", "ROU-19")
    hardened = _params(hardened=True)
    _server(book, "hardened", signed, _hardened())
    _server(book, "hardened, one dropped out", (*signed, "KEY-4"), _play(hardened, lost=[(MaskedInput, B)]), *dangling)
    absent = _play(hardened, lost=[(Consistent, B)])
    _server(book, "who did not sign may still unmask", ("ROU-10", *signed), absent, "OnlyU4Unmasks")
    on_graph = (*SERVED, "ROU-20", "GRA-1", "GRA-3", "GRA-4", "GRA-5", "AGG-8")
    for comment, found in (
        ("on a graph", _play(_graph(), target=1000)),
        ("on a graph, one dropped out", _play(_graph(), target=1000, lost=[(MaskedInput, ClientId(20))])),
        ("on a graph, one is not in U2", _play(_graph(), lost=[(ShareKeys, ClientId(0))])),
        ("on a graph, a straggler", _play(_graph(), target=1000, slow=(ClientId(20),))),
        ("hardened, on a graph", _play(_graph(hardened=True), target=1000, lost=[(MaskedInput, ClientId(40))])),
    ):
        _server(book, comment, on_graph, found)


def _aborts(book: Book) -> None:
    rule, below = ("ROU-11",), "GoesOnBelowThreshold"
    kinds: tuple[tuple[Kind, str], ...] = ((Advertise, "U1"), (ShareKeys, "U2"), (MaskedInput, "U3"), (Unmask, "U5"))
    for kind, stage in kinds:
        played = _play(lost=[(kind, A), (kind, C)])
        closed = Happening(Event.CLOSE, None, b"")
        script = [*played.happened, closed]
        at = len(script) - 2
        _server(
            book,
            f"{stage} has fewer than t clients; then the round is over",
            rule,
            played,
            *((below,) if kind is not Unmask else ()),
            script=script,
            errors={at: stage, at + 1: "argument"},
        )
    hardened = _play(_params(hardened=True), lost=[(Consistent, A), (Consistent, C)])
    at = len(hardened.happened) - 1
    _server(book, "U4 has fewer than t clients", rule, hardened, below, errors={at: "U4"})
    everybody = [ClientId(10 * k) for k in range(5)]
    few = _play(_graph(), lost=[(MaskedInput, u) for u in everybody[:3]])
    at = len(few.happened) - 1
    _server(book, "on a graph U3 has fewer than min_survivors", rule, few, "MinSurvivorsLeftOut", errors={at: "U3"})
    near = {m.bundle.sender for m in few.message(everybody[0], Step.ROSTER).members}
    far = next(u for u in everybody if u not in near)
    holders = _play(_graph(), lost=[(Unmask, u) for u in everybody if u not in (everybody[0], far)])
    at = len(holders.happened) - 1
    _server(
        book,
        "on a graph t have answered, but not t holders of everybody's secrets",
        rule,
        holders,
        "HoldersNotCounted",
        errors={at: "U5"},
    )


def _refusals(book: Book) -> None:
    played, hardened = _basic(), _hardened()
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
        _server(book, comment, rules, of, *((flag,) if flag else ()), script=whole, errors={where: culprit})

    for kind, name in ((Advertise, "Advertise"), (ShareKeys, "ShareKeys"), (MaskedInput, "MaskedInput"), (Unmask, "Unmask")):
        first = script[at[kind]]
        refused(f"a second {name} of one client: refused, the server is as before", "SecondAnswerTaken", at[kind] + 1, first, A)
    refused("a message of another leg", "", at[ShareKeys], script[at[Advertise]], A, ("WIR-3", "ROU-10"))
    refused("a message under another's name", "SenderNotChecked", at[ShareKeys], attrs.evolve(script[at[ShareKeys]], sender=C), C, ("WIR-3", "ROU-10"))
    missed = _play(lost=[(ShareKeys, A)])
    refused("an input of a client that missed the leg before", "MissedLegTaken", 8, script[at[MaskedInput]], A, rule, missed)
    four = _play(_params(4))
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
    refused("hardened: an input that was changed on the way", flag, strictly[MaskedInput], tampered, A, sealed, hardened)
    forged = resent(hardened, strictly[Advertise], lambda m: attrs.evolve(m, seed_commitment=bytes(32)), Advertise)
    refused("hardened: an Advertise that was changed on the way", flag, strictly[Advertise], forged, A, sealed, hardened)
    lie = hardened.signed(Consistent(A, Digest(book.bytes("statement"))), hardened.ctx)
    refused("a statement about another U2 or U3", "StatementsNotChecked", strictly[Consistent], hardened.arrival(lie), A, rule, hardened)
    opened, closed = script[0], Happening(Event.CLOSE, None, b"")
    order = ("ROU-9",)
    _server(book, "a leg is closed before the round is open", order, played, script=[closed], errors={0: "argument"})
    _server(book, "opened twice", order, played, script=[opened, *script], errors={1: "argument"})
    early = [script[1], *script]
    _server(book, "a message before the round is open", ("ROU-10",), played, script=early, errors={0: A})
    over = [*script, closed]
    _server(book, "closed once too often", order, played, script=over, errors={len(script): "argument"})


def _corrupt(book: Book) -> None:
    """Clients that lie, and sign what they lie."""

    def bent_shares(field: str) -> Changes:
        def change(of: Play, message: ClientMessage) -> ClientMessage:
            if not isinstance(message, Unmask) or message.sender != A:
                return message
            (owner, share), *rest = getattr(message, field)
            return attrs.evolve(message, **{field: ((owner, bytes([share[0] ^ 1]) + share[1:]), *rest)})

        return change

    keyed = _play(lost=[(MaskedInput, C)], change=bent_shares("key_shares"))
    at = len(keyed.happened) - 1
    _server(
        book,
        "basic: a corrupt share of a mask key",
        ("ROU-12", "SHM-4"),
        keyed,
        "RebuiltKeyNotChecked",
        errors={at: C},
    )
    selfed = _play(change=bent_shares("self_shares"))
    at = len(selfed.happened) - 1
    _server(book, "basic: a corrupt share of a self mask's seed", ("AGG-2", "ROU-12"), selfed, "SlotsNotChecked", errors={at: "server"})
    honest = _play(_params(hardened=True), lost=[(MaskedInput, C)])
    for field, what in (("self_shares", "a self mask's seed"), ("key_shares", "a mask key")):
        where = next(k for k, h in enumerate(honest.happened) if k > len(honest.happened) - 4 and h.sender == A)
        message = honest.signed(bent_shares(field)(honest, attrs.evolve(honest.arrived(where, Unmask), signature=b"")), honest.ctx)
        script = [*honest.happened[:where], honest.arrival(message), *honest.happened[where:]]
        _server(
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
            return of.signed(attrs.evolve(message, seed_commitment=book.bytes("seed commitment")), context.ctx0())  # type: ignore[no-any-return]
        return message

    broken = _play(_params(hardened=True), change=other_seed)
    _server(
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

    claimed = _play(_params(), history=None, round=1, change=pruned)
    _server(
        book,
        "a client says that it pruned, and there is no history",
        ("ROU-13",),
        claimed,
        "PrunedWithoutHistoryTaken",
        errors={len(claimed.happened) - 1: "argument"},
    )
