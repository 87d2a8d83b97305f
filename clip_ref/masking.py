"""Masking: hide one padded update behind a self mask and pairwise masks.   Spec: masking, rules MSK-1..MSK-7.

Source: Bonawitz et al., CCS 2017, doi:10.1145/3133956.3133982.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from clip_ref.errors import PreconditionError
from clip_ref.rand import accumulate
from clip_ref.values import ClientId, Ring, RingVector, Seed


def mask(
    *,
    ring: Ring,
    update: RingVector,
    self_seed: Seed,
    pair_seeds: Mapping[ClientId, Seed],
    sender: ClientId,
    overwrite: bool = False,
) -> RingVector:
    """y_u = x_u + PRG(b_u) + Σ_{v>u} PRG(s_uv) − Σ_{v<u} PRG(s_uv) mod R.

    Requires  MSK-1 `update` is uint32|uint64[d] of the ring's dtype; MSK-2 `sender` is not in `pair_seeds`.
    Ensures   MSK-3 over all clients of U2 the pairwise masks cancel; MSK-4 the length stays d; MSK-5 the sign convention above.
    Cost      (k + 1)·d ring additions and elements of keystream for k peers, O(d + block) memory. Deterministic.

    `overwrite`: the caller owns `update` alone and gives it up: it is masked where it stands, not copied first.
    """
    ring.check(update, rule="MSK-1", name="the update")
    if sender in pair_seeds:
        raise PreconditionError(rule="MSK-2", detail=f"client {sender} has no pairwise mask with itself")
    masked = update if overwrite else np.array(update, copy=True)
    masked.flags.writeable = True
    plus = [self_seed, *(seed for peer, seed in pair_seeds.items() if peer > sender)]
    minus = [seed for peer, seed in pair_seeds.items() if peer < sender]
    accumulate(target=masked, ring=ring, plus=plus, minus=minus)
    masked.flags.writeable = False
    return masked


def unmask(
    *,
    ring: Ring,
    total: RingVector,
    self_seeds: Iterable[Seed],
    dangling: Mapping[tuple[ClientId, ClientId], Seed],
) -> RingVector:
    """The sum of the survivors' updates, from the sum of their masked ones.

    `self_seeds` are the self masks' seeds of exactly the survivors, U3. `dangling` holds the pair seed of every
    (survivor, dropped) with the survivor in U3 and the other in U2 without U3: the pairwise masks that did not cancel.

    Requires  MSK-1 `total` is uint32|uint64[d].
    Ensures   MSK-6 exactly Σ x_u over U3 modulo R; MSK-7 pairs of two dropped clients are not touched.
    Cost      (|U3| + |dangling|)·d ring additions and elements of keystream.
    """
    ring.check(total, rule="MSK-1", name="the total")
    if any(survivor == dropped for survivor, dropped in dangling):
        raise PreconditionError(rule="MSK-7", detail="a client cannot have survived and dropped out")
    bare = np.array(total, copy=True)
    added = [seed for (survivor, dropped), seed in dangling.items() if dropped > survivor]
    subtracted = [seed for (survivor, dropped), seed in dangling.items() if dropped < survivor]
    accumulate(target=bare, ring=ring, plus=subtracted, minus=[*self_seeds, *added])
    bare.flags.writeable = False
    return bare
