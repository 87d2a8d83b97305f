"""`python -m peers`: measure both sides, print the table, leave it in out/peers/."""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from clip_ref import shamir
from clip_ref.params import SecurityLevel
from peers import flower, ours
from peers.measure import Samples, in_ms, interleaved
from peers.report import Row, machine, markdown, write
from peers.work import Costs, Task

MASKED_TARGETS = {(1_000_000, 20): (7.5, 10.0)}
LOOP_TARGETS = {1_000_000: (6.5, 7.5), 10_000_000: (9.0, 10.5)}
CLIENT_TARGETS = {21: (8.0, 9.5), 100: (20.0, 28.0)}
SERVER_TARGETS = {21: (25.0, 34.0), 100: (80.0, 110.0)}
TOLERANCE = 1e-3

LEVELS = (SecurityLevel.BASIC, SecurityLevel.HARDENED)
"""`basic` defends against what Flower defends against; `hardened` is the default."""


def _short(size: int) -> str:
    return f"1e{len(str(size)) - 1}"


def mask_loops(sizes: list[int], rounds: int) -> Iterator[Row]:
    """The innermost loop: 21 masks."""
    for size in sizes:
        tasks = {
            "ours": ours.mask_loop(size, 21),
            "keystream": ours.keystream(size, 21),
            "additions": ours.additions(size, 21),
            "flower": flower.mask_loop(size, 21),
        }
        times = interleaved(tasks, rounds=rounds if size < 10_000_000 else 3)
        if size == 1_000_000:
            floor = times["keystream"].least + times["additions"].least
            ratio = Samples((times["ours"].least / floor,))
            yield Row("mask loop ÷ (keystream + add), d=1e6, least of each", "ratio", ratio, None, 1.25, 1.12)
        yield Row(f"mask loop, d={_short(size)}, 21 masks", "ms", times["ours"], times["flower"], *LOOP_TARGETS[size])


def masked_stages(sizes: list[int], degrees: list[int], rounds: int) -> Iterator[Row]:
    """From the envelopes that arrive to the masked vector that leaves, without training."""
    for size in sizes:
        for k in degrees:
            task = Task(k + 1, size)
            half = ((rounds if size < 10_000_000 else 3) + 1) // 2
            mine: dict[SecurityLevel, list[Costs]] = {level: [] for level in LEVELS}
            theirs: list[Costs] = []
            for _ in range(2):  # two batches of each, in turn
                for level in LEVELS:
                    mine[level].append(ours.run(task, security=level, stage_of=half))
                theirs.append(flower.run(task, measured=[1], repeat=max(2, half)))
            for level in LEVELS:
                name = f"client, masked-vector stage, k={k}, d={_short(size)}, {level}"
                targets = MASKED_TARGETS.get((size, k), (None, None))
                yield Row(name, "ms", _stage(mine[level], 2), _stage(theirs, 2), *targets)


def _stage(costs: list[Costs], stage: int) -> Samples:
    return in_ms([client[stage] for cost in costs for client in cost.clients])


def _total(costs: list[Costs]) -> Samples:
    return in_ms([sum(client) for cost in costs for client in cost.clients])


def whole_rounds(clients: int, size: int, rounds: int) -> Iterator[Row]:
    """Everything that a client, and the server, computes in a round in which a fifth drop out."""
    task = Task(clients, size, dropped=clients // 5)
    few = None if clients <= 30 else [1, 2, 3]
    mine: dict[SecurityLevel, list[Costs]] = {level: [ours.run(task, security=level)] for level in LEVELS}
    theirs: list[Costs] = []
    for _ in range(rounds):
        theirs.append(flower.run(task, measured=few))
        for level in LEVELS:
            mine[level].append(ours.run(task, security=level))
    worst = max(cost.error for costs in (*mine.values(), theirs) for cost in costs)
    if worst > TOLERANCE:
        raise RuntimeError(f"a result is {worst} from the true mean")
    for level in LEVELS:
        yield from _compare(task, str(level), mine[level], theirs)


def _compare(task: Task, level: str, mine: list[Costs], theirs: list[Costs]) -> Iterator[Row]:
    def row(
        name: str,
        unit: str,
        of: Callable[[list[Costs]], Samples],
        targets: tuple[float | None, float | None] = (None, None),
    ) -> Row:
        return Row(name, unit, of(mine), of(theirs), *targets)

    def once(of: Callable[[Costs], int]) -> Callable[[list[Costs]], Samples]:
        return lambda costs: in_ms([of(cost) for cost in costs])

    def per_parameter(of: Callable[[Costs], int]) -> Callable[[list[Costs]], Samples]:
        return lambda costs: Samples((of(costs[0]) / task.size,))

    name = f"k={task.clients - 1}, n={task.clients}, d={_short(task.size)}, {level}"
    yield row(f"whole client, {name}", "ms", _total, CLIENT_TARGETS.get(task.clients, (None, None)))
    for stage, what in enumerate(("set-up", "share keys", "masked vector", "unmask")):
        yield row(f"— its stage: {what}", "ms", lambda costs, stage=stage: _stage(costs, stage))  # type: ignore[misc]
    yield row("— besides: its messages to bytes and back, mean", "ms", once(lambda cost: cost.client_wire))
    yield row(
        f"server, {name}, {task.dropped} drop out",
        "ms",
        once(lambda cost: cost.server),
        SERVER_TARGETS.get(task.clients, (None, None)),
    )
    yield row("— besides: its messages to bytes and back", "ms", once(lambda cost: cost.server_wire))
    yield row("— with what Flower's strategy does next", "ms", once(lambda cost: cost.server + cost.strategy))
    yield row(f"masked vector on the wire, {name}", "B per parameter", per_parameter(lambda cost: cost.vector_bytes))
    yield row(f"all that a client uploads, {name}", "B per parameter", per_parameter(lambda cost: cost.upload_bytes))


def upload(rows: list[Row]) -> Row:
    """The target on the masked vector: the ring's bits, packed. Framing counts, at 1 ‰ of slack."""
    vector = next(row for row in rows if row.task.startswith("masked vector on the wire"))
    return Row("upload, the ring is 32 bits", "B per parameter", vector.ours, None, 4.004, ours.RING.bits / 8 * 1.001)


def sharing(holders: int, rounds: int) -> Iterator[Row]:
    """A 32-byte secret, t = ⌊2n/3⌋ + 1; randomness included. Combining as a server does: all n secrets of a round."""
    threshold = Task(holders, 1_000_000).threshold
    secret = os.urandom(32)

    def split() -> tuple[bytes, ...]:
        randomness = os.urandom(32 * (threshold - 1))
        return shamir.split(secret=secret, threshold=threshold, holders=holders, randomness=randomness)

    mine = dict(enumerate(split()[:threshold], start=1))
    theirs = flower.create_shares(secret, threshold, holders)[:threshold]

    def combine() -> bytes:
        return shamir.combine(shares=mine, threshold=threshold)

    def combine_anew() -> bytes:
        shamir.lagrange.cache_clear()
        return combine()

    def combine_round() -> None:
        combine_anew()
        for _ in range(holders - 1):
            combine()

    if flower.combine_shares(theirs) != secret or combine() != secret:
        raise RuntimeError("a secret was not recovered")
    times = interleaved(
        {
            "flower split": lambda: flower.create_shares(secret, threshold, holders),
            "flower combine": lambda: flower.combine_shares(theirs),
        },
        rounds=max(3, rounds // 2),
    )
    times |= interleaved({"split": split}, rounds=rounds, repeat=100)
    times |= interleaved({"combine": combine_round, "anew": combine_anew}, rounds=rounds)
    each = Samples(tuple(ms / holders for ms in times["combine"].ms))
    what = f"n={holders}, t={threshold}, 32 bytes"
    yield Row(f"Shamir split, {what}", "ms", times["split"], times["flower split"], 150, 500)
    yield Row(f"Shamir combine, {what}, per secret of a round", "ms", each, times["flower combine"], 450, 1000)
    yield Row(f"Shamir combine, {what}, a single one, no weights cached", "ms", times["anew"], times["flower combine"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="the whole sweep, and the clique of 100; a quarter of an hour"
    )
    parser.add_argument("--clique", action="store_true", help="add the clique of 100: some four minutes more")
    parser.add_argument("--rounds", type=int, default=5, help="how often each small task is measured (default: 5)")
    parser.add_argument("--out", type=Path, default=Path("out/peers"), help="where the table goes (default: out/peers)")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # on two, threads that wait for each other cost Flower a sixth more
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sizes = [100_000, 1_000_000, 10_000_000]
    started = time.perf_counter()
    rows: list[Row] = []

    def keep(more: Iterator[Row]) -> None:
        for row in more:
            rows.append(row)
            print(f"{time.perf_counter() - started:6.0f} s  {row.task}: {row.ratio:.3g} {row.verdict}", flush=True)
        about = machine() | {"full": options.full, "seconds": round(time.perf_counter() - started)}
        write(rows, folder=options.out, about=about)

    keep(mask_loops(sizes[1:], options.rounds + 4))
    keep(sharing(100, options.rounds + 4))
    keep(whole_rounds(21, 1_000_000, 4 if options.full else 2))
    keep(iter([upload(rows)]))
    if options.full or options.clique:
        keep(whole_rounds(100, 1_000_000, 1))
    if options.full:
        keep(masked_stages(sizes, [10, 20, 50], options.rounds))
    else:
        keep(masked_stages(sizes[:1], [10, 20], options.rounds))
        keep(masked_stages(sizes[1:2], [10, 20, 50], options.rounds))
        keep(masked_stages(sizes[2:], [20], options.rounds))
    print(f"\n{markdown(rows)}\n\nin {options.out}/peers.json and peers.md")


if __name__ == "__main__":
    main()
