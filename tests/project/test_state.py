"""The state: unusable state is no state, and a file that might have changed never counts as unchanged."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from provender.errors import Conflict
from provender.oci import Digest
from provender.project.state import Comparison, DestinationState, Inputs, State, scan, unchanged

TREE, IDENTITY = Digest.of(b"tree"), Digest.of(b"entry")
SECOND = 1_000_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of an hour ago, a link and an empty directory."""
    top = tmp_path / "vendor"
    for name in ("a.txt", "b/c.txt", "b/d/e.txt"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "link").symlink_to("b")
    (top / "empty").mkdir()
    age(top)
    return top


def age(top: Path, *, by_ns: int = 3600 * SECOND) -> None:
    """Sets the times of everything below `top`, and its own, back by so much from now."""
    then = time.time_ns() - by_ns
    for place, directories, files in os.walk(top):
        for name in (*directories, *files):
            os.utime(os.path.join(place, name), ns=(then, then), follow_symlinks=False)
    os.utime(top, ns=(then, then))


def record(top: Path) -> DestinationState:
    return DestinationState.record(str(top), tree=TREE, identity=IDENTITY)


def test_scan_lists_files_and_links_sorted_without_following(tree: Path) -> None:
    assert [entry.path for entry in scan(str(tree))] == ["a.txt", "b/c.txt", "b/d/e.txt", "link"]
    entry = scan(str(tree))[1]
    seen = (tree / "b/c.txt").stat()
    assert (entry.size, entry.mtime_ns, entry.inode, entry.mode) == (
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ino,
        seen.st_mode,
    )


def test_scan_leaves_out_what_is_kept(tree: Path) -> None:
    found = scan(str(tree), kept=lambda path: path.startswith("b/"))
    assert [entry.path for entry in found] == ["a.txt", "link"]


def test_scan_refuses_a_link_a_file_and_nothing(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    for name in ("alias", "vendor/a.txt"):
        with pytest.raises(NotADirectoryError):
            scan(str(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        scan(str(tmp_path / "absent"))


def test_a_tree_that_nobody_touched_is_unchanged(tree: Path) -> None:
    state = record(tree)
    assert unchanged(str(tree), state)
    assert state.compare(str(tree)) == Comparison()


def test_a_staged_tree_stays_known_when_it_is_swapped_in(tree: Path, tmp_path: Path) -> None:
    state = record(tree)
    tree.rename(tmp_path / "final")
    assert state.compare(str(tmp_path / "final")) == Comparison()


def _replace_with_same_size_and_time(path: Path) -> None:
    seen = path.stat()
    other = path.with_name("other")
    other.write_text("X" * seen.st_size)
    os.utime(other, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda top: (top / "new").write_text(""), Comparison(added=("new",))),
        (lambda top: (top / "b/d/new").write_text(""), Comparison(added=("b/d/new",))),
        (lambda top: (top / "empty/pipe").parent and os.mkfifo(top / "empty/pipe"), Comparison(added=("empty/pipe",))),
        (lambda top: (top / "b/c.txt").unlink(), Comparison(removed=("b/c.txt",))),
        (lambda top: (top / "a.txt").write_text("longer than it was"), Comparison(modified=("a.txt",))),
        (lambda top: (top / "a.txt").write_text("A.TXT"), Comparison(modified=("a.txt",))),
        (lambda top: (top / "a.txt").chmod(0o755), Comparison(modified=("a.txt",))),
        (lambda top: _replace_with_same_size_and_time(top / "b/c.txt"), Comparison(modified=("b/c.txt",))),
        (lambda top: ((top / "link").unlink(), (top / "link").symlink_to("x")), Comparison(modified=("link",))),
        (lambda top: (top / "a.txt").rename(top / "z"), Comparison(added=("z",), removed=("a.txt",))),
        (
            lambda top: ((top / "b/d").rename(top / "b/x"), (top / "b/d").symlink_to("x")),
            Comparison(added=("b/d", "b/x/e.txt"), removed=("b/d/e.txt",)),
        ),
    ],
)
def test_every_change_is_seen(tree: Path, change: object, expected: Comparison) -> None:
    state = record(tree)
    assert callable(change)
    change(tree)
    found = state.compare(str(tree))
    assert (found.added, found.removed, found.modified) == (expected.added, expected.removed, expected.modified)
    assert not unchanged(str(tree), state)


def test_a_destination_that_is_gone_or_replaced_has_lost_its_files(tree: Path, tmp_path: Path) -> None:
    state = record(tree)
    tree.rename(tmp_path / "elsewhere")
    everything = ("a.txt", "b/c.txt", "b/d/e.txt", "link")
    assert state.compare(str(tree)).removed == everything
    tree.symlink_to("elsewhere")
    assert state.compare(str(tree)).removed == everything


def test_empty_directories_do_not_count(tree: Path) -> None:
    state = record(tree)
    (tree / "empty").rmdir()
    (tree / "another").mkdir()
    assert state.compare(str(tree)) == Comparison()


def test_what_is_kept_may_come_and_go(tree: Path) -> None:
    def kept(path: str) -> bool:
        return path.startswith(".local/")

    state = DestinationState.record(str(tree), tree=TREE, identity=IDENTITY, keep=(".local/**",), kept=kept)
    (tree / ".local").mkdir()
    (tree / ".local/mine").write_text("mine")
    assert state.compare(str(tree), kept=kept) == Comparison()
    assert state.compare(str(tree)).added == (".local/mine",)
    assert state.keep == (".local/**",)


@pytest.mark.parametrize(
    ("age_ns", "is_certain"),
    [(0, False), (5_000_001, False), (60_000_001, True), (-10 * SECOND - 1, False)],
)
def test_files_written_in_the_instant_of_the_look_are_uncertain(tree: Path, age_ns: int, is_certain: bool) -> None:
    state = record(tree)
    then = (state.scanned_ns - age_ns) // SECOND * SECOND + (state.scanned_ns - age_ns) % SECOND or 1
    os.utime(tree / "a.txt", ns=(then, then))
    entries = scan(str(tree))
    state = DestinationState(tree=str(TREE), identity=str(IDENTITY), scanned_ns=state.scanned_ns, files=entries)
    found = state.compare(str(tree))
    if then % SECOND:
        assert found.is_unchanged is is_certain
        assert found.is_uncertain is not is_certain
        assert found.uncertain == (() if is_certain else ("a.txt",))


@pytest.mark.parametrize(("age_s", "is_certain"), [(1, False), (3, True)])
def test_times_in_whole_seconds_need_a_longer_distance(tree: Path, age_s: int, is_certain: bool) -> None:
    now = time.time_ns() // SECOND * SECOND
    os.utime(tree / "a.txt", ns=(now, now))
    look = now + age_s * SECOND + 1
    state = DestinationState(tree=str(TREE), identity=str(IDENTITY), scanned_ns=look, files=scan(str(tree)))
    assert state.compare(str(tree)).is_unchanged is is_certain


def test_a_change_within_one_tick_is_not_missed(tree: Path) -> None:
    state = record(tree)
    fresh = tree / "a.txt"
    fresh.write_text("one")
    state = record(tree)
    seen = fresh.stat()
    fresh.write_text("two")
    os.utime(fresh, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    found = state.compare(str(tree))
    assert found.uncertain == ("a.txt",)
    assert found.is_uncertain
    assert not found.is_unchanged


def test_names_that_are_no_text_are_listed_all_the_same(tree: Path, tmp_path: Path) -> None:
    try:
        os.close(os.open(os.fsencode(tree) + b"/bad-\xff", os.O_CREAT | os.O_WRONLY))
    except OSError:
        pytest.skip("the file system takes only names in UTF-8")
    (tree / "größe").write_text("x")
    age(tree)
    state = State(destinations={"vendor": record(tree)})
    state.write(tmp_path)
    assert State.load(tmp_path) == state
    assert unchanged(str(tree), State.load(tmp_path).destinations["vendor"])
    assert {"bad-\\udcff", "größe"} < {entry.path for entry in state.destinations["vendor"].files}


def test_state_reads_back_as_itself(tree: Path, tmp_path: Path) -> None:
    state = State(inputs=Inputs.record(tmp_path, ["provender.yaml"]), destinations={"vendor": record(tree)})
    state.write(tmp_path)
    assert State.load(tmp_path) == state
    assert sorted(os.listdir(tmp_path / ".provender")) == [".gitignore", "state.json"]
    assert (tmp_path / ".provender/.gitignore").read_text() == "*\n"


def test_writing_leaves_an_own_gitignore_alone(tmp_path: Path) -> None:
    (tmp_path / ".provender").mkdir()
    (tmp_path / ".provender/.gitignore").write_text("mine\n")
    State().write(tmp_path)
    assert (tmp_path / ".provender/.gitignore").read_text() == "mine\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"version": 2}',
        b'{"version": 1, "more": 1}',
        b'{"version": 1, "destinations": {"a": {}}}',
        b'{"version": 1, "destinations": {"\xff": {}}}',
        b'{"version": 1, "destinations": ' + b"[" * 100_000,
    ],
)
def test_state_that_cannot_be_read_is_no_state(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".provender").mkdir()
    (tmp_path / ".provender/state.json").write_bytes(content)
    assert State.load(tmp_path) == State()


def test_state_that_is_no_file_is_no_state(tmp_path: Path) -> None:
    assert State.load(tmp_path) == State()
    place = tmp_path / ".provender"
    place.write_text("a file")
    assert State.load(tmp_path) == State()
    place.unlink()
    (place / "state.json").mkdir(parents=True)
    assert State.load(tmp_path) == State()
    (place / "state.json").rmdir()
    os.mkfifo(place / "state.json")
    assert State.load(tmp_path) == State()
    (place / "state.json").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(place)
        server.bind("state.json")
        assert State.load(tmp_path) == State()


def test_links_are_neither_read_nor_written_through(tree: Path, tmp_path: Path) -> None:
    elsewhere, project = tmp_path / "elsewhere", tmp_path / "project"
    elsewhere.mkdir()
    project.mkdir()
    State(destinations={"vendor": record(tree)}).write(elsewhere)
    (project / ".provender").symlink_to(elsewhere / ".provender")
    assert State.load(project) == State()
    with pytest.raises(Conflict):
        State().write(project)
    (project / ".provender").unlink()
    (project / ".provender").mkdir()
    (project / ".provender/state.json").symlink_to(elsewhere / ".provender/state.json")
    assert State.load(project) == State()
    State().write(project)
    assert not (project / ".provender/state.json").is_symlink()
    assert State.load(elsewhere).destinations


def test_inputs_tell_whether_the_project_files_are_the_same(tmp_path: Path) -> None:
    names = ["provender.yaml", "provender.lock"]
    (tmp_path / "provender.yaml").write_text("version: 1\n")
    age(tmp_path)
    inputs = Inputs.record(tmp_path, names)
    assert inputs.are_unchanged(tmp_path, names)
    assert not inputs.are_unchanged(tmp_path, ["provender.yaml", "provender.yaml"])
    (tmp_path / "provender.lock").write_text("{}")
    age(tmp_path)
    assert not inputs.are_unchanged(tmp_path, names)
    (tmp_path / "provender.lock").unlink()
    (tmp_path / "provender.yaml").write_text("version: 2\n")
    assert not inputs.are_unchanged(tmp_path, names)


def test_inputs_written_just_now_or_by_another_program_prove_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    assert not Inputs.record(tmp_path, ["a"]).are_unchanged(tmp_path, ["a"])
    age(tmp_path)
    inputs = Inputs.record(tmp_path, ["a"])
    assert not Inputs(program="other", scanned_ns=inputs.scanned_ns, files=inputs.files).are_unchanged(tmp_path, ["a"])
