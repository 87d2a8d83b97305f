"""Operations on sub-models.   Spec: submodel."""

from clip_ref import submodel
from clip_ref.layout import Layout
from clip_ref.oracle.jsontypes import F32s
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.layout import kept_sets


@operation("submodel.extract", "SUB-1", "SUB-2")
def extract(model: F32s, layout: Layout, kept: dict[str, list[int]]) -> F32s:
    """The sub-model's weights."""
    return submodel.extract(model=model, layout=layout, kept=kept_sets(kept))


@operation("submodel.expand", "SUB-3", "SUB-4")
def expand(delta: F32s, layout: Layout, kept: dict[str, list[int]]) -> F32s:
    """A sub-model's update at its coordinates of the full model."""
    return submodel.expand(delta=delta, layout=layout, kept=kept_sets(kept))
