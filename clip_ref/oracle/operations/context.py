"""Operations on the context.   Spec: context."""

from clip_ref import canonical
from clip_ref.canonical import RoundContext
from clip_ref.oracle.jsontypes import F32s, Wide
from clip_ref.oracle.operation import operation
from clip_ref.values import Digest, RoundNumber


@operation("context.digest", "CTX-1", "CTX-2")
def digest(label: str, parts: list[bytes]) -> bytes:
    """The labelled digest of parts; `label` is without the prefix that all labels have."""
    return canonical.digest(label, parts)


@operation("context.model_digest", "CTX-2")
def model_digest(model: F32s) -> bytes:
    """The digest of a flat model."""
    return canonical.model_digest(model)


def _context(
    session: bytes, round: int, config: bytes, directory: bytes, model: bytes, history: bytes, target: int
) -> RoundContext:
    digests = (Digest(config), Digest(directory), Digest(model), Digest(history))
    return RoundContext(session, RoundNumber(round), *digests, target)


@operation("context.ctx0", "CTX-1", "CTX-3")
def ctx0(
    session: bytes, round: Wide, config: bytes, directory: bytes, model: bytes, history: bytes, target: Wide
) -> bytes:
    """ctx₀ of a round."""
    return _context(session, round, config, directory, model, history, target).ctx0()


@operation("context.ctx", "CTX-4")
def ctx(
    session: bytes,
    round: Wide,
    config: bytes,
    directory: bytes,
    model: bytes,
    history: bytes,
    target: Wide,
    roster: bytes,
) -> bytes:
    """Ctx of a round; `roster` is the digest of the roster."""
    return _context(session, round, config, directory, model, history, target).ctx(Digest(roster))


@operation("context.masks", "CTX-5")
def masks(ctx: bytes, u2: list[int]) -> bytes:
    """The context of masks, from the ids or positions of U2 in any order."""
    return canonical.mask_context(ctx=Digest(ctx), u2=u2)
