"""A locked run that has nothing to do is answered from a look at the files, and only where nothing is in doubt."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provender.cli.vendir_quick import INDEX_FILE, note_start
from provender.project.stat_index import JOURNAL_FILE, unchanged_note
from support.vendir import VendirProject

_CONFIG = """directories:
- path: vendor
  contents:
  - path: one
    inline: {paths: {a.txt: alpha, sub/b.txt: beta}}
  - path: deep/mine
    manual: {}
- path: other
  contents:
  - path: .
    inline: {paths: {c.txt: gamma}}
"""
_LOCKED = ["sync", "--locked"]


@pytest.fixture
def standing(project: VendirProject) -> VendirProject:
    """A project of which a locked run found everything as it is wanted, and noted that."""
    project.write(_CONFIG)
    (project.directory / "vendor/deep/mine").mkdir(parents=True)
    project.sync()
    _settle(project)
    return project


def _settle(project: VendirProject, *arguments: str) -> None:
    """Sync until nothing was written in the instant in which it was looked at, which proves nothing."""
    for _ in range(200):
        if _is_known(project, *arguments):
            return
        project.sync(*_LOCKED[1:], *arguments)
    raise AssertionError("no index came to be")


def _is_known(project: VendirProject, *arguments: str) -> bool:
    with contextlib.chdir(project.directory):
        return unchanged_note("", INDEX_FILE, start=note_start([*_LOCKED, *arguments])) is not None


def test_a_run_from_a_look_says_what_a_whole_one_says(standing: VendirProject) -> None:
    quick = standing.sync("--locked")
    os.unlink(standing.directory / ".provender" / INDEX_FILE)
    whole = standing.sync("--locked")
    assert "kind: LockConfig" in whole.stdout
    assert (quick.stdout, quick.stderr) == (whole.stdout, whole.stderr)


def test_other_options_are_not_answered_with_what_these_said(standing: VendirProject) -> None:
    assert not _is_known(standing, "--json")
    assert not _is_known(standing, "-d", "other")
    assert standing.sync("--locked", "--json").stdout.startswith("{")


def _write(path: str, content: str) -> Callable[[Path], None]:
    return lambda root: (root / path).write_text(content) and None


_CHANGES: dict[str, Callable[[Path], None]] = {
    "the configuration": _write("vendir.yml", "other"),
    "the lock": _write("vendir.lock.yml", "other"),
    "no lock": lambda root: (root / "vendir.lock.yml").unlink(),
    "a file": _write("vendor/one/a.txt", "other"),
    "a mode": lambda root: (root / "vendor/one/a.txt").chmod(0o640),
    "the mode of a directory": lambda root: (root / "vendor").chmod(0o750),
    "a file less": lambda root: (root / "vendor/one/sub/b.txt").unlink(),
    "a file more": _write("vendor/one/more.txt", "more"),
    "something beside contents": _write("vendor/more.txt", "more"),
    "something beside deeper contents": _write("vendor/deep/more.txt", "more"),
    "no manual contents": lambda root: (root / "vendor/deep/mine").rmdir(),
    "the records": _write(".provender/vendir.json", "{}"),
    "a killed run": _write(f".provender/{JOURNAL_FILE}", "vendor"),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_a_change_is_seen(standing: VendirProject, change: str) -> None:
    _CHANGES[change](standing.directory)
    assert not _is_known(standing)


def test_a_file_that_was_changed_is_laid_again(standing: VendirProject) -> None:
    (standing.directory / "vendor/one/a.txt").write_text("other")
    standing.sync("--locked")
    assert standing.tree("vendor/one") == {"a.txt": "alpha", "sub/b.txt": "beta"}


def test_warnings_are_told_every_time(project: VendirProject) -> None:
    project.write(f"{_CONFIG}nonsense: 1\n".replace("  - path: deep/mine\n    manual: {}\n", ""))
    project.sync()
    for _ in range(3):
        assert "nonsense" in project.sync("--locked").stderr


def test_what_lies_elsewhere_is_looked_at_whole(project: VendirProject, tmp_path: Path) -> None:
    project.write(f"directories:\n- path: {tmp_path}/else\n  contents:\n  - {{path: a, inline: {{paths: {{x: y}}}}}}\n")
    for arguments in ((), ("--locked",), ("--locked",)):
        project.sync(*arguments)
    assert not (project.directory / ".provender" / INDEX_FILE).exists()
