"""A million small rounds with faults, in as many sittings as it takes: counts what they come to. `make faults`.

Round k follows from the number k alone. The tally says which rounds have been run, on which code, and how they ended; the next
sitting goes on behind the last. Rounds that should not have ended as they did are listed by number: `--show K` runs one of
them again, `--again` all.
"""

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from faulty import case_of, play, problem

import clip_ref
from clip_ref import keys, rand
from clip_ref.round import client

ROOT: Final = Path(__file__).parent.parent
TALLY: Final = ROOT / "benchmarks" / "results" / "faults.json"
CHUNK: Final = 100
PATIENCE: Final = 120
"""Seconds after which a round counts as one that hangs."""


def code() -> str:
    """A digest of the sources that a round runs through: which code the counts are about."""
    package = Path(clip_ref.__file__).parent
    files = [*sorted(package.glob("*.py")), *sorted(package.glob("round/*.py")), ROOT / "tests" / "faulty.py"]
    sha = hashlib.sha256()
    for file in files:
        sha.update(hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()[:16]


Chunk = tuple[Counter[str], list[tuple[int, str]]]
"""How many rounds ended how, and those that should have ended otherwise."""


class Hangs(Exception):
    """A round that does not end."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise Hangs(f"no end after {PATIENCE} s")


def run(seed: int) -> tuple[str, str | None]:
    """How round `seed` ended, and what is wrong with that, if anything."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        case = case_of(seed)
        outcome = play(case)
        return outcome.ended, problem(case, outcome)
    except Exception as error:
        return f"untyped {type(error).__name__}", f"untyped {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def chunk(first: int) -> Chunk:
    """The rounds `first` … `first` + CHUNK − 1."""
    ended: Counter[str] = Counter()
    bad = []
    for seed in range(first, first + CHUNK):
        how, wrong = run(seed)
        ended[how] += 1
        if wrong:
            bad.append((seed, wrong))
    return ended, bad


def load(path: Path) -> dict[str, Any]:
    empty = {"next": 0, "rounds": 0, "wrong_sums": 0, "ended": {}, "bad": [], "sittings": []}
    return json.loads(path.read_text("utf-8")) if path.exists() else empty


def store(path: Path, tally: dict[str, Any]) -> None:
    """In one piece, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(tally, indent=2) + "\n", "utf-8")
    partial.replace(path)


def add(tally: dict[str, Any], version: str, ended: Counter[str], bad: list[tuple[int, str]]) -> None:
    """One more chunk."""
    total = Counter(tally["ended"]) + ended
    tally["ended"] = dict(sorted(total.items()))
    tally["wrong_sums"] = total["wrong"]
    tally["rounds"] += CHUNK
    tally["bad"] = [*tally["bad"], *bad][:100]
    if not tally["sittings"] or tally["sittings"][-1]["code"] != version:
        tally["sittings"].append({"code": version, "first": tally["next"], "rounds": 0})
    tally["sittings"][-1]["rounds"] += CHUNK
    tally["next"] += CHUNK


@lru_cache(maxsize=1 << 12)
def _verify(key: bytes, signature: bytes, statement: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)


class RememberedKey:
    """A public key that checks the same signature over the same statement once, however many clients it reaches."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    def from_public_bytes(cls, data: bytes) -> "RememberedKey":
        return cls(data)

    def verify(self, signature: bytes, statement: bytes) -> None:
        _verify(self._data, signature, statement)


def again(tally: dict[str, Any], version: str) -> None:
    """Run the rounds that should have ended otherwise once more, on today's code; those that now end well are noted as such."""
    signal.signal(signal.SIGALRM, _alarm)
    found = [(number, before, run(number)) for number, before in tally["bad"]]
    tally["bad"] = [[number, wrong] for number, _, (_, wrong) in found if wrong]
    mended = [
        {"round": number, "was": before, "now": how, "code": version}
        for number, before, (how, wrong) in found
        if not wrong
    ]
    tally["mended"] = [*tally.get("mended", []), *mended]


def _ready() -> None:
    vars(keys)["Ed25519PublicKey"] = RememberedKey
    derive = lru_cache(maxsize=4096)(rand.derive)  # both ends of a channel derive its keys; so would each by itself
    for module in (rand, keys, client):
        vars(module)["derive"] = derive
    gc.freeze()
    gc.set_threshold(100_000)
    signal.signal(signal.SIGALRM, _alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1_000_000, help="stop once the tally has this many")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after about this long")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tally", type=Path, default=TALLY)
    parser.add_argument("--show", type=int, metavar="K", help="run round K alone and print it")
    parser.add_argument("--again", action="store_true", help="run the listed rounds again; note those that are mended")
    chosen = parser.parse_args(arguments)
    if chosen.show is not None:
        case = case_of(chosen.show)
        print(case)
        outcome = play(case)
        print(f"{outcome.ended}: {problem(case, outcome) or 'as it should'}")
        return 0
    tally, version, begun = load(chosen.tally), code(), time.monotonic()
    if chosen.again:
        again(tally, version)
        store(chosen.tally, tally)
    before = tally["rounds"]
    # Few chunks are under way at a time, so that the tally is never far behind and stopping loses little.
    waiting: deque[Future[Chunk]] = deque()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.workers, mp_context=spawn, initializer=_ready) as pool:
        first, due = tally["next"], chosen.rounds - before
        while waiting or due > 0:
            while due > 0 and len(waiting) <= chosen.workers:
                waiting.append(pool.submit(chunk, first))
                first, due = first + CHUNK, due - CHUNK
            add(tally, version, *waiting.popleft().result())
            store(chosen.tally, tally)
            if time.monotonic() - begun > chosen.seconds:
                due = 0
    done, seconds = tally["rounds"] - before, time.monotonic() - begun
    print(f"{done} rounds in {seconds:.0f} s ({done / seconds:.1f}/s); {tally['rounds']} in all, next {tally['next']}")
    for how, count in tally["ended"].items():
        print(f"  {count:>8}  {how}")
    print(f"wrong sums: {tally['wrong_sums']}; rounds that should have ended otherwise: {len(tally['bad'])}")
    return 1 if tally["bad"] else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
