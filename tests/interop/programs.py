"""Other people's programs as tests use them: found in the cache of peers, run with a time limit, told with versions.

A program that is not there skips the test that asks for it, with a reason that names it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import peers

# The user's environment, taken at import: each test has an empty home, but the cache of peers is the user's.
_ENVIRONMENT = {**os.environ, "PROVENDER_PEERS": str(peers.cache_root())}


class Program(NamedTuple):
    """One installed program."""

    name: str
    version: str
    path: Path

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"

    def run(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float = 120,
    ) -> str:
        """What a run that has to succeed prints on stdout, without the white space around it."""
        result = self.attempt(*arguments, cwd=cwd, stdin=stdin, env=env, timeout_s=timeout_s)
        shown = " ".join([self.name, *map(str, arguments)])
        assert result.returncode == 0, f"{shown}: exit {result.returncode}\n{result.stderr.decode()[-4000:]}"
        return result.stdout.decode().strip()

    def attempt(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float = 120,
    ) -> subprocess.CompletedProcess[bytes]:
        """The outcome of a run in the test's environment."""
        return subprocess.run(
            [str(self.path), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )


@cache
def lookup(name: str) -> Program | str:
    """The program, or the one-line reason why there is none."""
    try:
        path, version = peers.find(name, environ=_ENVIRONMENT), peers.version(name)
    except KeyError:
        found = shutil.which(name, path=_ENVIRONMENT.get("PATH", os.defpath))
        path, version = Path(found) if found else None, "distribution"
        reason = "not pinned in tools/peers.toml and not on the PATH"
    else:
        reason = "" if path else peers.missing(environ=_ENVIRONMENT).get(name, "not installed")
    if path is None:
        return f"{name} is missing: {' '.join(reason.split())}"
    return Program(name, version if version != "distribution" else _told_version(path), path)


def program(name: str) -> Program:
    """The program; without it the test is skipped."""
    found = lookup(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def _told_version(path: Path) -> str:
    result = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=20, check=False)
    if commit := re.search(r'"commit":"([0-9a-z.-]{4,40})"', result.stdout + result.stderr):
        return f"commit {commit[1]}"  # zot tells the version of the specification besides, and no other of its own
    numbers = re.findall(r"v?[0-9]+\.[0-9]+[^\s,]*", result.stdout + result.stderr)
    return numbers[-1] if numbers else "of unknown version"
