"""Where a benchmark works: a directory of its own, the programs that take part, and an environment without the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import Run, Trial, run_once
from tools import peers

_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


class Ground:
    """The work place of one scenario: `root` is an empty directory, `runs` how often each contender is measured."""

    def __init__(self, root: Path, *, runs: int) -> None:
        self.root = root
        self.runs = runs
        self.python = sys.executable
        self.provender = str(Path(sys.executable).with_name("provender"))
        self.missing: list[str] = []
        self._peers = {**os.environ, "PROVENDER_PEERS": str(peers.cache_root())}
        home = root / "home"
        home.mkdir()
        self.env: Mapping[str, str] = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HOME": str(home),
            "XDG_CACHE_HOME": str(root / "cache"),
            "XDG_CONFIG_HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PYTHONDONTWRITEBYTECODE": "",
        }

    def peer(self, name: str) -> str | None:
        """The program of a peer; None, with a line that says so, where it is not installed."""
        found = peers.find(name, environ=self._peers)
        if found is None:
            reason = peers.missing(environ=self._peers).get(name, "not installed")
            self.missing.append(f"{name} is missing: {reason}")
        return None if found is None else str(found)

    def call(self, *command: str | Path, cwd: Path | None = None) -> None:
        """Runs a command of the set-up, which has to succeed."""
        done = subprocess.run(list(map(str, command)), cwd=cwd or self.root, env=self.env, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr.decode()[-2000:]}")

    def once(self, trial: Trial) -> Run:
        """One run, measured."""
        return run_once(trial)

    def trial(self, name: str, command: Sequence[str | Path], *, cwd: Path | None = None) -> Trial:
        """A contender that needs no preparation."""
        return Trial(name, tuple(map(str, command)), cwd or self.root, env=self.env)
