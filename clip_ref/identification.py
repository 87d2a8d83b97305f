"""Identification: who is a straggler, and how much it must prune.   Spec: identification, rules IDN-1..IDN-12.

Every client runs this on the same opened records and comes to the same plan, in integers alone.

Source: CLIP, arXiv 2510.16694, §4.1 (self-identification) and §4.3 (over-pruning for slow networks).
"""

from collections.abc import Mapping

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.messages import TimeRecord
from clip_ref.params import Mean, Params
from clip_ref.values import ClientId, Microseconds, RoundNumber, saturate
from clip_ref.verdicts import Reason as Reason
from clip_ref.verdicts import Verdict as Verdict


@attrs.frozen
class Plan:
    """What follows from the records of a round."""

    target: Microseconds
    """T*: the elapsed µs of the slowest client that is not a candidate; 0 where there is none."""

    target_fit: Microseconds
    """f*: the largest fit at keep 1000 among valid non-stragglers, µs; 0 where there is none."""

    verdicts: Mapping[ClientId, Verdict]
    """For every client of U2, in ascending id."""

    @property
    def stragglers(self) -> tuple[ClientId, ...]:
        """Those with the status, ascending, whether they prune or not."""
        return tuple(u for u, verdict in self.verdicts.items() if verdict.straggler)


def valid(record: TimeRecord, *, params: Params) -> bool:
    """IDN-1: whether a record takes part: it has times, predictions that do not rise as keep falls, and a legal weight."""
    return (
        record.has_time
        and len(record.fit) == len(params.policy.grid)
        and list(record.fit) == sorted(record.fit, reverse=True)
        and 1 <= record.weight <= params.encoding.weight_max
    )


def elapsed(record: TimeRecord, *, level: int) -> Microseconds:
    """IDN-2: e_u(r) = down + select + fit(r) + mask + up, saturating, with r the grid's entry number `level`."""
    if not 0 <= level < len(record.fit):
        raise PreconditionError(rule="IDN-2", detail=f"a record of {len(record.fit)} levels has no level {level}")
    return saturate(record.elapsed(level))


def identify(*, records: Mapping[ClientId, TimeRecord], params: Params, round: RoundNumber) -> Plan:
    """The plan for U2 = the clients with a record, in round `round` ≥ 1. Deterministic; the records' order is irrelevant.

    IDN-3: candidates are the ⌊p·n_v/1000⌋ valid clients with the largest e(1000), the smaller id first among equals.
    IDN-4: T* is the largest e(1000) of the valid others. IDN-5: a candidate is a straggler above (1 + δ)·T*; one that was a
    straggler stays one above T*. IDN-6, IDN-7: a straggler keeps the largest level of the grid that is in time, else the
    smallest. IDN-8: in blocks; IDN-12: each with its turn. IDN-9: nobody prunes in a warm-up round, in a small roster, or,
    where the selection looks at it, without history. What follows: IDN-10, who is in time, and IDN-11, that nobody flaps.
    """
    policy = params.policy
    if not records or round < 1:
        raise PreconditionError(rule="IDN-1", detail="identification needs a round from 1 and at least one record")
    ids = sorted(records)
    eligible = [u for u in ids if valid(records[u], params=params)]
    slowest_first = sorted(eligible, key=lambda u: (-elapsed(records[u], level=0), u))
    count = policy.straggler_share * len(eligible) // 1000
    candidates, rest = slowest_first[:count], slowest_first[count:]
    target = max((elapsed(records[u], level=0) for u in rest), default=saturate(0))
    stragglers = [u for u in candidates if rest and _is_straggler(records[u], target, policy.margin)]
    target_fit = max((records[u].fit[0] for u in eligible if u not in stragglers), default=0)

    verdicts = {u: Verdict(False, 1000, False, Reason.FAST) for u in ids}
    for u in ids:
        if u not in eligible:
            verdicts[u] = attrs.evolve(verdicts[u], reason=Reason.NO_TIME)
    for u in candidates:
        verdicts[u] = attrs.evolve(verdicts[u], reason=Reason.MARGIN)
    for u in stragglers:
        verdicts[u] = _keep_level(records[u], target, target_fit, params)
    return Plan(saturate(target), saturate(target_fit), _restrain(verdicts, records, params, round))


def _is_straggler(record: TimeRecord, target: int, margin: int) -> bool:
    """IDN-5, in integers: entering takes more than leaving, so that a borderline client does not flap."""
    slow = elapsed(record, level=0)
    return slow > target if record.was_straggler else 1000 * slow > (1000 + margin) * target


def _keep_level(record: TimeRecord, target: int, target_fit: int, params: Params) -> Verdict:
    """IDN-6 (network-aware) and IDN-7 (compute-only)."""
    for level, keep in enumerate(params.policy.grid):
        if params.policy.network_aware:
            in_time = elapsed(record, level=level) <= target
        else:
            in_time = record.fit[level] <= target_fit
        if in_time:
            return Verdict(True, keep, False, Reason.STRAGGLER)
    return Verdict(True, params.policy.grid[-1], True, Reason.STRAGGLER)


def _restrain(
    verdicts: dict[ClientId, Verdict], records: Mapping[ClientId, TimeRecord], params: Params, round: RoundNumber
) -> dict[ClientId, Verdict]:
    """IDN-8, IDN-9: who of the stragglers may really prune, and with whom alike. The status stays as it is."""
    policy = params.policy
    out = dict(verdicts)

    def spare(clients: list[ClientId], reason: Reason) -> None:
        for u in clients:
            out[u] = attrs.evolve(out[u], keep=1000, reason=reason)

    stragglers = [u for u, verdict in verdicts.items() if verdict.straggler]
    if round <= policy.warm_up:
        spare(stragglers, Reason.WARM_UP)
        return out
    if len(verdicts) < policy.min_roster:
        spare(stragglers, Reason.SMALL_ROSTER)
        return out
    # Scaling by holders' weights takes everybody's neuron sets, so under `holder` one client without history stops all.
    if policy.needs_history:
        everyone = policy.mean is Mean.HOLDER and not all(record.has_model for record in records.values())
        spare([u for u in stragglers if everyone or not records[u].has_model], Reason.NO_HISTORY)
    pruning = sorted((u for u in stragglers if out[u].keep < 1000), key=lambda u: (out[u].keep, u))
    size = params.block_size
    if len(pruning) < size:
        spare(pruning, Reason.SMALL_BLOCK)
        return out
    blocks, ahead = len(pruning) // size, list[int]()
    for k in range(blocks):
        block = pruning[k * size : (k + 1) * size if k < blocks - 1 else None]
        smallest = out[block[0]].keep
        for u in block:
            if out[u].keep > smallest:
                out[u] = attrs.evolve(out[u], keep=smallest, reason=Reason.BLOCK)
            if policy.spread:
                out[u] = attrs.evolve(out[u], ahead=tuple(ahead))
        ahead.append(smallest)
    return out
