"""A sync that has nothing to do answers before the command line is imported, with the words of any other sync."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import provender, succeed

NOTHING = "1 dependency, nothing to do\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A synced project with one dependency in a layout."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.rego").write_text("package a\n")
    succeed("push", "layout:store:v1", "rules", cwd=tmp_path)
    (tmp_path / "provender.yaml").write_text("version: 1\ndependencies:\n  rules: {oci: 'layout:./store', tag: v1}\n")
    succeed("sync", cwd=tmp_path)
    return tmp_path


def imported(project: Path, *arguments: str, env: dict[str, str] | None = None) -> tuple[set[str], str]:
    """The modules that `provender sync` imports, and what it says."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "provender", "sync", *arguments],
        cwd=project,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = run.stderr.splitlines(keepends=True)
    said = "".join(line for line in lines if not line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}, said


@pytest.mark.parametrize("options", [(), ("--locked",), ("--frozen", "--offline")])
def test_nothing_to_do_is_said_without_the_command_line(project: Path, options: tuple[str, ...]) -> None:
    modules, said = imported(project, *options)
    assert said == NOTHING
    assert "provender.cli.quick" in modules
    assert not modules & {"click", "msgspec", "typing", "re", "json"}


def test_the_long_way_says_the_same(project: Path) -> None:
    modules, said = imported(project, env={"PROVENDER_SYNC_CONCURRENCY": "2"})
    assert said == NOTHING
    assert "click" in modules


def test_options_that_change_the_answer_are_heard(project: Path) -> None:
    assert provender("sync", "-q", cwd=project) == (0, "", "")
    document = json.loads(succeed("sync", "--format", "json", cwd=project).stdout)
    assert [change["action"] for change in document["changes"]] == ["unchanged"]
    assert provender("sync", "--nonsense", cwd=project).status == 2
    assert "Usage" in provender("sync", "--help", cwd=project).stdout


def test_a_change_is_met_and_repaired(project: Path) -> None:
    (laid,) = (project / "vendor").rglob("a.rego")
    laid.unlink()
    modules, _ = imported(project)
    assert "click" in modules
    assert laid.read_text() == "package a\n"
    assert imported(project)[1] == NOTHING
