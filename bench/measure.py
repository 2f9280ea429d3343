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
    """One finished process. The kernel counts the starter's memory into `peak_mib` of what it starts: keep it small."""

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
    """The runs of one contender in the order in which they were made, beside those of the others."""

    name: str
    runs: tuple[Run, ...]

    @property
    def wall_s(self) -> float:
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        return statistics.median(run.cpu_s for run in self.runs)

    @property
    def peak_mib(self) -> float:
        return max(run.peak_mib for run in self.runs)

    def ratio(self, other: Row) -> float:
        """The wall time over that of `other`: the median of the ratios of neighbouring runs."""
        return statistics.median(a.wall_s / b.wall_s for a, b in zip(self.runs, other.runs, strict=True))


class Claim(NamedTuple):
    """A goal, and what was measured against it."""

    text: str
    value: float
    limit: float
    unit: str = "x"

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


class Outcome(NamedTuple):
    """What a scenario found; ratios of `rows` are over the first of them."""

    title: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()


def run_once(contender: Contender) -> Run:
    """One run, which has to succeed."""
    contender.prepare()
    started = time.perf_counter()
    with subprocess.Popen(
        contender.command,
        cwd=contender.cwd,
        env=dict(contender.env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        # The few lines of a failure fit a pipe, so nobody has to read it before the process ends.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        errors = process.stderr.read().decode(errors="replace") if process.stderr else ""
    if process.returncode:
        raise SystemExit(f"{contender.name} failed ({process.returncode}): {errors[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(contenders: Sequence[Contender], *, runs: int, warm_up: bool = True) -> tuple[Row, ...]:
    """Interleaved runs of all contenders (A B C A B C …), after one of each that does not count."""
    if warm_up:
        for contender in contenders:
            run_once(contender)
    rounds = [[run_once(contender) for contender in contenders] for _ in range(runs)]
    return tuple(Row(contender.name, tuple(each[n] for each in rounds)) for n, contender in enumerate(contenders))


def show(outcome: Outcome, *, is_judged: bool = True) -> None:
    """Print a table and what was measured against the goals, with a verdict if the material is as large as they say."""
    print(f"\n{outcome.title}")
    print(f"  {'':44} {'wall s':>8} {'cpu s':>8} {'peak MiB':>9} {'wall':>7}")
    for row in outcome.rows:
        ratio = row.ratio(outcome.rows[0])
        print(f"  {row.name:44} {row.wall_s:8.3f} {row.cpu_s:8.3f} {row.peak_mib:9.1f} {ratio:6.2f}x")
    for claim in outcome.claims:
        verdict = "of the whole size" if not is_judged else "holds" if claim.holds else "MISSED"
        print(f"  goal {verdict}: {claim.text}: {claim.value:.2f}{claim.unit}, at most {claim.limit:g}{claim.unit}")


def as_json(outcome: Outcome) -> dict[str, object]:
    """Everything that was measured, for a file."""
    return {
        "title": outcome.title,
        "rows": [
            {
                "name": row.name,
                "medianWallSeconds": row.wall_s,
                "medianCpuSeconds": row.cpu_s,
                "peakMiB": row.peak_mib,
                "medianRatio": row.ratio(outcome.rows[0]),
                "runs": [run._asdict() for run in row.runs],
            }
            for row in outcome.rows
        ],
        "goals": [{**claim._asdict(), "holds": claim.holds} for claim in outcome.claims],
    }
