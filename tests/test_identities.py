"""Identities in files: what is written is read back, nothing else is taken, and nothing is overwritten."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.cli import main
from clip_ref.errors import PreconditionError
from clip_ref.identities import beside, load_directory, load_identity, new_identities, save_directory
from clip_ref.keys import Directory, identity_key
from clip_ref.oracle.strategies import client_ids
from clip_ref.values import ClientId


@pytest.mark.rule("AUD-14")
@given(keys=st.dictionaries(client_ids(), st.binary(min_size=32, max_size=32), min_size=1, max_size=4))
def test_a_directory_is_read_back(tmp_path_factory: pytest.TempPathFactory, keys: dict[ClientId, bytes]) -> None:
    path = tmp_path_factory.mktemp("identities") / "run.identities"
    save_directory(path=path, directory=Directory(keys))
    found = load_directory(path=path)
    assert (found, found.digest()) == (Directory(keys), Directory(keys).digest())
    assert list(json.loads((path / "directory.json").read_text())) == ["identities"]


@pytest.mark.rule("AUD-14")
def test_a_directory_is_not_overwritten(tmp_path: Path) -> None:
    """By another one; writing the same again changes nothing."""
    directory = Directory({ClientId(0): bytes(32)})
    save_directory(path=tmp_path, directory=directory)
    save_directory(path=tmp_path, directory=directory)
    with pytest.raises(PreconditionError, match=r"AUD-14.*other identities"):
        save_directory(path=tmp_path, directory=Directory({ClientId(1): bytes(32)}))
    assert load_directory(path=tmp_path) == directory
    (tmp_path / "file").write_text("")
    for nowhere in (tmp_path / "no" / "such", tmp_path / "file"):
        with pytest.raises(PreconditionError, match=r"AUD-14.*cannot write"):
            save_directory(path=nowhere, directory=directory)


@pytest.mark.rule("AUD-14")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"identities": {}}',
        '{"identities": []}',
        '{"identities": {"0": "KEY"}, "more": 1}',
        '{"identities": {"0": "KEY", "0": "KEY"}}',
        '{"identities": {"00": "KEY"}}',
        '{"identities": {"-1": "KEY"}}',
        '{"identities": {"4294967295": "KEY"}}',
        '{"identities": {"one": "KEY"}}',
        '{"identities": {"0": "KE"}}',
        '{"identities": {"0": "KEY00"}}',
        '{"identities": {"0": 5}}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_what_is_no_directory(tmp_path: Path, text: str) -> None:
    file = tmp_path / "directory.json"
    file.write_text(text.replace("KEY", "ab" * 32).replace("KE", "AB" * 32), "utf-8", "surrogateescape")
    with pytest.raises(PreconditionError, match="AUD-14"):
        load_directory(path=tmp_path)
    file.unlink()
    with pytest.raises(PreconditionError, match=r"AUD-14.*cannot read"):
        load_directory(path=tmp_path)


@pytest.mark.rule("AUD-15")
def test_new_identities(tmp_path: Path) -> None:
    """One key for each client, its own, which its owner alone can read; never the same twice."""
    out = tmp_path / "fleet"
    directory = new_identities(clients=3, out=out)
    assert load_directory(path=out) == directory
    assert list(directory.keys) == [0, 1, 2]
    for client, public in directory.keys.items():
        file = out / "secret" / f"{client}.key"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert identity_key(load_identity(path=file)) == public
    assert stat.S_IMODE((out / "secret").stat().st_mode) == 0o700
    others = new_identities(clients=3, out=tmp_path / "others")
    assert len({*directory.keys.values(), *others.keys.values()}) == 6


@pytest.mark.rule("AUD-15")
def test_new_identities_overwrite_nothing(tmp_path: Path) -> None:
    before = new_identities(clients=2, out=tmp_path)
    key = load_identity(path=tmp_path / "secret" / "0.key")
    for removed in (None, tmp_path / "directory.json"):
        if removed is not None:
            removed.unlink()
        with pytest.raises(PreconditionError, match=r"AUD-15.*already"):
            new_identities(clients=2, out=tmp_path)
    assert load_identity(path=tmp_path / "secret" / "0.key") == key
    assert before.keys[ClientId(0)] == identity_key(key)
    for count in (0, -1, 2**32):
        with pytest.raises(PreconditionError, match="AUD-15"):
            new_identities(clients=count, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(PreconditionError, match=r"AUD-15.*cannot write"):
        new_identities(clients=1, out=tmp_path / "no" / "such")


@pytest.mark.rule("AUD-15")
@pytest.mark.parametrize("text", ["", "ab" * 32, "ab" * 31 + "\n", "AB" * 32 + "\n", "ab" * 32 + "\n\n", "\udcff\n"])
def test_what_is_no_secret_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "0.key").write_text(text, "utf-8", "surrogateescape")
    for name in ("0.key", "1.key"):
        with pytest.raises(PreconditionError, match="AUD-15"):
            load_identity(path=tmp_path / name)


@pytest.mark.rule("AUD-15")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It shows the digest to pin, and no secret."""
    out = tmp_path / "fleet"
    assert main(["keys", "new", "--clients", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert load_directory(path=out).digest().hex() in said
    assert (out / "secret" / "0.key").read_text().strip() not in said
    assert main(["keys", "new", "--clients", "2", "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith("[AUD-15]\n")
    assert main(["keys", "new", "--clients", "2", "--out", str(tmp_path / "more"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "clients": 2,
        "directory": str(tmp_path / "more" / "directory.json"),
        "digest": load_directory(path=tmp_path / "more").digest().hex(),
    }
    assert main(["keys", "new", "--clients", "2", "--out", str(tmp_path / "third"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_identities_stand_beside_the_transcript() -> None:
    assert beside(Path("out/run.bin")) == Path("out/run.bin.identities")
