"""Agreement: who said what, and that everybody saw the same.   Spec: agreement, rules AGR-1..AGR-8.

Security level `hardened` alone. Every client message is signed over its canonical bytes and the context. The bundle that
opens a round commits its sender to its time record and to its self mask's seed, the shares are committed to one by one, and
nobody reveals a share before t clients have signed that they saw the same U2 and U3.

Source: Bonawitz et al., CCS 2017, §6 (consistency); Bell et al., CCS 2020, doi:10.1145/3372297.3417885.
"""

from collections.abc import Iterable
from typing import TypeVar

import attrs

from clip_ref import wire
from clip_ref.canonical import digest, unsigned
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.keys import Directory, sign
from clip_ref.messages import Agreed, ClientMessage, Consistent, Header, TimeRecord, check_ascending
from clip_ref.values import ClientId, Digest, Seed, SigningKey

_M = TypeVar("_M", bound=ClientMessage)


def record_commitment(*, record: TimeRecord, owner: ClientId, ctx0: Digest) -> bytes:
    """AGR-1: SHA-256 over ctx₀, the owner and the record's bytes, whose 32 random bytes hide the rest: 32 bytes."""
    return digest("commit record", (ctx0, unsigned(owner, bits=32), wire.encode_record(record)))


def seed_commitment(*, seed: Seed, owner: ClientId, ctx0: Digest) -> bytes:
    """AGR-2: SHA-256 over ctx₀, the owner and b_u: 32 bytes."""
    return digest("commit seed", (ctx0, unsigned(owner, bits=32), seed.data))


def share_commitment(*, share: bytes, secret: str, owner: ClientId, holder: ClientId, ctx: Digest) -> bytes:
    """AGR-3: SHA-256 over ctx, which secret it is a share of, whose, for whom, and the share: 32 bytes.

    A share of a uniform 32-byte secret is itself uniform, so the digest hides it.
    """
    if not secret.isascii():
        raise PreconditionError(rule="AGR-3", detail=f"a secret's name is ASCII, got {secret!r}")
    ids = unsigned(owner, bits=32) + unsigned(holder, bits=32)
    return digest("commit share", (ctx, secret.encode("ascii"), ids, share))


def statement(*, message: ClientMessage, header: Header, context: Digest) -> Digest:
    """AGR-4: what a signature covers: the context (ctx₀ for `Advertise`, else ctx) and every byte before it."""
    return digest("signed", (context, wire.unsigned(message, header).parts))


def signed(*, message: _M, header: Header, context: Digest, secret: SigningKey) -> _M:
    """AGR-4: `message` with its sender's signature."""
    return attrs.evolve(
        message, signature=sign(secret=secret, statement=statement(message=message, header=header, context=context))
    )


def check_signature(*, message: ClientMessage, header: Header, context: Digest, directory: Directory) -> None:
    """AGR-5: refuse (`ContributionError`, KEY-9) a message that its sender has not signed in this context."""
    directory.verify(
        signer=message.sender,
        signature=message.signature,
        statement=statement(message=message, header=header, context=context),
    )


def views(*, ctx: Digest, u2: Iterable[int], u3: Iterable[int]) -> Digest:
    """AGR-6: the statement of the consistency round: one digest of ctx, U2 and U3, both ascending.

    By id in a clique, by position in the roster on a graph.
    """

    def listed(ids: Iterable[int]) -> bytes:
        return b"".join(unsigned(u, bits=32) for u in sorted(ids))

    return digest("views", (ctx, listed(u2), listed(u3)))


def check_agreed(
    *,
    message: Agreed,
    views: Digest,
    u3: Iterable[ClientId],
    threshold: int,
    ctx: Digest,
    directory: Directory,
    session: Header,
) -> None:
    """AGR-7, AGR-8: refuse (`ContributionError`) fewer than t signatures of distinct clients of U3 on one's own `views`.

    A signature on any other statement does not verify: the server is to blame for passing it on. `session` is the header of
    any message of the round.
    """
    signers = [u for u, _ in message.signatures]
    check_ascending(signers, culprit=SERVER, field="signatures")
    strangers = sorted(set(signers) - set(u3))
    if strangers or len(signers) < threshold:
        detail = f"{strangers} are not in U3" if strangers else f"{len(signers)} signatures, {threshold} are needed"
        raise ContributionError(rule="AGR-7", culprit=SERVER, field="signatures", detail=detail)
    for signer, signature in message.signatures:
        answer = Consistent(signer, views, signature)
        try:
            check_signature(
                message=answer, header=attrs.evolve(session, sender=signer), context=ctx, directory=directory
            )
        except ContributionError as error:
            raise ContributionError(
                rule="AGR-8",
                culprit=SERVER,
                field="signatures",
                detail=f"that of client {signer} is not one over what I was told of U2 and U3 ({error.rule})",
            ) from None
