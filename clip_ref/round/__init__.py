"""The round: client and server machines that pass data between the steps, and an in-memory driver."""

from clip_ref.round.client import Assignment, Client
from clip_ref.round.cost import LEGS, Leg, LegCost, Work
from clip_ref.round.driver import DropOut, RoundResult, ids, run_round
from clip_ref.round.journal import NO_JOURNAL
from clip_ref.round.server import Server
from clip_ref.round.state import State, config_digest

__all__ = [
    "LEGS",
    "NO_JOURNAL",
    "Assignment",
    "Client",
    "DropOut",
    "Leg",
    "LegCost",
    "RoundResult",
    "Server",
    "State",
    "Work",
    "config_digest",
    "ids",
    "run_round",
]
