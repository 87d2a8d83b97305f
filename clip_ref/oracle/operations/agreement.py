"""Operations of agreement.   Spec: agreement."""

from clip_ref import agreement
from clip_ref.keys import Directory
from clip_ref.messages import Agreed, TimeRecord
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.wire import Fields, From, Kind, message_of
from clip_ref.values import ClientId, Digest, Seed


@operation("agreement.commit_record", "AGR-1")
def commit_record(record: TimeRecord, owner: ClientId, ctx0: bytes) -> bytes:
    """The commitment to a time record."""
    return agreement.record_commitment(record=record, owner=owner, ctx0=Digest(ctx0))


@operation("agreement.commit_seed", "AGR-2")
def commit_seed(seed: bytes, owner: ClientId, ctx0: bytes) -> bytes:
    """The commitment to b_u."""
    return agreement.seed_commitment(seed=Seed(seed), owner=owner, ctx0=Digest(ctx0))


@operation("agreement.commit_share", "AGR-3")
def commit_share(share: bytes, secret: str, owner: ClientId, holder: ClientId, ctx: bytes) -> bytes:
    """The commitment to a share; `secret` is the name of what it is a share of."""
    return agreement.share_commitment(share=share, secret=secret, owner=owner, holder=holder, ctx=Digest(ctx))


@operation("agreement.statement", "AGR-4")
def statement(kind: Kind, header: From, fields: Fields, ring_bits: int, context: bytes) -> bytes:
    """The statement that the signature of a client's message is over; the signature among the fields is left out."""
    message = message_of(kind, fields, header, ring_bits)
    return agreement.statement(message=message, header=header.header(), context=Digest(context))  # type: ignore[arg-type]


@operation("agreement.check_signature", "AGR-5", "KEY-9")
def check_signature(
    kind: Kind, header: From, fields: Fields, ring_bits: int, context: bytes, directory: dict[ClientId, bytes]
) -> bool:
    """True if a client's message carries its signature; refused, with the sender named, if not."""
    message = message_of(kind, fields, header, ring_bits)
    agreement.check_signature(
        message=message,  # type: ignore[arg-type]
        header=header.header(),
        context=Digest(context),
        directory=Directory(directory),
    )
    return True


@operation("agreement.views", "AGR-6")
def views(ctx: bytes, u2: list[int], u3: list[int]) -> bytes:
    """The statement of the consistency round, from the ids or positions of U2 and U3 in any order."""
    return agreement.views(ctx=Digest(ctx), u2=u2, u3=u3)


@operation("agreement.check_agreed", "AGR-7", "AGR-8")
def check_agreed(
    signatures: list[tuple[ClientId, bytes]],
    views: bytes,
    u3: list[ClientId],
    threshold: int,
    ctx: bytes,
    directory: dict[ClientId, bytes],
    header: From,
) -> bool:
    """True if an `Agreed` shows enough signatures on one's own views; refused, with the server named, if not.

    `header` is the header of any message of the round.
    """
    agreement.check_agreed(
        message=Agreed(tuple(signatures)),
        views=Digest(views),
        u3=u3,
        threshold=threshold,
        ctx=Digest(ctx),
        directory=Directory(directory),
        session=header.header(),
    )
    return True
