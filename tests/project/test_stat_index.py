"""The stat index says how many dependencies an unchanged project has, and says nothing where anything is in doubt."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provender.oci import Digest
from provender.project import stat_index
from provender.project.stat_index import INDEX_FILE, encode_index, unchanged_count
from provender.project.state import DestinationState, Inputs, State

TREE, IDENTITY = Digest.of(b"tree"), Digest.of(b"entry")
HOUR_NS = 3600 * 1_000_000_000
NAMES = ("provender.yaml", "provender.lock")


def age(*paths: Path) -> None:
    then = time.time_ns() - HOUR_NS
    for path in paths:
        os.utime(path, ns=(then, then), follow_symlinks=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two destinations, whose state was written an hour after its files."""
    for name in NAMES:
        (tmp_path / name).write_text(name)
    for path in ("vendor/a/one.txt", "vendor/a/sub/two.txt", "vendor/b/three é.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "vendor/b/link").symlink_to("three é.txt")
    age(*tmp_path.rglob("*"))
    write_state(tmp_path)
    return tmp_path


def write_state(project: Path, *, keep: tuple[str, ...] = ()) -> None:
    destinations = {
        to: DestinationState.record(
            str(project / to),
            tree=TREE,
            identity=IDENTITY,
            keep=keep,
            kept=(lambda path: path.startswith("mine")) if keep else None,
        )
        for to in ("vendor/a", "vendor/b")
    }
    State(inputs=Inputs.record(project, NAMES), destinations=destinations).write(project)


def test_an_unchanged_project_is_known_from_anywhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unchanged_count(str(project)) == 2
    monkeypatch.chdir(project)
    assert unchanged_count("") == 2


def _rewrite(path: Path) -> None:
    path.write_text("X" * path.stat().st_size)


@pytest.mark.parametrize(
    "change",
    [
        lambda top: _rewrite(top / "provender.yaml"),
        lambda top: _rewrite(top / "provender.lock"),
        lambda top: (top / "provender.lock").unlink(),
        lambda top: _rewrite(top / "vendor/a/sub/two.txt"),
        lambda top: (top / "vendor/a/one.txt").chmod(0o755),
        lambda top: (top / "vendor/a/one.txt").unlink(),
        lambda top: (top / "vendor/a/sub/new").write_text(""),
        lambda top: (top / "vendor/b/new").mkdir(),
        lambda top: ((top / "vendor/b/link").unlink(), (top / "vendor/b/link").symlink_to("elsewhere")),
        lambda top: ((top / "vendor/a").rename(top / "moved"), (top / "vendor/a").symlink_to("../moved")),
        lambda top: (top / ".provender/state.json").unlink(),
        lambda top: (top / ".provender/state.json").write_bytes((top / ".provender/state.json").read_bytes()),
        lambda top: (top / ".provender/state.next.json").write_text("{}"),
        lambda top: (top / ".provender/index").unlink(),
        lambda top: ((top / ".provender").rename(top / "p"), (top / ".provender").symlink_to("p")),
    ],
)
def test_any_change_leaves_the_answer_to_the_state(project: Path, change: object) -> None:
    assert callable(change)
    change(project)
    assert unchanged_count(str(project)) is None


def test_a_manifest_that_is_a_link_is_followed(project: Path) -> None:
    (project / "provender.yaml").rename(project / "real.yaml")
    (project / "provender.yaml").symlink_to("real.yaml")
    write_state(project)
    assert unchanged_count(str(project)) == 2
    _rewrite(project / "real.yaml")
    assert unchanged_count(str(project)) is None


def test_without_a_state_there_is_no_index_and_no_answer(tmp_path: Path) -> None:
    assert unchanged_count(str(tmp_path)) is None


def test_files_of_this_very_moment_get_no_index(project: Path) -> None:
    (project / "vendor/a/one.txt").write_text("now")
    write_state(project)
    assert not (project / ".provender" / INDEX_FILE).exists()


def test_kept_files_get_no_index(project: Path) -> None:
    write_state(project, keep=("mine/**",))
    assert not (project / ".provender" / INDEX_FILE).exists()


def test_a_new_state_takes_the_old_index_away(project: Path) -> None:
    State().write(project)
    assert not (project / ".provender" / INDEX_FILE).exists()


def test_an_index_of_another_version_says_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stat_index, "_MAGIC", stat_index._MAGIC.replace(b" 2 ", b" 3 "))
    assert unchanged_count(str(project)) is None


def test_a_damaged_index_says_nothing(project: Path) -> None:
    path = project / ".provender" / INDEX_FILE
    whole = path.read_bytes()
    start = len(stat_index._MAGIC)
    for cut in (0, 5, start, start + 7, start + 8, start + 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert unchanged_count(str(project)) is None, cut
    for at in range(start, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        # The first number is only said, not compared.
        assert unchanged_count(str(project)) is None or at < start + 8, at


def test_what_does_not_fit_is_not_written() -> None:
    with pytest.raises(ValueError, match="zero"):
        encode_index([("a\0b", 1, 1, 1, 1)], [], dependencies=1)
    with pytest.raises(OverflowError):
        encode_index([("a", 1 << 63, 1, 1, 1)], [], dependencies=1)


@pytest.mark.parametrize(
    ("changed", "answer"), [(None, "2"), ("vendor/a/one.txt", "None"), ("vendor/b/three é.txt", "None")]
)
def test_two_processes_see_what_one_sees(project: Path, changed: str | None, answer: str) -> None:
    if changed is not None:
        _rewrite(project / changed)
    code = "from provender.project import stat_index as i; i._MANY = 2; print(i.unchanged_count(''))"
    # In a process of its own: this one has threads, beside which nobody may fork.
    run = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert (run.stdout.strip(), run.stderr) == (answer, "")
