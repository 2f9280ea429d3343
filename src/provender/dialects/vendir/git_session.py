"""One session with the `git` program: the Secret's credentials for an address, in files that are gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final
from urllib.parse import quote, urlsplit

from provender.dialects.vendir.secrets import References
from provender.errors import InvalidProject
from provender.storage.git.command import GitCommand
from provender.storage.git.ssh import is_over_ssh, with_quiet_ssh
from provender.storage.git.turns import HostTurns
from provender.transfer.pool import Cancellation

__all__ = ["GitSession", "check_address", "git_session"]

_SECRET_FIELDS: Final = frozenset({"ssh-privatekey", "ssh-knownhosts", "username", "password"})
# As in vendir: whatever fetches. Not `ext`, which runs programs.
_TRANSPORTS: Final = ("file", "git", "http", "https", "ssh")
_SKIPPING_LFS: Final = (
    ("filter.lfs.smudge", "git-lfs smudge --skip -- %f"),
    ("filter.lfs.process", "git-lfs filter-process --skip"),
)


class GitSession:
    """A git in the user's environment with additions."""

    def __init__(
        self,
        environment: Mapping[str, str],
        cancellation: Cancellation,
        turn: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._environment = dict(environment)
        self._cancellation = cancellation
        self._turn = turn
        self.command = self.with_environment({})

    def with_environment(self, more: Mapping[str, str]) -> GitCommand:
        """The same git with further variables."""
        environment = {**self._environment, **more}
        check = self._cancellation.check
        return GitCommand(environment, transports=_TRANSPORTS, check=check, turn=self._turn)


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
    turns: HostTurns,
    *,
    skips_tls_verify: bool = False,
    forces_basic: bool = False,
    skips_lfs: bool = False,
) -> Iterator[GitSession]:
    """A git with the Secret's credentials for `url`."""
    environment = dict(os.environ)

    def turn() -> AbstractContextManager[None]:
        return turns.taken(url, cancellation.check)

    if skips_tls_verify:
        environment["GIT_SSL_NO_VERIFY"] = "true"
    for key, value in _SKIPPING_LFS if skips_lfs else ():
        _configure(environment, key, value)
    if not secret:
        yield GitSession(with_quiet_ssh(environment) if is_over_ssh(url) else environment, cancellation, turn)
        return
    fields = references.fields(secret, _SECRET_FIELDS)
    with tempfile.TemporaryDirectory(prefix="provender-git-") as place:
        environment["GIT_SSH_COMMAND"] = _ssh_command(place, fields)
        if "username" in fields and "password" in fields:
            _add_login(environment, place, url, fields["username"], fields["password"], forces_basic=forces_basic)
        yield GitSession(environment, cancellation, turn)


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
    _configure(environment, *setting)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _configure(environment: dict[str, str], key: str, value: str) -> None:
    """A setting for git that stands in no file and in no argument."""
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    environment |= {
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": key,
        f"GIT_CONFIG_VALUE_{count}": value,
    }
