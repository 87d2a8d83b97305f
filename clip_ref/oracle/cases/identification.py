"""Cases of identification.   Spec: identification."""

from collections.abc import Mapping
from typing import Any

import attrs

from clip_ref.messages import TimeRecord
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import params, record
from clip_ref.params import Mean, Score, Selection, SlackSeed
from clip_ref.values import ClientId

LAST = 2**64 - 1
"""The longest time."""


def make(book: Book) -> None:
    """From one record to the plan."""
    _elapsed(book)
    _valid(book)
    _candidates(book)
    _levels(book)
    _stragglers(book)
    _spared(book)
    _blocks(book)
    _turns(book)


def _elapsed(book: Book) -> None:
    parts = record(5_000_000, 300_000, 90_000, down=20_000_000, select=7, mask=1_000, up=400)
    cases: tuple[tuple[str, TimeRecord, int, tuple[str, ...]], ...] = (
        ("all five parts, at the whole model", parts, 0, ("TransfersLeftOut",)),
        ("only fit depends on the level", parts, 1, ("LevelIgnored",)),
        ("the last level", parts, 2, ("LevelIgnored",)),
        ("no time at all", record(0), 0, ()),
        ("the longest time, not saturated", record(LAST - 3, 0, 0, down=1, up=2), 0, ()),
        ("1 µs more saturates", record(LAST - 3, 0, 0, down=2, up=2), 0, ("TimesWrap",)),
        ("five times the longest saturates", record(LAST, LAST, LAST, down=LAST, up=LAST), 0, ("TimesWrap",)),
        ("an odd number beyond what float64 has", record(2**53, 0, 0, mask=1), 0, ("TimesInFloats",)),
    )
    for comment, found, level, flags in cases:
        book.valid("identification.elapsed", "IDN-2", comment=comment, flags=flags, record=found, level=level)
    for level in (-1, 3):
        comment = f"of three levels that with the number {level}"
        book.invalid("identification.elapsed", "IDN-2", comment=comment, record=record(3, 2, 1), level=level)


def _valid(book: Book) -> None:
    cases: tuple[tuple[str, TimeRecord, tuple[str, ...]], ...] = (
        ("takes part", record(3, 2, 1), ()),
        ("has no times", record(3, 2, 1, has_time=False), ("InvalidCounted",)),
        ("without the history it takes part all the same", record(3, 2, 1, has_model=False), ("HistoryNeededToCount",)),
        ("equal predictions do not rise", record(2, 2, 2), ("EqualPredictionsRefused",)),
        ("a prediction rises in the end", record(3, 1, 2), ("RisingPredictionsTaken",)),
        ("a prediction rises at first", record(2, 3, 1), ("RisingPredictionsTaken",)),
        ("all times are 0", record(0), ()),
        ("a prediction too few", record(3, 2), ("PredictionsNotCounted",)),
        ("a prediction too many", record(3, 2, 1, 0), ("PredictionsNotCounted",)),
        ("weight 0", record(3, 2, 1, weight=0), ("WeightNotChecked",)),
        ("weight 1", record(3, 2, 1, weight=1), ()),
        ("the largest weight", record(3, 2, 1, weight=100), ()),
        ("a weight too large", record(3, 2, 1, weight=101), ("WeightNotChecked",)),
    )
    for comment, found, flags in cases:
        book.valid("identification.valid", "IDN-1", comment=comment, flags=flags, record=found, params=params())


def _plan(
    book: Book,
    comment: str,
    rules: str,
    records: Mapping[int, TimeRecord],
    *flags: str,
    round: int = 5,
    colluders: int = 0,
    **changed: Any,
) -> None:
    """A case of `identify`, in a late round; a plan takes all the rules, whichever one it is about."""
    left_out = {8: not changed.get("anonymity_blocks"), 12: not changed.get("spread")}
    every = [f"IDN-{k}" for k in (*range(1, 10), 12) if not left_out.get(k)]
    book.valid(
        "identification.identify",
        *dict.fromkeys((rules, *every)),
        comment=comment,
        flags=flags,
        records={ClientId(u): found for u, found in records.items()},
        params=params(clients=20, colluders=colluders, **changed),
        round=round,
    )


def _fleet(*times: int) -> dict[int, TimeRecord]:
    """Clients 1, 2, … that take so long to train, r ‰ of that at level r, and no time for anything else."""
    return {u: record(time) for u, time in enumerate(times, start=1)}


def _candidates(book: Book) -> None:
    known: dict[str, Any] = {"params": params(), "round": 5}
    book.invalid("identification.identify", "IDN-1", comment="no record", **known | {"records": {}})
    book.invalid(
        "identification.identify", "IDN-1", comment="round 0", **known | {"records": {1: record(9)}, "round": 0}
    )
    twice, target = "IDN-3", "IDN-4"
    _plan(book, "the slowest of five", twice, _fleet(10, 20, 30, 40, 60), "CandidatesAreFastest", straggler_share=200)
    _plan(
        book,
        "199 ‰ of ten are one",
        twice,
        _fleet(*range(10, 100, 10), 150),
        "CandidatesUp",
        straggler_share=199,
        margin=0,
    )
    _plan(book, "999 thousandths of a client are none", twice, _fleet(9, 99, 9), "CandidatesUp", straggler_share=333)
    _plan(book, "p = 0: nobody", twice, _fleet(10, 20, 30, 90), straggler_share=0)
    _plan(book, "p = 500 ‰ of an odd number", twice, _fleet(10, 20, 30, 50, 55), "CandidatesUp", margin=0)
    _plan(book, "a single client is no candidate", twice, _fleet(10))
    _plan(book, "two clients, p = 500 ‰", twice, _fleet(10, 15))
    some = _fleet(10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    some |= {u: attrs.evolve(some[u], has_time=False) for u in (2, 4, 6, 8, 10)}
    _plan(book, "⌊p · n_v⌋, not ⌊p · n⌋", "IDN-3", some, "InvalidCounted", margin=0)
    none = {u: attrs.evolve(found, has_time=False) for u, found in _fleet(10, 20, 90).items()}
    _plan(book, "nobody has times: T* = f* = 0", target, none, "InvalidCounted")
    _plan(book, "the slowest of those that are no candidates", target, _fleet(10, 50, 60, 100, 90))
    mixed = _fleet(10, 20, 30, 35) | {5: record(9_999, has_time=False)}
    _plan(book, "the slowest has no times: it sets no target", target, mixed, "InvalidCounted", margin=0)


def _levels(book: Book) -> None:
    def slow(*fit: int, **changed: Any) -> dict[int, TimeRecord]:
        return {1: record(900), 2: record(1000), 3: record(800), 4: record(*fit, **changed)}

    network = "IDN-6"
    quarter: dict[str, Any] = {"straggler_share": 250}
    _plan(book, "the largest level in time", network, slow(1200, 900, 600), "SmallestInTime", **quarter)
    _plan(book, "exactly in time at a level", network, slow(1200, 1000, 600), "LevelNotInTimeAtTarget", **quarter)
    _plan(book, "1 µs too slow at a level", network, slow(1200, 1001, 600), "LevelWithinMargin", **quarter)
    _plan(book, "the smallest level just does", network, slow(2000, 1500, 1000), **quarter)
    _plan(book, "even the smallest is too slow", network, slow(2000, 1500, 1001), "SaturatedKeepsAll", **quarter)
    _plan(
        book,
        "a slow network is made up for by computing less",
        network,
        slow(600, 450, 300, up=600, down=90),
        "NetworkIgnored",
        **quarter,
    )
    _plan(book, "a network beyond remedy", network, slow(600, 450, 300, up=2000), "SaturatedKeepsAll", **quarter)
    compute, more = "IDN-7", quarter | {"network_aware": False}
    _plan(book, "compute-only: fit alone counts", compute, slow(1200, 900, 600, up=300), "NetworkCountsAnyway", **more)
    _plan(book, "compute-only: exactly f*", compute, slow(1300, 1000, 600), **more)
    _plan(book, "compute-only: 1 µs above f* everywhere", compute, slow(2000, 1500, 1001), **more)
    _plan(book, "compute-only: slow by network alone, it keeps everything", compute, slow(900, 700, 1, up=999), **more)
    among = {1: record(500, up=700), 2: record(1100), 3: record(1210), 4: record(2000, 1205, 1100)}
    _plan(
        book,
        "f* is that of a candidate within the margin",
        compute,
        among,
        "FitTargetWithoutCandidates",
        margin=10,
        network_aware=False,
    )
    other = {1: record(500, up=700), 2: record(1100), 3: record(300), 4: record(2000, 1050, 400)}
    _plan(book, "f* is not the fit of the client that sets T*", compute, other, "FitTargetOfSlowest", **more)
    lone = {1: record(100), 2: record(5_000, has_time=False), 3: record(90), 4: record(200, 150, 100), 5: record(80)}
    _plan(book, "f* is of those that take part", compute, lone, "InvalidCounted", **more)


def _stragglers(book: Book) -> None:
    enter = leave = "IDN-5"

    def pair(time: int, target: int, was: bool = False) -> dict[int, TimeRecord]:
        return {3: record(time, was_straggler=was), 8: record(target)}

    _plan(book, "all alike: whoever is the candidate is no straggler", leave, _fleet(50, 50, 50, 50), margin=0)
    _plan(book, "the candidate's equal sets the target", leave, _fleet(10, 90, 90, 20), margin=0, straggler_share=250)
    _plan(book, "exactly at the margin: no straggler", enter, pair(1050, 1000), "MarginNotStrict")
    _plan(book, "1 µs above the margin", enter, pair(1051, 1000))
    _plan(book, "δ = 0: T* itself is in time", enter, pair(1000, 1000), "MarginNotStrict", margin=0)
    _plan(book, "δ = 0: 1 µs above T*", enter, pair(1001, 1000), margin=0)
    _plan(book, "within the margin, and was one: stays one", enter, pair(1001, 1000, True), "MarginOnLeavingToo")
    _plan(book, "at T*, and was one: leaves", leave, pair(1000, 1000, True), "StaysAtTarget")
    _plan(book, "below T*, and was one: leaves", leave, {3: record(7, was_straggler=True), 8: record(9)}, margin=0)
    near = 1_000 * 2**51
    _plan(book, "at the margin, beyond float64", enter, pair(1050 * 2**51 + 1, near), "MarginInFloats")
    _plan(book, "1000 · e passes 64 bits", enter, pair(2**54 + 2**49, 2**54), "MarginOverflows", margin=0)
    _plan(book, "T* is the longest time: nobody is slower", leave, pair(LAST, LAST), margin=0)
    _plan(book, "T* = 0", enter, pair(1, 0))
    late = {u: record(LAST, LAST, 5, up=LAST // u) for u in (1, 2, 3)}
    _plan(book, "alike once saturated", "IDN-2", late, "SaturatesTooLate", straggler_share=400)


def _block_fleet(levels: Mapping[int, int]) -> dict[int, TimeRecord]:
    """Stragglers that need these levels in 1000 µs, and as many fast clients and one more."""
    slow = {
        750: record(1300, 900, 600),
        500: record(1900, 1400, 900),
        250: record(3000, 2500, 2000),
    }
    return {u: slow[level] for u, level in levels.items()} | {100 + k: record(1000) for k in range(len(levels) + 1)}


def _spared(book: Book) -> None:
    rules, fleet = "IDN-9", _block_fleet({4: 500, 5: 250})
    _plan(book, "the last warm-up round", rules, fleet, "WarmUpTooShort", "SparedLosesStatus", warm_up=5)
    _plan(book, "the first round after", rules, fleet, warm_up=4)
    _plan(book, "round 1", rules, fleet, "SparedLosesStatus", round=1)
    _plan(book, "the last of all rounds", rules, fleet, round=LAST)
    _plan(book, "one fewer than min_roster", rules, fleet, "SparedLosesStatus", min_roster=6)
    _plan(book, "as many as min_roster", rules, fleet, "RosterMustExceed", min_roster=5)
    silent = fleet | {9: record(1, has_time=False)}
    _plan(book, "whoever has no times counts for min_roster", rules, silent, "RosterOfValid", min_roster=6)
    new = fleet | {4: attrs.evolve(fleet[4], has_model=False)}
    _plan(book, "one lacks the history: it alone is spared", rules, new, "PrunesWithoutHistory", "SparedLosesStatus")
    for comment, changed in (
        ("sizes need no history: all prune", {"score": Score.SIZE}),
        ("nor does an order that is fixed", {"selection": Selection.ORDERED}),
        ("nor does a random one", {"selection": Selection.PAPER, "slack_seed": SlackSeed.CONTEXT, "threshold": 0}),
    ):
        for mean in (Mean.LEVELS, Mean.HOLDER):
            needs_none: dict[str, Any] = {"mean": mean, **changed}
            _plan(book, f"{comment}, under `{mean}`", rules, new, "HistoryAlwaysNeeded", **needs_none)
    some: dict[str, Any] = {"selection": Selection.PAPER, "slack_seed": SlackSeed.CONTEXT, "threshold": 1}
    _plan(book, "an order that is random but for κ = 1 does", rules, new, "PrunesWithoutHistory", **some)
    holder: dict[str, Any] = {"mean": Mean.HOLDER, "holder_cap": 2}
    _plan(book, "under `holder` all are spared then", rules, new, "HolderSparesOne", **holder)
    fast = fleet | {100: record(1000, has_model=False)}
    _plan(book, "under `holder`, even if a fast one lacks it", rules, fast, "HolderSparesOne", **holder)
    _plan(book, "under `levels` that does not matter", rules, fast)
    away = fleet | {9: record(1, has_time=False, has_model=False)}
    _plan(book, "under `holder`, even if it takes no part", rules, away, "HolderSparesOne", **holder)


def _blocks(book: Book) -> None:
    rules: str = "IDN-8"
    blocks: dict[str, Any] = {"anonymity_blocks": True}
    fleet = _block_fleet
    _plan(book, "one straggler: fewer than c + 2", rules, fleet({4: 500}), "LonePrunerKept", **blocks)
    _plan(book, "two prune alike, c = 0", rules, fleet({4: 750, 5: 500}), "BlockTakesLargest", **blocks)
    _plan(book, "two are fewer than c + 2 = 3", rules, fleet({4: 500, 5: 500}), "BlockOfOneMore", colluders=1, **blocks)
    three = fleet({4: 500, 5: 750, 6: 750})
    _plan(book, "three are one block, c = 1", rules, three, "BlockTakesLargest", colluders=1, **blocks)
    mixed = fleet({1: 750, 2: 500, 3: 750, 4: 500, 5: 750, 6: 500})
    _plan(book, "blocks by level, not by id", rules, mixed, "BlocksById", colluders=1, **blocks)
    rest = fleet({1: 500, 2: 750, 3: 500, 4: 750, 5: 750})
    _plan(book, "the last block takes one more", rules, rest, "RemainderSpared", **blocks)
    seven = fleet({1: 250, 2: 500, 3: 500, 4: 500, 5: 750, 6: 750, 7: 750})
    _plan(book, "3 + 4; some are saturated", rules, seven, "RemainderIsABlock", colluders=1, **blocks)
    ties = fleet({2: 750, 10: 750, 9: 750, 30: 500})
    _plan(book, "among equals the smaller id joins the lower block", rules, ties, "BlockTiesToLargerId", **blocks)
    texts = fleet({10: 750, 9: 750, 11: 750, 30: 500})
    _plan(book, "ids ascend as numbers", rules, texts, "BlocksOfTextIds", **blocks)
    without = fleet({4: 500, 5: 500})
    without[5] = attrs.evolve(without[5], has_model=False)
    _plan(book, "who lacks the history counts for no block", rules, without, "SparedFillBlocks", **blocks)
    keeping = fleet({4: 500, 5: 750}) | {5: record(1000, 700, 1, up=999)}
    _plan(
        book,
        "nor does a straggler that keeps everything",
        rules,
        keeping,
        "SparedFillBlocks",
        network_aware=False,
        **blocks,
    )


def _turns(book: Book) -> None:
    rules, fleet = "IDN-12", _block_fleet
    turns: dict[str, Any] = {"spread": True, "mean": Mean.STRATA}
    six = fleet({1: 750, 2: 500, 3: 750, 4: 500, 5: 250, 6: 250})
    late, own, each = "TurnsIgnored", "OwnBlockAhead", "ClientsAhead"
    _plan(book, "three blocks of two", rules, six, late, own, each, anonymity_blocks=True, **turns)
    _plan(book, "two blocks of three", rules, six, late, own, each, anonymity_blocks=True, colluders=1, **turns)
    _plan(book, "without blocks each has a turn of its own", rules, six, late, own, "AheadReversed", **turns)
    _plan(book, "without spread nothing is ahead", rules, six, anonymity_blocks=True, mean=Mean.STRATA)
    _plan(book, "one block: nothing is ahead", rules, fleet({4: 500, 5: 250}), own, anonymity_blocks=True, **turns)
    seven = fleet({1: 250, 2: 500, 3: 500, 4: 500, 5: 750, 6: 750, 7: 750})
    _plan(book, "2 + 2 + 3: the last block is one", rules, seven, late, own, each, anonymity_blocks=True, **turns)
    lacking = six | {2: attrs.evolve(six[2], has_model=False)}
    comment = "who is spared is in no block and has nothing ahead"
    _plan(book, comment, rules, lacking, late, own, each, anonymity_blocks=True, **turns)
    _plan(book, "nobody prunes: nothing is ahead", rules, six, warm_up=5, anonymity_blocks=True, **turns)
