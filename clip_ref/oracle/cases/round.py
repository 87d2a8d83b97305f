"""Cases of whole rounds.   Spec: round."""

from typing import Any

from clip_ref.errors import SERVER
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases import round_client, round_server
from clip_ref.oracle.cases.rounds import (
    A,
    B,
    basic_play,
    hardened_play,
)
from clip_ref.oracle.cases.small import f32
from clip_ref.oracle.play import Play, identities


def make(book: Book) -> None:
    """What lasts, then a client's side, then a server's."""
    _lasting(book)
    _constructed(book)
    round_client.make(book)
    round_server.make(book)


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
        (
            "−0 is not 0: models are told apart by digest",
            ("ModelsCompared",),
            {"model": f32(0, 1), "yielded": f32(-0.0, 1)},
        ),
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


def _constructed(book: Book) -> None:
    """What a client refuses before it is told anything."""
    plain, hardened = basic_play(), hardened_play()
    flag = ("IdentityNotChecked",)

    def refuse(rule: str, comment: str, played: Play, flags: tuple[str, ...] = (), **changed: Any) -> None:
        book.invalid("round.client", rule, comment=comment, flags=flags, **played.as_client(A, script=[], **changed))

    refuse("ROU-3", "31 bytes of entropy", plain, entropy=book.bytes("entropy", 31))
    refuse("PAR-6", "the server's id", plain, me=SERVER)
    refuse("ROU-18", "`hardened` without an identity", hardened, flag, identity=None)
    refuse("ROU-18", "`hardened` with another's identity", hardened, flag, identity=hardened.entrants[B].identity)
    refuse("ROU-18", "`hardened` with an empty directory", hardened, flag, directory={})
    refuse("ROU-18", "`basic` with an identity", plain, flag, identity=hardened.entrants[A].identity)
    refuse("ROU-18", "`basic` with a directory", plain, flag, directory=identities(hardened.entrants))
    empty: dict[str, Any] = {"script": []}
    book.invalid(
        "round.server",
        "ROU-18",
        comment="a server at `hardened` without a directory",
        flags=flag,
        **hardened.as_server(directory={}, **empty),
    )
    with_one = plain.as_server(directory=identities(hardened.entrants), **empty)
    book.invalid("round.server", "ROU-18", comment="a server at `basic` with one", flags=flag, **with_one)
    for comment, changed in (
        ("a server's model of another length", {"model": f32(1, 2), "history": None}),
        ("NaN in a server's model", {"model": f32(*[float("nan")] * 12)}),
    ):
        book.invalid("round.server", "ROU-1", comment=comment, **plain.as_server(**changed, **empty))
