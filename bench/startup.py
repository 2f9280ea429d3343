"""What `provender --version` takes on top of a bare interpreter."""

from __future__ import annotations

import statistics

from bench.ground import Ground
from bench.measure import Claim, Outcome, compare


def run(ground: Ground) -> Outcome:
    """CPU time, which other work on the machine changes least, of the interpreter alone and of two commands."""
    rows = compare(
        [
            ground.contender("a bare interpreter", [ground.python, "-c", "pass"]),
            ground.contender("provender --version", [ground.provender, "--version"]),
            ground.contender("provender --help", [ground.provender, "--help"]),
        ],
        runs=5 * ground.runs,
    )
    bare, version, _ = rows
    extra = statistics.median(a.cpu_s - b.cpu_s for a, b in zip(version.runs, bare.runs, strict=True))
    return Outcome(
        "Start-up", rows, (Claim("CPU of provender --version over a bare interpreter", extra * 1000, 100.0, " ms"),)
    )
