"""The ssh that git is to use: the user's own, told not to ask anything. Storage layer."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Final

from provender.storage.git.command import GitCommand

__all__ = ["is_over_ssh", "with_quiet_ssh"]

_QUIETLY: Final = "-o BatchMode=yes"
# What does more than run one program is left as it is.
_SHELL: Final = frozenset(";&|<>`\n")


def is_over_ssh(url: str) -> bool:
    """True for `ssh://HOST/PATH` and `USER@HOST:PATH`."""
    scheme, is_url, _ = url.partition("://")
    if is_url:
        return scheme in ("ssh", "git+ssh", "ssh+git")
    return ":" in url.partition("/")[0] and not os.path.isdir(url)


def with_quiet_ssh(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the user's ssh command (git-config(1), core.sshCommand) and `BatchMode` after it.

    What the user says there comes first, and so counts. A program that is no ssh stays as it is.
    """
    command = environ.get("GIT_SSH_COMMAND") or _configured(environ)
    if command is None and environ.get("GIT_SSH"):
        return dict(environ)
    command = command or "ssh"
    return {**environ, "GIT_SSH_COMMAND": f"{command} {_QUIETLY}" if _is_ssh(command) else command}


def _configured(environ: Mapping[str, str]) -> str | None:
    """What the user's or the system's configuration says; not that of a repository that we happen to be in."""
    git = GitCommand(environ, transports=())
    status, out, _ = git.attempt("--git-dir=/dev/null", "config", "--get", "core.sshCommand", cwd=os.sep)
    return out.decode("utf-8", "surrogateescape").rstrip("\n") or None if status == 0 else None


def _is_ssh(command: str) -> bool:
    if not _SHELL.isdisjoint(command) or "$(" in command:
        return False
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return bool(words) and os.path.basename(words[0]).lower() in ("ssh", "ssh.exe")
