"""The credential store: the places where Docker and containers tools keep credentials, read in one order, and written.

Order (reference oci 11.3): an explicit file, REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG, Docker's config.json, the
auth.json of containers tools, then the .dockercfg of old. The first place that has a credential for the key wins.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator, Mapping

from provender.errors import InvalidProject
from provender.storage.registry.auth_file import AuthFile, server_key, write_auth_file
from provender.storage.registry.credential_helper import CredentialHelper
from provender.storage.registry.credentials import Credential

__all__ = ["CredentialStore"]

_INLINE = "DOCKER_AUTH_CONFIG"


class CredentialStore:
    """Looks credentials up, stores and removes them. Each file is read once, each helper asked once for a host."""

    def __init__(self, environ: Mapping[str, str], *, authfile: str | None = None) -> None:
        self._environ = environ
        self._authfile = authfile or environ.get("REGISTRY_AUTH_FILE") or None
        self._files: list[AuthFile] | None = None
        self._helped: dict[tuple[str, str], Credential | None] = {}
        self._lock = threading.RLock()

    def lookup(self, host: str, repository: str | None = None) -> Credential | None:
        """The credential for a repository of `host` (with port); None if no place has one.

        Raises InvalidProject for a file that cannot be read or a helper that fails: that is no "there is none".
        """
        with self._lock:
            if self._files is None:
                self._files = list(self._read())
            for file in self._files:
                if (found := self._in_file(file, host, repository)) is not None:
                    return found
            return None

    def login(self, host: str, username: str, password: str) -> str:
        """Store a credential, through the configured helper if there is one; where it is now, for people."""
        if ":" in username or not username:
            raise InvalidProject(
                f"not a user name for a registry: {username[:80]!r}",
                code="invalid-user-name",
                hint="a user name is not empty and has no colon (RFC 7617)",
            )
        file = self._own_file()
        key = server_key(host)
        suffix = file.helper_for(host, None)
        if suffix is not None:
            helper = CredentialHelper(suffix, self._environ, where=file.where)
            helper.store(key, username, password)
            file.set(key, {})
            place = f"the credential helper {helper.program}"
        else:
            file.remove(host)  # under another spelling, which may be looked at first
            pair = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
            file.set(key, {"auth": pair})
            place = file.where
        self._write(file)
        return place

    def logout(self, host: str) -> bool:
        """Remove the credential of a host from the place that `login` writes to; False if there was none."""
        file = self._own_file()
        suffix = file.helper_for(host, None)
        erased = False
        if suffix is not None:
            erased = CredentialHelper(suffix, self._environ, where=file.where).erase(server_key(host))
        removed = file.remove(host)
        if removed:
            self._write(file)
        self._forget()
        return erased or removed

    @property
    def path(self) -> str:
        """The file that `login` writes."""
        return self._authfile or self._docker_path()

    def _own_file(self) -> AuthFile:
        return AuthFile.read(self.path) or AuthFile(self.path, {})

    def _write(self, file: AuthFile) -> None:
        write_auth_file(file.where, file.fields)
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._files = None
            self._helped.clear()

    def _in_file(self, file: AuthFile, host: str, repository: str | None) -> Credential | None:
        suffix = file.helper_for(host, repository)
        if suffix is not None and (found := self._from_helper(suffix, file.where, host)) is not None:
            return found
        return file.find(host, repository)

    def _from_helper(self, suffix: str, where: str, host: str) -> Credential | None:
        key = (suffix, host)
        if key not in self._helped:
            helper = CredentialHelper(suffix, self._environ, where=where)
            self._helped[key] = helper.get(server_key(host))
        return self._helped[key]

    def _read(self) -> Iterator[AuthFile]:
        if self._authfile is not None and (file := AuthFile.read(self._authfile)) is not None:
            yield file
        if inline := self._environ.get(_INLINE):
            yield AuthFile.parse(inline.encode(), f"the variable {_INLINE}")
        for path in dict.fromkeys([self._docker_path(), *self._containers_paths()]):
            if (file := AuthFile.read(path)) is not None:
                yield file
        if (file := AuthFile.read_dockercfg(os.path.join(self._home(), ".dockercfg"))) is not None:
            yield file

    def _docker_path(self) -> str:
        directory = self._environ.get("DOCKER_CONFIG") or os.path.join(self._home(), ".docker")
        return os.path.join(directory, "config.json")

    def _containers_paths(self) -> Iterator[str]:
        if runtime := self._environ.get("XDG_RUNTIME_DIR"):
            yield os.path.join(runtime, "containers", "auth.json")
        config = self._environ.get("XDG_CONFIG_HOME") or os.path.join(self._home(), ".config")
        yield os.path.join(config, "containers", "auth.json")

    def _home(self) -> str:
        return self._environ.get("HOME") or os.path.expanduser("~")
