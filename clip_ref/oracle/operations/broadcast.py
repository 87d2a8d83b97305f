"""Operations of the broadcast.   Spec: broadcast."""

import attrs

from clip_ref import broadcast
from clip_ref.messages import Envelope, TimeRecord
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.wire import Lengths
from clip_ref.values import ClientId, Digest


@operation("broadcast.seal", "BRO-1", "BRO-2")
def seal(
    sender: ClientId,
    receiver: ClientId,
    shared: bytes,
    ctx: bytes,
    key_share: bytes,
    self_share: bytes,
    record: TimeRecord | None,
) -> Envelope:
    """The envelope for a peer, without commitments; `shared` is the X25519 secret of the channel."""
    return broadcast.seal_envelope(
        sender=sender,
        receiver=receiver,
        shared=shared,
        ctx=Digest(ctx),
        key_share=key_share,
        self_share=self_share,
        record=record,
    )


@attrs.frozen
class Opened:
    """What was in an envelope."""

    key_share: bytes
    """The share of the sender's mask key."""

    self_share: bytes
    """The share of its b."""

    record: TimeRecord
    """Its time record."""


@operation("broadcast.open", "BRO-3", "BRO-4")
def open_envelope(envelope: Envelope, receiver: ClientId, shared: bytes, ctx: bytes, lengths: Lengths) -> Opened:
    """What is in an envelope as it was delivered; refused, with the envelope's peer named, if it does not open."""
    known = {"envelope": envelope, "receiver": receiver, "shared": shared, "ctx": Digest(ctx)}
    key_share, self_share = broadcast.open_shares(**known)  # type: ignore[arg-type]
    return Opened(key_share, self_share, broadcast.open_record(**known, sizes=lengths.sizes()))  # type: ignore[arg-type]


@operation("broadcast.slack_entropy", "BRO-5")
def slack_entropy(records: dict[ClientId, TimeRecord], ctx: bytes) -> bytes:
    """The entropy of the slack, from the opened records of U2."""
    return broadcast.slack_entropy(records=records, ctx=Digest(ctx))
