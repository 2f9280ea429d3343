"""The matrix of data sets and registries at the session's end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

__all__ = ["noted", "write_matrix"]

_KEY = "interop-data-set"


def noted(request: pytest.FixtureRequest, name: str, kind: str, outcome: str) -> None:
    """Remember the outcome of one data set at one registry: reports carry it to the session that sums up."""
    request.node.user_properties.append((_KEY, f"{name}|{kind}|{outcome}"))


def write_matrix(reporter: pytest.TerminalReporter, stats: Mapping[str, Iterable[Any]]) -> None:
    """Print data set by registry, and the reasons of refusals."""
    cells: dict[str, dict[str, str]] = {}
    kinds: dict[str, None] = {}
    reasons: dict[str, int] = {}
    for report in (report for outcome in ("passed", "failed") for report in stats.get(outcome, ())):
        for key, note in getattr(report, "user_properties", ()):
            if key == _KEY:
                name, kind, outcome = note.split("|", 2)
                _, refused, reason = outcome.partition("refused: ")
                number = reasons.setdefault(reason, len(reasons) + 1) if refused else 0
                kinds[kind] = None
                shown = f"refused ({number})" if refused else outcome
                cells.setdefault(name, {})[kind] = shown if report.passed else "FAILED"
    if not cells:
        return
    width = max(map(len, cells)) + 2
    reporter.section("data sets: pushed, listed, pulled, copied, deleted")
    reporter.write_line(" " * width + "".join(f"{kind:>18}" for kind in kinds))
    for name, row in cells.items():
        reporter.write_line(f"{name:<{width}}" + "".join(f"{row.get(kind, 'FAILED'):>18}" for kind in kinds))
    for reason, number in reasons.items():
        reporter.write_line(f"({number}) {reason}")
