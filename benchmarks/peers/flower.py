"""Flower's side: its own `SecAggPlusWorkflow` and `secaggplus_mod`, over a grid in memory."""

# mypy: disable-error-code="import-not-found"

import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.compat.common import recorddict_compat as compat
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import SecAggPlusWorkflow, WorkflowState
from flwr.supercore.task_identity import TaskIdentity

from peers.measure import Clock
from peers.work import EXAMPLES, Costs, Task

_mod: Any = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")  # the module, not its function

logging.getLogger("flwr").setLevel(logging.CRITICAL)
TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1

STAGES = ("setup", "share_keys", "collect_masked_vectors", "unmask")

__all__ = ["combine_shares", "create_shares", "mask_loop", "run"]


@lru_cache
def _shares_of_zeros(length: int, threshold: int, holders: int) -> list[bytes]:
    shares: list[bytes] = create_shares(bytes(length), threshold, holders)
    return shares


def _quick_shares(secret: bytes, threshold: int, holders: int) -> list[bytes]:
    """Valid shares without the cost: sharing is linear, so those of zeros plus the secret are shares of the secret."""
    word = int.from_bytes(bytes(4) + secret, "little")  # the share's number comes first
    return [
        (int.from_bytes(share, "little") ^ word).to_bytes(len(share), "little")
        for share in _shares_of_zeros(len(secret), threshold, holders)
    ]


@contextmanager
def _unmeasured(cancelling: frozenset[bytes]) -> Iterator[None]:
    """Let a client take part cheaply: reuse one polynomial, and leave out masks that its peers leave out too.

    `cancelling` are the keys of the other unmeasured survivors: both ends of those pairs add nothing, so the sum is as it
    should be and neither the measured clients nor the server has less to do.
    """
    real = (_mod.create_shares, _mod.generate_shared_key, _mod.pseudo_rand_gen)

    def shared_key(private: Any, public: Any) -> bytes:
        return b"" if _mod.public_key_to_bytes(public) in cancelling else real[1](private, public)

    def generate(seed: bytes, limit: int, shapes: list[tuple[int, ...]]) -> list[Any]:
        return real[2](seed, limit, shapes) if seed else [0] * len(shapes)

    _mod.create_shares, _mod.generate_shared_key, _mod.pseudo_rand_gen = _quick_shares, shared_key, generate
    try:
        yield
    finally:
        _mod.create_shares, _mod.generate_shared_key, _mod.pseudo_rand_gen = real


class _Strategy(FedAvg):  # type: ignore[misc]
    """Averages as Flower does, on a clock of its own."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(min_fit_clients=1, min_available_clients=1)
        self._clock = clock

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        self.result = parameters_to_ndarrays(results[0][1].parameters)
        with self._clock.span("strategy"):
            return super().aggregate_fit(server_round, results, failures)


class _Grid:
    """What the workflow talks to: hands every message, as bytes and back, to the client's mod."""

    def __init__(self, task: Task, clock: Clock, state: WorkflowState, measured: frozenset[int], repeat: int) -> None:
        self._task, self._clock, self._state, self._repeat = task, clock, state, repeat
        self._measured = measured
        self._contexts = {
            node: Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
            for node in range(1, task.clients + 1)
        }
        self._trained = ndarrays_to_parameters(task.tensors(task.update()))
        self.stage = -1
        self.times: dict[tuple[int, int], list[int]] = {}
        self.sent: dict[tuple[int, int], int] = {}

    def _train(self, message: Message, context: Context) -> Message:
        with self._clock.span("training"):
            result = FitRes(Status(Code.OK, ""), self._trained, EXAMPLES, {})
            return Message(compat.fitres_to_recorddict(result, keep_input=True), reply_to=message)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        del timeout
        self.stage += 1
        with self._clock.span("grid"):
            return [self._exchange(message) for message in messages if self._answers(message)]

    def _answers(self, message: Message) -> bool:
        """Those who drop out are the last; only the measured are asked for a masked vector that nobody will sum."""
        node = message.metadata.dst_node_id
        if self.stage < 2:
            return True
        return node in self._measured if self._repeat > 1 else bool(node <= self._task.clients - self._task.dropped)

    def _exchange(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        with self._clock.span("server wire"):
            data = message_to_proto(message).SerializeToString()
        times = self.times.setdefault((node, self.stage), [])
        for _ in range(self._repeat if self.stage == 2 else 1):
            context = self._contexts[node]
            before = context.state.config_records.copy()
            with self._clock.span("client wire"):
                received = message_from_proto(ProtoMessage.FromString(data))
            name = (node, self.stage, len(times))
            with self._unmeasured(node), self._clock.span(name):
                reply = _mod.secaggplus_mod(received, context, self._train)
            times.append(self._clock.spent[name])
            with self._clock.span("client wire"):
                answer = message_to_proto(reply).SerializeToString()
            self.sent[node, self.stage] = len(answer)
            if self._repeat > 1 and self.stage == 2:
                context.state = RecordDict()
                for key, record in before.items():
                    context.state.config_records[key] = record
        with self._clock.span("server wire"):
            return message_from_proto(ProtoMessage.FromString(answer))

    def _unmeasured(self, node: int) -> Any:
        if node in self._measured:
            return nullcontext()
        survivors = range(1, self._task.clients - self._task.dropped + 1)
        keys = self._state.nid_to_publickeys
        return _unmeasured(frozenset(keys[u][0] for u in survivors if u not in self._measured and u in keys))


def run(task: Task, *, measured: Sequence[int] | None = None, repeat: int = 1) -> Costs:
    """One round. `measured` are the clients (from 1) that do all their work as Flower ships it; by default everybody.

    With `repeat` above 1, the round ends with the measured clients' masked vectors, each made so many times.
    """
    clock = Clock()
    state = WorkflowState()
    real = frozenset(range(1, task.clients + 1) if measured is None else measured)
    grid = _Grid(task, clock, state, real, repeat)
    strategy = _Strategy(clock)
    manager = SimpleClientManager()
    for node in range(1, task.clients + 1):
        manager.register(GridClientProxy(node, grid, 1))
    plain = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    context = LegacyContext(plain, strategy=strategy, client_manager=manager)
    context.state.config_records["config"] = ConfigRecord({"current_round": 2})
    start = ndarrays_to_parameters(task.tensors(np.zeros(task.size, dtype=np.float32)))
    context.state.array_records["parameters"] = compat.parameters_to_arrayrecord(start, keep_input=True)
    workflow = SecAggPlusWorkflow(num_shares=task.clients, reconstruction_threshold=task.threshold)
    steps: list[Callable[..., bool]] = [getattr(workflow, f"{stage}_stage") for stage in STAGES]
    with clock.span("server"):
        done = all(step(grid, context, state) for step in steps)
    stayed = [u for u in sorted(real) if (u, 2) in grid.times]
    if repeat > 1:
        return Costs(clients=[[0, 0, ns, 0] for u in stayed for ns in grid.times[u, 2]])
    if not done:
        raise RuntimeError("Flower's round did not finish")
    error = max(
        float(np.abs(got - want).max()) for got, want in zip(strategy.result, task.tensors(task.update()), strict=True)
    )
    return Costs(
        clients=[[grid.times[u, stage][0] for stage in range(4)] for u in stayed],
        server=clock.spent["server"],
        client_wire=clock.spent["client wire"] // task.clients,
        server_wire=clock.spent["server wire"],
        strategy=clock.spent["strategy"],
        vector_bytes=grid.sent[stayed[0], 2],
        upload_bytes=sum(grid.sent[stayed[0], stage] for stage in range(4)),
        error=error,
    )


def mask_loop(size: int, masks: int) -> Callable[[], None]:
    """Flower's masks alone: made one at a time and added."""
    seeds = [bytes([k + 1]) * 32 for k in range(masks)]

    def loop() -> None:
        total = [np.zeros(size, dtype=np.int64)]
        for seed in seeds:
            total = parameters_addition(total, pseudo_rand_gen(seed, 1 << 32, [(size,)]))

    return loop
