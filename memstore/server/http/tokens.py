"""Bearer tokens: a file of their hashes says who may see and change what."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memstore.errors import BadInput, StoreUnwritable
from memstore.json_input import parse_json
from memstore.server.http.bodies import READ_PATH_PATTERN
from memstore.server.scope import EVERYTHING, Scope

PREFIX = "mst_"  # tells a secret scanner, and a reader, what this is
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"name", "sha256", "namespaces", "read_only"}
_SHAPE = (
    '{"tokens": [{"name": "ana", "sha256": "<64 hexadecimal digits>", "namespaces": ["team/ana"], '
    '"read_only": false}]}'
)


@dataclass(frozen=True, slots=True)
class Token:
    """A name for logs and idempotency keys, the SHA-256 of a token, and what it allows."""

    name: str
    sha256: str
    scope: Scope


def new_token(
    name: str, namespaces: Sequence[str], *, read_only: bool
) -> tuple[str, dict[str, Any]]:
    """Return a new token, to be given to its user, and its entry for the file of tokens.

    The token is 256 random bits, so its plain hash is as safe to keep as a slow one.

    Raises:
        BadInput: a name or a namespace that cannot be used.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    token = Token(name, digest, Scope(tuple(namespaces), read_only))
    entry = _entry(token)
    _token(entry, "the new token")
    return secret, entry


def add_token(path: Path, entry: dict[str, Any]) -> None:
    """Add an entry to a file of tokens, which nobody else may read; it is made if there is none.

    Raises:
        BadInput: it is no such file, or has an entry of this name.
        StoreUnwritable: it cannot be written.
    """
    known = [_entry(token) for token in read_tokens(path)] if path.exists() else []
    if any(other["name"] == entry["name"] for other in known):
        raise BadInput(f"{path} has a token {entry['name']!r} already. Choose another name.")
    written = json.dumps({"tokens": [*known, entry]}, indent=2) + "\n"
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)  # whole, or as it was
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise StoreUnwritable(f"{path} cannot be written: {error.strerror}.") from error


def _entry(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "sha256": token.sha256,
        "namespaces": list(token.scope.namespaces),
        "read_only": token.scope.read_only,
    }


def find_token(tokens: Sequence[Token], secret: str) -> Token | None:
    """Return the token that a caller holds. Takes as long whichever it is, and if it is none."""
    digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
    found = None
    for token in tokens:
        if hmac.compare_digest(token.sha256, digest):
            found = token
    return found


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Return the tokens of a file.

    Raises:
        BadInput: it is none, others may read or change it, or two tokens have one name or hash.
        StoreUnwritable: it cannot be read.
    """
    try:
        mode = path.stat().st_mode
        written = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreUnwritable(f"The tokens in {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8. It should look like:\n    {_SHAPE}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(
            f"{path} has mode {stat.S_IMODE(mode):04o}: others may read or change who has access. "
            f"Keep it to its owner:\n    chmod 600 {path}"
        )
    try:
        document = parse_json(written)
    except ValueError as error:
        raise BadInput(
            f"{path} is not JSON: {error}. It should look like:\n    {_SHAPE}"
        ) from error
    entries = document.get("tokens") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise BadInput(f"{path} lists no tokens. It should look like:\n    {_SHAPE}")
    tokens = tuple(_token(entry, f"{path}: token {i}") for i, entry in enumerate(entries, start=1))
    for what in ("name", "sha256"):
        seen = [getattr(token, what) for token in tokens]
        if len(set(seen)) < len(seen):
            raise BadInput(f"{path}: two tokens have the same {what}. Each needs its own.")
    return tokens


def _token(entry: Any, place: str) -> Token:
    if not isinstance(entry, dict) or not _FIELDS >= entry.keys() >= {"name", "sha256"}:
        raise BadInput(f"{place} has the wrong fields. They should be:\n    {_SHAPE}")
    name, digest = entry["name"], entry["sha256"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadInput(
            f"{place} has the name {name!r}; give up to 64 letters, digits, '.', '_', '-'."
        )
    if not isinstance(digest, str) or not _HASH.fullmatch(digest):
        raise BadInput(
            f"{place} has no SHA-256 in 64 small hexadecimal digits. `memstore token` makes one."
        )
    namespaces, read_only = entry.get("namespaces", [EVERYTHING]), entry.get("read_only", False)
    if not isinstance(read_only, bool):
        raise BadInput(f"{place}: read_only is {read_only!r}; give true or false.")
    if not isinstance(namespaces, list) or not all(isinstance(path, str) for path in namespaces):
        raise BadInput(f"{place}: namespaces is {namespaces!r}; give a list such as ['team/ana'].")
    for path in namespaces:
        if not re.fullmatch(READ_PATH_PATTERN, path):
            raise BadInput(
                f"{place}: {path!r} is no namespace. Give a path such as team/ana, or *."
            )
    return Token(name, digest, Scope(tuple(namespaces), read_only))
