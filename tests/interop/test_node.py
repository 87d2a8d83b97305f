"""A second implementation, in JavaScript, agrees with the package: on every vector, at random, and within one round."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray
from rounds import (
    LAYOUT,
    SESSION,
    InTransit,
    clients_of,
    directory_of,
    identity_of,
    models,
    params_of,
    plain_inputs,
    plain_sum,
    policy_of,
    record_of,
    state_of,
    time_of,
    train,
    weight_of,
)

from clip_ref import wire
from clip_ref.errors import SERVER
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    Consistent,
    Deliver,
    Header,
    MaskedInput,
    Message,
    Open,
    Roster,
    ShareKeys,
    Unmask,
)
from clip_ref.oracle import conformance
from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.operation import OPERATIONS
from clip_ref.oracle.operations.round import Event, Happening, Step, Told
from clip_ref.oracle.program import Program
from clip_ref.oracle.report import Report
from clip_ref.params import Mean, Params
from clip_ref.round import Client, DropOut, Leg, Server, Work, ids, run_round
from clip_ref.round.client import sizes
from clip_ref.values import ClientId, Floats

Ask = Callable[[str, Mapping[str, Json]], Any]

OLDEST: Final = 18
"""The first version of Node that has all that the program uses."""


def command() -> list[str]:
    """How the program is started; skips the test where it cannot be."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)", said)
    if found is None or int(found[1]) < OLDEST:
        pytest.skip(f"Node is {said.strip()}, older than {OLDEST}")
    return [node, str(Path(__file__).parent / "node" / "adapter.mjs")]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Asks the program for an operation's output."""
    program = Program(command=command(), timeout=30)

    def answer(operation: str, values: Mapping[str, Json]) -> Any:
        request = {"id": 1, "operation": operation, "inputs": OPERATIONS[operation].json(values)}
        program.send((json.dumps(request) + "\n").encode())
        return json.loads(program.line())["output"]

    yield answer
    program.finish()
    program.stop()


def _wrong(report: Report) -> list[tuple[str, str]]:
    return [(outcome.case.id, outcome.detail) for outcome in report.failures()]


@pytest.mark.rule("CNF-2", "CNF-3")
def test_every_vector() -> None:
    report = conformance(command=command(), timeout=60)
    assert _wrong(report) == []
    assert report.holds


@pytest.mark.slow
def test_ten_thousand_random_cases() -> None:
    report = conformance(command=command(), random=10_000, timeout=60)
    assert _wrong(report) == []


# One round, by both programs


def header(sender: int) -> Header:
    return Header(SESSION, state_of().round, ClientId(sender))


def kept_of(said: Any) -> dict[str, NDArray[np.int64]]:
    return {layer: np.array(neurons) for layer, neurons in said["kept"].items()}


class Elsewhere:
    """A client that the other program plays: it is told the whole script so far, and its last entry is the answer."""

    work: Final[Mapping[Leg, Work]] = {}
    masking_work: Final = Work()

    def __init__(self, ask: Ask, like: Client, params: Params, slow: bool) -> None:
        """`like` is the client that it stands in for: same id, same record."""
        me = like.me
        self._ask: Final = ask
        self._header: Final = header(me)
        self._sizes: Final = sizes(params=params, layout=LAYOUT)
        self._script: Final[list[Told]] = []
        self._values: Final = {
            "me": me,
            "params": params,
            "layout": LAYOUT,
            "record": record_of(time_of(me, slow), weight=weight_of(me), grid=params.policy.grid),
            "history": models()[1],
            "entropy": bytes([me]) * 32,
            "identity": identity_of(me).data,
            "directory": directory_of(params, ids(params.clients)).keys,
            "session": SESSION,
        }

    def _told(self, step: Step, data: bytes) -> Any:
        self._script.append(Told(step, data))
        return self._ask("round.client", self._values | {"script": self._script})[-1]["output"]

    def _read(self, said: str, kind: type[Message]) -> Any:
        return wire.decode(bytes.fromhex(said), expected=self._header, kind=kind, sizes=self._sizes)

    def _answer(self, step: Step, message: Message, kind: type[Message]) -> Any:
        return self._read(self._told(step, wire.encode(message, header(SERVER))), kind)

    def open(self, message: Open) -> Any:
        return self._answer(Step.OPEN, message, Advertise)

    def roster(self, message: Roster) -> Any:
        return self._answer(Step.ROSTER, message, ShareKeys)

    def deliver(self, message: Deliver) -> Any:
        return Assigned(self._told(Step.DELIVER, wire.encode(message, header(SERVER))))

    def masked_input(self, update: Floats) -> Any:
        return self._read(self._told(Step.MASKED_INPUT, update.tobytes()), MaskedInput)

    def announce(self, message: Announce) -> Any:
        return self._answer(Step.ANNOUNCE, message, Consistent)

    def agreed(self, message: Agreed) -> Any:
        return self._answer(Step.AGREED, message, Unmask)


@attrs.frozen
class Keep:
    """As much of a verdict as a sum in the clear takes."""

    keep: int


class Assigned:
    """As much of an assignment."""

    def __init__(self, said: Any) -> None:
        self.kept: Final = kept_of(said)
        self.verdict: Final = Keep(said["verdict"]["keep"])


PYTHON, NODE = (0, 2, 4), (1, 3, 5)
"""Who is played by which program; of those below, 1, 2 and 3 are slow and prune."""

SLOW: Final = (1, 2, 3)
DROPS: Final = {ClientId(2): DropOut(Leg.INPUT, False), ClientId(5): DropOut(Leg.UNMASK, False)}


@pytest.mark.rule("ROU-7", "MSK-6", "AGR-6", "AGR-7", "AGG-9")
@pytest.mark.parametrize(
    ("mean", "bits", "spread"),
    [(Mean.LEVELS, 32, False), (Mean.HOLDER, 64, False), (Mean.HOLDER, 64, True), (Mean.STRATA, 32, True)],
)
def test_clients_of_both_programs_come_to_one_exact_sum(ask: Ask, mean: Mean, bits: int, spread: bool) -> None:
    """At `hardened`, with two of six dropping out: a slow one of one program before its input, one of the other at the end."""
    params = params_of(policy_of(mean, spread=spread), clients=6, threshold=4, bits=bits, hardened=True)
    roster = ids(6)
    server = InTransit(params=params, layout=LAYOUT, state=state_of(), directory=directory_of(params, roster))
    clients: dict[ClientId, Any] = dict(clients_of(params, roster, map(ClientId, SLOW)))
    clients |= {u: Elsewhere(ask, clients[u], params, u in SLOW) for u in map(ClientId, NODE)}
    result = run_round(server=server, clients=clients, train=train, drop_outs=DROPS)
    assert result.faults == ()
    assert (result.u2, result.u3, result.u5) == ((0, 1, 2, 3, 4, 5), (0, 1, 3, 4, 5), (0, 1, 3, 4))
    assignments = {**result.assignments, ClientId(2): clients[ClientId(2)].deliver(server.deliveries[ClientId(2)])}
    assert {u for u, a in assignments.items() if a.verdict.keep < 1000} == set(SLOW)
    inputs = plain_inputs(params, assignments)
    assert server.total_unmasked.tolist() == plain_sum(params, inputs, result.u3)


@pytest.mark.rule("ROU-9", "ROU-12", "MSK-6", "AGG-7")
def test_a_server_of_the_other_program_comes_to_the_same_model(ask: Ask) -> None:
    """The same drop-outs, with our clients; then all of it once more with our server."""
    params = params_of(policy_of(), clients=6, threshold=4, hardened=True)
    roster = ids(6)
    size, state = sizes(params=params, layout=LAYOUT), state_of()
    clients = clients_of(params, roster, map(ClientId, SLOW))
    values = {
        "params": params,
        "layout": LAYOUT,
        "session": SESSION,
        "round": state.round,
        "model": state.model,
        "history": state.history,
        "target": 0,
        "directory": directory_of(params, roster).keys,
    }
    script: list[Happening] = []

    def after(event: Event) -> Any:
        script.append(Happening(event, None, b""))
        return ask("round.server", values | {"script": script})[-1]["output"]

    def leg(sent: Mapping[str, str], kind: type[Message], leg: Leg, step: Callable[[Client, Any], Message]) -> Any:
        for u in map(ClientId, sorted(map(int, sent))):
            message = wire.decode(bytes.fromhex(sent[str(u)]), expected=header(SERVER), kind=kind, sizes=size)
            if u not in DROPS or DROPS[u].leg is not leg:
                script.append(Happening(Event.ACCEPT, u, wire.encode(step(clients[u], message), header(u))))
        return after(Event.CLOSE)

    def input_of(client: Client, message: Deliver) -> MaskedInput:
        return client.masked_input(train({client.me: client.deliver(message)})[client.me])

    opening = after(Event.OPEN)[str(SERVER)]
    said = leg({str(u): opening for u in roster}, Open, Leg.ADVERTISE, Client.open)
    said = leg(said, Roster, Leg.SHARE, Client.roster)
    said = leg(said, Deliver, Leg.INPUT, input_of)
    said = leg(said, Announce, Leg.CONSISTENCY, Client.announce)
    said = leg(said, Agreed, Leg.UNMASK, Client.agreed)

    ours = Server(params=params, layout=LAYOUT, state=state, directory=directory_of(params, roster))
    fresh = clients_of(params, roster, map(ClientId, SLOW))
    result = run_round(server=ours, clients=fresh, train=train, drop_outs=DROPS)
    assert said["sum"] == ours.total_unmasked.tobytes().hex()
    assert said["model"] == result.aggregate.model.tobytes().hex()
