"""The `git` program, run so that neither an address nor a repository can make it do more than fetch.

Storage layer. The user's own configuration (credential helpers, `insteadOf`, proxies, SSH) works; prompts do not. Only
the transports that a caller names are allowed, whatever a repository, a redirect or a configuration says.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import IO, Final, Self

from provender.errors import ProvenderError, Unavailable, Unsupported

__all__ = ["GitCommand", "GitFailed", "failed", "stop"]

_TIMEOUT_S: Final = 1800.0
_POLL_S: Final = 0.25
_MAX_SAID: Final = 64 << 10
# Of the environment git sees what says how to get somewhere, not what says which repository it is in.
_KEPT: Final = (
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_",
    "GIT_HTTP_",
    "GIT_PROXY_",
    "GIT_CONFIG_",
    "GIT_TRACE",
    "GIT_CURL_VERBOSE",
    "GIT_EXEC_PATH",
)
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.version=2",
    "http.lowSpeedLimit=1024",
    "http.lowSpeedTime=60",
)


# The commands that ask the other side.
_SPEAKING: Final = frozenset({"fetch", "ls-remote", "lfs"})
# Older versions do not know the variable.
_ALONE: Final = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}


class GitFailed(ProvenderError):
    """git ended with an error; what it said is in the message."""

    code = "git-failed"
    exit_status = 69


class GitCommand:
    """Runs git. `transports` are the protocols it may use, `environment` is the process's with additions of the caller.

    Unless `is_online` it may ask nobody: a partial clone would else fetch whatever it lacks, object by object. `check`
    is called while git works; if it raises, git is killed, with everything that it started. `turn` is taken for as long
    as a git speaks to the other side.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        transports: Iterable[str],
        check: Callable[[], None] = lambda: None,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._check = check
        self._turn = turn
        self._timeout_s = timeout_s
        kept = {key: value for key, value in environment.items() if not key.startswith("GIT_") or key.startswith(_KEPT)}
        kept.pop("SSH_ASKPASS", None)
        self._environment = {
            **kept,
            "GIT_ALLOW_PROTOCOL": ":".join(transports),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GCM_INTERACTIVE": "never",
            "SSH_ASKPASS_REQUIRE": "never",
            "LC_ALL": "C",
        }

    def run(
        self, *arguments: str, cwd: str, given: bytes = b"", is_online: bool = True, limit_bytes: int = 256 << 20
    ) -> bytes:
        """What git prints, run in `cwd` with `given` as its input; GitFailed, Unavailable (code `git-timeout`)."""
        status, out, said = self.attempt(*arguments, cwd=cwd, given=given, is_online=is_online, limit_bytes=limit_bytes)
        if status:
            raise failed(arguments, status, said)
        return out

    def attempt(
        self, *arguments: str, cwd: str, given: bytes = b"", is_online: bool = True, limit_bytes: int = 256 << 20
    ) -> tuple[int, bytes, str]:
        """The exit status, what git prints, and what it says."""
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
            source.write(given)
            source.seek(0)
            status = self.wait(*arguments, cwd=cwd, is_online=is_online, stdin=source, stdout=out, stderr=said)
            if out.tell() > limit_bytes:
                raise Unavailable(
                    f"git {arguments[0]} gives more than {limit_bytes} bytes",
                    code="git-too-much",
                    where=cwd,
                    retryable=False,
                )
            out.seek(0)
            said.seek(0)
            return status, out.read(limit_bytes), said.read(_MAX_SAID).decode("utf-8", "replace")

    def wait(
        self, *arguments: str, cwd: str, is_online: bool, stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes]
    ) -> int:
        """The exit status of a git that reads and writes these files."""
        with self._turn() if is_online and not _SPEAKING.isdisjoint(arguments) else nullcontext():
            process = self.start(*arguments, cwd=cwd, is_online=is_online, stdin=stdin, stdout=stdout, stderr=stderr)
            return self._wait(process, arguments)

    def start(
        self,
        *arguments: str,
        cwd: str,
        is_online: bool = True,
        stdin: IO[bytes] | int,
        stdout: IO[bytes] | int,
        stderr: IO[bytes] | int,
    ) -> subprocess.Popen[bytes]:
        """A git that runs in a session of its own, without a terminal; whoever starts it ends it with `stop`."""
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        try:
            return subprocess.Popen(  # noqa: S603 - a fixed program; what comes from outside stands behind `--`
                ["git", *settings, *arguments],  # noqa: S607 - the user's own git
                cwd=cwd,
                env=self._environment if is_online else {**self._environment, **_ALONE},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise Unsupported(
                "the program git is not installed", code="no-git", hint="install git 2.30 or newer"
            ) from error

    def _wait(self, process: subprocess.Popen[bytes], arguments: tuple[str, ...]) -> int:
        end = time.monotonic() + self._timeout_s
        try:
            return self._watched(process, arguments, end)
        finally:
            stop(process)

    def _watched(self, process: subprocess.Popen[bytes], arguments: tuple[str, ...], end: float) -> int:
        with _Ending(process) as ending:
            while time.monotonic() < end:
                status = ending.wait(_POLL_S)
                if status is not None:
                    return status
                self._check()
        raise Unavailable(
            f"git {arguments[0]} took more than {self._timeout_s:.0f} s",
            code="git-timeout",
            hint="run again: what was fetched is kept",
        )


class _Ending:
    """Tells when a process ends, at once where the kernel does (Linux): `Popen.wait` looks every 50 ms only."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._fd = -1

    def wait(self, timeout_s: float) -> int | None:
        """The exit status; None if it still runs after that time."""
        if self._fd < 0:
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(timeout_s)
            return None
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return self._process.wait() if poll.poll(timeout_s * 1000) else None

    def __enter__(self) -> Self:
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):  # an old kernel, or a sandbox that does not allow it
                self._fd = os.pidfd_open(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a git with everything that it started, if it still runs."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def failed(arguments: tuple[str, ...], status: int, said: str) -> GitFailed:
    """The error for what git said when it ended with this status."""
    from provender.storage.registry.redact import printable

    lines = [line.strip() for line in said.splitlines()]
    told = [line.removeprefix("fatal: ") for line in lines if line and not line.startswith(("hint:", "warning:"))]
    verb = next((each for each in arguments if not each.startswith("-")), "git")
    return GitFailed(
        f"git {verb} failed: {printable('; '.join(told[:2]), 400) or f'exit status {status}'}",
        hint="try the same with git by hand; logins come from git's own configuration (credential helper, SSH key)",
    )
