"""Measures commands as whole processes: wall and CPU seconds and peak memory, interleaved, medians and ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One finished process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


class Contender(NamedTuple):
    """A command that takes part: how it is called, and what makes its ground clean before each run."""

    name: str
    command: Sequence[str]
    cwd: Path
    prepare: Callable[[], None] = lambda: None
    env: Mapping[str, str] = {}


class Row(NamedTuple):
    """The medians of one contender, and its wall time over that of the first."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mib: float
    ratio: float


def run_once(contender: Contender) -> Run:
    """One run, which has to succeed."""
    contender.prepare()
    env = {**os.environ, **contender.env}
    started = time.perf_counter()
    with subprocess.Popen(
        contender.command, cwd=contender.cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        # The few lines of a failure fit a pipe; whoever floods it would hang, so the size is bounded by the kernel.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        errors = process.stderr.read().decode(errors="replace") if process.stderr else ""
    if process.returncode:
        raise SystemExit(f"{contender.name} failed ({process.returncode}): {errors[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(contenders: Sequence[Contender], *, runs: int) -> list[Row]:
    """Interleaved runs of all contenders (A B C A B C …) after one warm-up each; ratios are taken pair by pair."""
    for contender in contenders:
        run_once(contender)
    results: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for _ in range(runs):
        for contender in contenders:
            results[contender.name].append(run_once(contender))
    first = results[contenders[0].name]
    return [
        Row(
            name,
            statistics.median(run.wall_s for run in mine),
            statistics.median(run.cpu_s for run in mine),
            max(run.peak_mib for run in mine),
            statistics.median(run.wall_s / base.wall_s for run, base in zip(mine, first, strict=True)),
        )
        for name, mine in results.items()
    ]


def show(title: str, rows: Sequence[Row], *, note: str = "") -> None:
    """Print a table."""
    print(f"\n{title}")
    print(f"  {'':34} {'wall s':>8} {'cpu s':>8} {'peak MiB':>9} {'ratio':>7}")
    for row in rows:
        print(f"  {row.name:34} {row.wall_s:8.3f} {row.cpu_s:8.3f} {row.peak_mib:9.1f} {row.ratio:6.2f}x")
    if note:
        print(f"  {note}")
