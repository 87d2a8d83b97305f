"""The processes of a real run: a server and its clients, which know of one another what comes over their links.

Each is told what to do next by the process that made it (`Party`), over a pipe; what they have to say to one another in a round
are the protocol's own messages, over TCP.
"""

import multiprocessing
import os
import queue
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Final, cast

import attrs

from clip_ref import wire
from clip_ref.errors import SERVER, ContributionError
from clip_ref.keys import Directory
from clip_ref.layout import Kept, Layout
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    Deliver,
    Header,
    MaskedInput,
    Message,
    Open,
    Roster,
    ServerMessage,
    ShareKeys,
    Unmask,
)
from clip_ref.round import Client, Leg, Server, State
from clip_ref.round.journal import MemoryJournal
from clip_ref.sim.clock import Activity, Observed
from clip_ref.sim.costs import UnitCosts, measure
from clip_ref.values import ClientId, Digest, Floats, Microseconds, RoundNumber, SigningKey
from real_round import host
from real_round.frames import Link, Received
from real_round.scene import GRID, HOST_GHZ, Local, Memory, Scene, batch_seed, record_of

ANSWERS: Final[Mapping[Leg, type[Message]]] = {
    Leg.ADVERTISE: Advertise,
    Leg.SHARE: ShareKeys,
    Leg.INPUT: MaskedInput,
    Leg.CONSISTENCY: Consistent,
    Leg.UNMASK: Unmask,
}
"""What the server expects on each leg."""

PINGS: Final = 25
PROBE: Final = 1 << 18
"""Bytes by which a link's rate is measured."""

_PING, _TAKE, _GIVE, _END = b"p", b"t", b"g", b"e"


@attrs.frozen
class Step:
    """One activity of a client, in monotonic seconds."""

    leg: Leg
    activity: Activity
    start: float
    end: float


@attrs.frozen(eq=False)
class ClientLog:
    """What a client did in one round."""

    steps: tuple[Step, ...]
    """In order; the waiting in between is left out."""

    keep: int
    """Its keep level, ‰."""

    straggler: bool
    """Whether it had the status."""

    kept: Kept
    """Its neurons."""

    update: Floats
    """What it trained: float32[m]. Nobody else sees it; here, for the sum to be checked."""

    fit_cpu: float
    """CPU seconds of its training."""

    cpu: float
    """CPU seconds of all that it did."""


@attrs.frozen(eq=False)
class ServerLog:
    """What the server saw of one round, in monotonic seconds."""

    start: float
    """When it opened the round."""

    barriers: Mapping[Leg, float]
    """When each leg ended."""

    end: float
    """When it had the next model."""

    arrivals: Mapping[ClientId, float]
    """When whose masked input had come."""

    survivors: tuple[ClientId, ...]
    """U3."""

    lengths: tuple[int, ...]
    """Of the masked inputs, in bytes."""

    sum_digest: Digest
    """Of the unmasked sum."""

    model: Floats
    """The next model."""


class ClientParty:
    """A client process."""

    def __init__(self) -> None:
        self._history: Floats | None = None
        self._memory: Memory | None = None
        self._journal = MemoryJournal()

    def isolate(self) -> int:
        """Into a network of its own; its process id."""
        host.own_network()
        return os.getpid()

    def prepare(self, *, scene: Scene, me: ClientId, identity: SigningKey, directory: Directory) -> None:
        """Load the data, and train once, so that nothing is done for the first time when it counts."""
        self._scene, self._me, self._identity, self._directory = scene, me, identity, directory
        self._local = Local(scene)
        self._params = scene.params()
        self._local.fit(client=me, model=self._local.initial(), kept=self._local.first(GRID[0]), seed=0, brief=True)

    def calibrate(self) -> dict[int, float]:
        """CPU seconds of training per example and epoch, by keep level."""
        return {keep: self._local.calibrate(client=self._me, keep=keep) for keep in GRID}

    def measure(self) -> UnitCosts:
        """What the protocol's work costs, in ns of CPU time."""
        return measure(host_ghz=HOST_GHZ)

    def connect(self, *, address: str, port: int) -> None:
        """Join the server, and say who one is."""
        self._link = Link(socket.create_connection((address, port), timeout=20))
        self._link.send(bytes([self._me]))

    def close(self) -> None:
        """Leave."""
        self._link.close()

    def echo(self) -> None:
        """Answer probes until told to stop."""
        while True:
            kind = self._link.receive().data[:1]
            if kind == _END:
                return
            self._link.send(bytes(PROBE) if kind == _GIVE else _PING)

    def play(self, *, fits: Mapping[int, Microseconds]) -> list[ClientLog]:
        """All rounds of the scene, with these predictions of one's own training."""
        self._fits = fits
        return [self._play(RoundNumber(number)) for number in range(1, self._scene.rounds + 1)]

    def _take(self, number: RoundNumber, kind: type[Message]) -> tuple[Received, Any]:
        received = self._link.receive()
        header = Header(self._scene.session, number, SERVER)
        return received, wire.decode(received.data, expected=header, kind=kind, sizes=self._sizes)

    def _play(self, number: RoundNumber) -> ClientLog:
        from clip_ref.round.client import sizes

        params, layout = self._params, self._local.layout
        self._sizes = sizes(params=params, layout=layout)
        cpu = time.process_time()
        client = Client(
            me=self._me,
            params=params,
            layout=layout,
            record=record_of(memory=self._memory, fits=self._fits, weight=self._local.weight(self._me)),
            history=self._history,
            entropy=os.urandom(32),
            identity=self._identity,
            directory=self._directory,
            session=self._scene.session,
            journal=self._journal,
        )
        steps: list[Step] = []

        def simple(leg: Leg, kind: type[Message], act: Callable[[Any], ClientMessage]) -> None:
            received, message = self._take(number, kind)
            data = self._encoded(act(message), number)
            ready = time.monotonic()
            self._link.send(data)
            steps.append(Step(leg, Activity.DOWNLOAD, received.first, received.last))
            steps.append(Step(leg, Activity(leg.value), received.last, ready))
            steps.append(Step(leg, Activity.UPLOAD, ready, time.monotonic()))

        simple(Leg.ADVERTISE, Open, client.open)
        simple(Leg.SHARE, Roster, client.roster)
        log = self._input(client, number, steps)
        if self._scene.silent.get(number) != self._me:
            simple(Leg.CONSISTENCY, Announce, client.announce)
            simple(Leg.UNMASK, Agreed, client.agreed)
        return attrs.evolve(log, steps=tuple(steps), cpu=time.process_time() - cpu)

    def _input(self, client: Client, number: RoundNumber, steps: list[Step]) -> ClientLog:
        """Choose, train, mask, hold back if it must, and send."""
        received, message = self._take(number, Deliver)
        assignment = client.deliver(message)
        times = [received.first, received.last, time.monotonic()]
        verdict, update, cpu = assignment.verdict, assignment.model[:0], 0.0
        if self._scene.silent.get(number) != self._me:
            begun = time.process_time()
            update = self._local.fit(
                client=self._me,
                model=assignment.model,
                kept=assignment.kept,
                seed=batch_seed(self._scene, number=number, client=self._me),
            )
            cpu = time.process_time() - begun
            times.append(time.monotonic())
            data = self._encoded(client.masked_input(update), number)
            times.append(time.monotonic())
            time.sleep(max(0.0, received.first + assignment.not_before / 1e6 - times[-1]))
            times.append(time.monotonic())
            self._link.send(data)
            times.append(self._link.drain())
        names = [Activity.DOWNLOAD, Activity.SELECT, Activity.FIT, Activity.MASK, Activity.HOLD, Activity.UPLOAD]
        took = {
            name: Step(Leg.INPUT, name, start, end) for name, start, end in zip(names, times, times[1:], strict=False)
        }
        steps += took.values()
        if Activity.UPLOAD in took:
            micro = {name: Microseconds(round((step.end - step.start) * 1e6)) for name, step in took.items()}
            observed = Observed(
                down=micro[Activity.DOWNLOAD],
                select=micro[Activity.SELECT],
                fit=micro[Activity.FIT],
                mask=micro[Activity.MASK],
                up=micro[Activity.UPLOAD],
            )
            self._memory = Memory(observed, verdict.straggler)
        self._history = assignment.model
        return ClientLog((), verdict.keep, verdict.straggler, assignment.kept, update, cpu, 0.0)

    def _encoded(self, message: ClientMessage, number: RoundNumber) -> bytes:
        return wire.encode(message, Header(self._scene.session, number, self._me))


class ServerParty:
    """The server process."""

    def isolate(self) -> int:
        """Into a network of its own; its process id."""
        host.own_network()
        return os.getpid()

    def listen(self, *, address: str) -> int:
        """Open a port, and say which."""
        self._socket = socket.create_server((address, 0), backlog=64)
        self._socket.settimeout(60)
        return cast("int", self._socket.getsockname()[1])

    def admit(self, *, clients: int) -> None:
        """Wait for so many clients."""
        self._links: dict[ClientId, Link] = {}
        while len(self._links) < clients:
            connected, _ = self._socket.accept()
            link = Link(connected)
            self._links[ClientId(link.receive().data[0])] = link

    def close(self) -> None:
        """Let everybody go."""
        self._socket.close()
        for link in self._links.values():
            link.close()

    def probe(self) -> dict[ClientId, tuple[float, float, float]]:
        """Of each link, one after the other: seconds one way of a small message, 10⁶ bit/s up and down, median of three."""
        return {u: self._probe(link) for u, link in sorted(self._links.items())}

    def _probe(self, link: Link) -> tuple[float, float, float]:
        def there_and_back(data: bytes) -> float:
            start = time.monotonic()
            link.send(data)
            return link.receive().last - start

        there_and_back(_PING)
        both = sorted(there_and_back(_PING) for _ in range(PINGS))[PINGS // 2]
        up = sorted(there_and_back(_GIVE) for _ in range(3))[1]
        down = sorted(there_and_back(_TAKE + bytes(PROBE - 1)) for _ in range(3))[1]
        link.send(_END)
        return both / 2, 8 * PROBE / (up - both) / 1e6, 8 * PROBE / (down - both) / 1e6

    def play(self, *, scene: Scene, layout: Layout, model: Floats, directory: Directory) -> list[ServerLog]:
        """All rounds of the scene."""
        self._inbox: queue.Queue[tuple[ClientId, bytes]] = queue.Queue()
        for u, link in self._links.items():
            threading.Thread(target=self._read, args=(u, link), daemon=True).start()
        state, logs = State(scene.session, RoundNumber(1), model), []
        for _ in range(scene.rounds):
            server = Server(params=scene.params(), layout=layout, state=state, directory=directory)
            logs.append(self._play(server, scene.timeout))
            state = state.completed(logs[-1].model)
        return logs

    def _read(self, client: ClientId, link: Link) -> None:
        with suppress(OSError):  # who has closed is silent from then on
            while True:
                self._inbox.put((client, link.receive().data))

    def _play(self, server: Server, timeout: float) -> ServerLog:
        begun, barriers = time.monotonic(), {}

        def exchange(leg: Leg, outgoing: Mapping[ClientId, ServerMessage]) -> dict[ClientId, tuple[float, int]]:
            found = self._exchange(server, leg, outgoing, timeout)
            barriers[leg] = time.monotonic()
            return found

        exchange(Leg.ADVERTISE, dict.fromkeys(self._links, server.open()))
        exchange(Leg.SHARE, cast("Mapping[ClientId, ServerMessage]", server.rosters(server.close_advertise())))
        inputs = exchange(Leg.INPUT, server.close_share())
        announce = server.close_input()
        exchange(Leg.CONSISTENCY, dict.fromkeys(server.u3, announce))
        agreed = server.close_consistency()
        exchange(Leg.UNMASK, {u: server.agreed_for(agreed, u) for u in server.u3})
        model = server.close_unmask().model
        return ServerLog(
            begun,
            barriers,
            time.monotonic(),
            {u: at for u, (at, _) in inputs.items()},
            tuple(server.u3),
            tuple(sorted({length for _, length in inputs.values()})),
            server.sum_digest,
            model,
        )

    def _exchange(
        self, server: Server, leg: Leg, outgoing: Mapping[ClientId, ServerMessage], timeout: float
    ) -> dict[ClientId, tuple[float, int]]:
        """CLK-3, for real: send to all at once, and wait for all answers, or until `timeout` from the leg's start."""
        context = server.context
        patience = time.monotonic() + timeout
        encoded: dict[int, bytes] = {}  # by message: most legs have one for all
        for message in outgoing.values():
            if id(message) not in encoded:
                encoded[id(message)] = wire.encode(message, Header(context.session, context.round, SERVER))
        senders = [
            threading.Thread(target=self._links[u].send, args=(encoded[id(message)],), daemon=True)
            for u, message in outgoing.items()
        ]
        for sender in senders:
            sender.start()
        found: dict[ClientId, tuple[float, int]] = {}
        while len(found) < len(outgoing):
            try:
                u, data = self._inbox.get(timeout=max(0.0, patience - time.monotonic()))
            except queue.Empty:
                break
            header = Header(context.session, context.round, u)
            with suppress(ContributionError):  # what is refused does not count
                answer = wire.decode(data, expected=header, kind=ANSWERS[leg], sizes=server.sizes)
                server.accept(cast("ClientMessage", answer))
                found[u] = (time.monotonic(), len(data))
        return found


class PartyFailed(Exception):
    """A process of the run ended, or could not do what it was asked."""


def _serve(connection: Connection, kind: type[ClientParty] | type[ServerParty]) -> None:
    """A party's life: do as it is told, until the other end closes. Its parent decides what an interrupt means."""
    host.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    party = kind()
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = (True, getattr(party, method)(**arguments))
        except host.NotPermitted as error:
            answer = (False, error)
        except Exception:
            answer = (False, PartyFailed(traceback.format_exc()))
        connection.send(answer)


class Party:
    """The handle on one process."""

    def __init__(self, kind: type[ClientParty] | type[ServerParty], name: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, kind), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return cast("int", self._process.pid)

    def begin(self, method: str, **arguments: Any) -> None:
        """Tell it to do something."""
        self._pipe.send((method, arguments))

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    @staticmethod
    def results(parties: Sequence["Party"], *, timeout: float) -> list[Any]:
        """What they answer, in their order; `PartyFailed` as soon as one of them ends or fails, or at the timeout."""
        answers: dict[str, Any] = {}
        until = time.monotonic() + timeout
        while len(answers) < len(parties):
            waiting: Collection[Party] = [party for party in parties if party.name not in answers]
            ready = wait([party._pipe for party in waiting], timeout=until - time.monotonic())
            if not ready:
                raise PartyFailed(f"no answer after {timeout:.0f} s from {', '.join(p.name for p in waiting)}")
            for party in waiting:
                if party._pipe not in ready:
                    continue
                try:
                    fine, answer = party._pipe.recv()
                except (EOFError, OSError) as error:
                    party._process.join(timeout=5)
                    raise PartyFailed(f"{party.name} ended, exit code {party._process.exitcode}") from error
                if not fine:
                    raise answer if isinstance(answer, host.NotPermitted) else PartyFailed(f"{party.name}: {answer}")
                answers[party.name] = answer
        return [answers[party.name] for party in parties]

    def ask(self, method: str, *, timeout: float = 120.0, **arguments: Any) -> Any:
        """Tell it to do something, and wait until it has."""
        self.begin(method, **arguments)
        return self.results([self], timeout=timeout)[0]
