"""Broadcast: sealing shares and times for every peer, and opening theirs.   Spec: broadcast, rules BRO-1..BRO-5.

Times travel over the keys that secure aggregation set up anyway, on the message that carries the shares: no round trip is
added. The price is that U2 becomes a barrier before training.

Source: CLIP, arXiv 2510.16694, §4.1; Bonawitz et al., CCS 2017, doi:10.1145/3133956.3133982.
"""

from collections.abc import Mapping

from clip_ref.canonical import digest, unsigned
from clip_ref.errors import ContributionError, PreconditionError
from clip_ref.keys import seal, unseal
from clip_ref.messages import SHARE_BYTES, Envelope, TimeRecord
from clip_ref.values import ClientId, Digest
from clip_ref.wire import Sizes, decode_record, encode_record

SHARES, RECORD = "shares", "record"
"""The purposes of the two ciphertexts: each has a key of its own."""


def seal_envelope(
    *,
    sender: ClientId,
    receiver: ClientId,
    shared: bytes,
    ctx: Digest,
    key_share: bytes,
    self_share: bytes,
    record: TimeRecord | None,
) -> Envelope:
    """BRO-1, BRO-2: what `sender` sends to `receiver`: two ciphertexts of constant length, under two derived keys.

    `shared` is the 32-byte X25519 secret of their channel keys; `key_share` and `self_share` are the 32-byte shares of the
    sender's mask key and of its b_u. On a graph there is no `record` for peers: then there is no second ciphertext.
    """
    if sender == receiver:
        raise PreconditionError(rule="BRO-1", detail=f"client {sender} seals nothing for itself")
    if len(key_share) != SHARE_BYTES or len(self_share) != SHARE_BYTES:
        raise PreconditionError(rule="BRO-1", detail=f"shares are {SHARE_BYTES} bytes each")

    def sealed(plain: bytes, purpose: str) -> bytes:
        return seal(plain, shared=shared, ctx=ctx, purpose=purpose, sender=sender, receiver=receiver)

    times = b"" if record is None else sealed(encode_record(record), RECORD)
    return Envelope(receiver, sealed(key_share + self_share, SHARES), times)


def open_shares(*, envelope: Envelope, receiver: ClientId, shared: bytes, ctx: Digest) -> tuple[bytes, bytes]:
    """BRO-3: (share of the mask key, share of b) that `envelope.peer` sealed for `receiver`.

    `ContributionError` (KEY-6) if it was sealed by another, for another, in another round or session, or the other way round.
    """
    plain = unseal(envelope.shares, shared=shared, ctx=ctx, purpose=SHARES, sender=envelope.peer, receiver=receiver)
    if len(plain) != 2 * SHARE_BYTES:
        raise ContributionError(
            rule="BRO-1", culprit=envelope.peer, field=SHARES, detail=f"holds {len(plain)} bytes, not two shares"
        )
    return plain[:SHARE_BYTES], plain[SHARE_BYTES:]


def open_record(*, envelope: Envelope, receiver: ClientId, shared: bytes, ctx: Digest, sizes: Sizes) -> TimeRecord:
    """BRO-4: the time record that `envelope.peer` sealed for `receiver`; errors as for `open_shares`, and WIR-2."""
    plain = unseal(envelope.record, shared=shared, ctx=ctx, purpose=RECORD, sender=envelope.peer, receiver=receiver)
    return decode_record(plain, sizes=sizes, sender=envelope.peer)


def slack_entropy(*, records: Mapping[ClientId, TimeRecord], ctx: Digest) -> bytes:
    """BRO-5: the seed of the slack's permutation: a digest of every opened record of U2 and the context; 32 bytes."""
    return digest("slack", (ctx, *(unsigned(u, bits=32) + encode_record(records[u]) for u in sorted(records))))
