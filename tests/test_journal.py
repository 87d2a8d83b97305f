"""The journal: what was written is there after a restart, what was cut short never counted, what is damaged is refused."""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import faulty
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounds import (
    LAYOUT,
    SESSION,
    client_of,
    directory_of,
    identity_of,
    models,
    params_of,
    plain_inputs,
    plain_sum,
    policy_of,
    record_of,
    state_of,
    time_of,
    train,
    walk,
    weight_of,
)

from clip_ref import wire
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.keys import NO_IDENTITIES
from clip_ref.messages import Header, MaskedInput, Open
from clip_ref.params import Mean, Params, Selection
from clip_ref.round import Assignment, Client, Leg, Server, ids, run_round
from clip_ref.round.client import past_rounds
from clip_ref.round.journal import Entry, FileJournal, Journal, MemoryJournal
from clip_ref.values import ClientId, RoundNumber

Entries = list[tuple[str, bytes]]
ENTRIES: Entries = [("begin", b"how it began"), ("open", b""), ("deliver", bytes(range(256)) * 3)]


def entries(min_size: int = 1) -> st.SearchStrategy[Entries]:
    names = st.text("abcdefghijklmnopqrstuvwxyz_", max_size=12)
    return st.lists(st.tuples(names, st.binary(max_size=80)), min_size=min_size, max_size=5)


def written(path: Path, what: Entries) -> FileJournal:
    journal = FileJournal(path)
    journal.begin(what[0])
    for entry in what[1:]:
        journal.append(entry)
    return journal


@pytest.mark.rule("ROU-17")
@given(rounds=st.lists(entries(), min_size=1, max_size=3))
def test_what_was_written_is_read_again(rounds: list[Entries], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The current round's entries alone, in a file or in memory, before and after a restart."""
    path, memory = tmp_path_factory.mktemp("journal") / "journal", MemoryJournal()
    journal = FileJournal(path)
    assert journal.entries() == memory.entries() == []
    for what in rounds:
        for kept in (journal, memory):
            kept.begin(what[0])
            for entry in what[1:]:
                kept.append(entry)
        assert journal.entries() == memory.entries() == FileJournal(path).entries() == what
    assert [x.name for x in path.parent.iterdir()] == ["journal"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.rule("ROU-17")
def test_wherever_writing_was_cut_short_the_whole_entries_are_left(tmp_path: Path) -> None:
    """And it goes on behind them."""
    path = tmp_path / "journal"
    written(path, ENTRIES[:2])
    known = path.stat().st_size
    written(path, ENTRIES)
    data = path.read_bytes()
    for length in range(known, len(data)):
        path.write_bytes(data[:length])
        journal = FileJournal(path)
        assert journal.entries() == ENTRIES[:2]
        assert path.stat().st_size == known
    journal.append(("other", b"answer"))
    assert FileJournal(path).entries() == [*ENTRIES[:2], ("other", b"answer")]


@pytest.mark.rule("ROU-17")
@given(data=st.data(), bit=st.integers(0, 7))
def test_every_flipped_bit_is_found(data: st.DataObject, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Never taken for an end that was cut short: what a client may have answered is not forgotten."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    written(path, ENTRIES)
    whole = bytearray(path.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << bit
    path.write_bytes(whole)
    with pytest.raises(PreconditionError, match="ROU-17"):
        FileJournal(path)


@pytest.mark.rule("ROU-17")
def test_refuses_what_is_no_journal_and_entries_before_a_round(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with pytest.raises(PreconditionError, match=r"ROU-17: .* has no round that has begun"):
        FileJournal(path).append(("open", b""))
    assert not path.exists()
    for data in (b"", b"something else", b"clip-ref journal 1\n"):
        path.write_bytes(data)
        with pytest.raises(PreconditionError, match=r"ROU-17: .* is not a journal of this version"):
            FileJournal(path)


@pytest.mark.rule("ROU-17")
def test_a_first_entry_is_whole_or_damaged(tmp_path: Path) -> None:
    """It was put in place at once, so nothing but damage shortens it; taken for cut short it would hide all rounds past."""
    path = tmp_path / "journal"
    written(path, ENTRIES[:1])
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(PreconditionError, match="ROU-17"):
            FileJournal(path)
        assert path.read_bytes() == data[:length]


@pytest.mark.rule("ROU-17")
def test_a_journal_is_its_owners_alone_whatever_lay_there(tmp_path: Path) -> None:
    """Also where an earlier attempt, or somebody else, has left a file in the place of the new one."""
    path, secret = tmp_path / "journal", tmp_path / "elsewhere"
    partial = tmp_path / ".journal.part"
    partial.write_bytes(b"left over")
    partial.chmod(0o666)
    journal = written(path, ENTRIES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    partial.symlink_to(secret)
    journal.begin(("begin", b"again"))
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert not secret.exists()
    assert not path.is_symlink()


# A client and its journal


ME = ClientId(1)
BOTH = [faulty.params_of(3, 2, hardened=hardened) for hardened in (False, True)]
LEVELS = pytest.mark.parametrize("params", BOTH, ids=["basic", "hardened"])
STEPS = ("open", "roster", "deliver", "masked_input", "announce", "agreed")


class Crash(Exception):
    """The process ends here."""


@attrs.define
class Fragile:
    """A journal that ends the process at its k-th entry, `begin` included: before it is on disk, or just after."""

    inner: Journal
    at: int
    after: bool
    written: int = 0

    def entries(self) -> list[Entry]:
        return self.inner.entries()

    def begin(self, entry: Entry) -> None:
        self._write(self.inner.begin, entry)

    def append(self, entry: Entry) -> None:
        self._write(self.inner.append, entry)

    def _write(self, write: Callable[[Entry], None], entry: Entry) -> None:
        self.written += 1
        if self.written == self.at and not self.after:
            raise Crash
        write(entry)
        if self.written == self.at:
            raise Crash


def asked_of(params: Params, seed: int = 0) -> dict[str, Any]:
    """What the server sends this client in a round, and its own update: by step. With another seed for the other clients, the
    announcement differs too."""
    sent: dict[str, Any] = {}
    server = faulty.server_of(params)

    def network(leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
        if client == ME and not up:
            sent[faulty.STEPS[wire.kind_name(data)]] = data
        return (data,)

    clients = {u: faulty.client_of(u, params, slow=u == ME, seed=0 if u == ME else seed) for u in ids(3)}
    result = run_round(server=server, clients=clients, train=faulty.train, network=network)
    sent["masked_input"] = faulty.update(ME, result.assignments[ME])
    header = Header(server.context.session, server.context.round, SERVER)

    def read(step: str) -> Any:
        if step == "masked_input":
            return sent[step]
        return wire.decode(sent[step], expected=header, kind=faulty.kind_of(sent[step]), sizes=server.sizes)

    found = {step: read(step) for step in STEPS if step in sent}
    if seed:
        found["announce"] = attrs.evolve(found["announce"], survivors=found["announce"].survivors[:2])
    return found


def plain(answer: Any) -> Any:
    """To compare by: an assignment holds arrays."""
    if not isinstance(answer, Assignment):
        return answer
    return answer.verdict, answer.plan, {k: v.tolist() for k, v in answer.kept.items()}, answer.model.tolist()


def go(client: Client, asked: Mapping[str, Any], steps: Iterable[str], said: dict[str, Any]) -> None:
    """Ask these steps of it; `said` keeps each answer, and every one after it must be the same."""
    for step in steps:
        answer = plain(getattr(client, step)(asked[step]))
        assert said.setdefault(step, answer) == answer


@pytest.mark.rule("ROU-16", "ROU-17", "ROU-3")
@LEVELS
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_crash_at_any_point_changes_no_answer(params: Params, after: bool, at: int, tmp_path: Path) -> None:
    """Before or after any entry is on disk. Nothing was said before it was; whoever comes after, made from the file alone, says
    what the one before would have, and no more to another message."""
    asked, others = asked_of(params), asked_of(params, seed=1)
    steps = list(asked)
    path = tmp_path / "journal"
    never: dict[str, Any] = {}
    said: dict[str, Any] = {}
    go(faulty.client_of(ME, params, slow=True), asked, steps, never)
    done = min(at - 2, len(steps))
    crashes = at - 1 <= len(steps)
    try:
        journal = Fragile(FileJournal(path), at, after)
        go(faulty.client_of(ME, params, slow=True, journal=journal), asked, steps, said)
    except Crash:
        assert crashes
    else:
        assert not crashes
    assert list(said) == steps[: max(done, 0)]
    if at == 1 and not after:  # the round has not begun
        assert not path.exists()
        return
    for _ in range(2):  # it may be made again as often as it likes
        client = faulty.restored(ME, params, FileJournal(path))
        reached = [name for name, _ in FileJournal(path).entries()][1:]
        assert reached == steps[: at - 1 if after else done]
        for step in reached[1:]:
            if step != "masked_input":
                with pytest.raises(ContributionError, match="ROU-3"):
                    getattr(client, step)(others[step])
            else:
                with pytest.raises(PreconditionError, match="ROU-3"):
                    client.masked_input(others[step] + np.float32(1))
        go(client, asked, reached, said)
    go(faulty.restored(ME, params, FileJournal(path)), asked, steps, said)
    assert said == never


def whole_round(params: Params, slow: list[ClientId], restarts: bool) -> tuple[dict[str, dict[ClientId, Any]], Any]:
    """What everybody answered, step by step, and what each one trained; with `restarts` all begin anew before every step."""
    roster = ids(params.clients)
    directory = directory_of(params, roster)
    journals = {u: MemoryJournal() for u in roster}
    session = {"session": SESSION} if params.hardened else {}
    known: dict[ClientId, dict[str, Any]] = {
        u: {"journal": journals[u], "directory": directory} | session for u in roster
    }
    records = {u: record_of(time_of(u, u in slow), weight=weight_of(u)) for u in roster}
    clients = {u: client_of(u, params, records[u], **known[u]) for u in roster}
    server = Server(params=params, layout=LAYOUT, state=state_of(), directory=directory)
    said: dict[str, dict[ClientId, Any]] = {}

    def ask(step: str, messages: Mapping[ClientId, Any]) -> dict[ClientId, Any]:
        for u in messages if restarts and said else ():
            identity = identity_of(u) if params.hardened else None
            clients[u] = Client.restored(
                me=u, params=params, layout=LAYOUT, history=models()[1], identity=identity, **known[u]
            )
        said[step] = {u: getattr(clients[u], step)(message) for u, message in messages.items()}
        for answer in said[step].values() if step != "deliver" else ():
            server.accept(answer)
        return said[step]

    ask("open", dict.fromkeys(roster, server.open()))
    ask("roster", dict.fromkeys(roster, server.close_advertise()))
    assignments = ask("deliver", server.close_share())
    ask("masked_input", train(assignments))
    ask("announce", dict.fromkeys(roster, server.close_input()))
    if params.hardened:
        ask("agreed", dict.fromkeys(roster, server.close_consistency()))
    server.close_unmask()
    assert server.total_unmasked.tolist() == plain_sum(params, plain_inputs(params, assignments), roster)
    return said, assignments


@pytest.mark.rule("ROU-16", "AGG-9", "IDN-12")
@pytest.mark.parametrize("hardened", [False, True])
def test_blocks_keep_their_turns_over_restarts(hardened: bool) -> None:
    """Two blocks stand in for each other, and every client begins anew before every step: each says what it would have said."""
    policy = policy_of(Mean.STRATA, Selection.PAPER, blocks=True, spread=True, threshold=500)
    params = params_of(policy, clients=8, threshold=6, hardened=hardened)
    slow = [ClientId(u) for u in (1, 3, 4, 6)]
    never, assignments = whole_round(params, slow, restarts=False)
    always, _ = whole_round(params, slow, restarts=True)
    assert list(never) == list(always)
    for step, answers in never.items():
        for u, answer in answers.items():
            if isinstance(answer, MaskedInput):
                assert answer.vector.tolist() == always[step][u].vector.tolist()
            else:
                assert plain(answer) == plain(always[step][u])
    assert {assignments[u].verdict.turn for u in slow} == {(500, ()), (750, (500,))}


@pytest.mark.rule("ROU-16", "ROU-3")
@LEVELS
def test_a_restart_after_every_step_signs_nothing_twice(params: Params, tmp_path: Path) -> None:
    """A server that tries, after each restart, both of two rounds' messages gets an answer to the one asked first alone."""
    one, two = asked_of(params), asked_of(params, seed=1)
    path = tmp_path / "journal"
    faulty.client_of(ME, params, slow=True, journal=FileJournal(path))
    said: dict[str, Any] = {}
    for step in one:
        for asked in (one, two, one, two):
            client = faulty.restored(ME, params, FileJournal(path))
            if step in ("open", "deliver", "masked_input") and asked is two:
                continue  # the same in both rounds, or not for this client
            if asked is one:
                go(client, asked, [step], said)
            else:
                with pytest.raises(ContributionError, match="ROU-3") as caught:
                    getattr(client, step)(asked[step])
                assert (caught.value.culprit, caught.value.field) == (SERVER, step)
    assert [name for name, _ in FileJournal(path).entries()] == ["begin", *one]


@pytest.mark.rule("ROU-16", "ROU-3")
@LEVELS
@pytest.mark.parametrize("step", ["roster", "deliver", "announce", "agreed"])
def test_what_was_refused_is_refused_after_a_restart_too(params: Params, step: str, tmp_path: Path) -> None:
    """And the right message does not help any more: the client is out of the round."""
    asked, path = asked_of(params), tmp_path / "journal"
    if step not in asked:
        return
    client = faulty.client_of(ME, params, slow=True, journal=FileJournal(path))
    go(client, asked, list(asked)[: list(asked).index(step)], {})
    wrong: dict[str, Any] = {
        "roster": lambda m: attrs.evolve(m, bundles=m.bundles[:1]),
        "deliver": lambda m: attrs.evolve(m, envelopes=()),
        "announce": lambda m: attrs.evolve(m, survivors=m.survivors[:1]),
        "agreed": lambda m: attrs.evolve(m, signatures=m.signatures[:1]),
    }
    with pytest.raises(ContributionError):
        getattr(client, step)(wrong[step](asked[step]))
    for again in (
        client,
        faulty.restored(ME, params, FileJournal(path)),
        faulty.restored(ME, params, FileJournal(path)),
    ):
        for message in (asked[step], wrong[step](asked[step])):
            with pytest.raises(PreconditionError, match="ROU-3"):
                getattr(again, step)(message)


@pytest.mark.rule("ROU-16", "ROU-17")
def test_a_clients_file_with_any_byte_changed_or_cut_off_makes_no_other_client(tmp_path: Path) -> None:
    """Changed: refused. Cut off: refused within the first entry, then a client that stands after the whole entries left."""
    params, path = faulty.params_of(3, 2, hardened=True), tmp_path / "journal"
    go(faulty.client_of(ME, params, slow=True, journal=FileJournal(path)), asked_of(params), ["open", "roster"], {})
    data, entries = path.read_bytes(), FileJournal(path).entries()
    for at in range(len(data)):
        path.write_bytes(faulty.changed(data, 8 * at + at % 8))
        with pytest.raises(PreconditionError, match="ROU-17"):
            FileJournal(path)
    left = set()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        try:
            found = FileJournal(path).entries()
        except PreconditionError as error:
            found = []
            check_rule(error, "ROU-17")
        assert found == entries[: len(found)]
        left.add(len(found))
    assert left == set(range(len(entries)))


def check_rule(error: PreconditionError, rule: str) -> None:
    assert error.rule == rule


@pytest.mark.rule("ROU-16", "ROU-4")
def test_rounds_move_on_over_restarts_and_sessions(tmp_path: Path) -> None:
    """Each round has a journal of its own content, yet none that was opened in any session is forgotten; a restart in between,
    with or without an answer, does not help."""
    params, path = faulty.params_of(3, 2, hardened=True), tmp_path / "journal"
    seed = 0

    def opened(session: bytes, round: int, *, crash: bool = False) -> bool:
        nonlocal seed
        seed += 1
        journal: Journal = FileJournal(path)
        client = faulty.client_of(
            ME,
            params,
            slow=False,
            seed=seed,
            journal=Fragile(journal, 2, True) if crash else journal,
            session=session,
        )
        context = attrs.evolve(faulty.server_of(params).context, session=session, round=RoundNumber(round))
        try:
            client.open(Open(context))
        except ContributionError as error:
            assert error.rule == "ROU-4"  # noqa: PT017
            assert error.field == "round"  # noqa: PT017
            return False
        except Crash:
            return False
        client = faulty.restored(ME, params, FileJournal(path), session)
        assert client.open(Open(context)).sender == ME
        return True

    one, two = b"one session.....", b"another session."
    assert opened(one, 5)
    assert not opened(one, 5)
    assert not opened(one, 4)
    assert opened(two, 1)
    assert not opened(one, 5)
    assert opened(one, 6)
    assert not opened(two, 1)
    assert not opened(two, 3, crash=True)  # written down, not answered
    assert not opened(two, 3)
    assert opened(two, 4)
    assert opened(two, 2**64 - 1)
    assert opened(one, 7)
    assert past_rounds(FileJournal(path)) == {one: 7, two: 2**64 - 1}


@pytest.mark.rule("ROU-16")
@LEVELS
def test_another_history_identity_or_client_is_refused(params: Params, tmp_path: Path) -> None:
    """Whoever restores a client hands back what it began with. With other parameters or another directory it would refuse what
    it has answered."""
    asked, path = asked_of(params), tmp_path / "journal"
    go(faulty.client_of(ME, params, slow=True, journal=FileJournal(path)), asked, ["open", "roster"], {})
    right: dict[str, Any] = {
        "me": ME,
        "params": params,
        "layout": faulty.LAYOUT,
        "history": faulty.state_of().history,
        "identity": identity_of(ME) if params.hardened else None,
        "directory": faulty.directory(3) if params.hardened else NO_IDENTITIES,
        "session": faulty.SESSION,
    }
    go(Client.restored(**right, journal=FileJournal(path)), asked, asked, {})
    for history in (None, faulty.state_of().model):
        with pytest.raises(PreconditionError, match="ROU-16: client 1 began this round with another history"):
            Client.restored(**right | {"history": history}, journal=FileJournal(path))
    if params.hardened:
        with pytest.raises(PreconditionError, match="ROU-18"):
            Client.restored(**right | {"identity": identity_of(ClientId(2))}, journal=FileJournal(path))
        wrong: dict[str, Any] = right | {"directory": faulty.directory(4)}
    else:
        wrong = right | {"params": attrs.evolve(params, threshold=3, min_survivors=3)}
    with pytest.raises(
        PreconditionError, match="ROU-16: client 1 answered a message in this round that it now refuses"
    ):
        Client.restored(**wrong, journal=FileJournal(path))
    short = FileJournal(tmp_path / "short")
    go(faulty.client_of(ME, params, slow=True, journal=short), asked, ["open"], {})
    with pytest.raises(PreconditionError, match="ROU-16: client 1 answered a message"):
        Client.restored(**wrong, journal=short)  # an `Open` that is written down was taken


@pytest.mark.rule("ROU-16", "ROU-17")
@pytest.mark.parametrize("whole", [0, 10, 72, 100])
@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_on_a_full_disk_nothing_is_answered_and_nothing_is_forgotten(
    whole: int, fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append fails, with part of it on disk. Once there is room the client may be asked again, even something shorter; what
    it then answers is in the file, not hidden behind the rest of the first attempt."""
    params, path = faulty.params_of(3, 2, hardened=True), tmp_path / "journal"
    asked, others = asked_of(params), asked_of(params, seed=1)
    client = faulty.client_of(ME, params, slow=True, journal=FileJournal(path))
    client.open(asked["open"])
    before = path.read_bytes()
    bundles = tuple(b for b in others["roster"].bundles if b.sender != 2)
    shorter = attrs.evolve(others["roster"], bundles=bundles)

    class Full(io.BufferedWriter):
        def write(self, data: Any, /) -> int:
            super().write(data[:whole])
            self.flush()
            raise OSError(errno.ENOSPC, "no space left on device")

    def full(*what: Any) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as broken:
        if fails == "write":
            broken.setattr(os, "fdopen", lambda fd, mode: Full(io.FileIO(fd, "w")))
        else:
            broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"no space|input/output"):
            client.roster(asked["roster"])
    assert path.read_bytes()[: len(before)] == before
    answer = client.roster(shorter)
    assert [name for name, _ in FileJournal(path).entries()] == ["begin", "open", "roster"]
    again = faulty.restored(ME, params, FileJournal(path))
    assert again.roster(shorter) == answer
    with pytest.raises(ContributionError, match="ROU-3"):
        again.roster(asked["roster"])


@pytest.mark.rule("ROU-16", "ROU-17")
def test_a_round_that_cannot_be_written_down_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of the round before is as it was, and so is its client."""
    params, path = faulty.params_of(3, 2, hardened=True), tmp_path / "journal"
    asked = asked_of(params)
    said: dict[str, Any] = {}
    journal = FileJournal(path)
    go(faulty.client_of(ME, params, slow=True, journal=journal), asked, ["open"], said)
    before = path.read_bytes()

    def full(*what: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            faulty.client_of(ME, params, slow=True, seed=2, journal=journal)
    assert path.read_bytes() == before
    assert journal.entries() == FileJournal(path).entries()
    go(faulty.restored(ME, params, FileJournal(path)), asked, asked, said)


@pytest.mark.rule("ROU-16", "ROU-17")
def test_a_client_goes_on_from_a_file(tmp_path: Path) -> None:
    """It is stopped after each step and made again from the file alone; the round's messages are those of one that was not."""
    me, params = ClientId(1), params_of(policy_of())
    whole, path = walk(None), tmp_path / "journal"
    client = client_of(me, params, record_of(500_000, weight=2), journal=FileJournal(path))

    def restarted() -> Client:
        return Client.restored(me=me, params=params, layout=LAYOUT, history=models()[1], journal=FileJournal(path))

    client.open(whole.open)
    assert restarted().roster(whole.roster) == whole.shares[me]
    assert restarted().deliver(whole.deliver[me]).verdict == whole.assignments[me].verdict
    assert restarted().masked_input(train({me: whole.assignments[me]})[me]) == whole.inputs[me]
    assert restarted().announce(whole.announce) == whole.unmasks[me]
    assert [step for step, _ in FileJournal(path).entries()] == [
        "begin", "open", "roster", "deliver", "masked_input", "announce",
    ]  # fmt: skip
