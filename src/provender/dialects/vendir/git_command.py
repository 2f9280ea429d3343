"""The `git` program, run so that neither a repository nor an address can make it do anything but fetch.

No prompts, no hooks, no `ext::` protocol, time limits; credentials go by files and the environment, never by arguments.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import quote, urlsplit

from provender.dialects.vendir.secrets import References
from provender.errors import InvalidProject, NotFound, Unavailable, Unsupported
from provender.transfer.pool import Cancellation

__all__ = ["GitCommand", "check_address", "git_session"]

_TIMEOUT_S: Final = 3600.0
_POLL_S: Final = 0.05
_MAX_OUTPUT: Final = 64 << 20
_MAX_SHOWN: Final = 600
_SECRET_FIELDS: Final = frozenset({"ssh-privatekey", "ssh-knownhosts", "username", "password"})
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "fetch.fsckObjects=true",
    "fetch.recurseSubmodules=false",
    "maintenance.auto=false",
    "advice.detachedHead=false",
)


class GitCommand:
    """Runs git with the environment of one session."""

    def __init__(self, environment: Mapping[str, str], cancellation: Cancellation) -> None:
        self._environment = dict(environment)
        self._cancellation = cancellation

    def run(self, *arguments: str, cwd: str | None = None, env: Mapping[str, str] | None = None) -> str:
        """What git prints. Raises Unavailable (code `git-failed`) with what it says of its failure."""
        status, out, said = self._run(arguments, cwd, env or {})
        if status:
            raise _failed(arguments, status, said)
        return out

    def attempt(self, *arguments: str, cwd: str | None = None, env: Mapping[str, str] | None = None) -> str | None:
        """What git prints; None if it fails."""
        status, out, _ = self._run(arguments, cwd, env or {})
        return None if status else out

    def _run(self, arguments: tuple[str, ...], cwd: str | None, env: Mapping[str, str]) -> tuple[int, str, str]:
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(  # noqa: S603 - a fixed program, arguments after `--` where they are foreign
                    ["git", *settings, *arguments],  # noqa: S607 - the user's own git
                    cwd=cwd,
                    env={**self._environment, **env},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=said,
                )
            except FileNotFoundError as error:
                raise Unsupported(
                    "the program git is not installed", code="no-git", hint="install git, or remove this source"
                ) from error
            status = self._wait(process, arguments)
            return status, _read(out), _read(said)

    def _wait(self, process: subprocess.Popen[bytes], arguments: tuple[str, ...]) -> int:
        end = time.monotonic() + _TIMEOUT_S
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_POLL_S)
                self._cancellation.check()
                if time.monotonic() > end:
                    raise Unavailable(f"git {arguments[0]} took more than {_TIMEOUT_S:.0f} s", code="git-timeout")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def check_address(url: str) -> str:
    """`url`, if it is one that git may be given; else InvalidProject."""
    if not url:
        raise InvalidProject(
            "Expected non-empty URL", code="missing-value", hint="write git: {url: https://..., ref: ...}"
        )
    if url.startswith("-") or "::" in url.partition("/")[0] or any(ord(char) < 0x20 for char in url):
        raise InvalidProject(
            f"not an address of a Git repository: {url[:200]!r}",
            code="invalid-url",
            hint="write https://host/path, ssh://host/path, user@host:path or a directory",
        )
    return url


@contextmanager
def git_session(
    url: str,
    secret: str,
    references: References,
    cancellation: Cancellation,
    *,
    skips_tls_verify: bool = False,
    forces_basic: bool = False,
    skips_lfs: bool = False,
) -> Iterator[GitCommand]:
    """A git with the Secret's credentials for `url`, in the user's environment; its files are gone afterwards."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"):
        environment.pop(name, None)
    if skips_tls_verify:
        environment["GIT_SSL_NO_VERIFY"] = "true"
    if skips_lfs:
        environment["GIT_LFS_SKIP_SMUDGE"] = "1"
    if not secret:
        yield GitCommand(environment, cancellation)
        return
    fields = references.fields(secret, _SECRET_FIELDS)
    with tempfile.TemporaryDirectory(prefix="provender-git-") as place:
        environment["GIT_SSH_COMMAND"] = _ssh_command(place, fields)
        if "username" in fields and "password" in fields:
            _add_login(environment, place, url, fields["username"], fields["password"], forces_basic=forces_basic)
        yield GitCommand(environment, cancellation)


def _ssh_command(place: str, fields: Mapping[str, str]) -> str:
    command = ["ssh", "-o", "ServerAliveInterval=30", "-o", "ForwardAgent=no", "-o", "BatchMode=yes", "-F", "/dev/null"]
    if "ssh-privatekey" in fields:
        path = os.path.join(place, "private-key")
        _write(path, f"{fields['ssh-privatekey'].rstrip()}\n")
        command += ["-i", path, "-o", "IdentitiesOnly=yes"]
    if "ssh-knownhosts" in fields:
        path = os.path.join(place, "known-hosts")
        _write(path, fields["ssh-knownhosts"])
        command += ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={path}"]
    else:
        # As vendir has it: without known hosts any key is taken.
        command += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    return " ".join(command)


def _add_login(
    environment: dict[str, str], place: str, url: str, username: str, password: str, *, forces_basic: bool
) -> None:
    if not url.startswith("https://"):
        raise InvalidProject(
            "Username/password authentication is only supported for https remotes",
            code="login-needs-https",
            where=url.partition("://")[0] or url[:100],
            hint="write an https:// address, or give ssh-privatekey in the Secret",
        )
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if forces_basic:
        from provender.storage.web import basic_authorization

        setting = (f"http.https://{host}/.extraHeader", f"Authorization: {basic_authorization(username, password)}")
    else:
        path = os.path.join(place, "credentials")
        _write(path, f"https://{quote(username, safe='')}:{quote(password, safe='')}@{host}\n")
        setting = ("credential.helper", f"store --file {path}")
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    environment |= {
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": setting[0],
        f"GIT_CONFIG_VALUE_{count}": setting[1],
    }


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _read(file: object) -> str:
    if not hasattr(file, "seek") or not hasattr(file, "read"):
        return ""
    file.seek(0)
    raw = file.read(_MAX_OUTPUT)
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else ""


def _failed(arguments: tuple[str, ...], status: int, said: str) -> Unavailable | NotFound:
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("hint:")]
    told = "; ".join(lines[-4:])[-_MAX_SHOWN:] or f"exit status {status}"
    return Unavailable(
        f"git {next((each for each in arguments if not each.startswith('-')), '')} failed: {told}",
        code="git-failed",
        retryable=False,
        exit_status=69,
        hint="try the same with git by hand; credentials come from secretRef, or from your own git configuration",
    )
