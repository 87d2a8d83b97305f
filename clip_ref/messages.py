"""Every message of a round, as a frozen value.   Spec: messages, rules MSG-1..MSG-3.

Clients send `Advertise`, `ShareKeys`, `MaskedInput`, `Consistent` and `Unmask`; the server sends `Open`, `Roster`, `Deliver`,
`Announce` and `Agreed`. U1 are the clients whose `Advertise` arrived in time, U2 ⊆ U1 those whose `ShareKeys` did, U3 ⊆ U2
those whose `MaskedInput` did, U4 ⊆ U3 those whose `Consistent` did, U5 ⊆ U3 those whose `Unmask` did. `Consistent` and
`Agreed` belong to security level `hardened`, as do the commitments and signatures, which are empty at `basic`.
"""

from collections.abc import Iterable

import attrs

from clip_ref.canonical import RoundContext, digest, unsigned
from clip_ref.errors import SERVER, ContributionError
from clip_ref.keys import check_public_key
from clip_ref.values import ClientId, Digest, Floats, RingVector, RoundNumber

SHARE_BYTES = 32
"""The length of a share: as long as the secret it shares."""


@attrs.frozen
class TimeRecord:
    """What a client tells its peers, encrypted: how long its last round took and how long its next would take."""

    has_time: bool
    """Whether the times below are measured; without, the client takes no part in quantiles and keeps everything."""

    has_model: bool
    """Whether it holds the history model; without, it keeps everything."""

    was_straggler: bool
    """Its own status in the last round that it took part in."""

    down: int
    """µs to download the last `Deliver`, unsigned 64-bit."""

    select: int
    """µs to select its neurons in the last round, unsigned 64-bit."""

    mask: int
    """µs to encode and mask its update in the last round, unsigned 64-bit."""

    up: int
    """µs to upload its last masked input, unsigned 64-bit."""

    fit: tuple[int, ...]
    """The local training's predicted µs at each keep level of the grid, unsigned 64-bit; from its own calibration."""

    weight: int
    """The weight of its update, unsigned 32-bit."""

    entropy: bytes = attrs.field(repr=False)
    """32 random bytes: its part in the seed of the slack's permutation."""

    def elapsed(self, level: int) -> int:
        """e_u(r): down + select + fit(r) + mask + up in µs, with r the grid's entry `level`; not yet saturated."""
        return self.down + self.select + self.fit[level] + self.mask + self.up


@attrs.frozen
class Open:
    """Server → client: the round begins; these are the digests of the model and its history."""

    context: RoundContext
    """What every key of the round depends on."""


@attrs.frozen
class Advertise:
    """Client → server: fresh public keys for this round."""

    sender: ClientId
    """Who sends it."""

    channel_key: bytes
    """c_u: the X25519 public key for encrypted shares and times, 32 bytes."""

    mask_key: bytes
    """s_u: the X25519 public key for pairwise masks, 32 bytes."""

    record_commitment: bytes = b""
    """com_u: the commitment to its time record, 32 bytes."""

    seed_commitment: bytes = b""
    """The commitment to b_u, 32 bytes."""

    signature: bytes = b""
    """Over ctx₀ and the message's canonical bytes, 64 bytes."""

    def check(self) -> None:
        """MSG-1: both keys are canonical, not of low order, and different."""
        check_public_key(self.channel_key, culprit=self.sender, field="channel_key")
        check_public_key(self.mask_key, culprit=self.sender, field="mask_key")
        if self.channel_key == self.mask_key:
            raise ContributionError(
                rule="MSG-1", culprit=self.sender, field="mask_key", detail="is the channel key a second time"
            )


@attrs.frozen
class Roster:
    """Server → client: the keys of everybody in U1, in ascending id."""

    bundles: tuple[Advertise, ...]
    """One `Advertise` per client, as it was sent."""

    def digest(self) -> Digest:
        """MSG-3: what enters the context: ids, keys and commitments of the whole roster."""
        return digest(
            "roster",
            (
                unsigned(b.sender, bits=32) + b.channel_key + b.mask_key + b.record_commitment + b.seed_commitment
                for b in self.bundles
            ),
        )


@attrs.frozen
class Member:
    """One client of a neighbourhood, and the proof that it is in the roster."""

    position: int
    """Its place in the roster, from 0, in ascending id."""

    bundle: Advertise
    """Its `Advertise`, as it was sent."""

    proof: tuple[bytes, ...]
    """The siblings on the way from its leaf to the roster's root, 32 bytes each."""


@attrs.frozen
class Neighbourhood:
    """Server → client, on a graph: instead of the roster its root, and the receiver and its neighbours."""

    count: int
    """n′: how many clients the roster has."""

    root: Digest
    """The root of the Merkle tree over the roster."""

    members: tuple[Member, ...]
    """The receiver and its neighbours, in ascending position."""


@attrs.frozen
class Envelope:
    """What one client encrypts for one other, relayed by the server."""

    peer: ClientId
    """On the way to the server: the receiver. On the way from it: the sender."""

    shares: bytes
    """The shares of the sender's mask key and of its b_u, sealed: 2·32 + 16 bytes."""

    record: bytes
    """The sender's time record, sealed: a fixed length."""

    commitments: bytes = b""
    """The commitments to the two shares within: of the mask key's, then of b_u's; 2·32 bytes."""


@attrs.frozen
class ShareKeys:
    """Client → server: an envelope for every other client of the roster, in ascending id."""

    sender: ClientId
    """Who sends it."""

    envelopes: tuple[Envelope, ...]
    """One for each peer."""

    own_commitments: bytes = b""
    """The commitments to the two shares that it keeps for itself, 2·32 bytes."""

    signature: bytes = b""
    """Over ctx and the message's canonical bytes, 64 bytes."""


@attrs.frozen
class Deliver:
    """Server → client: the envelopes meant for it, from everybody else in U2, and the model to train."""

    envelopes: tuple[Envelope, ...]
    """One from each peer in U2, in ascending id: U2 is their senders and the receiver."""

    model: Floats = attrs.field(eq=attrs.cmp_using(eq=lambda a, b: a.tobytes() == b.tobytes()), repr=False)
    """w_i: float32[d]."""

    u2: bytes = b""
    """On a graph: U2 as a bitmap over the roster's positions. In a clique empty."""


def _same(a: RingVector, b: RingVector) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


@attrs.frozen
class MaskedInput:
    """Client → server: its padded update under the self mask and all pairwise masks."""

    sender: ClientId
    """Who sends it."""

    vector: RingVector = attrs.field(eq=attrs.cmp_using(eq=_same), repr=False)
    """y_u: uint32|uint64[d + extras]."""

    signature: bytes = b""
    """Over ctx and the message's canonical bytes, 64 bytes."""


@attrs.frozen
class Announce:
    """Server → client: whose masked inputs are in the sum."""

    survivors: tuple[ClientId, ...]
    """U3, ascending; on a graph empty."""

    u3: bytes = b""
    """On a graph: U3 as a bitmap over the roster's positions. In a clique empty."""


@attrs.frozen
class Consistent:
    """Client → server: what it was told of U2 and U3, signed."""

    sender: ClientId
    """Who sends it."""

    statement: Digest
    """The digest of ctx, U2 and U3 as this client knows them."""

    signature: bytes = b""
    """Over ctx and the message's canonical bytes, 64 bytes."""


@attrs.frozen
class Agreed:
    """Server → client: that at least t clients have signed one and the same statement."""

    signatures: tuple[tuple[ClientId, bytes], ...]
    """For each client of U4, ascending: the signature of its `Consistent`, 64 bytes."""


@attrs.frozen
class Unmask:
    """Client → server: one share per client of U2: of b_v for the survivors, of the mask key for those who dropped out."""

    sender: ClientId
    """Who sends it."""

    self_shares: tuple[tuple[ClientId, bytes], ...] = attrs.field(repr=False)
    """For each v in U3, ascending: the share of b_v, 32 bytes."""

    key_shares: tuple[tuple[ClientId, bytes], ...] = attrs.field(repr=False)
    """For each v in U2 without U3, ascending: the share of v's mask key, 32 bytes."""

    signature: bytes = b""
    """Over ctx and the message's canonical bytes, 64 bytes."""


ClientMessage = Advertise | ShareKeys | MaskedInput | Consistent | Unmask
ServerMessage = Open | Roster | Neighbourhood | Deliver | Announce | Agreed
Message = ClientMessage | ServerMessage


@attrs.frozen
class Header:
    """What precedes every message on the wire: which round of which session it belongs to, and who sends it."""

    session: bytes
    """16 bytes."""

    round: RoundNumber
    """i ≥ 1."""

    sender: int
    """The client's id, or `SERVER`."""


def check_ascending(
    ids: Iterable[int],
    *,
    culprit: int,
    field: str,
    rule: str = "MSG-2",
    error: type[ContributionError] = ContributionError,
) -> None:
    """MSG-2: refuse (with `error`) ids that are not strictly ascending: duplicates and other orders alike."""
    last = -1
    for client in ids:
        if client <= last or client >= SERVER:
            raise error(
                rule=rule, culprit=culprit, field=field, detail=f"ids must ascend strictly, {client} follows {last}"
            )
        last = client


def check_same_ids(found: Iterable[int], expected: Iterable[int], *, culprit: int, field: str, rule: str) -> None:
    """Refuse (`ContributionError`) a list that is not exactly the expected ids, in their order."""
    have, want = list(found), list(expected)
    if have != want:
        missing, extra = sorted(set(want) - set(have)), sorted(set(have) - set(want))
        raise ContributionError(
            rule=rule,
            culprit=culprit,
            field=field,
            detail=f"missing {missing}, not expected {extra}, in ascending order",
        )
