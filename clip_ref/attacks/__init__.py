"""Attacks: code that really takes an update, and the round that it fails against.   Spec: attacks.

Each attack is run twice by the same attacker: against the round without its defence, where it has to succeed, and against
`clip_ref.round` as it is, where it has to fail. Outcomes are compared with the truth; what stopped an attack is the rule that
the caught error names. On the core install, deterministic from a seed.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from clip_ref.attacks import corruption, differencing, generator, inconsistency, lies, relay, shares, substitution
from clip_ref.attacks.outcome import Attack, AttackResult, Outcome

ATTACKS: Final[Mapping[str, Attack]] = MappingProxyType(
    {
        attack.name: attack
        for attack in (
            differencing.REPLAY,
            differencing.NEXT,
            differencing.RESIDUAL,
            inconsistency.DELIVERED,
            inconsistency.ANNOUNCED,
            shares.TWICE,
            shares.HALVES,
            shares.SHRUNKEN,
            shares.ONE,
            shares.CLEAR,
            substitution.SUBSTITUTION,
            substitution.REPLAYED,
            substitution.ROSTERS,
            relay.RELAY,
            relay.EQUIVOCATION,
            generator.SHORT,
            generator.BIASED,
            generator.ONE_NUMBER,
            corruption.SHARE,
            corruption.TAMPERED,
            corruption.NAN,
            lies.TIMES,
            lies.WEIGHTS,
        )
    }
)
"""Every attack by its name."""

__all__ = ["ATTACKS", "Attack", "AttackResult", "Outcome"]
