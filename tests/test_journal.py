"""The journal: what was written is there after a restart, what was cut short never counted, what is damaged is refused."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounds import LAYOUT, client_of, models, params_of, policy_of, record_of, train, walk

from clip_ref.errors import PreconditionError
from clip_ref.round import Client
from clip_ref.round.journal import FileJournal, MemoryJournal
from clip_ref.values import ClientId

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
    for data in (b"", b"something else", b"clip-ref journal 9\n"):
        path.write_bytes(data)
        with pytest.raises(PreconditionError, match=r"ROU-17: .* is not a journal of this version"):
            FileJournal(path)


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
