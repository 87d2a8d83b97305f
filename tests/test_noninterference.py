"""Non-interference: what the server sees does not depend on what it must not learn, in one round.   Spec: threat model, (a).

(1) *Shape.* Whatever the secrets, under one schedule all messages have the same order, kinds, lengths and structure.
(2) *Clear bytes.* With the same coins all fields are equal but for a closed list: ciphertexts, masked vectors, commitments,
and what is derived from commitments.
(3) *Coupling.* For inputs with the same sum there are pads, as likely as any, under which the masked vectors are equal.
(4) *Controls.* A flag, a length or an order that does depend on a secret fails each of the three.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import attrs
import faulty
import numpy as np
import pytest
from faulty import GRID, LAYOUT, kind_of
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import digest, le
from rounds import held_by, identity_of

from clip_ref import keys, masking, padding, wire
from clip_ref.errors import ClipError, ContributionError
from clip_ref.keys import NO_IDENTITIES
from clip_ref.messages import MaskedInput, TimeRecord, Unmask
from clip_ref.params import Params
from clip_ref.round import NO_JOURNAL, Assignment, Client, DropOut, Leg, RoundResult, Server, ids, run_round
from clip_ref.values import ClientId, Floats, Ring, RingVector, Seed

N, T = 5, 3
BOTH = [faulty.params_of(N, T, hardened=hardened) for hardened in (False, True)]
LEVELS = pytest.mark.parametrize("params", BOTH, ids=["basic", "hardened"])
FEWER = settings(max_examples=-(-settings().max_examples // 3))  # each example takes several rounds
STEPS = 511


@attrs.frozen
class Profile:
    """What a client wants kept to itself."""

    time: int
    """Its training time in µs; no two of a round are equal, so that statuses move along with profiles."""
    weight: int
    values: tuple[int, ...]
    """Its quantised update, int[d]: what is pruned is left out."""
    was_straggler: bool = False

    def record(self) -> TimeRecord:
        fit = tuple(self.time * keep // 1000 for keep in GRID)
        return TimeRecord(True, True, self.was_straggler, 0, 0, 0, 0, fit, self.weight, b"")

    def update(self, held: Sequence[bool]) -> Floats:
        return np.array([v / STEPS for v, here in zip(self.values, held, strict=True) if here], dtype=np.float32)


Profiles = Mapping[ClientId, Profile]
Entry = tuple[ClientId, bool, bytes]


@attrs.frozen
class Schedule:
    """Who vanishes when, and whose masked input comes too late to count."""

    drops: Mapping[ClientId, DropOut] = attrs.field(factory=dict)
    late: frozenset[ClientId] = frozenset()


@attrs.frozen
class View:
    """A round as the server sees it, and what only the test knows."""

    entries: list[Entry]
    server: Server
    assignments: Mapping[ClientId, Assignment]
    result: RoundResult | None

    def stragglers(self) -> set[ClientId]:
        return {u for u, a in self.assignments.items() if a.verdict.keep < 1000}

    def input(self, profile: Profile, client: ClientId) -> list[int]:
        """What is under its mask."""
        assignment, modulus = self.assignments[client], self.server.params.encoding.ring.modulus
        held = held_by(LAYOUT, assignment.kept)
        values = [v * profile.weight if here else 0 for v, here in zip(profile.values, held, strict=True)]
        return [v % modulus for v in values] + [profile.weight if k == assignment.verdict.keep else 0 for k in GRID]


def view_of(
    params: Params, profiles: Profiles, schedule: Schedule, *, coins: int = 0, kind: type[Client] = Client
) -> View:
    """A round with these secrets, this schedule and these coins."""
    entries: list[Entry] = []
    assignments: dict[ClientId, Assignment] = {}
    server = faulty.server_of(params)

    def train(found: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
        assignments.update(found)
        return {u: profiles[u].update(held_by(LAYOUT, a.kept)) for u, a in found.items()}

    def network(leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
        return () if up and leg is Leg.INPUT and client in schedule.late else (data,)

    clients = {
        u: kind(
            me=u,
            params=params,
            layout=LAYOUT,
            record=profiles[u].record(),
            history=faulty.state_of().history,
            entropy=digest(b"coins", le(coins, 8), le(u, 4)),
            identity=identity_of(u) if params.hardened else None,
            directory=faulty.directory(N) if params.hardened else NO_IDENTITIES,
            session=faulty.SESSION,
            journal=NO_JOURNAL,
        )
        for u in ids(N)
    }
    try:
        result = run_round(
            server=server,
            clients=clients,
            train=train,
            drop_outs=schedule.drops,
            network=network,
            observe=lambda client, up, data: entries.append((client, up, data)),
        )
    except ClipError:
        result = None  # of a control, which lies
    return View(entries, server, assignments, result)


# The three checks


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a message, down to numbers, bytes and arrays, each with its path."""
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, tuple):
        for k, part in enumerate(value):
            yield from leaves(part, f"{path}[{k}]")
    else:
        yield path, value


def read(data: bytes, server: Server) -> dict[str, Any]:
    """All fields of a message, header first; of what is no message, its bytes."""
    found: dict[str, Any] = {"header": data[: wire.HEADER_BYTES]}
    try:
        kind = kind_of(data)
        message = wire.decode(data, expected=wire.header(data), kind=kind, sizes=server.sizes)
    except ContributionError:
        return found | {"no message": data}
    return found | dict(leaves(message, kind.__name__))


def shape(view: View) -> list[object]:
    """(1): of every message, in order: to or from whom, length, header, and each field's path with its id or its length."""

    def size(value: Any) -> object:
        if isinstance(value, bytes):
            return len(value)
        return (value.dtype.str, value.shape) if isinstance(value, np.ndarray) else value

    return [
        (client, up, len(data), data[: wire.HEADER_BYTES], {p: size(v) for p, v in read(data, view.server).items()})
        for client, up, data in view.entries
    ]


def differing(one: View, two: View) -> set[str]:
    """(2): the fields in which two views differ; `structure` where they do not even have the same ones."""
    if len(one.entries) != len(two.entries):
        return {"structure"}
    out = set()
    for (*where, data), (*there, other) in zip(one.entries, two.entries, strict=True):
        found, against = read(data, one.server), read(other, two.server)
        if where != there or found.keys() != against.keys():
            return {"structure"}
        for path, value in found.items():
            if not np.array_equal(value, against[path]):
                out.add(re.sub(r"\[\d+\]", "[]", path))
    return out


OF_UPDATES = {False: {"MaskedInput.vector"}, True: {"MaskedInput.vector", "MaskedInput.signature"}}
"""(2), where only updates differ: at `basic`, at `hardened`."""

OF_RECORDS = {
    False: {"ShareKeys.envelopes[].record", "Deliver.envelopes[].record", "MaskedInput.vector"},
    True: {
        # the commitment, and what is signed with it
        "Advertise.record_commitment",
        "Advertise.signature",
        "Roster.bundles[].record_commitment",
        "Roster.bundles[].signature",
        # ctx covers the roster: channel keys, commitments to shares and signatures are derived from it
        "ShareKeys.envelopes[].shares",
        "ShareKeys.envelopes[].record",
        "ShareKeys.envelopes[].commitments",
        "ShareKeys.own_commitments",
        "ShareKeys.signature",
        "Deliver.envelopes[].shares",
        "Deliver.envelopes[].record",
        "Deliver.envelopes[].commitments",
        "MaskedInput.vector",
        "MaskedInput.signature",
        "Consistent.statement",
        "Consistent.signature",
        "Agreed.signatures[][]",
        "Unmask.signature",
    },
}
"""(2), where records differ too. All else is equal: public keys, commitments to b_u, ids and counts, revealed shares, w_i."""


def closed_list(column: int, *depends: str) -> set[str]:
    """The fields on the page *Threat model* that differ if one of these does: column 1 for `basic`, 2 for `hardened`."""
    page = (Path(__file__).parent.parent / "spec" / "threat-model.md").read_text("utf-8")
    _, found = page.split("<!-- closed list -->")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found.strip().split("\n\n")[0].split("\n")
    ]
    assert rows[0][:3] == ["field", "at `basic`", "at `hardened`"]
    assert all(set(row[1:3]) <= {"updates", "records", ""} for row in rows[2:])
    return {row[0].strip("`") for row in rows[2:] if row[column] in depends}


def test_the_page_has_the_closed_list() -> None:
    for hardened, column in ((False, 1), (True, 2)):
        assert closed_list(column, "updates") == OF_UPDATES[hardened]
        assert closed_list(column, "updates", "records") == OF_RECORDS[hardened]


@attrs.define
class Pads:
    """(3): ideal pads, one for each pair and each client, in place of the generator; `shift` is added to some."""

    ring: Ring
    seed: int
    shift: Mapping[tuple[int, ...], RingVector] = attrs.field(factory=dict)
    names: dict[bytes, tuple[int, ...]] = attrs.field(factory=dict)
    """Which pair, or which client, a seed is for."""

    def pad(self, seed: Seed, length: int) -> RingVector:
        name = self.names[seed.data]
        rng = np.random.default_rng([self.seed, len(name), *name])
        drawn: RingVector = rng.integers(0, self.ring.modulus, size=length, dtype=self.ring.dtype)
        return drawn + self.shift[name] if name in self.shift else drawn

    def accumulate(self, *, target: RingVector, ring: Ring, plus: Any, minus: Any) -> None:
        for seed in plus:
            np.add(target, self.pad(seed, len(target)), out=target)
        for seed in minus:
            np.subtract(target, self.pad(seed, len(target)), out=target)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        pair_seed, self_mask_seed = keys.pair_seed, keys.self_mask_seed

        def of_pair(*, me: ClientId, peer: ClientId, **more: Any) -> Seed:
            seed = pair_seed(me=me, peer=peer, **more)
            self.names[seed.data] = (min(me, peer), max(me, peer))
            return seed

        def of_client(*, me: ClientId, **more: Any) -> Seed:
            seed = self_mask_seed(me=me, **more)
            self.names[seed.data] = (me,)
            return seed

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(keys, "pair_seed", of_pair)
            patched.setattr(keys, "self_mask_seed", of_client)
            patched.setattr(masking, "accumulate", self.accumulate)
            yield


def coupled(
    params: Params, one: Profiles, two: Profiles, schedule: Schedule, *, kind: type[Client] = Client
) -> tuple[View, View]:
    """The round with the profiles `one` and ideal pads, and that with `two` and pads shifted so that no y should change.

    Only pads that the server never learns are shifted: along a path through U3, and the self masks of those who come too late.
    """
    ring = params.encoding.ring
    with Pads(ring, 9).in_place():
        first = view_of(params, one, schedule, kind=kind)
    with Pads(ring, 9).in_place():
        plain = view_of(params, two, schedule, kind=kind)  # to know what is to be hidden

    def change(u: ClientId) -> RingVector:
        before, after = (np.array(v.input(p[u], u), dtype=ring.dtype) for v, p in ((first, one), (plain, two)))
        changed: RingVector = before - after
        return changed

    shift: dict[tuple[int, ...], RingVector] = {(u,): change(u) for u in schedule.late if u in first.assignments}
    carried = np.zeros(first.server.sizes.vector, dtype=ring.dtype)
    for u, v in pairwise(first.server.u3):
        carried = carried + change(u)
        shift[u, v] = carried
    assert not (carried + change(first.server.u3[-1])).any(), "the sums are not equal"
    with Pads(ring, 9, shift).in_place():
        second = view_of(params, two, schedule, kind=kind)
    return first, second


def vectors(view: View) -> list[Any]:
    """All masked vectors in the order in which they were sent."""
    found = [read(data, view.server) for _, _, data in view.entries if kind_of(data) is MaskedInput]
    return [f["MaskedInput.vector"].tobytes() for f in found]


# What they are checked on


def profiles_of(draw: Random) -> dict[ClientId, Profile]:
    """Anything; up to all of them slow."""
    slow = draw.randrange(N + 1)
    times = [(800_000 if k < slow else 500_000) + 1000 * k for k in range(N)]
    draw.shuffle(times)
    return {
        u: Profile(
            time=times[u],
            weight=draw.randint(1, 50),
            values=tuple(draw.choice((0, STEPS, -STEPS, draw.randint(-STEPS, STEPS))) for _ in range(LAYOUT.size)),
            was_straggler=draw.random() < 0.3,
        )
        for u in ids(N)
    }


def secrets() -> st.SearchStrategy[dict[ClientId, Profile]]:
    return st.integers(0, 2**32).map(lambda seed: profiles_of(Random(seed)))


@st.composite
def schedules(draw: st.DrawFn, params: Params) -> Schedule:
    """Up to two vanish or are late: three are left."""
    unlucky = draw(st.lists(st.sampled_from(ids(N)), max_size=N - T, unique=True))
    legs = [leg for leg in Leg if params.hardened or leg is not Leg.CONSISTENCY]
    drops, late = {}, set()
    for u in unlucky:
        if draw(st.integers(0, 2)) == 0:
            late.add(u)
        else:
            drops[u] = DropOut(draw(st.sampled_from(legs)), draw(st.booleans()))
    return Schedule(drops, frozenset(late))


@pytest.mark.rule("TRA-2", "PAD-1", "BRO-2", "WIR-2", "MSK-4")
@LEVELS
@FEWER
@given(data=st.data(), one=secrets(), two=secrets(), coins=st.integers(0, 2**32))
def test_shape(params: Params, data: st.DataObject, one: Profiles, two: Profiles, coins: int) -> None:
    """(1) Secrets and coins of one's own; the schedule alone is the same."""
    schedule = data.draw(schedules(params))
    first, second = view_of(params, one, schedule), view_of(params, two, schedule, coins=coins)
    assert shape(first) == shape(second)
    assert first.result is not None
    assert second.result is not None


@pytest.mark.rule("AGR-1", "AGR-3", "CTX-3", "CTX-4", "BRO-2", "ROU-3")
@LEVELS
@FEWER
@given(data=st.data(), one=secrets(), two=secrets())
def test_clear_bytes(params: Params, data: st.DataObject, one: Profiles, two: Profiles) -> None:
    """(2) Other updates show in masked vectors alone; other records in what is sealed, too, and in what is derived from
    commitments to them."""
    schedule = data.draw(schedules(params))
    first = view_of(params, one, schedule)
    assert first.result is not None
    assert differing(first, view_of(params, two, schedule)) <= OF_RECORDS[params.hardened]
    updates = {u: attrs.evolve(profile, values=two[u].values) for u, profile in one.items()}
    assert differing(first, view_of(params, updates, schedule)) <= OF_UPDATES[params.hardened]
    assert differing(first, view_of(params, one, schedule)) == set()


@pytest.mark.rule("AGR-1", "AGR-3", "CTX-3", "CTX-4")
@LEVELS
def test_the_closed_list_has_nothing_on_it_that_never_differs(params: Params) -> None:
    one, two = profiles_of(Random(1)), profiles_of(Random(2))
    updates = {u: attrs.evolve(profile, values=two[u].values) for u, profile in one.items()}
    schedule = Schedule({ClientId(4): DropOut(Leg.INPUT, False)})
    first = view_of(params, one, schedule)
    assert differing(first, view_of(params, two, schedule)) == OF_RECORDS[params.hardened]
    assert differing(first, view_of(params, updates, schedule)) == OF_UPDATES[params.hardened]
    coins = differing(first, view_of(params, one, schedule, coins=1))
    assert {"Advertise.channel_key", "Advertise.mask_key", "Unmask.self_shares[][]", "Unmask.key_shares[][]"} <= coins


@pytest.mark.rule("MSK-3", "MSK-6", "MSK-7", "CTX-5")
@LEVELS
@FEWER
@given(data=st.data(), one=secrets(), more=secrets())
def test_coupling(params: Params, data: st.DataObject, one: Profiles, more: Profiles) -> None:
    """(3) Survivors exchange their whole profiles, times and keep levels included, and those of one level and weight move part
    of their updates between them; whoever is late may have computed anything."""
    schedule = data.draw(schedules(params))
    survivors = [u for u in ids(N) if u not in schedule.late and stays(schedule, u)]
    two = dict(one)
    for u, v in zip(survivors, data.draw(st.permutations(survivors)), strict=True):
        two[u] = one[v]
    for u in schedule.late:
        two[u] = attrs.evolve(one[u], values=more[u].values)
    same = view_of(params, two, schedule)
    for u, v in pairwise(survivors):
        if same.assignments[u].verdict.keep == same.assignments[v].verdict.keep:
            two[u], two[v] = moved(two[u], two[v], data.draw(st.integers(0, 2**16)))
    first, second = coupled(params, one, two, schedule)
    assert vectors(first) == vectors(second)
    assert first.result is not None
    assert first.server.total_unmasked.tolist() == second.server.total_unmasked.tolist()
    assert differing(first, second) <= OF_RECORDS[params.hardened] - {"MaskedInput.vector"}
    if all(one[u].record() == two[u].record() for u in ids(N)):
        assert first.entries == second.entries


def stays(schedule: Schedule, client: ClientId) -> bool:
    drop = schedule.drops.get(client)
    if drop is None or drop.leg in (Leg.CONSISTENCY, Leg.UNMASK):
        return True
    return drop.leg is Leg.INPUT and drop.after


def moved(one: Profile, two: Profile, seed: int) -> tuple[Profile, Profile]:
    """Part of one's update goes to the other, where both weigh the same and no value leaves its range."""
    if one.weight != two.weight:
        return one, two
    draw, a, b = Random(seed), list(one.values), list(two.values)
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        least, most = max(-STEPS - x, y - STEPS), min(STEPS - x, y + STEPS)
        change = draw.randint(least, most)
        a[k], b[k] = x + change, y - change
    return attrs.evolve(one, values=tuple(a)), attrs.evolve(two, values=tuple(b))


@pytest.mark.rule("MSK-3", "MSK-6")
@LEVELS
def test_other_updates_with_the_same_sum_give_the_same_transcript(params: Params) -> None:
    """(3) Where records are equal it is not the masked vectors alone: every byte of the round is the same, signatures too."""
    one = {u: attrs.evolve(profile, weight=7) for u, profile in profiles_of(Random(5)).items()}
    schedule = Schedule({ClientId(0): DropOut(Leg.INPUT, False)}, frozenset({ClientId(3)}))
    keep = {u: a.verdict.keep for u, a in view_of(params, one, schedule).assignments.items()}
    u, v = next((u, v) for u in (1, 2, 4) for v in (1, 2, 4) if u < v and keep[ClientId(u)] == keep[ClientId(v)])
    two = dict(one)
    two[ClientId(u)], two[ClientId(v)] = moved(one[ClientId(u)], one[ClientId(v)], 1)
    assert two != one
    first, second = coupled(params, one, two, schedule)
    assert first.entries == second.entries
    with Pads(params.encoding.ring, 9).in_place():
        assert vectors(view_of(params, two, schedule)) != vectors(first)  # with the same pads it is another one


@pytest.mark.rule("AGR-1", "AGR-3", "CTX-4", "BRO-2")
@LEVELS
def test_all_that_is_on_the_closed_list_does_differ(params: Params) -> None:
    """(2) The list is no longer than it has to be."""
    one, two = two_worlds()
    first = view_of(params, one, A_SCHEDULE)
    assert differing(first, view_of(params, two, A_SCHEDULE)) == OF_RECORDS[params.hardened]
    updates = {u: attrs.evolve(profile, values=two[u].values) for u, profile in one.items()}
    assert differing(first, view_of(params, updates, A_SCHEDULE)) == OF_UPDATES[params.hardened]


# (4) Controls: the same checks, on something that does leak


Leak = Callable[[View], View]
A_SCHEDULE = Schedule({ClientId(4): DropOut(Leg.INPUT, False)})


def _uploads(view: View, change: Callable[[ClientId, bytes], bytes]) -> View:
    entries = [(u, up, change(u, data) if kind_of(data) is MaskedInput else data) for u, up, data in view.entries]
    return attrs.evolve(view, entries=entries)


def a_flag(view: View) -> View:
    """Of a version's sixteen bits nobody needs the highest: it says who is slow."""
    late = view.stragglers()
    return _uploads(view, lambda u, d: d[:5] + bytes([d[5] | 0x80]) + d[6:] if u in late else d)


def a_length(view: View) -> View:
    """What is pruned is not sent."""
    gone = {u: LAYOUT.size - sum(held_by(LAYOUT, a.kept)) for u, a in view.assignments.items()}
    return _uploads(view, lambda u, d: d[: len(d) - 4 * gone[u]])


def an_order(view: View) -> View:
    """Whoever trains longer sends later."""
    late, entries = view.stragglers(), list(view.entries)
    places = [k for k, (_, _, data) in enumerate(entries) if kind_of(data) is MaskedInput]
    ordered = sorted((entries[k] for k in places), key=lambda e: e[0] in late)
    for k, e in zip(places, ordered, strict=True):
        entries[k] = e
    return attrs.evolve(view, entries=entries)


def two_worlds() -> tuple[Profiles, Profiles]:
    """A fast and a slow survivor change places."""
    one = {
        u: attrs.evolve(p, time=800_000 + u if u in (0, 3) else 500_000 + u, was_straggler=False)
        for u, p in profiles_of(Random(3)).items()
    }
    two = one | {ClientId(0): one[ClientId(2)], ClientId(2): one[ClientId(0)]}
    return one, two


@LEVELS
@pytest.mark.parametrize("leak", [a_flag, a_length, an_order])
def test_a_leak_fails_every_check(params: Params, leak: Leak) -> None:
    one, two = two_worlds()
    first, second = (view_of(params, p, A_SCHEDULE) for p in (one, two))
    assert first.stragglers() != second.stragglers()
    assert shape(first) == shape(second)
    assert shape(leak(first)) != shape(leak(second))
    assert differing(first, second) <= OF_RECORDS[params.hardened]
    assert not differing(leak(first), leak(second)) <= OF_RECORDS[params.hardened]
    first, second = coupled(params, one, two, A_SCHEDULE)
    assert vectors(first) == vectors(second)
    assert not differing(first, second) & {"structure", "MaskedInput.vector", "header"}
    assert differing(leak(first), leak(second)) & {"structure", "MaskedInput.vector", "header"}


@LEVELS
def test_without_padding_the_shape_shows_who_pruned(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpadded(**given: Any) -> RingVector:
        vector: RingVector = given["coded"]
        return vector

    monkeypatch.setattr(padding, "pad", unpadded)
    one, two = two_worlds()
    assert shape(view_of(params, one, A_SCHEDULE)) != shape(view_of(params, two, A_SCHEDULE))


@LEVELS
def test_an_element_that_is_not_masked_fails_the_coupling(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight of one's level in the clear: neither the shape nor the closed list can see it, the coupling does."""
    honest = masking.mask

    def bare(**given: Any) -> RingVector:
        extras = given["update"][LAYOUT.size :].copy()  # before it is masked where it stands
        masked: RingVector = honest(**given).copy()
        masked[LAYOUT.size :] = extras
        return masked

    one, two = two_worlds()
    first, second = coupled(params, one, two, A_SCHEDULE)
    assert vectors(first) == vectors(second)
    monkeypatch.setattr(masking, "mask", bare)
    first, second = coupled(params, one, two, A_SCHEDULE)
    assert shape(first) == shape(second)
    assert differing(first, second) <= OF_RECORDS[params.hardened]
    assert vectors(first) != vectors(second)


class Telling(Client):
    """Its coins depend on whether it will be slow: the shares that it deals, which pass in the clear at the end, tell."""

    def _draw(self, purpose: str) -> bytes:
        slow = "shares" in purpose and self._record.fit[0] > 700_000
        return super()._draw(purpose + " slow" if slow else purpose)


class Stuttering(Client):
    """It reveals its shares in another way when it has pruned."""

    def _unmask(self) -> Unmask:
        said = super()._unmask()
        if self._verdict.keep == 1000:
            return said
        (owner, share), *rest = said.self_shares
        return self._signed(attrs.evolve(said, self_shares=((owner, share[::-1]), *rest)), self._ctx)


@LEVELS
@pytest.mark.parametrize("kind", [Telling, Stuttering])
def test_a_secret_in_the_clear_is_not_on_the_closed_list(params: Params, kind: type[Client]) -> None:
    one, two = two_worlds()
    first, second = (view_of(params, p, A_SCHEDULE, kind=kind) for p in (one, two))
    assert "Unmask.self_shares[][]" in differing(first, second) - OF_RECORDS[params.hardened]
