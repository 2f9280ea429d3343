"""Every benchmark runs through with little material: set-up, commands and figures; what it measures is not judged."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.registry import TestRegistry

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


def test_the_relay_counts_requests_and_the_bytes_of_blobs() -> None:
    with TestRegistry() as registry:
        _count(registry.host)


def _count(host: str) -> None:
    relay = subprocess.Popen(
        [sys.executable, "-m", "bench.requests", host],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert relay.stdout is not None
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(relay.stdout.readline()), timeout=30)
        for method, path, body in (
            ("GET", "/v2/", b""),
            ("POST", "/v2/acme/app/blobs/uploads/", b"x" * 70_000),
            ("PUT", "/v2/acme/app/manifests/1", b"{}"),
        ):
            connection.request(method, path, body=body)
            connection.getresponse().read()
        connection.close()
    finally:
        counts, _ = relay.communicate("\n", timeout=30)
    assert counts == "3 70000\n"
