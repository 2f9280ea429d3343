"""Start-up: what the cheap commands import, and that they say what they should."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from provender import __version__
from provender.cli.main import SECTIONS
from support.command import provender
from support.registry import TestRegistry
from support.workspace import publish

HEAVY = {
    "asyncio",
    "cryptography",
    "email",
    "http.client",
    "importlib.metadata",
    "isal",
    "pathspec",
    "rich",
    "ruamel",
    "ssl",
    "subprocess",
    "tarfile",
    "urllib3",
    "yaml",
}


def imported(*arguments: str) -> set[str]:
    """The modules that a run of provender imports."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "provender", *arguments],
        capture_output=True,
        text=True,
        env=os.environ.copy(),
        timeout=60,
        check=True,
    )
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_version_imports_next_to_nothing() -> None:
    modules = imported("--version")
    assert "provender.cli.main" in modules
    assert not modules & (HEAVY | {"click", "msgspec", "provender.oci"})


@pytest.mark.parametrize("arguments", [("--help",), ("push", "--help"), ("sync", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    modules = imported(*arguments)
    assert "click" in modules
    assert not modules & HEAVY


def test_a_question_to_a_registry_imports_nothing_for_files_and_archives(registry: TestRegistry) -> None:
    publish(registry, "acme/good", "1", {"a": b"a"})
    modules = imported("tags", f"{registry.host}/acme/good")
    assert "provender.storage.registry.repository" in modules
    unused = {"provender.artifact", "provender.storage.archive", "provender.storage.layout", "shutil", "tempfile"}
    assert not modules & (HEAVY | unused)


def test_the_guard_would_see_a_heavy_import() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import ssl"], capture_output=True, text=True, check=True
    )
    assert "ssl" in {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(flag: str) -> None:
    result = provender(flag)
    assert (result.status, result.stdout) == (0, f"provender {__version__}\n")


def test_help_lists_every_command_and_each_has_an_example() -> None:
    text = provender("--help").stdout
    for table in SECTIONS.values():
        for name in table:
            assert f"\n  {name} " in text
            help_text = provender(name, "--help").stdout
            assert f"provender {name}" in help_text.partition("Usage:")[2].partition("\n")[0]
            assert "Example" in help_text, name


def test_an_unknown_command_is_a_usage_error_with_the_near_one() -> None:
    result = provender("snyc")
    assert result.status == 2
    assert "did you mean 'sync'?" in result.stderr
    assert result.stdout == ""


def test_an_unknown_option_is_a_usage_error() -> None:
    result = provender("sync", "--frobnicate")
    assert result.status == 2
    assert "--frobnicate" in result.stderr
    assert "provender sync --help" in result.stderr


def test_no_command_prints_the_help() -> None:
    result = provender()
    assert result.status in (0, 2)
    assert "Usage: provender" in result.stdout + result.stderr
    assert "error" not in result.stderr


def test_a_shell_is_told_how_a_command_may_go_on() -> None:
    asked = {"_PROVENDER_COMPLETE": "bash_complete", "COMP_WORDS": "provender sy", "COMP_CWORD": "1"}
    result = provender(env=asked)
    assert (result.status, result.stdout, result.stderr) == (0, "plain,sync\n", "")
    asked |= {"COMP_WORDS": "provender sync --fr", "COMP_CWORD": "2"}
    assert provender(env=asked).stdout == "plain,--frozen\n"


def test_completion_scripts_name_the_command() -> None:
    for shell in ("bash", "zsh", "fish", "powershell"):
        result = provender("completion", shell)
        assert result.status == 0, result.stderr
        assert "provender" in result.stdout
