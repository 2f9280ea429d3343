"""Credential helpers: `docker-credential-<suffix>` programs (docker-credential-helpers protocol).

Registry layer, below the credential store. A helper is started without a shell, with a time limit, and what it prints
is never shown: it holds secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, Literal

from provender.errors import InvalidProject, Unavailable
from provender.storage.registry.credentials import Credential
from provender.storage.registry.redact import printable

__all__ = ["CredentialHelper"]

_SUFFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOT_FOUND: Final = "credentials not found in native keychain"  # the protocol's only sign for "there is none"
_IDENTITY_USER: Final = "<token>"
_TIMEOUT_S: Final = 60  # a helper may ask its user to unlock the keychain

_Action = Literal["get", "store", "erase"]


class CredentialHelper:
    """One helper program, named by the suffix in a configuration file (`where`)."""

    def __init__(self, suffix: str, environ: Mapping[str, str], *, where: str, timeout_s: float = _TIMEOUT_S) -> None:
        if _SUFFIX.fullmatch(suffix) is None:
            raise InvalidProject(
                f"not the name of a credential helper: {suffix[:80]!r}",
                code="invalid-credential-helper",
                where=where,
                hint="a name has letters, digits, '.', '_' and '-' and is appended to docker-credential-",
            )
        self.program = f"docker-credential-{suffix}"
        self._environ = environ
        self._where = where
        self._timeout_s = timeout_s

    def get(self, server: str) -> Credential | None:
        """The credential that the helper has for a server key; None if it has none."""
        status, output = self._run("get", server)
        if status != 0:
            if output.strip().lower() == _NOT_FOUND:
                return None
            raise self._failed("get", status)
        try:
            fields = json.loads(output)
            username, secret = fields["Username"], fields["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._failed("get", status, "its answer cannot be read") from error
        if not isinstance(username, str) or not isinstance(secret, str):
            raise self._failed("get", status, "its answer cannot be read")
        source = f"the credential helper {self.program}"
        if not secret:
            return None
        if username == _IDENTITY_USER:
            return Credential(identity_token=secret, source=source)
        return Credential(username=username, secret=secret, source=source)

    def store(self, server: str, username: str, secret: str) -> None:
        """Hand a credential to the helper."""
        text = json.dumps({"ServerURL": server, "Username": username, "Secret": secret})
        status, _ = self._run("store", text)
        if status != 0:
            raise self._failed("store", status)

    def erase(self, server: str) -> bool:
        """Let the helper forget a server key; False if it had nothing."""
        status, output = self._run("erase", server)
        if status != 0 and output.strip().lower() != _NOT_FOUND:
            raise self._failed("erase", status)
        return status == 0

    def _run(self, action: _Action, text: str) -> tuple[int, str]:
        import shutil
        import subprocess

        program = shutil.which(self.program, path=self._environ.get("PATH", ""))
        if program is None:
            raise InvalidProject(
                f"the credential helper {self.program} is not installed",
                code="credential-helper-missing",
                where=self._where,
                hint=f"put {self.program} on PATH, or take it out of that file",
            )
        try:
            done = subprocess.run(  # noqa: S603 (no shell; the name is checked)
                [program, action],
                input=text.encode(),
                capture_output=True,
                timeout=self._timeout_s,
                env=dict(self._environ),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                f"the credential helper {self.program} did not answer within {self._timeout_s:g} s",
                code="credential-helper-timeout",
                where=self._where,
                hint="run it by hand to see what it waits for",
            ) from error
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def _failed(self, action: _Action, status: int, why: str = "") -> InvalidProject:
        return InvalidProject(
            printable(f"the credential helper {self.program} failed to {action}: {why or f'exit status {status}'}"),
            code="credential-helper-failed",
            where=self._where,
            hint=f"run `{self.program} {action}` by hand to see why",
        )
