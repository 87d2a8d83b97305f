"""Fleets: which device and network each client has, and how that changes.   Spec: fleet, rules FLT-1..FLT-11.

Profiles are data: `profiles.json` beside this file holds the devices, the networks and the named fleets, and says of
each number whether it is the paper's or our choice. A file of one's own has one `fleet`, and `devices` and `networks` if
it needs more than the shipped ones:

    {"devices":  {"phone": {"ghz": 1.5, "macs_per_cycle": 2, "slow_down": 20, "source": "a guess"}},
     "networks": {"dsl": {"up_mbit": 10, "down_mbit": 50, "latency_ms": 15, "source": "a contract"}},
     "fleet":    {"note": "what this fleet is",
                  "fast": {"device": "cpu_3ghz", "network": "net_5g"},
                  "slow": [{"device": "phone", "network": "net_4g"}, {"device": "cpu_2ghz", "network": "dsl"}],
                  "server": "server_3ghz",
                  "timeout_s": 60,
                  "jitter": {"fit": 0.1, "network": 0.2}, "churn": 0.3, "liars": {"share": 0.1, "factor": 3},
                  "stragglers": 0.2, "slow_down": 20, "median": 3}}

The last line is its behaviour, and optional. Behaviour can be put onto any fleet by its name or file, as text:
`paper+jitter:0.1/0.2+churn:0.3+liars:0.1x3+stragglers:0.2+slow_down:20+median:3`.
"""

import json
import math
import os
import re
import statistics
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import numpy as np

from clip_ref.errors import PreconditionError
from clip_ref.values import Microseconds, saturate

_T = TypeVar("_T")

MAX_JITTER: Final = 2.0
"""The largest σ: one client in forty is then slowed down fiftyfold."""

MAX_CHURN: Final = 0.9
"""The largest share of the population that is absent."""

MAX_MEDIAN: Final = 99
"""The most rounds that a client looks back upon."""

_JITTER, _CHURN, _LIARS = 1, 2, 3
"""What raw draws are for: each purpose has a stream of its own."""


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


@attrs.frozen(kw_only=True)
class Behaviour:
    """How a fleet behaves from round to round; by default all are there, alike in every round, and truthful."""

    fit_jitter: float = 0.0
    """σ of the factor by which a client's processor is slower in a round: log-normal, its median 1; 0 … 2."""

    network_jitter: float = 0.0
    """σ of the factor by which its link is slower, likewise; 0 … 2."""

    churn: float = 0.0
    """The share of the population that is absent in each round, 0 … 0.9."""

    stragglers: float | None = None
    """The share of the clients that are slow, 0 … 0.5; none: as many as are asked for."""

    slow_down: float | None = None
    """The `slow_down` of every client's device, above 0; none: what its profile declares."""

    liars: float = 0.0
    """The share of the population that misreports its times, 0 … 1."""

    lie: float = 1.0
    """By which factor they do, above 0: above 1 they pretend to be slower than they are, below 1 faster."""

    median: int = 1
    """Clients declare the median of so many last observed times, odd, 1 … 99; 1: the last."""

    def __attrs_post_init__(self) -> None:
        """FLT-7."""
        for name, value, largest in (
            ("jitter", self.fit_jitter, MAX_JITTER),
            ("jitter", self.network_jitter, MAX_JITTER),
            ("churn", self.churn, MAX_CHURN),
            ("the share of liars", self.liars, 1.0),
            ("the share of stragglers", 0.0 if self.stragglers is None else self.stragglers, 0.5),
        ):
            if not _is_number(value) or not 0 <= value <= largest:
                raise PreconditionError(rule="FLT-7", detail=f"{name} is a number 0 … {largest:g}, got {value!r}")
        slow_down = 1.0 if self.slow_down is None else self.slow_down
        for name, value in (("the factor of liars", self.lie), ("slow_down", slow_down)):
            if not _is_number(value) or not 0 < value < math.inf:
                raise PreconditionError(rule="FLT-7", detail=f"{name} is a finite number above 0, got {value!r}")
        if type(self.median) is not int or self.median % 2 == 0 or not 0 < self.median <= MAX_MEDIAN:
            raise PreconditionError(
                rule="FLT-7", detail=f"a median is of an odd number 1 … {MAX_MEDIAN} of rounds, got {self.median!r}"
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def exactly(number: float) -> Fraction:
    """The decimal number as it is written, not its neighbour in binary."""
    return Fraction(repr(number))


def _rounded(exact: Fraction) -> int:
    """Half up."""
    return math.floor(exact + Fraction(1, 2))


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

    size: int = attrs.field(default=attrs.Factory(lambda self: len(self.clients), takes_self=True))
    """n: how many of `clients`, the population, take part in each round."""

    liars: tuple[int, ...] = ()
    """The indices of those who misreport their times, ascending."""

    behaviour: Behaviour = Behaviour()
    """How it behaves from round to round."""

    seed: int = 0
    """What each round's chance is drawn from."""

    def at(self, round: int) -> "Fleet":
        """FLT-8: the fleet as it is in this round: every processor and link slower by a factor e^(σ·z) of its own.

        z is standard normal, a function of seed, round and client alone.
        """
        fit, network = self.behaviour.fit_jitter, self.behaviour.network_jitter
        if not fit and not network:
            return self
        normal = normals(count=2 * len(self.clients), seed=(_JITTER, round, self.seed))
        today = (
            slowed(client, processor=math.exp(fit * z), link=math.exp(network * other))
            for client, z, other in zip(self.clients, normal[::2], normal[1::2], strict=True)
        )
        return attrs.evolve(self, clients=tuple(today))

    def present(self, round: int, *, excluded: Collection[int] = ()) -> tuple[int, ...]:
        """FLT-9: who takes part in this round, ascending: the n that come first in its order of the population.

        Without the `excluded`, it is the first of the others; of n so many fewer as their share of the population is.
        """
        count = self.size - _rounded(Fraction(self.size * len(excluded), len(self.clients)))
        order = _order(len(self.clients), seed=(_CHURN, round, self.seed))
        return tuple(sorted([index for index in order if index not in excluded][:count]))

    def declared(self, client: int, time: int) -> Microseconds:
        """FLT-10: what `client` says where it ought to say `time`, in µs: a liar that times its factor."""
        return to_microseconds(exactly(self.behaviour.lie) * time if client in self.liars else Fraction(time))


def normals(*, count: int, seed: tuple[int, ...]) -> list[float]:
    """Standard normal draws, a function of `seed` alone, the same however many more are drawn."""
    raw = np.random.PCG64(seed).random_raw(count).tolist()
    normal = statistics.NormalDist()
    return [normal.inv_cdf((2 * (draw >> 12) + 1) / 2**53) for draw in raw]


def slowed(profile: ClientProfile, *, processor: float, link: float) -> ClientProfile:
    """The client with its processor and its link, rates and latency, slower by these factors."""
    device, network = profile.device, profile.network
    return ClientProfile(
        device=attrs.evolve(device, slow_down=float(device.slow_down * processor)),
        network=attrs.evolve(
            network,
            up_mbit=float(network.up_mbit / link),
            down_mbit=float(network.down_mbit / link),
            latency_ms=float(network.latency_ms * link),
        ),
    )


def slow_clients(behaviour: Behaviour, *, clients: int, asked: int) -> int:
    """FLT-2: how many of `clients` are slow: the fleet's share of them, rounded down, or as many as are asked for."""
    return asked if behaviour.stragglers is None else math.floor(exactly(behaviour.stragglers) * clients)


def load_fleet(name_or_path: str, *, clients: int, stragglers: int, seed: int) -> Fleet:
    """The fleet of this name, or of a JSON file of one's own, for `clients` clients of which `stragglers` are slow.

    Behaviour may follow, each as `+NAME:VALUE`: `jitter:0.1` or `jitter:0.1/0.2` (processors, links), `churn:0.3`,
    `liars:0.2x3`, `stragglers:0.2`, `slow_down:20`, `median:3`.

    Which ones are slow is drawn by `seed` ≥ 0; in ascending order they take the fleet's slow profiles in turn. A fleet
    without slow profiles has no stragglers, however many are asked for. With churn there are so many more clients, fast
    and slow, that `clients` of them are present in each round.

    Errors, all `PreconditionError`: FLT-1 no such fleet; FLT-2 not 0 ≤ stragglers < clients, or a seed below 0; FLT-3 a
    file that cannot be read, or is not JSON; FLT-4 a malformed entry, by its name; FLT-5 a device or network that is
    nowhere defined; FLT-6 a malformed behaviour after the name; FLT-7 a behaviour out of range.
    """
    shipped = json.loads(resources.files("clip_ref.sim").joinpath("profiles.json").read_text("utf-8"))
    known = tuple(shipped["fleets"])
    base, added = _composed(name_or_path, known=known)
    if base in known:
        name, own, entry, where = base, {}, shipped["fleets"][base], f"fleets.{base}"
    else:
        name, own = Path(base).stem, _read(base, known=known)
        _check_keys(own, required={"fleet"}, optional={"devices", "networks"}, where=base)
        entry, where = own["fleet"], "fleet"
    behaviour = _behaviour(_object(entry, where), added, where)
    stragglers = slow_clients(behaviour, clients=clients, asked=stragglers)
    if not 0 <= stragglers < clients:
        raise PreconditionError(
            rule="FLT-2", detail=f"{stragglers} stragglers of {clients} clients: at least one client must be fast"
        )
    if seed < 0:
        raise PreconditionError(rule="FLT-2", detail=f"a seed is at least 0, got {seed}")
    devices = _profiles("devices", Device, {"ghz", "macs_per_cycle", "slow_down"}, shipped, own)
    networks = _profiles("networks", Network, {"up_mbit", "down_mbit", "latency_ms"}, shipped, own)
    population = _rounded(clients / (1 - exactly(behaviour.churn)))
    slow = _drawn(population, _rounded(Fraction(population * stragglers, clients)), seed=seed)
    fleet = _fleet(name + name_or_path.removeprefix(base), entry, where, devices, networks, slow)
    liars = _drawn(population, _rounded(exactly(behaviour.liars) * population), seed=(_LIARS, 0, seed))
    return attrs.evolve(
        fleet,
        clients=tuple(_declared_slow(client, behaviour.slow_down) for client in fleet.clients),
        size=clients,
        liars=tuple(k for k, lies in enumerate(liars) if lies),
        behaviour=behaviour,
        seed=seed,
    )


def _declared_slow(client: ClientProfile, slow_down: float | None) -> ClientProfile:
    return (
        client if slow_down is None else attrs.evolve(client, device=attrs.evolve(client.device, slow_down=slow_down))
    )


def _order(count: int, *, seed: int | tuple[int, ...]) -> list[int]:
    """0 … count − 1 by their raw draws, a stream that never changes."""
    order: list[int] = np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").tolist()
    return order


def _drawn(clients: int, count: int, *, seed: int | tuple[int, ...]) -> tuple[bool, ...]:
    """FLT-2: which of the clients are drawn: the `count` with the smallest raw draws."""
    drawn = set(_order(clients, seed=seed)[:count])
    return tuple(index in drawn for index in range(clients))


@attrs.frozen
class _Form:
    """How one kind of behaviour is written."""

    words: str
    """What follows its name and a colon, for those who got it wrong."""

    pattern: re.Pattern[str]
    """The same, its numbers as groups."""

    fields: Mapping[str, str]
    """The fields of `Behaviour` by their keys in JSON; one that stands alone has the key \"\"."""


_N: Final = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"

_FORMS: Final = {
    "jitter": _Form(
        "SIGMA or FIT/NETWORK", re.compile(rf"{_N}(?:/{_N})?"), {"fit": "fit_jitter", "network": "network_jitter"}
    ),
    "churn": _Form("SHARE", re.compile(_N), {"": "churn"}),
    "liars": _Form("SHARExFACTOR", re.compile(rf"{_N}x{_N}"), {"share": "liars", "factor": "lie"}),
    "stragglers": _Form("SHARE", re.compile(_N), {"": "stragglers"}),
    "slow_down": _Form("FACTOR", re.compile(_N), {"": "slow_down"}),
    "median": _Form("ROUNDS", re.compile(_N), {"": "median"}),
}
"""Behaviour by its name, in JSON and after a fleet's name."""


def _composed(text: str, *, known: Collection[str]) -> tuple[str, dict[str, dict[str, Any]]]:
    """FLT-6: a fleet's name or path, and the behaviours after it: of each its numbers, by their keys in JSON.

    The name is the longest part before a + that is a fleet's or a file's; if none is, all before the first piece with a colon.
    """
    pieces = text.split("+")
    bases = ["+".join(pieces[:count]) for count in range(len(pieces), 0, -1)]
    plain = next((count for count, piece in enumerate(pieces) if count and ":" in piece), len(pieces))
    base = next((b for b in bases if b in known or os.path.exists(b)), "+".join(pieces[:plain]))
    added: dict[str, dict[str, Any]] = {}
    for piece in text.removeprefix(base).split("+")[1:]:
        name, _, value = piece.partition(":")
        if name not in _FORMS:
            names = ", ".join(_FORMS)
            raise PreconditionError(rule="FLT-6", detail=f"{text}: no behaviour {name!r}; there are {names}")
        form = _FORMS[name]
        if name in added:
            raise PreconditionError(rule="FLT-6", detail=f"{text}: has {name} twice")
        found = form.pattern.fullmatch(value)
        if found is None:
            raise PreconditionError(rule="FLT-6", detail=f"{text}: not {piece!r} but {name}:{form.words}")
        numbers = [number or found[1] for number in found.groups()]
        added[name] = {
            key: int(number) if number.isdigit() else float(number)
            for key, number in zip(form.fields, numbers, strict=True)
        }
    return base, added


def _behaviour(entry: dict[str, Any], added: Mapping[str, dict[str, Any]], where: str) -> Behaviour:
    """The behaviour in a fleet's entry, and what was added after its name in place of that."""
    fields: dict[str, Any] = {}
    for name, form in _FORMS.items():
        found = {}
        if name in entry:
            found = {"": entry[name]} if "" in form.fields else _object(entry[name], f"{where}.{name}")
            _check_keys(found, required=set(form.fields), optional=set(), where=f"{where}.{name}")
        fields |= {form.fields[key]: value for key, value in added.get(name, found).items()}
    return _named(where, lambda: Behaviour(**fields))


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
    required = {"note", "fast", "slow", "server", "timeout_s"}
    _check_keys(content, required=required, optional=set(_FORMS), where=where)

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
