"""Cases of a client's side of a round.   Spec: round."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs
import numpy as np

from clip_ref import graph, wire
from clip_ref.canonical import model_digest
from clip_ref.errors import SERVER
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    Header,
    MaskedInput,
    Open,
    ShareKeys,
)
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.rounds import (
    HISTORY,
    MODEL,
    A,
    B,
    C,
    D,
    basic_play,
    client_case,
    graph_of,
    hardened_play,
    params_of,
    played_of,
    update_of,
)
from clip_ref.oracle.cases.small import f32, record
from clip_ref.oracle.operations.round import Step, Told
from clip_ref.oracle.play import Play
from clip_ref.params import Mean, Score, Selection, SlackSeed
from clip_ref.values import ClientId, RoundNumber


def make(book: Book) -> None:
    """In the order of the round, each step as it should be and as it should not."""
    _drawn(book)
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


WHOLE = ("ROU-7", "ROU-4", "ROU-5", "ROU-6", "ROU-8", "MSK-5", "PAD-2", "COD-4", "COD-3")
"""What it takes to go through a round as a client."""


def _drawn(book: Book) -> None:
    """First of all: what every answer rests on."""
    alone = "SecretsFromEntropyAlone"
    client_case(book, "what a client draws", ("ROU-23",), basic_play(), B, alone, script=basic_play().script(B)[:1])
    for changed, comment in (
        ({"model": book.bytes("model")}, "the same entropy under another model: other keys"),
        ({"round": RoundNumber(4)}, "the same entropy in the next round: other keys"),
        ({"history": book.bytes("history")}, "the same entropy with another history: other keys"),
        ({"session": book.bytes("session", 16)}, "the same entropy in another session: other keys"),
        ({"target": 1}, "the same entropy with another target: other keys"),
    ):
        opening = opened_otherwise(basic_play(), **changed)
        client_case(book, comment, ("ROU-23",), basic_play(), B, alone, script=[opening])


def opened_otherwise(of: Play, **changed: Any) -> Told:
    """Another `Open` than the round's."""
    context = attrs.evolve(of.message(B, Step.OPEN).context, **changed)
    return Told(Step.OPEN, wire.encode(Open(context), Header(context.session, context.round, SERVER)))


def _clients(book: Book) -> None:
    plain = basic_play()
    for me, where in ((A, "the smallest id"), (B, "in the middle"), (C, "the largest id")):
        client_case(book, f"a round of three, {where}", WHOLE, plain, me)
    late = played_of(slow=(C,))
    prune = (*WHOLE, "IDN-6", "INV-3", "SEL-2", "SUB-2")
    client_case(book, "a straggler: it trains a third", (*prune, "PAD-5"), late, C)
    client_case(book, "beside a straggler", prune, late, A)
    client_case(
        book, "a warm-up round: nobody prunes", (*WHOLE, "IDN-9"), played_of(params_of(warm_up=3), slow=(C,)), C
    )
    other = HISTORY + f32(*[1.0] * 12)
    for comment, found in (("without the history: it says so", None), ("another history than was announced", other)):
        client_case(book, comment, ("ROU-4", *WHOLE), played_of(slow=(C,), kept={C: found}), C, "HasModelAlways")
    client_case(book, "the first round", (*WHOLE, "IDN-9"), played_of(history=None, round=1))
    invalid = {B: record(1000, 2000, 3000, weight=9)}
    client_case(book, "a record that takes no part", (*WHOLE, "IDN-1"), played_of(records=invalid, slow=(C,)), B)
    dropped = (*WHOLE, "CTX-5")
    one_gone = played_of(lost=[(MaskedInput, C)])
    both = "BothSharesRevealed"
    client_case(
        book, "one dropped out: a share of its mask key", ("ROU-8", *dropped), one_gone, B, both, "SelfShareOfDropped"
    )
    absent = played_of(lost=[(ShareKeys, A)])
    client_case(book, "one is not in U2: no mask with it", ("ROU-7", *dropped), absent, B, "MasksOverRoster")
    four = played_of(params_of(4), lost=[(ShareKeys, A), (MaskedInput, D)])
    client_case(book, "one not in U2, one not in U3", ("ROU-8", *dropped), four, C, both, "MasksOverRoster")
    wide = played_of(params_of(bits=64, mean=Mean.DILUTE), slow=(C,))
    client_case(book, "64 bits, dilute", (*prune, "PAD-4"), wide, C)
    paper = params_of(mean=Mean.DILUTE, selection=Selection.PAPER, slack_seed=SlackSeed.RECORDS, kappa=0)
    client_case(
        book, "slack from the records", ("SEL-4", *prune, "BRO-5"), played_of(paper, slow=(C,)), C, "SlackFromContext"
    )
    public = params_of(selection=Selection.PAPER, slack_seed=SlackSeed.CONTEXT, kappa=0)
    client_case(book, "slack from the context", (*prune, "SEL-4"), played_of(public, slow=(C,)), C)
    holder = played_of(params_of(mean=Mean.HOLDER, holder_cap=2), slow=(C,))
    for me, who in ((A, "who prunes nothing"), (C, "the straggler")):
        client_case(book, f"holder: {who} scales", (*prune, "COD-5", "AGG-4"), holder, me, "HoldersCounted")
    turns: dict[str, Any] = {"mean": Mean.STRATA, "spread": True}
    alike = record(1300, 900, 600, weight=9)
    two = played_of(params_of(4, **turns), records={C: alike, D: attrs.evolve(alike, weight=31)})
    missed = ("StrataAmongAll", "StrataLeftOut", "TurnsIgnored", "TurnNotTaken")
    stand_in = ("AGG-9", *prune, "IDN-12", "SEL-8", "COD-5", "AGG-4")
    for me, who, flags in (
        (A, "who prunes nothing codes as it is", ("StrataScalesAll",)),
        (C, "the first block stands in for the second", ("HeldByLevel", *missed)),
        (D, "the second block, for the first", missed),
    ):
        client_case(book, f"strata under spread: {who}", stand_in, two, me, *flags)
    nested = played_of(params_of(4, mean=Mean.STRATA), slow=(C,), records={D: alike})
    client_case(book, "strata alone: the lower level's neurons", stand_in, nested, D, "StrataAmongAll", "StrataLeftOut")
    lone = played_of(params_of(mean=Mean.STRATA), slow=(C,))
    client_case(book, "strata: a lone straggler has nobody to stand in for", stand_in, lone, C)
    fixed = params_of(selection=Selection.ORDERED, mean=Mean.DILUTE)
    without = played_of(fixed, slow=(C,), history=None)
    client_case(book, "ordered, without a history", ("SEL-9", *prune), without, C, "HistoryAlwaysNeeded")
    sizes = played_of(params_of(score=Score.SIZE), slow=(C,), kept={C: None})
    client_case(book, "sizes, and this client alone has no history", ("INV-9", *prune), sizes, C, "HistoryAlwaysNeeded")
    blocks = params_of(4, anonymity_blocks=True)
    client_case(book, "two stragglers in one block", (*prune, "IDN-8"), played_of(blocks, slow=(C, D)), D)
    signed = (*WHOLE, "AGR-4", "AGR-1", "AGR-2", "AGR-3", "AGR-6", "AGR-7")
    hardened = params_of(hardened=True)
    client_case(book, "hardened", ("ROU-8", *signed), played_of(hardened), B, "RevealsBeforeAgreement")
    client_case(
        book,
        "hardened, one dropped out",
        ("ROU-8", *signed),
        played_of(hardened, lost=[(MaskedInput, A)]),
        B,
        both,
        "RevealsBeforeAgreement",
    )
    client_case(book, "hardened, t others agree", signed, played_of(hardened, lost=[(Consistent, A)]), C)
    client_case(book, "hardened, a straggler", (*signed, *prune), played_of(hardened, slow=(C,)), C)
    client_case(book, "alone in U1 with t − 1 others", WHOLE, played_of(lost=[(Advertise, A)]), C)


def _order(book: Book) -> None:
    played, hardened = basic_play(), hardened_play()
    other = played_of(seed="another round")
    rule = ("ROU-3",)
    again = "AnswersTwice"
    script = played.script(B)
    twice = [told for told in script for _ in range(2)]
    client_case(book, "every message twice: the same answers", rule, played, B, script=twice)
    late = [*script, *script]
    client_case(book, "all once more in the end: the same answers", rule, played, B, script=late)
    strict = hardened.script(B)
    client_case(
        book, "every message twice, hardened", rule, hardened, B, script=[told for told in strict for _ in range(2)]
    )
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
        ("update", 4, Told(Step.MASKED_INPUT, update_of(C, 12).tobytes()), "argument"),
        ("announce", 5, played.tell(Step.ANNOUNCE, Announce((A, B))), "server"),
    )
    for name, at, second, culprit in seconds:
        client_case(
            book,
            f"a second, different {name} at a step that it has taken; the round goes on",
            rule,
            played,
            B,
            again,
            script=[*script[:at], second, *script[at:]],
            errors={at: culprit},
        )
    client_case(
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
        client_case(
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
    client_case(book, "agreed is no step at `basic`", rule, played, B, script=unsigned, errors={5: "argument"})
    for comment, flag, data in (
        ("of another round", "RoundNotHeld", script[1].data[:23] + b"\x04" + script[1].data[24:]),
        ("of another session", "SessionNotHeld", script[1].data[:7] + b"S" + script[1].data[8:]),
        ("of another sender", "SenderNotHeld", script[1].data[:31] + b"\x00\x00\x00\x00" + script[1].data[35:]),
        ("of another kind", "", script[0].data),
        ("with a byte too many", "", script[1].data + b"\x00"),
    ):
        client_case(
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
    played, hardened = basic_play(), hardened_play()
    variant = opened_otherwise
    script, strict = played.script(B), hardened.script(B)
    used_up = "RefusedOpenUsesUp"
    for comment, flag, opened in (
        ("another configuration", "ConfigNotChecked", variant(played, config=book.bytes("config"))),
        ("a directory, where there is none", "DirectoryNotChecked", variant(played, directory=book.bytes("directory"))),
    ):
        client_case(book, comment, ("ROU-4",), played, B, flag, script=[opened], errors={0: "server"})
        client_case(
            book,
            f"{comment}: refused, and the right one is taken",
            ("ROU-4", *WHOLE),
            played,
            B,
            flag,
            used_up,
            script=[opened, opened, script[1], *script],
            errors={0: "server", 1: "server", 2: "argument"},
        )
    client_case(
        book,
        "another directory",
        ("ROU-4",),
        hardened,
        B,
        "DirectoryNotChecked",
        used_up,
        script=[variant(hardened, directory=book.bytes("directory")), *strict],
        errors={0: "server"},
    )
    elsewhere = variant(hardened, session=book.bytes("session", 16))
    client_case(
        book,
        "another session than the one that it was made for; the right one is taken",
        ("ROU-22", "ROU-4"),
        hardened,
        B,
        "AnySession",
        used_up,
        script=[elsewhere, *strict],
        errors={0: "server"},
    )
    client_case(
        book,
        "another session after the right one: no second Open",
        ("ROU-3",),
        hardened,
        B,
        script=[strict[0], elsewhere, *strict[1:]],
        errors={1: "server"},
    )
    client_case(
        book,
        "a refused Open, and a restart: nothing was written down",
        ("ROU-4", "ROU-16", "ROU-22"),
        hardened,
        B,
        used_up,
        script=[elsewhere, Told(Step.RESTART, b""), *strict],
        errors={0: "server"},
    )
    pinned: dict[str, Any] = {"session": played.state.session}
    client_case(book, "a session at `basic`, too", ("ROU-22",), played, B, **pinned)
    client_case(
        book,
        "another session at `basic`, where one is named",
        ("ROU-22", "ROU-4"),
        played,
        B,
        "AnySession",
        script=[variant(played, session=book.bytes("session", 16)), *script],
        errors={0: "server"},
        **pinned,
    )
    far = variant(played, session=book.bytes("session", 16))
    client_case(book, "any session at `basic`, where none is named", ("ROU-22", "ROU-23"), played, B, script=[far])
    for comment, session, rule in (
        ("no session at `hardened`", None, "ROU-22"),
        ("a session of 15 bytes", book.bytes("session", 15), "CTX-3"),
    ):
        flags = ("SessionNotAsked",) if session is None else ()
        inputs = hardened.as_client(B, session=session)
        book.invalid("round.client", rule, comment=comment, flags=flags, **inputs)
    client_case(
        book,
        "round 0 is not after any",
        ("ROU-4",),
        played,
        B,
        "AnyRound",
        script=[variant(played, round=RoundNumber(0))],
        errors={0: "server"},
    )
    client_case(
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
        client_case(
            book,
            f"no message: {comment}; the client is as before",
            ("WIR-3",),
            played,
            B,
            script=[Told(Step.OPEN, data), script[0]],
            errors={0: "server"},
        )


def _rosters(book: Book) -> None:
    played, hardened = basic_play(), hardened_play()
    order, script = played_of(params_of(4)), played.script(B)
    roster = played.message(B, Step.ROSTER)
    mine = roster.bundles[1]

    def refused(
        comment: str,
        rule: str,
        flag: str,
        bundles: Sequence[Advertise],
        *,
        of: Play = played,
        culprit: int | str = "server",
    ) -> None:
        told = of.script(B)
        bad = of.tell(Step.ROSTER, attrs.evolve(of.message(B, Step.ROSTER), bundles=tuple(bundles)))
        client_case(
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
    refused(
        "a peer's key is of low order",
        "KEY-3",
        "PeerKeysNotChecked",
        [a, mine, attrs.evolve(c, mask_key=low)],
        culprit=C,
    )
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
    refused(
        "a peer's key is not the one it signed",
        "KEY-9",
        flag,
        [attrs.evolve(x, mask_key=z.mask_key), y, z],
        of=hardened,
        culprit=A,
    )
    refused(
        "a peer's commitment is not the one it signed",
        "KEY-9",
        flag,
        [x, y, attrs.evolve(z, seed_commitment=low)],
        of=hardened,
        culprit=C,
    )
    swapped = attrs.evolve(z, signature=x.signature)
    refused("another's signature", "KEY-9", flag, [x, y, swapped], of=hardened, culprit=C)
    whole = order.message(B, Step.ROSTER)
    descending = played.tell(Step.ROSTER, attrs.evolve(roster, bundles=(c, mine, a)))
    crowded = attrs.evolve(order, params=params_of()).tell(Step.ROSTER, whole)
    for comment, bad in (("ids that descend", descending), ("more than n clients", crowded)):
        client_case(
            book,
            f"{comment}: no message; the client is as before",
            ("WIR-4" if bad is descending else "WIR-5", "ROU-5"),
            played,
            B,
            script=[script[0], bad, script[1]],
            errors={1: "server"},
        )
    stranger = attrs.evolve(c, sender=ClientId(C + 1))
    client_case(
        book,
        "a peer that the server made up: it cannot tell at `basic`",
        ("ROU-5", "CTX-4"),
        played,
        B,
        script=[script[0], played.tell(Step.ROSTER, attrs.evolve(roster, bundles=(a, mine, stranger)))],
    )


def _delivered(book: Book) -> None:
    played, hardened = basic_play(), hardened_play()

    def refused(
        comment: str,
        rule: str,
        flag: str,
        change: Callable[[Any], Any],
        *,
        of: Play = played,
        culprit: int | str = "server",
    ) -> None:
        script = of.script(B)
        bad = of.tell(Step.DELIVER, change(of.message(B, Step.DELIVER)))
        client_case(
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
    refused(
        "the history instead of the model", "ROU-6", "ModelDigestNotChecked", lambda m: attrs.evolve(m, model=HISTORY)
    )
    for byte, what in ((0, "mask key's"), (32, "self mask's")):
        refused(
            f"the {what} share is not committed to",
            "ROU-6",
            "DeliveredCommitmentsNotChecked",
            touched(0, "commitments", byte),
            of=hardened,
            culprit=A,
        )

    def lying(of: Play, message: ClientMessage) -> ClientMessage:
        if isinstance(message, Advertise) and message.sender == C:
            opened = of.message(C, Step.OPEN).context
            return of.signed(attrs.evolve(message, record_commitment=book.bytes("record commitment")), opened.ctx0())
        return message

    lied = played_of(params_of(hardened=True), change=lying)
    client_case(
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
    client_case(book, "the digest of a model with NaN tells nothing", ("ROU-4",), played, B, script=alone)
    script = played.script(B)
    descending = played.message(B, Step.DELIVER)
    descending = attrs.evolve(descending, envelopes=descending.envelopes[::-1])
    client_case(
        book,
        "envelopes that descend: no message; the client is as before",
        ("WIR-4", "ROU-6"),
        played,
        B,
        script=[*script[:2], played.tell(Step.DELIVER, descending), script[2]],
        errors={2: "server"},
    )


def _inputs(book: Book) -> None:
    played = played_of(slow=(C,))
    script, rest = played.script(C), played.script(C)[4:]
    small = update_of(C, 4)
    for comment, flag, wrong in (
        ("an update of the whole model from a straggler", "UpdateLengthNotChecked", update_of(C, 12)),
        ("an update too short", "UpdateLengthNotChecked", small[:3]),
        ("NaN in the update", "BadUpdateUsesUp", f32(1, float("nan"), 2, 3)),
        ("an infinity in the update", "BadUpdateUsesUp", f32(1, 2, float("inf"), 3)),
    ):
        client_case(
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
    played, hardened = basic_play(), hardened_play()

    def refused(comment: str, flag: str, survivors: Sequence[ClientId], *, of: Play = played) -> None:
        script = of.script(B)
        bad = of.tell(Step.ANNOUNCE, Announce(tuple(survivors)))
        client_case(
            book,
            comment,
            ("ROU-8",),
            of,
            B,
            *((flag,) if flag else ()),
            script=[*script[:4], bad, script[4]],
            errors={4: "server", 5: "argument"},
        )

    absent = played_of(lost=[(ShareKeys, A)])
    refused("U3 has a client that is not in U2", "SurvivorsNotInU2Taken", [A, B, C], of=absent)
    refused("U3 has a client of no roster", "SurvivorsNotInU2Taken", [ClientId(4), B, C])
    refused("it is not in U3 itself", "NotInU3Taken", [A, C])
    refused("U3 has fewer than t clients", "FewSurvivorsTaken", [B])
    refused("U3 is empty", "", [])
    refused("at `hardened`, too", "NotInU3Taken", [A, C], of=hardened)


def _agreed(book: Book) -> None:
    played = hardened_play()
    script, good = played.script(B), played.message(B, Step.AGREED)
    dropped = played_of(params_of(4, threshold=3, hardened=True), lost=[(MaskedInput, D)])

    def refused(
        comment: str, rule: str, flag: str, found: Sequence[tuple[ClientId, bytes]], *, of: Play = played
    ) -> None:
        told = of.script(B)
        bad = of.tell(Step.AGREED, Agreed(tuple(found)))
        client_case(
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
    few = "SignaturesOneFewer"
    refused("fewer than t signatures", "AGR-7", few, [(b, by_b)])
    refused("no signatures", "AGR-7", few, [])
    refused(
        "a signature of a client that dropped out",
        "AGR-7",
        "StrangersCounted",
        [*dropped.message(B, Step.AGREED).signatures, (D, by_a)],
        of=dropped,
    )
    wrong = "AgreedSignaturesNotChecked"
    refused("signatures under each other's names", "AGR-8", wrong, [(a, by_b), (b, by_a)])
    bent = by_c[:-1] + bytes([by_c[-1] ^ 1])
    refused("one of three does not verify", "AGR-8", wrong, [(a, by_a), (b, by_b), (c, bent)])
    less = played.tell(Step.ANNOUNCE, Announce((A, B)))
    client_case(
        book,
        "others were told another U3: their signatures do not verify",
        ("AGR-8", "ROU-8", "AGR-6"),
        played,
        B,
        wrong,
        script=[*script[:4], less, played.tell(Step.AGREED, Agreed(((a, by_a), (b, by_b))))],
        errors={5: "server"},
    )
    client_case(
        book,
        "t signatures are enough",
        ("AGR-7", "ROU-8"),
        played,
        B,
        script=[*script[:5], played.tell(Step.AGREED, Agreed(((a, by_a), (c, by_c))))],
    )


def _restarts(book: Book) -> None:
    played, hardened = played_of(), played_of(params_of(hardened=True), lost=[(MaskedInput, A)])
    again = Told(Step.RESTART, b"")
    script = played.script(B)
    rule, forgets = ("ROU-16",), "ForgetsAfterRestart"
    for at in range(len(script) + 1):
        client_case(
            book,
            f"a restart after {at} steps",
            rule,
            played,
            B,
            *((forgets,) if 0 < at < len(script) else ()),
            script=[*script[:at], again, *script[at:]],
        )
    client_case(
        book,
        "restarts everywhere, and every message again",
        rule,
        hardened,
        B,
        forgets,
        script=[told for one in hardened.script(B) for told in (one, again, one)],
    )
    client_case(
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
    client_case(
        book,
        "a message was refused: a restart does not bring the client back",
        rule,
        played,
        B,
        "RestartForgives",
        script=[*script[:4], bad, again, script[4]],
        errors={4: "server", 6: "argument"},
    )
    client_case(
        book,
        "two restarts in a row, and another update",
        rule,
        played,
        B,
        forgets,
        script=[*script[:4], again, again, Told(Step.MASKED_INPUT, update_of(C, 12).tobytes()), *script[3:]],
        errors={6: "argument"},
    )


ON_GRAPH = (*WHOLE, "ROU-20", "ROU-21", "GRA-1", "GRA-4", "GRA-5")
"""What it takes on a graph."""


def _neighbourhoods(book: Book) -> None:
    played = played_of(graph_of(), target=1000)
    me = ClientId(20)
    client_case(book, "a round on a graph", ON_GRAPH, played, me)
    hardened = played_of(graph_of(hardened=True), target=1000)
    client_case(book, "hardened, on a graph", ("AGR-6", *ON_GRAPH), hardened, me, "GraphStatementById")
    late = played_of(graph_of(), target=1000, slow=(me,))
    client_case(book, "a straggler by its own judgement", (*ON_GRAPH, "GRA-8", "PAD-6"), late, me)
    silent = played_of(graph_of(), target=1000, records={me: record(9, has_time=False)})
    client_case(book, "without times: in no bucket", ("PAD-6", *ON_GRAPH, "GRA-8"), silent, me, "NoTimeOnGraphCounted")
    client_case(book, "T* = 0: nobody prunes", (*ON_GRAPH, "GRA-8"), played_of(graph_of(), slow=(me,)), me)
    script, good = played.script(me), played.message(me, Step.ROSTER)
    clique = played_of(params_of(5))
    client_case(
        book,
        "a clique's roster on a graph: no message",
        ("WIR-3", "ROU-20"),
        played,
        me,
        script=[script[0], clique.script(me)[1], script[1]],
        errors={1: "server"},
    )
    client_case(
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
        (
            "a proof that does not lead to the root",
            "GRA-4",
            "NeighboursNotProved",
            (mine, attrs.evolve(one, proof=two.proof), two),
        ),
        ("a proof for another position", "GRA-4", "", (mine, attrs.evolve(one, position=far.position), two)),
    )
    for comment, rule, flag, members in changes:
        message = attrs.evolve(good, members=tuple(sorted(members, key=lambda m: m.position)))
        client_case(
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
        client_case(
            book,
            f"{comment}: no message; the client is as before",
            (rule, "ROU-20"),
            played,
            me,
            script=[script[0], played.tell(Step.ROSTER, attrs.evolve(good, members=found)), script[1]],
            errors={1: "server"},
        )
    small = attrs.evolve(good, count=2)
    client_case(
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
    played = played_of(graph_of(), target=1000)
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
        client_case(
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
    refused_u2(
        "fewer than min_survivors in all",
        "FewOnGraphTaken",
        bits({place[me], near[0]}),
        envelopes=tuple(e for e in deliver.envelopes if place[e.peer] == near[0]),
    )
    refused_u2("a bit beyond the roster", "StrayBitsTaken", bytes([bits(everybody)[0] | 0x20]), "GRA-5")

    def refused_u3(comment: str, flag: str, u3: bytes, rule: str = "ROU-21", of: Play = played) -> None:
        told = of.script(me)
        bad = of.tell(Step.ANNOUNCE, Announce((), u3))
        client_case(
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
    absent = played_of(graph_of(), target=1000, lost=[(ShareKeys, away)])
    refused_u3("U3 lacks the client itself", own, bits(everybody - {place[me]}))
    refused_u3("U3 lacks both neighbours", alone, bits(everybody - set(near)))
    refused_u3("U3 has fewer than min_survivors", "FewOnGraphTaken", bits({place[me], near[0]}))
    refused_u3("a bit beyond the roster, in U3", "StrayBitsTaken", bytes([bits(everybody)[0] | 0x80]), "GRA-5")
    if stranger != absent.message(me, Step.ROSTER).count:
        refused_u3("U3 has a stranger that is not in U2", "GraphU3NotInU2Taken", bits(everybody), of=absent)
    told = played.tell(Step.ANNOUNCE, Announce((), bits(everybody - {near[0]})))
    client_case(
        book,
        "a neighbour dropped out: a share of its mask key",
        ("ROU-8", "ROU-21"),
        played,
        me,
        "BothSharesRevealed",
        script=[*script[:4], told],
    )
    told = played.tell(Step.ANNOUNCE, Announce((), bits(everybody - {stranger})))
    client_case(
        book,
        "a stranger dropped out: no share of its secrets",
        ("ROU-8", "ROU-21"),
        played,
        me,
        script=[*script[:4], told],
    )
