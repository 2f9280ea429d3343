"""The conformance tools of distribution-spec against `provender serve`, with every feature switched on.

Two of them: the suite of Ginkgo tests of specification 1.1, and the program that took its place in 2026.
"""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import yaml

from interop.programs import program
from interop.registries import HTPASSWD, PASSWORD, USER
from support.served import Process, server_process

pytestmark = pytest.mark.interop

# What `stable` leaves out, and data that the tool leaves out by default.
_SWITCHED_ON = (
    "OCI_API_BLOBS_DIGEST_HEADER",
    "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_MANIFESTS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_TAG_PARAM",
    "OCI_DATA_SPARSE",
)
_PEER = "interop-peer"
_NOTE = "interop-note"
# Of each pair of cases the suite runs the one that its settings ask for.
_NOT_ASKED_FOR = {
    "Pull Setup Get tag name from environment",
    "Content Discovery Setup Populate registry with test tags (no push)",
    "Push Cross-Repository Blob Mount Cross-mounting of nonexistent blob should yield session id",
    (
        "Push Cross-Repository Blob Mount Cross-mounting without from, and automatic content discovery disabled"
        " should return a 202"
    ),
}


@pytest.fixture(params=["store", "memory", "token"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], AbstractContextManager[Process]]:
    """Starts a server over a directory, one over memory, or one that asks for tokens."""
    users = tmp_path / "users"
    users.write_text(HTPASSWD)
    arguments: dict[str, list[str | Path]] = {
        "store": [tmp_path / "store"],
        "memory": [],
        "token": [tmp_path / "store", "--htpasswd", users, "--auth", "token"],
    }

    @contextmanager
    def starting() -> Iterator[Process]:
        chosen = arguments[request.param]
        with server_process(tmp_path / "logs", *chosen, "--allow-sparse", "--no-access-log") as process:
            yield process
        assert " failure " not in process.log.read_text()

    return starting


@pytest.mark.parametrize("version", ["stable", "dev"])
def test_the_conformance_tool_passes(
    version: str,
    start: Callable[[], AbstractContextManager[Process]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    tool, results = program("conformance"), tmp_path / "results"
    results.mkdir()
    with start() as server:
        environment = {
            "OCI_REGISTRY": server.host,
            "OCI_TLS": "disabled",
            "OCI_VERSION": version,
            "OCI_REPO1": "conformance/one",
            "OCI_REPO2": "conformance/two",
            "OCI_USERNAME": USER,
            "OCI_PASSWORD": PASSWORD,
            "OCI_RESULTS_DIR": str(results),
            **dict.fromkeys(_SWITCHED_ON, "true"),
        }
        run = _run(tool.path, environment, tmp_path)
    features = yaml.safe_load((results / "results.yaml").read_text())
    kinds = {kind: Counter(features[kind].values()) for kind in ("apis", "data")}
    counts = dict(re.findall(r"^  (Pass|FAIL|Error|Skip|Disabled|Total)\.*: +([0-9]+)$", run.stdout, re.MULTILINE))
    told = ", ".join(f"{kind} {dict(states)}" for kind, states in kinds.items())
    record_property(_PEER, tool.title)
    record_property(_NOTE, f"conformance {_case(request)}: {counts['Pass']} of {counts['Total']} tests passed; {told}")
    failed = [line for line in run.stderr.splitlines() if "failed test" in line]
    assert run.returncode == 0, "\n".join(failed)
    assert counts["Pass"] == counts["Total"]
    assert int(counts["Pass"]) > 1000
    for kind, states in kinds.items():
        assert set(states) == {"Pass"}, features[kind]


def test_the_suite_before_it_passes(
    start: Callable[[], AbstractContextManager[Process]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    suite, results = program("conformance-suite"), tmp_path / "results"
    results.mkdir()
    with start() as server:
        environment = {
            "OCI_ROOT_URL": f"http://{server.host}",
            "OCI_NAMESPACE": "suite/one",
            "OCI_CROSSMOUNT_NAMESPACE": "suite/two",
            "OCI_USERNAME": USER,
            "OCI_PASSWORD": PASSWORD,
            "OCI_AUTOMATIC_CROSSMOUNT": "1",
            "OCI_REPORT_DIR": str(results),
            **{f"OCI_TEST_{name}": "1" for name in ("PULL", "PUSH", "CONTENT_DISCOVERY", "CONTENT_MANAGEMENT")},
        }
        run = _run(suite.path, environment, tmp_path)
    cases = [
        (str(case.get("name")).partition("Conformance Tests ")[2], case.get("status"))
        for case in ET.parse(results / "junit.xml").iter("testcase")
        if "Conformance Tests " in str(case.get("name"))
    ]
    counts = Counter(status for _, status in cases)
    record_property(_PEER, suite.title)
    record_property(_NOTE, f"conformance-suite {_case(request)}: {dict(counts)}")
    assert run.returncode == 0, run.stdout[-6000:]
    assert {name for name, status in cases if status != "passed"} == _NOT_ASKED_FOR
    assert counts["passed"] == 75


def _case(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.id)


def _run(path: Path, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **environment}
    return subprocess.run([path], env=settings, cwd=cwd, capture_output=True, text=True, timeout=500, check=False)
