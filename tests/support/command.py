"""Runs the command line as a user does: in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from support.forked import FORKS


class Result(NamedTuple):
    """What a run of `provender` left: its exit status and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The document on stdout of a run with `--format json`."""
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """The JSON error on stderr of a failed run with `--format json`."""
        return dict(json.loads(self.stderr.splitlines()[-1])["error"])


def provender(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = 60,
) -> Result:
    """The result of `provender ARGUMENTS` in `cwd`, with `env` added to the test's environment."""
    run = subprocess.run(
        [sys.executable, "-m", "provender", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Result(run.returncode, run.stdout, run.stderr)


def provender_forked(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = 60,
) -> Result:
    """As `provender`, in a process of its own that begins with everything imported: at a tenth of the cost."""
    child = FORKS.start(*arguments, cwd=cwd, env=env, stdin=stdin)
    try:
        said = child.communicate(timeout_s)
    finally:
        child.kill()
    return Result(child.wait(), *said)


def provender_here(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
    """As `provender`, in this process: much quicker."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with mock.patch.object(sys, "stdout", streams[0]), mock.patch.object(sys, "stderr", streams[1]):
        status = _run_here(arguments, cwd, env)
    printed = []
    for stream in streams:
        stream.flush()
        stream.seek(0)
        printed.append(stream.read())
    return Result(status, *printed)


def succeed_here(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run a command that has to succeed, in this process: the set-up, or a proof that all is well afterwards."""
    assert _run_here(arguments, cwd, env) == 0, arguments


def _run_here(arguments: Sequence[str | Path], cwd: Path | None, env: Mapping[str, str] | None) -> int:
    from provender.cli.edge import guarded

    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with mock.patch.dict(os.environ, env or {}), contextlib.chdir(cwd or Path.cwd()):
            return guarded([str(argument) for argument in arguments])
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)


def succeed(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
    """As `provender`, for a run that has to succeed."""
    result = provender(*arguments, cwd=cwd, env=env)
    assert result.status == 0, f"{arguments}: {result.stderr}"
    return result
