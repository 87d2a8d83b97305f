"""Model inconsistency: everybody but the victim gets a model on which nothing can be learnt.

Source: Pasquini, Francati, Ateniese, "Eluding secure aggregation", CCS 2022, doi:10.1145/3548606.3560557.
"""

from typing import Final

import attrs
import numpy as np

from clip_ref.attacks.outcome import Attack, Outcome
from clip_ref.attacks.stage import (
    BASIC,
    HARD,
    HIDDEN,
    INPUTS,
    LAYOUT,
    OUTPUTS,
    Fleet,
    Hoarder,
    advertise,
    distance,
    finish,
    policy,
    share,
    told,
    upload,
    whole,
)
from clip_ref.attacks.weakened import LeavesModelOut, TakesAnyModel
from clip_ref.canonical import model_digest
from clip_ref.messages import Open
from clip_ref.params import Params, SecurityLevel
from clip_ref.round import Client
from clip_ref.values import NO_DIGEST, ClientId, Floats

VICTIM: Final = ClientId(3)


def dead(model: Floats) -> Floats:
    """The model with hidden biases so low that no unit ever fires: all gradients but the output bias's are 0."""
    out = model.copy()
    out[HIDDEN * INPUTS : HIDDEN * INPUTS + HIDDEN] = -1e6
    return out


def _attempt(seed: int, level: SecurityLevel, kind: type[Client], *, announced: bool) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level))
    clients = fleet.clients(kind)
    server = Hoarder(fleet, fleet.state())
    other = dead(fleet.model)
    if announced:
        honest = server.open().context
        openings = {u: Open(told(honest, model=model_digest(other))) for u in fleet.ids} | {VICTIM: Open(honest)}
        if kind is LeavesModelOut:
            server.context = told(honest, model=NO_DIGEST)
        else:  # what most of them sign, so that as many as possible go on
            server.context = openings[ClientId(0)].context
        for u, client in clients.items():
            bundle = client.open(openings[u])
            if level is HARD and u == VICTIM:
                server.u1[u] = bundle
            else:
                server.accept(bundle)
        roster = server.close_advertise()
    else:
        roster = advertise(server, clients)
    deliveries = share(server, clients, roster)
    given = {u: m if u == VICTIM else attrs.evolve(m, model=other) for u, m in deliveries.items()}
    upload(server, fleet, clients, given)
    total = finish(server, clients)
    where = np.arange(LAYOUT.size) < LAYOUT.size - OUTPUTS
    weighted = whole(fleet, VICTIM) * fleet.weight(VICTIM)
    error = distance(fleet.params, total, 1, weighted, where) / fleet.weight(VICTIM)
    return Outcome(
        error == 0,
        f"client {VICTIM}'s weighted update on {where.sum()} of {LAYOUT.size} coordinates, as the sum of ten; largest error "
        f"{error:g} quantisation steps",
        error,
    )


DELIVERED: Final = Attack(
    name="model-inconsistency",
    title="another model for everybody but the victim",
    story="One model is announced, and another delivered to all but the victim: one whose hidden units never fire, so that "
    "they have nothing to add. The sum is the victim's update. Taken out: the check of the delivered model.",
    defence="ROU-6",
    without=lambda seed: _attempt(seed, BASIC, TakesAnyModel, announced=False),
    against=lambda seed: _attempt(seed, HARD, Client, announced=False),
)

ANNOUNCED: Final = Attack(
    name="split-announcement",
    title="another model announced to everybody but the victim",
    story="As `model-inconsistency`, but each client is delivered the model that it was told of, so that its own check is "
    "content. Taken out: the model's digest in the context of signatures, seals and masks.",
    defence="KEY-9",
    without=lambda seed: _attempt(seed, BASIC, LeavesModelOut, announced=True),
    against=lambda seed: _attempt(seed, HARD, Client, announced=True),
)
