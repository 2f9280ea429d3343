"""Schemathesis makes requests out of the OpenAPI description: no failure of ours, nothing that is not described."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.programs import program
from support.served import Client, server_process

pytestmark = pytest.mark.interop

DESCRIPTION = Path(__file__).resolve().parents[2] / "schema" / "registry.openapi.yaml"
# The same requests in each run: what a run finds can be found again.
SEED = "4"
# A request that fits the description may name what is not there; and null counts as absent in a manifest, for it is
# what some encoders write for nothing.
NOT_CHECKED = "positive_data_acceptance,negative_data_rejection"


@pytest.mark.timeout(500)
def test_no_request_out_of_the_description_fails(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    schemathesis = program("schemathesis")
    store = tmp_path / "served" / "store"
    with server_process(tmp_path / "logs", store, "--allow-sparse") as server:
        content(server.client)
        run = schemathesis.attempt(
            *("run", DESCRIPTION, "--url", f"http://{server.host}", "--max-examples", "10", "--seed", SEED),
            *("--checks", "all", "--exclude-checks", NOT_CHECKED, "--suppress-health-check", "all"),
            *("--continue-on-failure", "--report", "json", "--report-json-path", tmp_path / "report.json"),
            cwd=tmp_path,
            timeout_s=400,
        )
        assert server.client.ask("GET", "/healthz").status == 200
    said = run.stdout.decode()
    assert run.returncode == 0, said[said.find("FAILURES") :][:8000]
    log = server.log.read_text()
    # Some of the requests are no HTTP, which uvicorn notes.
    bad = re.findall(r"^\S+ (?:failure|warning) .*", log, re.MULTILINE)
    assert not [line for line in bad if "Invalid HTTP" not in line]
    assert "Traceback" not in log
    requests = len(re.findall(r"^\S+ request ", log, re.MULTILINE))
    assert requests > 300
    record_property("interop-peer", schemathesis.title)
    record_property("interop-note", f"schemathesis: {requests} requests, none failed")
    assert [entry.name for entry in store.parent.iterdir()] == ["store"]
    assert json.loads((store / "a" / "index.json").read_bytes())["schemaVersion"] == 2


def content(client: Client) -> None:
    """Something to meet for requests with the shortest valid names."""
    for name in ("a", "0", "a/b"):
        client.manifest(name, "0", [b"layer"])
