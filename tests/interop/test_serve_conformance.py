"""The conformance tool of distribution-spec against `provender serve`, with every feature switched on.

The tool is a program of the specification's repository that no package registry offers; whoever has it names it.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.served import server_process

_TOOL = os.environ.get("PROVENDER_CONFORMANCE")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not _TOOL, reason="$PROVENDER_CONFORMANCE does not name the conformance tool's program"),
]

# What the tool itself switches off below the development version of the specification.
_NOT_IN_STABLE = {"Blob upload cancel", "Manifest put with tag params", "Tag Param", "Tag Param sha512"}


@pytest.mark.parametrize("version", ["stable", "dev"])
@pytest.mark.parametrize("kind", ["store", "memory"])
def test_the_conformance_tool_passes(
    version: str, kind: str, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    store = [tmp_path / "store"] if kind == "store" else []
    with server_process(tmp_path / "logs", *store, "--allow-sparse", "--no-access-log") as server:
        (tmp_path / "results").mkdir()
        environment = {
            "OCI_REGISTRY": server.host,
            "OCI_TLS": "disabled",
            "OCI_VERSION": version,
            "OCI_REPO1": "conformance/one",
            "OCI_REPO2": "conformance/two",
            "OCI_RESULTS_DIR": str(tmp_path / "results"),
            "OCI_DATA_SPARSE": "true",
        }
        run = subprocess.run(
            [str(_TOOL)],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    counts = dict(re.findall(r"^  (Pass|FAIL|Error|Skip|Disabled|Total)\.*: +([0-9]+)$", run.stdout, re.MULTILINE))
    # The summary of the run names peers; the tool is one, with what it found.
    record_property("interop-peer", f"conformance {version} on {kind} {counts['Pass']} of {counts['Total']} passed")
    failed = [line for line in run.stderr.splitlines() if "failed test" in line]
    assert run.returncode == 0, "\n".join(failed)
    assert counts["FAIL"] == counts["Error"] == counts["Skip"] == "0"
    assert int(counts["Pass"]) > 800
    disabled = {name.strip() for name in re.findall(r"^  ([A-Z][^.\n]*?)\.+: +Disabled$", run.stdout, re.MULTILINE)}
    assert disabled == (_NOT_IN_STABLE if version == "stable" else set())
