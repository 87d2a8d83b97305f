"""Fleets: which device and network each client has.   Spec: fleet, rules FLT-1..FLT-5.

Profiles are data: `profiles.json` beside this file holds the devices, the networks and the named fleets, and says of
each number whether it is the paper's or our choice. A file of one's own has one `fleet`, and `devices` and `networks` if
it needs more than the shipped ones:

    {"devices":  {"phone": {"ghz": 1.5, "macs_per_cycle": 2, "slow_down": 20, "source": "a guess"}},
     "networks": {"dsl": {"up_mbit": 10, "down_mbit": 50, "latency_ms": 15, "source": "a contract"}},
     "fleet":    {"note": "what this fleet is",
                  "fast": {"device": "cpu_3ghz", "network": "net_5g"},
                  "slow": [{"device": "phone", "network": "net_4g"}, {"device": "cpu_2ghz", "network": "dsl"}],
                  "server": "server_3ghz",
                  "timeout_s": 60}}
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np

from clip_ref.errors import PreconditionError
from clip_ref.values import Microseconds, saturate

_T = TypeVar("_T")


def to_microseconds(exact: Fraction) -> Microseconds:
    """An exact number of µs, rounded half up to an integer, saturating."""
    return saturate(math.floor(exact + Fraction(1, 2)))


def _number(name: str, value: object, *, zero: bool = False) -> float:
    """FLT-4: `value`, if it is a finite number above 0, or from 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PreconditionError(rule="FLT-4", detail=f"{name} must be a number, got {value!r}")
    if not (0 < value < math.inf or (zero and value == 0)):
        raise PreconditionError(
            rule="FLT-4", detail=f"{name} must be a finite number {'from' if zero else 'above'} 0, got {value!r}"
        )
    return value


def _positive(_: object, attribute: "attrs.Attribute[float]", value: object) -> None:
    _number(attribute.name, value)


def _not_negative(_: object, attribute: "attrs.Attribute[float]", value: object) -> None:
    _number(attribute.name, value, zero=True)


def _text(_: object, attribute: "attrs.Attribute[str]", value: object) -> None:
    """FLT-4: a string."""
    if not isinstance(value, str):
        raise PreconditionError(rule="FLT-4", detail=f"{attribute.name} must be a string, got {value!r}")


@attrs.frozen
class Device:
    """A processor, as the clock sees it."""

    name: str
    """Its name among the profiles."""

    ghz: float = attrs.field(validator=_positive)
    """Its clock rate, 10⁹ cycles a second, above 0."""

    macs_per_cycle: float = attrs.field(validator=_positive)
    """Multiply-accumulates per cycle that training sustains on a core that is not slowed down, above 0."""

    slow_down: float = attrs.field(validator=_positive)
    """The declared factor by which a cycle of it does less than a cycle of the core that costs were measured on, > 0."""

    source: str = attrs.field(default="", validator=_text)
    """Where the numbers come from: the paper, or our choice and why."""


@attrs.frozen
class Network:
    """A client's link to the server; nobody shares it."""

    name: str
    """Its name among the profiles."""

    up_mbit: float = attrs.field(validator=_positive)
    """The rate from the client to the server, 10⁶ bit/s, above 0."""

    down_mbit: float = attrs.field(validator=_positive)
    """The rate from the server to the client, 10⁶ bit/s, above 0."""

    latency_ms: float = attrs.field(validator=_not_negative)
    """What each message takes one way on top, ms, from 0."""

    source: str = attrs.field(default="", validator=_text)
    """Where the numbers come from: the paper, or our choice and why."""

    def up(self, *, length: int) -> Microseconds:
        """How long a message of `length` bytes takes to the server: latency + 8·length/rate."""
        return self._transfer(length, self.up_mbit)

    def down(self, *, length: int) -> Microseconds:
        """How long a message of `length` bytes takes to the client: latency + 8·length/rate."""
        return self._transfer(length, self.down_mbit)

    def _transfer(self, length: int, mbit: float) -> Microseconds:
        return to_microseconds(Fraction(self.latency_ms) * 1000 + Fraction(8 * length) / Fraction(mbit))


@attrs.frozen
class ClientProfile:
    """What one client has."""

    device: Device
    """Its processor."""

    network: Network
    """Its link to the server."""


@attrs.frozen
class Fleet:
    """All clients of a run, and the server."""

    name: str
    """The fleet's name, or its file's."""

    clients: tuple[ClientProfile, ...]
    """Each client's profile, by its index."""

    stragglers: tuple[int, ...]
    """The indices of the slow clients, ascending: those of `clients` that do not have the fast profile."""

    server: Device
    """The server's processor."""

    timeout: Microseconds
    """How long the server waits, from the start of a leg, for a client that does not answer."""

    note: str = attrs.field(validator=_text)
    """What this fleet is, in a sentence."""


def load_fleet(name_or_path: str, *, clients: int, stragglers: int, seed: int) -> Fleet:
    """The fleet of this name, or of a JSON file of one's own, for `clients` clients of which `stragglers` are slow.

    Which ones are slow is drawn by `seed` ≥ 0; in ascending order they take the fleet's slow profiles in turn. A fleet
    without slow profiles has no stragglers, however many are asked for.

    Errors, all `PreconditionError`: FLT-1 no such fleet; FLT-2 not 0 ≤ stragglers < clients, or a seed below 0; FLT-3 a
    file that cannot be read, or is not JSON; FLT-4 a malformed entry, by its name; FLT-5 a device or network that is
    nowhere defined.
    """
    if not 0 <= stragglers < clients:
        raise PreconditionError(
            rule="FLT-2", detail=f"{stragglers} stragglers of {clients} clients: at least one client must be fast"
        )
    if seed < 0:
        raise PreconditionError(rule="FLT-2", detail=f"a seed is at least 0, got {seed}")
    shipped = json.loads(resources.files("clip_ref.sim").joinpath("profiles.json").read_text("utf-8"))
    if name_or_path in shipped["fleets"]:
        name, own, entry, where = name_or_path, {}, shipped["fleets"][name_or_path], f"fleets.{name_or_path}"
    else:
        name, own = Path(name_or_path).stem, _read(name_or_path, known=tuple(shipped["fleets"]))
        _check_keys(own, required={"fleet"}, optional={"devices", "networks"}, where=name_or_path)
        entry, where = own["fleet"], "fleet"
    devices = _profiles("devices", Device, {"ghz", "macs_per_cycle", "slow_down"}, shipped, own)
    networks = _profiles("networks", Network, {"up_mbit", "down_mbit", "latency_ms"}, shipped, own)
    return _fleet(name, entry, where, devices, networks, _draw(clients=clients, stragglers=stragglers, seed=seed))


def _draw(*, clients: int, stragglers: int, seed: int) -> tuple[bool, ...]:
    """FLT-2: which clients are stragglers: those with the smallest of `clients` raw draws, a stream that never changes."""
    order = np.argsort(np.random.PCG64(seed).random_raw(clients), kind="stable")
    slow = set(order[:stragglers].tolist())
    return tuple(index in slow for index in range(clients))


def _read(path: str, *, known: tuple[str, ...]) -> dict[str, Any]:
    """FLT-1, FLT-3: the object in the JSON file at `path`."""
    file = Path(path)
    if not os.path.exists(path):  # a name that no file could have is no error of its own
        names = ", ".join(known)
        if file.suffix == ".json":
            raise PreconditionError(rule="FLT-3", detail=f"no file {path}; fleets that need no file: {names}")
        raise PreconditionError(
            rule="FLT-1", detail=f"no fleet {path!r}; there are {names}, or give a .json file's path"
        )
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise PreconditionError(rule="FLT-3", detail=f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise PreconditionError(rule="FLT-3", detail=f"{path} is not JSON: {error}") from error
    return _object(content, path)


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PreconditionError(rule="FLT-4", detail=f"{where}: must be a JSON object")
    return value


def _check_keys(entry: dict[str, Any], *, required: set[str], optional: set[str], where: str) -> None:
    missing, unknown = sorted(required - set(entry)), sorted(set(entry) - required - optional)
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has an unknown entry {', '.join(unknown)}"
        raise PreconditionError(rule="FLT-4", detail=f"{where}: {what}")


def _named(where: str, build: Callable[[], _T]) -> _T:
    """What `build` returns; its refusals with `where` before them."""
    try:
        return build()
    except PreconditionError as error:
        raise PreconditionError(rule=error.rule, detail=f"{where}: {error.detail}") from error


def _profiles(section: str, kind: Callable[..., _T], needed: set[str], *files: dict[str, Any]) -> dict[str, _T]:
    """FLT-4: all profiles of one kind by name; of two with one name, the later file's."""
    found = {}
    for file in files:
        for name, value in _object(file.get(section, {}), section).items():
            where = f"{section}.{name}"
            entry = _object(value, where)
            _check_keys(entry, required=needed, optional={"source"}, where=where)
            found[name] = _named(where, partial(kind, name=name, **entry))
    return found


def _look_up(profiles: Mapping[str, _T], name: object, where: str) -> _T:
    """FLT-5: the profile of this name."""
    if not isinstance(name, str) or name not in profiles:
        raise PreconditionError(rule="FLT-5", detail=f"{where}: no profile {name!r}; there are {', '.join(profiles)}")
    return profiles[name]


def _fleet(
    name: str,
    entry: object,
    where: str,
    devices: Mapping[str, Device],
    networks: Mapping[str, Network],
    slow: tuple[bool, ...],
) -> Fleet:
    """The fleet that `entry` describes, with stragglers where `slow` says so."""
    content = _object(entry, where)
    _check_keys(content, required={"note", "fast", "slow", "server", "timeout_s"}, optional=set(), where=where)

    def client(value: object, place: str) -> ClientProfile:
        pair = _object(value, place)
        _check_keys(pair, required={"device", "network"}, optional=set(), where=place)
        return ClientProfile(
            device=_look_up(devices, pair["device"], f"{place}.device"),
            network=_look_up(networks, pair["network"], f"{place}.network"),
        )

    fast = client(content["fast"], f"{where}.fast")
    if not isinstance(content["slow"], list):
        raise PreconditionError(rule="FLT-4", detail=f"{where}.slow: must be a list of profiles")
    turns = [client(value, f"{where}.slow[{k}]") for k, value in enumerate(content["slow"])]
    stragglers = tuple(index for index, is_slow in enumerate(slow) if is_slow and turns)
    profiles = [fast] * len(slow)
    for k, index in enumerate(stragglers):
        profiles[index] = turns[k % len(turns)]
    make = partial(
        Fleet,
        name=name,
        clients=tuple(profiles),
        stragglers=stragglers,
        server=_look_up(devices, content["server"], f"{where}.server"),
        timeout=to_microseconds(Fraction(_number(f"{where}.timeout_s", content["timeout_s"])) * 1_000_000),
        note=content["note"],
    )
    return _named(where, make)
