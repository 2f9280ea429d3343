"""Credential helpers: `docker-credential-<suffix>` programs (docker-credential-helpers protocol).

Registry layer, below the credential store. A helper is started without a shell, with a time limit, and what it prints
is never shown: it holds secrets.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from provender.errors import InvalidProject, Unavailable
from provender.oci.document import is_text
from provender.storage.registry.credentials import Credential
from provender.storage.registry.redact import printable

if TYPE_CHECKING:
    import subprocess

__all__ = ["CredentialHelper"]

_SUFFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOT_FOUND: Final = "credentials not found in native keychain"  # the protocol's only sign for "there is none"
_IDENTITY_USER: Final = "<token>"
_MAX_BYTES: Final = 256 << 10
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
        if not isinstance(username, str) or not isinstance(secret, str) or not is_text(username + secret):
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
        ends_s = time.monotonic() + self._timeout_s
        try:
            process = subprocess.Popen(  # noqa: S603 (no shell; the name is checked)
                [program, action],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(self._environ),
            )
        except OSError as error:
            why = f"it cannot be started: {(error.strerror or str(error)).lower()}"
            raise self._failed(action, 0, why) from error
        try:
            output = _exchange(process, text.encode(), ends_s)
            if len(output) > _MAX_BYTES:
                raise self._failed(action, 0, f"it prints more than {_MAX_BYTES} bytes")
            status = process.wait(max(ends_s - time.monotonic(), 0.1))
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise Unavailable(
                f"the credential helper {self.program} did not answer within {self._timeout_s:g} s",
                code="credential-helper-timeout",
                where=self._where,
                hint="run it by hand to see what it waits for",
            ) from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        return status, output.decode("utf-8", "replace")

    def _failed(self, action: _Action, status: int, why: str = "") -> InvalidProject:
        return InvalidProject(
            printable(f"the credential helper {self.program} failed to {action}: {why or f'exit status {status}'}"),
            code="credential-helper-failed",
            where=self._where,
            hint=f"run `{self.program} {action}` by hand to see why",
        )


def _exchange(process: subprocess.Popen[bytes], text: bytes, ends_s: float) -> bytes:
    """What the program prints on getting `text`, to its end or to one byte too many; TimeoutError without an end.

    What is written fits into a pipe, so that a program which does not read it is not waited for.
    """
    import selectors

    if process.stdin is None or process.stdout is None:
        return b""
    with suppress(BrokenPipeError):
        os.set_blocking(process.stdin.fileno(), False)
        if os.write(process.stdin.fileno(), text) < len(text):
            raise TimeoutError
    process.stdin.close()
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) <= _MAX_BYTES:
            if not selector.select(max(ends_s - time.monotonic(), 0)):
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), _MAX_BYTES + 1 - len(output))
            if not piece:
                break
            output += piece
    return output
