"""The files that hold credentials: Docker's `config.json` and the `auth.json` of containers/image.

Registry layer, below the credential store. Reading is strict about JSON and lenient about keys; writing keeps whatever
else the file holds.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator
from typing import Final

from provender.errors import InvalidProject
from provender.oci.document import is_text
from provender.storage.registry.credentials import Credential
from provender.storage.registry.quirks import host_quirks

__all__ = ["AuthFile", "normalised", "server_key", "write_auth_file"]

_MAX_BYTES: Final = 4 << 20


class AuthFile:
    """The fields of one file; `where` is its path or the variable that held it."""

    def __init__(self, where: str, fields: dict[str, object]) -> None:
        self.where = where
        self.fields = fields

    @classmethod
    def read(cls, path: str) -> AuthFile | None:
        """The file at `path`; None if there is none. InvalidProject if it cannot be read or is not a JSON object."""
        try:
            with open(path, "rb", opener=_opened) as stream:
                raw = stream.read(_MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _corrupt(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
        return cls.parse(raw, path)

    @classmethod
    def read_dockercfg(cls, path: str) -> AuthFile | None:
        """The file of Docker before 1.7 at `path`, which has nothing but the entries of `auths`; None without it."""
        file = cls.read(path)
        return None if file is None else cls(path, {"auths": file.fields})

    @classmethod
    def parse(cls, raw: bytes, where: str) -> AuthFile:
        """The fields in `raw`."""
        if len(raw) > _MAX_BYTES:
            raise _corrupt(where, f"is over {_MAX_BYTES} bytes")
        if not raw.strip():
            return cls(where, {})
        try:
            fields = json.loads(raw)
        except (ValueError, RecursionError) as error:
            line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise _corrupt(where, f"is not JSON{line}") from error
        if not isinstance(fields, dict):
            raise _corrupt(where, "is not a JSON object")
        return cls(where, fields)

    def helper_for(self, host: str, repository: str | None) -> str | None:
        """The suffix of the helper for a host: its own, else the store for all."""
        helpers = self._table("credHelpers")
        for key in _keys(host, repository):
            if isinstance(suffix := helpers.get(key), str) and suffix:
                return suffix
        store = self.fields.get("credsStore")
        if store is not None and not isinstance(store, str):
            raise _corrupt(self.where, "has a credsStore that is no text")
        return store or None

    def find(self, host: str, repository: str | None) -> Credential | None:
        """The credential under the most specific key; None for a placeholder or without one."""
        entries = self._table("auths")
        for key in _keys(host, repository):
            if (entry := entries.get(key)) is not None and not (found := self._credential(key, entry)).is_empty:
                return found
        names = _names(host)
        for key, entry in entries.items():
            # `https://host/v1/` and the like; a key with a path but no scheme is a namespace, matched above.
            if normalised(key) in names and not (found := self._credential(key, entry)).is_empty:
                return found
        return None

    def set(self, key: str, entry: dict[str, object]) -> None:
        """Set the entry of a key."""
        self.fields["auths"] = {**self._table("auths"), key: entry}

    def remove(self, host: str) -> bool:
        """Take out every entry of a host as a whole; False if there was none."""
        entries = self._table("auths")
        gone = [key for key in entries if normalised(key) in _names(host)]
        if gone:
            self.fields["auths"] = {key: entry for key, entry in entries.items() if key not in gone}
        return bool(gone)

    def _table(self, name: str) -> dict[str, object]:
        table = self.fields.get(name)
        if table is None:
            return {}
        if not isinstance(table, dict):
            raise _corrupt(self.where, f"has a field {name!r} that is no object")
        return table

    def _credential(self, key: str, entry: object) -> Credential:
        if not isinstance(entry, dict):
            raise _corrupt(self.where, f"has an entry {key[:80]!r} that is no object")
        fields = {name: value for name, value in entry.items() if isinstance(value, str)}
        if not all(is_text(value) for value in fields.values()):
            raise _corrupt(self.where, f"has an entry {key[:80]!r} with halves of characters")
        username, secret = fields.get("username", ""), fields.get("password", "")
        if pair := fields.get("auth"):
            try:
                text = base64.b64decode(pair, validate=True).decode().replace("\0", "")
            except (binascii.Error, ValueError) as error:
                raise _corrupt(self.where, f"has an entry {key[:80]!r} whose `auth` is not base64") from error
            username, colon, secret = text.partition(":")
            if not colon:
                raise _corrupt(self.where, f"has an entry {key[:80]!r} whose `auth` is not user:password")
        return Credential(
            username=username,
            secret=secret,
            identity_token=fields.get("identitytoken", ""),
            registry_token=fields.get("registrytoken", ""),
            source=f"{self.where} ({key})",
        )


def _opened(path: str, flags: int) -> int:
    """Opened without waiting: a pipe in place of the file may never have a writer. One that has is read to its end."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def normalised(key: str) -> str:
    """The host in a key as Docker writes them: `https://host/v1/`, `host/v2/`, `host`; a namespace stays as it is."""
    scheme, mark, rest = key.partition("://")
    if mark and scheme in ("http", "https"):
        return rest.partition("/")[0].lower()
    host, _, path = key.partition("/")
    return host.lower() if path.strip("/") in ("", "v1", "v2") else key


def _names(host: str) -> set[str]:
    return {host, *(normalised(key) for key in host_quirks(host).credential_keys)}


def server_key(host: str) -> str:
    """The key under which Docker keeps the credential of a host, also with helpers."""
    return next(iter(host_quirks(host).credential_keys), host)


def write_auth_file(path: str, fields: dict[str, object]) -> None:
    """Replace the file in one step, readable by its owner only. A symbolic link stays, its target is replaced."""
    import tempfile

    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(fields, stream, indent="\t", ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _keys(host: str, repository: str | None) -> Iterator[str]:
    """The keys to look under, the most specific first (containers-auth.json(5))."""
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield "/".join([host, *parts[:count]])
    yield host
    yield from host_quirks(host).credential_keys


def _corrupt(where: str, what: str) -> InvalidProject:
    return InvalidProject(
        f"the credentials file {what}",
        code="invalid-credentials-file",
        where=where,
        hint="repair it, or move it away and sign in again with `provender login HOST`",
    )
