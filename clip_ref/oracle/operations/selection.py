"""Operations of selection.   Spec: selection."""

from clip_ref import selection
from clip_ref.oracle.jsontypes import Wide
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.invariance import Scores
from clip_ref.params import PruningPolicy
from clip_ref.values import RoundNumber


@operation("selection.ranking", "SEL-1")
def ranking(scores: Scores) -> list[int]:
    """The neurons, least changed first."""
    return selection.ranking(scores=scores.layer_scores())


@operation("selection.order", "SEL-2", "SEL-3", "SEL-4", "SEL-5", "SEL-9")
def order(scores: Scores, policy: PruningPolicy, entropy: bytes, round: Wide) -> list[int]:
    """The neurons that may be pruned, first to go first."""
    return selection.pruning_order(
        scores=scores.layer_scores(), policy=policy, entropy=entropy, round=RoundNumber(round)
    )


@operation("selection.select", "SEL-6", "SEL-7", "SEL-8")
def select(
    scores: list[Scores], keep: int, ahead: list[int], policy: PruningPolicy, entropy: bytes, round: Wide
) -> dict[str, list[int]]:
    """The neurons that a keep level keeps behind blocks with the levels `ahead`, ascending, layer by layer."""
    kept = selection.select(
        scores=[s.layer_scores() for s in scores],
        keep=keep,
        ahead=ahead,
        policy=policy,
        entropy=entropy,
        round=RoundNumber(round),
    )
    return {layer: neurons.tolist() for layer, neurons in kept.items()}
