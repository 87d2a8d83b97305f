"""Deadline mode: the one public time of a round before which nobody uploads.   Spec: deadline, rules DDL-1..DDL-3.

Off by default. It hides how long a client trained from whoever has a stopwatch, and nothing else.

Source: ours.
"""

from collections.abc import Mapping

from clip_ref.params import Params
from clip_ref.values import ClientId, Microseconds, saturate
from clip_ref.verdicts import Verdict


def upload_time(*, target: int, verdicts: Mapping[ClientId, Verdict], params: Params, round: int) -> Microseconds:
    """DDL-1, DDL-2: how long after the start of `Deliver` uploads begin, in µs; 0 where there is no deadline mode.

    ⌈(1000 + δ)·T*/1000⌉, by which everybody who is fast, or prunes as it should, is ready; at most `deadline`. Where no such
    time is known to cover the slow, `deadline` itself: in rounds 1 … warm_up, where T* = `target` is 0, and in a clique also
    where there are stragglers and none of them may prune. `verdicts` are the plan's: everybody's in a clique; on a graph,
    where others' are not known, they are not looked at, so that all come to the same time.
    """
    policy = params.policy
    stragglers = [] if params.neighbours else [v for v in verdicts.values() if v.straggler]
    idle = bool(stragglers) and all(v.keep == 1000 for v in stragglers)
    if round <= policy.warm_up or not target or idle:
        return saturate(policy.deadline)
    return saturate(min(policy.deadline, -(-(1000 + policy.margin) * target // 1000)))
