"""Cases of selection.   Spec: selection."""

from typing import Any

from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import policy
from clip_ref.oracle.operations.invariance import Scores
from clip_ref.params import Mean, Selection, SlackSeed

LAST = 2**64 - 1
"""The last of all rounds."""


def make(book: Book) -> None:
    """The ranking, the pruning orders, and what is kept."""
    _ranked(book)
    _orders(book)
    _selected(book)
    _turns(book)


def _scores(*change: int, scale: int = 10, layer: str = "hidden") -> Scores:
    return Scores(layer, list(change), [scale] * len(change))


def _ranked(book: Book) -> None:
    large = 2**61
    cases: tuple[tuple[str, Scores, tuple[str, ...]], ...] = (
        ("the least changed first", _scores(5, 1, 9, 3), ("MostChangedFirst",)),
        ("among equals the smaller index", _scores(4, 2, 4, 2, 4), ("TiesToLargerIndex",)),
        ("all alike", _scores(*[7] * 12), ("TiesToLargerIndex",)),
        ("1/2 = 2/4 = 3/6", Scores("hidden", [3, 2, 1], [6, 4, 2]), ("RankedByChange", "TiesToLargerIndex")),
        ("ratios, not changes", Scores("hidden", [10, 9, 8], [100, 10, 1]), ("RankedByChange",)),
        ("nothing changed", Scores("hidden", [0, 0, 0], [3, 1, 2]), ("TiesToLargerIndex",)),
        ("one neuron", _scores(3), ()),
        (
            "ratios that float64 cannot tell apart",
            Scores("hidden", [2**53 + 1, 2**53], [2**53 + 2, 2**53 + 1]),
            ("RankedInFloats",),
        ),
        (
            "products of 122 bits that differ by one",
            Scores("hidden", [large + 1, large, large - 1], [large + 2, large + 1, large]),
            ("RankedInFloats", "RankedIn64Bits"),
        ),
        (
            "products that agree modulo 2⁶⁴",
            Scores("hidden", [2**32 + 1, 1], [2**32, 2**32]),
            ("RankedIn64Bits",),
        ),
    )
    for comment, scores, flags in cases:
        book.valid("selection.ranking", "SEL-1", comment=comment, flags=flags, scores=scores)


def _orders(book: Book) -> None:
    mixed = _scores(9, 1, 8, 2, 7, 3, 6, 4)

    def order(
        comment: str, rules: tuple[str, ...], *flags: str, scores: Scores = mixed, round: int = 7, **changed: Any
    ) -> None:
        book.valid(
            "selection.order",
            *rules,
            comment=comment,
            flags=flags,
            scores=scores,
            policy=policy(**{"slack_seed": SlackSeed.CONTEXT} | changed),
            entropy=book.bytes("entropy"),
            round=round,
        )

    rank = ("SEL-2", "SEL-1")
    order("rank: all, ranked", rank)
    order("rank does not know κ", rank, threshold=0)
    order("rank, among equals", rank, "TiesToLargerIndex", scores=_scores(2, 2, 1, 1))
    strict: dict[str, Any] = {"selection": Selection.STRICT}
    order("strict: the invariant ones", ("SEL-3", "SEL-1", "INV-8"), "StrictTakesAll", **strict)
    order("strict, κ = 0: nobody", ("SEL-3", "INV-8"), "StrictTakesAll", threshold=0, **strict)
    order("strict, κ huge: everybody", ("SEL-3", "SEL-1", "INV-8"), threshold=10_000, **strict)
    paper: dict[str, Any] = {"selection": Selection.PAPER}
    rules = ("SEL-4", "SEL-1", "INV-8", "RND-5")
    slack = ("SlackByRank", "SlackByIndex", "SlackShufflesTheRest", "SlackForAllLayers")
    order("paper: the invariant ones, then the others shuffled", rules, *slack, **paper)
    order("paper, κ = 0: random dropout", rules, *slack[:2], slack[3], threshold=0, **paper)
    order("paper, κ huge: ranked", ("SEL-4", "SEL-1", "INV-8"), threshold=10_000, **paper)
    order("paper, all alike: none is invariant", rules, *slack[:2], slack[3], scores=_scores(*[5] * 9), **paper)
    order(
        "paper, another layer: another permutation", rules, slack[3], scores=_scores(1, 9, 9, 9, 9, layer="é2"), **paper
    )
    fixed: dict[str, Any] = {"selection": Selection.ORDERED}
    order("ordered: the last first", ("SEL-9",), "OrderedFromTheFront", "OrderedTakesScores", **fixed)
    order("ordered does not know κ", ("SEL-9",), "OrderedFromTheFront", "OrderedTakesScores", threshold=0, **fixed)
    order("ordered: one neuron", ("SEL-9",), scores=_scores(3), **fixed)
    short: dict[str, Any] = {
        "entropy": book.bytes("entropy", 31),
        "round": 7,
        "scores": mixed,
        "policy": policy(mean=Mean.DILUTE, **paper),
    }
    book.invalid("selection.order", "RND-5", "SEL-4", comment="paper takes 32 bytes of entropy", **short)
    aged: dict[str, Any] = {"age_cap": 4}
    cap = ("SEL-5", "SEL-1")
    for round in (4, 5, 7, LAST):
        flags = ("AgeCapLeftOut",) if round == 4 else ("AgeCapLeftOut", "AgeCapShifted")
        order(f"A = 4 in round {round}", cap, *flags, round=round, **aged)
    order("A larger than the layer, and nobody's turn", cap, "AgeCapShifted", round=9, age_cap=10)
    order("A = 4 under strict", ("SEL-5", "SEL-3", "SEL-1", "INV-8"), "AgeCapLeftOut", **aged, **strict)
    order(
        "A = 4 under paper: in the slack, too",
        ("SEL-5", "SEL-4", "SEL-1", "INV-8", "RND-5"),
        "AgeCapLeftOut",
        **aged,
        **paper,
    )


def _selected(book: Book) -> None:
    ten, one = _scores(9, 1, 8, 2, 7, 3, 6, 4, 5, 0), _scores(3, layer="lone")

    def select(
        comment: str,
        rules: tuple[str, ...],
        *flags: str,
        keep: int,
        scores: tuple[Scores, ...] = (ten,),
        **changed: Any,
    ) -> None:
        book.valid(
            "selection.select",
            *rules,
            comment=comment,
            flags=flags,
            scores=list(scores),
            keep=keep,
            ahead=[],
            policy=policy(**{"slack_seed": SlackSeed.CONTEXT} | changed),
            entropy=book.bytes("entropy"),
            round=7,
        )

    cut = ("SEL-6", "SEL-2", "SEL-1")
    select("1000 ‰ prunes nothing", cut, "KeepsOneFewer", keep=1000)
    select("half", cut, "MostChangedFirst", keep=500)
    select("550 ‰ of ten are five", cut, "KeptRoundedUp", keep=550)
    select("549 ‰ of ten are five", cut, "KeptRoundedUp", keep=549)
    select("599 ‰ of ten are five, and prune what 500 ‰ do", cut, "KeptRoundedUp", keep=599)
    select("600 ‰ keep what 500 ‰ keep, and one more", cut, keep=600)
    select("999 ‰ prune one", cut, "KeptRoundedUp", keep=999)
    select("one is left at least", cut, "NoneLeft", keep=99)
    select("1 ‰ keeps one, too", cut, "NoneLeft", keep=1)
    select("a layer of one neuron keeps it", cut, "NoneLeft", keep=500, scores=(one,))
    three = (_scores(1, 2, 3, layer="a"), ten, one)
    select("each layer by itself", cut, "NoneLeft", "KeptRoundedUp", keep=333, scores=three)
    select("no layer", ("SEL-6",), keep=500, scores=())
    strict: dict[str, Any] = {"selection": Selection.STRICT}
    fewer = ("SEL-7", "SEL-3", "SEL-6", "SEL-1", "INV-8")
    select("strict: fewer invariant than asked for", fewer, "StrictTakesAll", keep=100, **strict)
    select("strict, κ = 0: nothing goes", fewer, "StrictTakesAll", keep=500, threshold=0, **strict)
    select("strict, more than enough", ("SEL-6", "SEL-3", "SEL-1", "INV-8"), keep=900, threshold=10_000, **strict)
    layers = (_scores(100, 130, 170, layer="high"), _scores(1, 1, 4, layer="low"))
    select(
        "each layer is held against its own mean",
        ("INV-8", "SEL-3", "SEL-6", "SEL-1"),
        "ThresholdOfAnotherLayer",
        keep=1,
        scores=layers,
        **strict,
    )
    paper: dict[str, Any] = {"selection": Selection.PAPER}
    some = ("SEL-6", "SEL-4", "SEL-1", "INV-8", "RND-5")
    select("paper: slack is a prefix of the permutation", some, "SlackByRank", "SlackByIndex", keep=200, **paper)
    select("paper, κ = 0: random dropout", some, "SlackByRank", "SlackByIndex", keep=500, threshold=0, **paper)
    twice = (_scores(*[5] * 8, layer="left"), _scores(*[5] * 8, layer="right"))
    select("paper: alike layers have different slack", some, "SlackForAllLayers", keep=500, scores=twice, **paper)
    aged = ("SEL-7", "SEL-5", "SEL-2", "SEL-6", "SEL-1")
    select("an age cap that leaves too few", aged, "AgeCapAfterCut", "AgeCapLeftOut", keep=1, age_cap=4)
    select("an age cap that leaves enough: others go instead", aged, "AgeCapAfterCut", keep=500, age_cap=4)
    for comment, keep in (("a keep level of 0 ‰", 0), ("a keep level of 1001 ‰", 1001)):
        known: dict[str, Any] = {"scores": [ten], "policy": policy(), "entropy": book.bytes("entropy"), "round": 7}
        known |= {"ahead": []}
        book.invalid("selection.select", "SEL-6", comment=comment, flags=("LevelNotChecked",), keep=keep, **known)


def _turns(book: Book) -> None:
    """What goes behind the blocks that are ahead."""
    ten, one = _scores(9, 1, 8, 2, 7, 3, 6, 4, 5, 0), _scores(3, layer="lone")
    spread: dict[str, Any] = {"spread": True, "mean": Mean.STRATA}

    def turn(
        comment: str, *flags: str, keep: int, ahead: tuple[int, ...], rules: tuple[str, ...] = (), **c: Any
    ) -> None:
        book.valid(
            "selection.select",
            *dict.fromkeys(("SEL-8", *rules, "SEL-6", "SEL-2", "SEL-1")),
            comment=comment,
            flags=flags,
            scores=list(c.pop("scores", (ten,))),
            keep=keep,
            ahead=list(ahead),
            policy=policy(**spread | c),
            entropy=book.bytes("entropy"),
            round=7,
        )

    missed, wraps, sums = "TurnNotTaken", "TurnEndsWithOrder", "TurnRoundedOnce"
    turn("the second of two blocks", missed, keep=700, ahead=(600,))
    turn("the third of three", missed, keep=800, ahead=(600, 700))
    turn("a block that prunes nothing takes no turn", missed, keep=700, ahead=(1000, 600, 1000))
    turn("exactly to the end of the order", missed, keep=500, ahead=(500,))
    turn("one place beyond: the first goes, too", missed, wraps, keep=500, ahead=(600, 800))
    turn("a whole order ahead: it begins anew", keep=700, ahead=(500, 500))
    turn("one and a half orders ahead", missed, keep=700, ahead=(500, 500, 500))
    turn("two blocks that prune all but one", missed, wraps, keep=1, ahead=(1,))
    turn("each level ahead is rounded by itself", missed, sums, keep=800, ahead=(750, 750))
    turn("a level of one's own that is rounded", missed, sums, keep=749, ahead=(749, 751))
    turn("a layer of one neuron keeps it", keep=500, ahead=(500, 500), scores=(one,))
    three = (_scores(1, 2, 3, layer="a"), ten, one)
    turn("each layer by itself", missed, sums, wraps, keep=333, ahead=(600, 700), scores=three)
    turn("nothing is pruned, whatever is ahead", keep=1000, ahead=(500,))
    strict: dict[str, Any] = {"selection": Selection.STRICT}
    fewer, short = ("SEL-7", "SEL-3", "INV-8"), "TurnBeyondOrder"
    turn("strict: the block ahead takes all that there are", short, sums, keep=800, ahead=(300,), rules=fewer, **strict)
    turn("strict: nobody is invariant", keep=500, ahead=(500,), rules=fewer, threshold=0, **strict)
    aged = ("SEL-5", "SEL-7")
    turn("an age cap: exempt neurons have no place", missed, keep=700, ahead=(600,), rules=aged, age_cap=4)
    turn("an age cap, beyond the order", short, sums, keep=800, ahead=(1,), rules=aged, age_cap=4)
    paper: dict[str, Any] = {"selection": Selection.PAPER, "slack_seed": SlackSeed.RECORDS}
    turn("paper: turns at the slack, too", missed, keep=500, ahead=(500,), rules=("SEL-4", "INV-8", "RND-5"), **paper)
    fixed: dict[str, Any] = {"selection": Selection.ORDERED}
    end = (missed, "OrderedFromTheFront", "OrderedTakesScores")
    turn("ordered: turns from the end", *end, keep=700, ahead=(600,), rules=("SEL-9",), **fixed)
    for level in (0, 1001):
        book.invalid(
            "selection.select",
            "SEL-8",
            comment=f"a level of {level} ‰ ahead",
            flags=("AheadNotChecked",),
            scores=[ten],
            keep=500,
            ahead=[700, level],
            policy=policy(**spread),
            entropy=book.bytes("entropy"),
            round=7,
        )
