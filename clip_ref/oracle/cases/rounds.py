"""The rounds that cases of whole rounds are taken from: really played ones.   Spec: round."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

from clip_ref.messages import (
    ClientMessage,
    TimeRecord,
)
from clip_ref.oracle.case import Book, Wrong, derived
from clip_ref.oracle.cases.small import dense, f32, policy, record
from clip_ref.oracle.operations.round import Happening, Told
from clip_ref.oracle.play import Entrant, Kind, Play, play
from clip_ref.params import Encoding, Params, SecurityLevel
from clip_ref.round import State
from clip_ref.values import ClientId, Floats, RoundNumber

IDS = tuple(map(ClientId, (3, 8, 2**31 + 5, 2**32 - 2)))
"""Clients, ascending."""

A, B, C, D = IDS

HISTORY = f32(*((7 * k % 23 - 11) / 8 for k in range(12)))
"""The model before."""

MODEL = HISTORY + f32(*((5 * k % 13 - 6) / 64 for k in range(12)))
"""w_i."""

Changes = Callable[[Play, ClientMessage], ClientMessage]


def params_of(
    clients: int = 3,
    threshold: int = 2,
    *,
    hardened: bool = False,
    bits: int = 32,
    kappa: int = 1000,
    **changed: Any,
) -> Params:
    """A clique; `kappa` is the threshold κ of its policy."""
    return Params(
        clients=clients,
        threshold=threshold,
        policy=policy(threshold=kappa, **changed),
        encoding=Encoding(ring_bits=bits, value_bits=10, weight_max=50),
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
    )


def graph_of(*, hardened: bool = False, **changed: Any) -> Params:
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


def update_of(client: ClientId, length: int) -> Floats:
    """Numbers of both signs; some are beyond the clipping bound."""
    return f32(*((31 * (client % 97) + 17 * k) % 41 / 16 - 1.25 for k in range(length)))


def played_of(
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
    found = params or params_of()
    members = (
        IDS[: found.clients] if found.clients <= len(IDS) else tuple(ClientId(10 * k) for k in range(found.clients))
    )
    times = {
        u: record(1900, 1400, 900, weight=5 + u % 40) if u in slow else record(1000, weight=5 + u % 40) for u in members
    }
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
        update=update_of,
        lost=lost,
        **({} if change is None else {"change": change}),
    )


@cache
def basic_play() -> Play:
    """Three clients, t = 2."""
    return played_of()


@cache
def hardened_play() -> Play:
    """The same at `hardened`."""
    return played_of(params_of(hardened=True))


def expect(entries: Any, errors: Mapping[int, int | str], comment: str) -> None:
    """Hold what came out against what a case says: which steps are refused, and whose fault that is."""
    found = {}
    for at, entry in enumerate(entries):
        if "error" in entry:
            error = entry["error"]
            found[at] = error.get("culprit", error.get("stage", "argument"))
    if found != errors:
        raise Wrong(f"{comment}: refused are {found}, said to be {dict(errors)}")


def client_case(
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
    out = book.valid(
        "round.client", *dict.fromkeys((*rules, "ROU-3", "ROU-23")), comment=comment, flags=flags, **inputs
    )
    expect(out, errors or {}, comment)


def server_case(
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
    expect(out, errors or {}, comment)
