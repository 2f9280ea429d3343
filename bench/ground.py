"""Where a benchmark works: a directory of its own, the programs that take part, an environment without the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.material import drop
from bench.measure import Contender
from tools import peers

_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR")


class Ground:
    """The work place of one scenario: an empty directory; `runs` is how often each contender is measured.

    `scale` makes the material smaller than the goal speaks of, to try the benchmarks themselves.
    """

    def __init__(self, root: Path, *, runs: int, scale: float = 1.0) -> None:
        self.root = root
        self.runs = runs
        self.python = sys.executable
        self.provender = str(Path(sys.executable).with_name("provender"))
        self.missing: dict[str, str] = {}
        self._scale = scale
        self._peers = {**os.environ, "PROVENDER_PEERS": str(peers.cache_root())}
        home = root / "home"
        home.mkdir(parents=True)
        self.env: Mapping[str, str] = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HOME": str(home),
            "XDG_CACHE_HOME": str(root / "cache"),
            "XDG_CONFIG_HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def scaled(self, count: int) -> int:
        """`count`, made smaller by the scale; at least one."""
        return max(1, round(count * self._scale))

    def peer(self, name: str) -> str | None:
        """The program of a peer; None, with a line that says so, where it is not installed."""
        found = peers.find(name, environ=self._peers)
        if found is None:
            self.missing[name] = peers.missing(environ=self._peers).get(name, "not installed")
            print(f"  {name} is missing: {self.missing[name]}")
        return None if found is None else str(found)

    def call(self, *command: str | Path, cwd: Path | None = None) -> None:
        """Runs a command of the set-up, which has to succeed."""
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=cwd or self.root, env=dict(self.env), capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr.decode()[-2000:]}")

    def contender(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        fresh: Sequence[Path] = (),
        aside: Path | None = None,
    ) -> Contender:
        """A contender in this environment, before each of whose runs the directories `fresh` are made empty.

        With `aside` they are moved there instead: a file system may take long to use again what was deleted just now
        (ext4 searches for inodes that were not), which is not to be paid for by whoever makes files next.
        """
        return Contender(name, [str(word) for word in command], cwd or self.root, _emptying(fresh, aside), self.env)


def _emptying(folders: Sequence[Path], aside: Path | None) -> Callable[[], None]:
    def empty() -> None:
        for folder in folders:
            if aside is not None and folder.exists():
                aside.mkdir(exist_ok=True)
                folder.rename(aside / str(len(os.listdir(aside))))
            drop(folder)
            folder.mkdir()
        if folders:
            # What an earlier run left to be written back is not to be paid for by the next one.
            os.sync()

    return empty
