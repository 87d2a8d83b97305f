"""The smallest random case that a program gets wrong, by Hypothesis.   Spec: conformance, rule CNF-10."""

import contextlib
import json
import time
from collections.abc import Callable
from random import Random
from typing import Final

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from clip_ref.oracle.case import Case
from clip_ref.oracle.operation import OPERATIONS
from clip_ref.oracle.report import Outcome, Verdict
from clip_ref.oracle.runner import random_case

EXAMPLES: Final = 2000
"""So many cases are tried before the one at hand is taken as it is."""


def smallest(*, outcome: Outcome, ask: Callable[[Case], Outcome], seconds: float) -> Outcome:
    """CNF-10: the outcome of the smallest case of this operation with a wrong answer that is found in this time.

    The case's own inputs are the first candidate; the others are drawn as it was, from what Hypothesis makes of a generator.
    """
    name, until, best = outcome.case.operation, time.monotonic() + seconds, outcome

    def wrong(random: Random) -> bool:
        nonlocal best
        if time.monotonic() > until:
            return False
        inputs = OPERATIONS[name].json(OPERATIONS[name].draw[0](random))
        comment = f"{outcome.case.comment}, then shrunk"
        found = ask(random_case(name, inputs, id=outcome.case.id, comment=comment))
        if found.verdict is not Verdict.WRONG:
            return False
        if _size(found) < _size(best):
            best = found
        return True

    with contextlib.suppress(HypothesisException):  # it found none, or time ran out
        find(
            st.randoms(use_true_random=False),
            wrong,
            settings=settings(
                max_examples=EXAMPLES,
                phases=(Phase.generate, Phase.shrink),
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
            random=Random(outcome.case.id),
        )
    return best


def _size(outcome: Outcome) -> tuple[int, str]:
    text = json.dumps(outcome.case.inputs, sort_keys=True)
    return len(text), text
