"""Random inputs for the operations of whole rounds: rounds that were played, with a step or two changed.   Spec: round."""

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs
import numpy as np

from clip_ref import wire
from clip_ref.errors import SERVER
from clip_ref.messages import Advertise, Consistent, Header, MaskedInput, Open, ShareKeys, TimeRecord, Unmask
from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.round import Event, Happening, Step, Told
from clip_ref.oracle.play import Entrant, Kind, Play, play
from clip_ref.params import Params, PruningPolicy, Score, SecurityLevel
from clip_ref.round import State
from clip_ref.round.client import sizes
from clip_ref.values import ClientId, Floats, RoundNumber

_KINDS: tuple[Kind, ...] = (Advertise, ShareKeys, MaskedInput, Consistent, Unmask)


def _params(random: Random) -> Params:
    """Three or four clients, or five on a graph, who may prune from round 2 on."""
    on_graph, hardened = common.seldom(random, 4), bool(random.randrange(2))
    few: dict[str, Any] = {"bucket_count": 3, "min_roster": 0, "warm_up": 1, "score": Score.L1, "straggler_share": 500}
    rules: PruningPolicy = common.policy(random, graph=on_graph, grid=(1000, 750, 500), **few)
    if hardened:
        rules = attrs.evolve(rules, anonymity_blocks=False)
    clients = 5 if on_graph else random.choice((3, 4))
    sums = common.encoding(random, spread=rules.terms(clients), clip=random.choice((1.0, 0.5, 3.0)))
    threshold = 3 if clients == 4 else 2
    return Params(
        clients=clients,
        neighbours=2 if on_graph else 0,
        threshold=threshold,
        min_survivors=3 if on_graph else threshold,
        policy=rules,
        encoding=sums,
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
    )


def _record(random: Random, params: Params) -> TimeRecord:
    """The record of a client that is fast, slow or new."""
    levels = len(params.policy.grid)
    fit = tuple(sorted((random.randint(1, 20) * 100 for _ in range(levels)), reverse=True))
    weight = random.choice((1, params.encoding.weight_max))
    flags = (not common.seldom(random), True, bool(random.randrange(2)))
    return TimeRecord(*flags, 0, 0, 0, random.choice((0, 500)), fit, weight, bytes(32))


def _played(random: Random) -> Play:
    """A round in which up to three messages do not arrive."""
    params, layout = _params(random), common.dense_layout(random, most=3)
    model, history = common.floats(random, layout.size), common.floats(random, layout.size)
    members: list[ClientId] = common.client_ids(random, least=params.clients, most=params.clients)
    announced = None if common.seldom(random, 5) else history
    entrants = {
        u: Entrant(
            record=_record(random, params),
            history=None if common.seldom(random) else history,
            entropy=random.randbytes(32),
            identity=random.randbytes(32) if params.hardened else None,
        )
        for u in members
    }
    updates = {u: common.floats(random, layout.size) for u in members}
    lost = [(random.choice(_KINDS), random.choice(members)) for _ in range(random.choice((0, 0, 1, 1, 3)))]
    target = random.choice((0, 500, 1000)) if params.neighbours else 0

    def update(client: ClientId, length: int) -> Floats:
        return updates[client][:length]

    return play(
        params=params,
        layout=layout,
        state=State(random.randbytes(16), RoundNumber(random.randint(1, 4)), model, announced, target),
        entrants=entrants,
        update=update,
        lost=lost,
    )


@draws("round.client")
def client(random: Random) -> Mapping[str, Any]:
    """A client's script with up to two steps changed; now and then a client that cannot be."""
    played = _played(random)
    me = random.choice(tuple(played.entrants))
    script = played.script(me)
    for _ in range(random.choice((0, 1, 1, 2))):
        _change(random, script)
    known = played.as_client(me, script=script)
    if common.seldom(random):
        unlike = {"identity": None} if played.params.hardened else {"identity": random.randbytes(32)}
        sessions = ({"session": found} for found in (None, random.randbytes(16), random.randbytes(15)))
        known |= random.choice((unlike, {"entropy": random.randbytes(31)}, {"me": ClientId(2**32 - 1)}, *sessions))
    elif common.seldom(random) and script and script[0].step is Step.OPEN:
        script.insert(0, _another(random, played, played.script(me)[0]))  # the one in the script may be damaged
    return known


def _another(random: Random, played: Play, opening: Told) -> Told:
    """An `Open` that may be taken or refused, before the round's own."""
    message: Any = wire.decode(
        opening.data,
        expected=wire.header(opening.data),
        kind=Open,
        sizes=sizes(params=played.params, layout=played.layout),
    )
    changed: dict[str, Any] = random.choice(
        (
            {"session": random.randbytes(16)},
            {"round": RoundNumber(random.choice((0, 1, 9)))},
            {"config": random.randbytes(32)},
            {"directory": random.randbytes(32)},
            {"model": random.randbytes(32)},
            {"target": random.randrange(1000)},
        )
    )
    context = attrs.evolve(message.context, **changed)
    header = Header(context.session, context.round, SERVER)
    return Told(Step.OPEN, wire.encode(Open(context), header))


def _change(random: Random, script: list[Told]) -> None:
    """Repeat, move, leave out, damage or interrupt a step."""
    at, how = random.randrange(len(script)) if script else 0, random.randrange(6)
    if how == 0:
        script.insert(random.randint(0, len(script)), Told(Step.RESTART, b""))
    elif how == 1 and script:
        script.insert(random.randint(0, len(script)), script[at])
    elif how == 2 and script:
        script.insert(random.randint(0, len(script) - 1), script.pop(at))
    elif how == 3 and script:
        del script[at]
    elif script and script[at].step is Step.MASKED_INPUT:
        numbers = np.frombuffer(script[at].data, dtype="<f4").copy()
        numbers[:1] = random.choice((np.nan, np.inf, 0.0))
        script.insert(at, Told(Step.MASKED_INPUT, numbers[random.randrange(2) :].tobytes()))
    elif script and script[at].data:
        script.insert(at, attrs.evolve(script[at], data=common.tampered(random, script[at].data)))


@draws("round.server")
def server(random: Random) -> Mapping[str, Any]:
    """A server's script with up to two steps changed; now and then a server that cannot be."""
    played = _played(random)
    script = list(played.happened)
    for _ in range(random.choice((0, 1, 1, 2))):
        _disturb(random, script)
    known = played.as_server(script=script)
    if common.seldom(random):
        damaged = played.state.model.copy()
        damaged[0] = np.nan
        with_one = {ClientId(1): random.randbytes(32)}
        unlike = {"directory": {} if played.params.hardened else with_one}
        known |= random.choice((unlike, {"model": damaged}, {"model": damaged[1:], "history": None}))
    return known


def _disturb(random: Random, script: list[Happening]) -> None:
    """Repeat, move, leave out, damage or misattribute an event, or close a leg too early."""
    at, how = random.randrange(len(script)), random.randrange(6)
    found = script[at]
    if how == 0:
        script.insert(at, Happening(Event.CLOSE, None, b""))
    elif how == 1:
        script.insert(random.randint(0, len(script)), found)
    elif how == 2:
        script.insert(random.randint(0, len(script) - 1), script.pop(at))
    elif how == 3 and len(script) > 1:
        del script[at]
    elif found.event is Event.ACCEPT and how == 4:
        script.insert(at, attrs.evolve(found, data=common.tampered(random, found.data)))
    elif found.event is Event.ACCEPT:
        script.insert(at, attrs.evolve(found, sender=common.client_id(random)))


@draws("round.next_state")
def next_state(random: Random) -> Mapping[str, Any]:
    """Models that often are the same; seldom one that cannot be."""
    size = random.randint(1, 4)
    several = [common.floats(random, size) for _ in range(2)]
    model, yielded = random.choice(several), random.choice((*several, None))
    history = random.choice((*several, None))
    if common.seldom(random):
        broken = model.copy()
        broken[0] = random.choice((np.nan, np.inf))
        model, history, yielded = random.choice(
            (
                (broken, history, yielded),
                (model, broken, yielded),
                (model, history, model[1:]),
                (model, model[1:], None),
            )
        )
    return {"round": 1 + random.randrange(2**53), "model": model, "history": history, "yielded": yielded}
