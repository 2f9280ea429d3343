"""Every benchmark runs through with little material: set-up, commands and figures; what it measures is not judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["startup", "extract", "noop"])
def test_a_scenario_runs_through_and_keeps_its_figures(name: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench", name, "--runs", "1", "--scale", "0.005", "--results", tmp_path / "results"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    [found] = json.loads((tmp_path / "results" / f"{name}.json").read_text())["outcomes"]
    assert found["rows"]
    assert all(row["medianWallSeconds"] > 0 for row in found["rows"])
    assert all(row["name"] in run.stdout for row in found["rows"])
    assert found["goals"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["results"]
