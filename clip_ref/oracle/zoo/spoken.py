"""Wrong implementations of what is said: messages, their bytes, agreement and the broadcast."""

from collections.abc import Iterable
from typing import Any

from clip_ref import wire
from clip_ref.canonical import digest, unsigned
from clip_ref.errors import ContributionError
from clip_ref.oracle.zoo.defect import defect
from clip_ref.oracle.zoo.primitives import Original
from clip_ref.values import Digest


@defect("WIR-2", "wire.decode_record", name="FlagsNotZeroOrOne")
def _(original: Original) -> Original:
    def decode(data: bytes, **known: Any) -> Any:
        return original(bytes(min(flag, 1) for flag in data[:3]) + data[3:], **known)

    return decode


@defect("WIR-3", "wire.decode", name="VersionUnchecked")
def _(original: Original) -> Original:
    return lambda data, **known: original(data[:4] + unsigned(wire.WIRE_VERSION, bits=16) + data[6:], **known)


@defect("WIR-3", "canonical.Reader.done", name="TrailingBytes")
def _(original: Original) -> Original:
    return lambda self: None


@defect("WIR-4", "wire.check_ascending", name="OrderUnchecked")
def _(original: Original) -> Original:
    def check(ids: Iterable[int], *, rule: str = "MSG-2", **known: Any) -> None:
        if rule != "WIR-4":
            original(ids, rule=rule, **known)

    return check


@defect("MSG-1", "messages.Advertise.check", name="OneKeyForBothUses")
def _(original: Original) -> Original:
    def check(self: Any) -> None:
        try:
            original(self)
        except ContributionError as error:
            if error.rule != "MSG-1":
                raise

    return check


@defect("MSG-3", "messages.Roster.digest", name="RosterWithoutIds")
def _(original: Original) -> Original:
    def of(self: Any) -> Digest:
        bundles = self.bundles
        return digest("roster", (b.channel_key + b.mask_key + b.record_commitment + b.seed_commitment for b in bundles))

    return of


@defect("AGR-1", "agreement.record_commitment", name="CommitmentWithoutOwner")
def _(original: Original) -> Original:
    return lambda *, record, owner, ctx0: digest("commit record", (ctx0, wire.encode_record(record)))


@defect("AGR-3", "agreement.share_commitment", name="CommitmentWithoutSecretName")
def _(original: Original) -> Original:
    return lambda *, share, secret, owner, holder, ctx: original(
        share=share, secret="", owner=owner, holder=holder, ctx=ctx
    )


@defect("AGR-6", "agreement.views", name="ViewsOfU3Alone")
def _(original: Original) -> Original:
    return lambda *, ctx, u2, u3: original(ctx=ctx, u2=(), u3=u3)


@defect("AGR-7", "agreement.check_agreed", name="SignaturesOneFewer")
def _(original: Original) -> Original:
    return lambda *, threshold, **known: original(threshold=threshold - 1, **known)


@defect("AGR-7", "agreement.check_agreed", name="StrangersCounted")
def _(original: Original) -> Original:
    return lambda *, message, u3, **known: original(
        message=message, u3=[*u3, *(u for u, _ in message.signatures)], **known
    )


@defect("BRO-1", "broadcast.seal_envelope", name="SharesSwapped")
def _(original: Original) -> Original:
    return lambda *, key_share, self_share, **known: original(key_share=self_share, self_share=key_share, **known)


@defect("BRO-5", "broadcast.slack_entropy", name="SlackWithoutContext")
def _(original: Original) -> Original:
    return lambda *, records, ctx: original(records=records, ctx=b"")
