"""Operations of masking.   Spec: masking."""

from clip_ref import masking
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.randomness import ring_of, vector_of
from clip_ref.values import ClientId, Seed


@operation("masking.mask", "MSK-1", "MSK-2", "MSK-3", "MSK-4", "MSK-5")
def mask(ring_bits: int, update: bytes, self_seed: bytes, pair_seeds: dict[ClientId, bytes], sender: ClientId) -> bytes:
    """The masked vector, from the padded one; both little-endian. The seeds are those of the masks themselves."""
    return masking.mask(
        ring=ring_of(ring_bits),
        update=vector_of(update, ring_bits),
        self_seed=Seed(self_seed),
        pair_seeds={u: Seed(seed) for u, seed in pair_seeds.items()},
        sender=sender,
    ).tobytes()


@operation("masking.unmask", "MSK-6", "MSK-7")
def unmask(
    ring_bits: int, total: bytes, self_seeds: list[bytes], dangling: list[tuple[ClientId, ClientId, bytes]]
) -> bytes:
    """The bare sum; `dangling` lists survivor, dropped and seed of each mask of one who survived and one who dropped out."""
    return masking.unmask(
        ring=ring_of(ring_bits),
        total=vector_of(total, ring_bits),
        self_seeds=[Seed(seed) for seed in self_seeds],
        dangling={(survivor, dropped): Seed(seed) for survivor, dropped, seed in dangling},
    ).tobytes()
