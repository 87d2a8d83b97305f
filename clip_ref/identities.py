"""Identities in files: a public directory to pin, and one secret key per client.   Spec: audit, rules AUD-14, AUD-15."""

import json
import os
import re
from pathlib import Path
from typing import Any, Final

from clip_ref.errors import SERVER, PreconditionError
from clip_ref.keys import KEY_BYTES, Directory, identity_key
from clip_ref.values import ClientId, SigningKey

DIRECTORY_FILE: Final = "directory.json"
"""The public keys, in a directory of identities."""

SECRETS: Final = "secret"
"""Where the secret keys are, one file per client."""

_ID: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_KEY: Final = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")


def beside(transcript: Path) -> Path:
    """Where the identities of a recorded run are, unless one has others pinned: FILE.identities, next to FILE."""
    return transcript.with_name(f"{transcript.name}.identities")


def save_directory(*, path: Path, directory: Directory) -> None:
    """AUD-14: write the public keys to `path`/directory.json; `PreconditionError` if there are others already."""
    keys = {str(client): key.hex() for client, key in directory.keys.items()}
    text = f"{json.dumps({'identities': keys}, indent=2)}\n".encode("ascii")
    file = path / DIRECTORY_FILE
    try:
        path.mkdir(exist_ok=True)
        there = file.read_bytes() if file.exists() else None
        if there is None:
            partial = file.with_name(f".{file.name}.part")
            partial.write_bytes(text)
            partial.replace(file)
    except OSError as error:
        raise PreconditionError(rule="AUD-14", detail=f"cannot write {file}: {error.strerror}") from None
    if there not in (None, text):
        raise PreconditionError(rule="AUD-14", detail=f"{file} exists and holds other identities")


def load_directory(*, path: Path) -> Directory:
    """AUD-14: the public keys in `path`/directory.json; `PreconditionError` for anything but what `save_directory` writes."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("an id appears twice")
        return dict(pairs)

    file = path / DIRECTORY_FILE
    try:
        found = json.loads(file.read_text("utf-8"), object_pairs_hook=distinct)
    except OSError as error:
        raise PreconditionError(rule="AUD-14", detail=f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise PreconditionError(rule="AUD-14", detail=f"{file} is not a directory of identities: {error}") from None
    keys = found.get("identities") if isinstance(found, dict) and set(found) == {"identities"} else None
    if not isinstance(keys, dict) or not keys:
        raise PreconditionError(rule="AUD-14", detail=f'{file} must hold {{"identities": {{"0": "<hex>", …}}}}')
    for client, key in keys.items():
        if not _ID.fullmatch(client) or int(client) >= SERVER or not isinstance(key, str) or not _KEY.fullmatch(key):
            raise PreconditionError(
                rule="AUD-14",
                detail=f"{file}, client {client}: an id and {2 * KEY_BYTES} lower-case hex digits are due",
            )
    return Directory({ClientId(int(client)): bytes.fromhex(key) for client, key in keys.items()})


def new_identities(*, clients: int, out: Path) -> Directory:
    """AUD-15: draw a key pair for each of `clients` clients from the operating system, and write them to `out`.

    Secret keys are readable by their owner alone. Nothing is overwritten: `PreconditionError` if `out` holds any already.
    """
    if not 1 <= clients < SERVER:
        raise PreconditionError(rule="AUD-15", detail=f"identities are for at least 1 client, got {clients}")
    secrets, public = out / SECRETS, {}
    if (out / DIRECTORY_FILE).exists() or secrets.exists():
        raise PreconditionError(rule="AUD-15", detail=f"{out} holds identities already: choose another directory")
    try:
        out.mkdir(exist_ok=True)
        secrets.mkdir(mode=0o700)
        for client in map(ClientId, range(clients)):
            secret = SigningKey(os.urandom(KEY_BYTES))
            handle = os.open(secrets / f"{client}.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{secret.data.hex()}\n")
            public[client] = identity_key(secret)
    except OSError as error:
        raise PreconditionError(rule="AUD-15", detail=f"cannot write to {out}: {error.strerror}") from None
    directory = Directory(public)
    save_directory(path=out, directory=directory)
    return directory


def load_identity(*, path: Path) -> SigningKey:
    """AUD-15: the secret key in a file that `new_identities` wrote; `PreconditionError` for anything else."""
    try:
        text = path.read_text("ascii")
    except (OSError, ValueError):
        text = ""
    if not text.endswith("\n") or not _KEY.fullmatch(text[:-1]):
        raise PreconditionError(rule="AUD-15", detail=f"{path} cannot be read or is not a secret key")
    return SigningKey(bytes.fromhex(text))
