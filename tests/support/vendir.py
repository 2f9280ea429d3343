"""A directory with a vendir.yml, and `provender-vendir` run in it as its users do, though in this process."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from support.command import Result

HEAD = "apiVersion: vendir.k14s.io/v1alpha1\nkind: Config\n"


def vendir(
    *arguments: str, cwd: Path, stdin: str = "", env: Mapping[str, str] | None = None, terminal: bool = False
) -> Result:
    """What `provender-vendir ARGUMENTS` gives in `cwd`."""
    from provender.cli.vendir import main

    out, said = io.StringIO(), io.StringIO()
    if terminal:
        out.isatty = lambda: True  # type: ignore[method-assign]
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with (
            mock.patch.dict(os.environ, env or {}),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(said),
        ):
            status = main(list(arguments))
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    return Result(status, out.getvalue(), said.getvalue())


class VendirProject:
    """A working directory; its cache is its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._env = {"XDG_CACHE_HOME": str(directory.parent / "cache"), "HOME": str(directory.parent)}

    def write(self, text: str, *, name: str = "vendir.yml") -> None:
        """Write the configuration; `text` is what comes after its first two lines."""
        (self.directory / name).write_text(HEAD + text)

    def run(self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
        """Any outcome of a run."""
        return vendir(*arguments, cwd=self.directory, stdin=stdin, env={**self._env, **(env or {})})

    def sync(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """A sync that has to succeed."""
        result = self.run("sync", *arguments, env=env)
        assert result.status == 0, result.stderr
        return result

    @property
    def lock(self) -> str:
        return (self.directory / "vendir.lock.yml").read_text()

    def tree(self, top: str = ".") -> dict[str, str]:
        """Every file's text by its path, without what is provender's own."""
        root = self.directory / top
        return {
            str(path.relative_to(root)): path.read_text()
            for path in sorted(root.rglob("*"))
            if path.is_file() and ".provender" not in path.parts
        }

    def modes(self, top: str) -> dict[str, int]:
        """The permissions of everything below `top`, and its own as `.`."""
        root = self.directory / top
        return {
            str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode) for path in [root, *sorted(root.rglob("*"))]
        }
