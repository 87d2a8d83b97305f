"""Generator: masks that are no masks, on the upload of a client that is said to have come too late.

Its mask key is then rebuilt by rule, and all pairwise masks come off: its self mask alone is left.
"""

from typing import Final

import numpy as np

from clip_ref.attacks.outcome import Attack, Outcome
from clip_ref.attacks.stage import (
    HARD,
    LAYOUT,
    Fleet,
    Hoarder,
    advertise,
    combined,
    distance,
    numbers,
    pair_seeds,
    policy,
    reveal,
    secret,
    share,
    strip,
    upload,
    weight_in,
    whole,
)
from clip_ref.attacks.toy import TOY_BITS, stream
from clip_ref.attacks.weakened import DrawsOneNumber, FoldsItsSeed
from clip_ref.canonical import mask_context
from clip_ref.messages import Announce
from clip_ref.params import Params
from clip_ref.rand import expand
from clip_ref.round import Client
from clip_ref.values import ClientId, Ring, RingVector, Seed

VICTIM: Final = ClientId(3)


def _late(seed: int, kind: type[Client]) -> tuple[Fleet, RingVector]:
    """A hardened round that leaves the victim's upload out of U3: that upload under its self mask alone."""
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=HARD))
    clients, server = fleet.clients(kind), Hoarder(fleet, fleet.state())
    roster = advertise(server, clients)
    upload(server, fleet, clients, share(server, clients, roster))
    others = tuple(u for u in fleet.ids if u != VICTIM)
    answers = reveal(clients, Announce(others), others)
    key = combined(answers, VICTIM, field="key_shares", roster=fleet.ids, need=fleet.params.threshold)
    ctx = mask_context(ctx=server.ctx, u2=fleet.ids)
    pairs = pair_seeds(mask_secret=key, me=VICTIM, roster=roster, peers=others, ctx=ctx)
    return fleet, strip(params=fleet.params, vector=server.kept[VICTIM], me=VICTIM, self_seed=None, pairs=pairs)


def _judged(fleet: Fleet, bare: RingVector, how: str) -> Outcome:
    weight = weight_in(fleet.params, bare)
    assert weight is not None
    error = distance(fleet.params, bare, weight, whole(fleet, VICTIM))
    return Outcome(
        error == 0,
        f"client {VICTIM}'s whole update and its weight, {weight}, {how}; largest error {error:g} quantisation steps",
        error,
    )


def _guess(seed: int, kind: type[Client]) -> Outcome:
    fleet, masked = _late(seed, kind)
    at, limit = np.arange(LAYOUT.size, len(masked)), fleet.params.encoding.weight_max
    for low in range(0, 1 << TOY_BITS, 1 << 16):
        guesses = np.arange(low, low + (1 << 16), dtype=np.uint32)
        slots = masked[at] - stream(guesses, at)
        fits = guesses[(slots <= limit).all(axis=1) & ((slots > 0).sum(axis=1) == 1)]
        if fits.size:
            bare = masked - stream(fits[:1], np.arange(len(masked)))[0]
            return _judged(
                fleet, bare, f"after {int(fits[0]) + 1:,} of {1 << TOY_BITS:,} guesses (32 bits: 4,096 times as many)"
            )
    return Outcome(
        False, f"nothing: none of {1 << TOY_BITS:,} guesses fits a mask whose seed has 256 bits", bounded_by="RND-2"
    )


SHORT: Final = Attack(
    name="short-seed",
    title="a mask whose seed is folded",
    story="The victim's self mask comes from 20 bits of its seed. Most slots behind the update are 0, so that a guess shows "
    "whether it is right: all of them are tried. Taken out: the generator that takes all 256 bits.",
    defence="RND-2",
    without=lambda seed: _guess(seed, FoldsItsSeed),
    against=lambda seed: _guess(seed, Client),
)


def _constant(seed: int, kind: type[Client]) -> Outcome:
    fleet, masked = _late(seed, kind)
    slots = masked[LAYOUT.size :]
    common = max(set(slots.tolist()), key=slots.tolist().count)
    bare = masked - masked.dtype.type(common)
    if weight_in(fleet.params, bare) is None:
        return Outcome(False, "noise: no two slots are masked alike", bounded_by="RND-3")
    return _judged(fleet, bare, "since empty slots show the mask")


ONE_NUMBER: Final = Attack(
    name="one-number",
    title="one random number for the whole vector",
    story="The victim draws a single number as its self mask and adds it to every element: an empty slot shows it. Taken out: "
    "an element of keystream for each element.",
    defence="RND-3",
    without=lambda seed: _constant(seed, DrawsOneNumber),
    against=lambda seed: _constant(seed, Client),
)

SAMPLES: Final = 1 << 14


def _missing(seed: int, *, top: bool) -> Outcome:
    weight = int(numbers(seed, 5).integers(10, 41))
    if top:
        words = expand(seed=Seed(secret(seed, "bytes")), ring=Ring(bits=32), length=SAMPLES // 4)
        masks = words.view(np.uint8)
    else:
        masks = numbers(seed, 6).integers(0, 255, size=SAMPLES, dtype=np.uint8)  # 0 … R − 2
    seen = np.bincount(masks + np.uint8(weight), minlength=256)
    missing = np.flatnonzero(seen == 0)
    if not missing.size:
        return Outcome(False, f"nothing: all 256 values occur among {SAMPLES:,} masked ones", bounded_by="RND-3")
    found = (int(missing[0]) + 1) % 256
    return Outcome(
        len(missing) == 1 and found == weight,
        f"the weight, {found}, from the one value that never occurs among {SAMPLES:,} masked ones in a ring of 256; error "
        f"{abs(found - weight)}",
        abs(found - weight),
    )


BIASED: Final = Attack(
    name="biased-mask",
    title="a mask that never takes its top value",
    story="A client masks the same weight round after round with numbers drawn below R − 1, where below R is meant. The value "
    "that never occurs gives it away; in a ring of R = 2⁸ here, since the rounds that it takes grow as R·log R. Taken out: the "
    "keystream, on which every value is as likely as any other.",
    defence="RND-3",
    without=lambda seed: _missing(seed, top=False),
    against=lambda seed: _missing(seed, top=True),
)
