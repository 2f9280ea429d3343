"""vendir's command line beside `sync`: help, completion, what is said of unknown commands, and its variables."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support.archives import archive, file
from support.git_repository import GitRepository
from support.registry import TestRegistry
from support.vendir import VendirProject


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Use one of available subcommands: completion, help, import, sync, tools, version"),
        (("bogus",), "command 'vendir' does not accept extra arguments 'bogus'"),
        (("tools", "bogus"), "command 'vendir tools' does not accept extra arguments 'bogus'"),
        (("sync", "extra"), "command 'vendir sync' does not accept extra arguments 'extra'"),
    ],
)
def test_what_is_no_command_is_told_as_vendir_tells_it(
    project: VendirProject, arguments: tuple[str, ...], message: str
) -> None:
    result = project.run(*arguments)
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.startswith(f"vendir: Error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (("help",), "vendir [OPTIONS] [COMMAND]"),
        (("help", "bogus"), "vendir [OPTIONS] [COMMAND]"),
        (("help", "sync"), "vendir sync [OPTIONS]"),
        (("help", "tools", "sort-semver"), "vendir tools sort-semver [OPTIONS]"),
        (("sync", "-h"), "vendir sync [OPTIONS]"),
        (("-h",), "vendir [OPTIONS] [COMMAND]"),
        (("completion",), "vendir completion [OPTIONS]"),
    ],
)
def test_help_is_given_where_vendir_gives_it(project: VendirProject, arguments: tuple[str, ...], usage: str) -> None:
    result = project.run(*arguments)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {usage}")


def test_a_completion_script_is_for_the_program_that_stands_in(project: VendirProject) -> None:
    script = project.run("completion", "bash").stdout
    assert "provender-vendir" in script
    subprocess.run(["bash", "-n"], input=script.encode(), check=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("sync", "--json"), "no-config"), (("--json", "bogus"), "usage"), (("--json=true",), "usage")],
)
def test_a_failure_is_json_where_results_are(project: VendirProject, arguments: tuple[str, ...], code: str) -> None:
    result = project.run(*arguments)
    assert (result.status, result.stdout) == (1, "")
    failure = json.loads(result.stderr)["error"]
    assert (failure["code"], failure["exit"]) == (code, 1)
    assert failure["message"]


def test_the_cache_lies_where_vendirs_variable_says(project: VendirProject, tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "repository")
    repository.commit("One", {"a.txt": "alpha"})
    with TestRegistry() as registry:
        registry.push_artifact("team/app", "v1", [archive(file("a.txt", b"alpha"))])
        project.write(
            "directories: [{path: v, contents: ["
            f"{{path: app, image: {{url: '{registry.host}/team/app:v1'}}}}, "
            f"{{path: git, git: {{url: '{repository.path}', ref: main}}}}]}}]\n"
        )
        # How much one of the contents may take is vendir's to ask; provender's cache has one limit for everything.
        project.sync(env={"VENDIR_CACHE_DIR": str(tmp_path / "theirs"), "VENDIR_MAX_CACHE_SIZE": "1"})
        asked = registry.count("GET", "/blobs/")
        (project.directory / ".provender/vendir.json").unlink()
        project.sync(env={"VENDIR_CACHE_DIR": str(tmp_path / "theirs"), "VENDIR_HELM_BINARY": "/nonexistent"})
        assert registry.count("GET", "/blobs/") == asked == 1
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == ["provender"]
    assert (tmp_path / "theirs/provender/git").is_dir()
    assert not (tmp_path / "cache").exists()
