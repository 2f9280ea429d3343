"""Include, exclude and root: the patterns, and what they do to a directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.artifact.selection import Selection, matches, select
from provender.artifact.tree import Entry, TreeWriter, tree_digest
from provender.errors import IntegrityError, InvalidProject, NotFound


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("a", ["a", "a/b", "a/b/c"], ["b/a", "ab", "A"]),
        ("a/b.txt", ["a/b.txt", "a/b.txt/c"], ["a/bxtxt", "x/a/b.txt"]),
        ("a/", ["a/b", "a"], ["b"]),
        ("./a", ["a"], ["x/a"]),
        ("*", ["a", ".hidden"], ["a/b"]),
        ("*.json", ["x.json", ".json"], ["a/x.json", "x.jsonc", "x.json\n"]),
        ("**", ["a", "a/b", "a/b/c"], []),
        ("**/*.json", ["x.json", "a/x.json", "a/b/x.json"], ["x.yaml", "a/x.json/y"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["z", "a/bz"]),
        ("**/test/**", ["test/x", "a/test/x/y"], ["test", "a/testing/x"]),
        ("**/**/x", ["x", "a/b/x"], ["y"]),
        ("?.md", ["a.md"], ["ab.md", "/.md", ".md"]),
        ("[ab]*", ["a", "b1"], ["c", "a/b"]),
        ("[!a]", ["b"], ["a", "/"]),
        ("[a-c]", ["b"], ["d", "-"]),
        ("[]]", ["]"], ["["]),
        ("[^a]", ["^", "a"], ["b"]),
        ("a+b(c)|d.$", ["a+b(c)|d.$"], ["aab(c)"]),
        ("a*/", ["ab", "ab/c/d"], ["b/c"]),
        ("a**b", ["ab", "axxb"], ["a/b"]),
        ("{a,b}", ["{a,b}"], ["a", "b"]),
        ("!a", ["!a"], ["b"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], other: list[str]) -> None:
    assert [path for path in matching if not matches(path, [pattern])] == []
    assert [path for path in other if matches(path, [pattern])] == []


@pytest.mark.parametrize("pattern", ["", "/abs", "a/../b", "..", "a//b", "./", "[a", "[z-a]", "a\0", "x" * 2000])
def test_patterns_without_sense_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        matches("a", [pattern])
    assert caught.value.code == "invalid-pattern"


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    path = tmp_path / "staging"
    path.mkdir()
    return path


def tree(staging: Path, *paths: str, links: dict[str, str] | None = None) -> tuple[Entry, ...]:
    with TreeWriter(str(staging)) as writer:
        for path in paths:
            writer.file(tuple(path.split("/")), path.encode(), executable=False, origin="o")
        for path, target in (links or {}).items():
            writer.symlink(tuple(path.split("/")), target, origin="o")
        writer.directory(("empty",), origin="o")
        return writer.finish()


def on_disk(staging: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(directory, name), staging)
        for directory, _, names in os.walk(staging)
        for name in names
    )


def test_without_a_selection_everything_stays_as_it_is(staging: Path) -> None:
    entries = tree(staging, "a/b", "c")
    assert select(str(staging), entries, Selection()) == entries
    assert on_disk(staging) == ["a/b", "c"]
    assert (staging / "empty").is_dir()


def test_include_and_exclude_leave_what_is_reported(staging: Path) -> None:
    entries = tree(staging, "a/x.json", "a/test/y.json", "b/z.yaml", "c.json")
    left = select(str(staging), entries, Selection(include=("**/*.json",), exclude=("**/test/**",)))
    assert [entry.path for entry in left] == ["a/x.json", "c.json"] == on_disk(staging)
    assert sorted(os.listdir(staging)) == ["a", "c.json"]
    assert os.listdir(staging / "a") == ["x.json"]


def test_the_root_moves_up_and_the_rest_is_gone(staging: Path) -> None:
    entries = tree(staging, "a/b/x", "a/b/a/y", "a/z", "b")
    left = select(str(staging), entries, Selection(root="a/b/"))
    assert [entry.path for entry in left] == ["a/y", "x"] == on_disk(staging)
    assert (staging / "x").read_bytes() == b"a/b/x"
    assert sorted(os.listdir(staging)) == ["a", "x"]


def test_patterns_are_relative_to_the_old_root(staging: Path) -> None:
    entries = tree(staging, "a/x", "a/y", "x")
    left = select(str(staging), entries, Selection(include=("a/x",), root="a"))
    assert [entry.path for entry in left] == ["x"]
    assert tree_digest(left) == tree_digest([Entry("x", "f", "644", left[0].content, 3)])


def test_nothing_left_is_an_error_that_says_what_there_was(staging: Path) -> None:
    entries = tree(staging, "a/x")
    with pytest.raises(NotFound) as caught:
        select(str(staging), entries, Selection(include=("*.json",)))
    assert caught.value.code == "nothing-selected"
    assert "a/x" in str(caught.value.hint)


@pytest.mark.parametrize(("root", "near"), [("deploi/base", "deploy/base"), ("base", "deploy/base"), ("zzz", "deploy")])
def test_a_root_that_is_not_there_names_near_ones(staging: Path, root: str, near: str) -> None:
    entries = tree(staging, "deploy/base/x")
    with pytest.raises(NotFound) as caught:
        select(str(staging), entries, Selection(root=root))
    assert caught.value.code == "no-such-root"
    assert near in str(caught.value.hint)


def test_a_file_is_no_root(staging: Path) -> None:
    with pytest.raises(NotFound):
        select(str(staging), tree(staging, "a"), Selection(root="a"))


@pytest.mark.parametrize("root", ["..", "a/../..", "/etc"])
def test_a_root_outside_is_refused(staging: Path, root: str) -> None:
    with pytest.raises(InvalidProject):
        select(str(staging), tree(staging, "a"), Selection(root=root))


def test_a_link_that_would_leave_the_new_root_is_refused(staging: Path) -> None:
    entries = tree(staging, "a/x", "b/y", links={"a/out": "../b/y"})
    with pytest.raises(IntegrityError) as caught:
        select(str(staging), entries, Selection(root="a"))
    assert caught.value.code == "bad-link"
    assert (staging / "b/y").exists()


def test_a_link_that_is_not_selected_does_not_matter(staging: Path) -> None:
    entries = tree(staging, "a/x", "b/y", links={"a/out": "../b/y", "a/in": "x"})
    left = select(str(staging), entries, Selection(root="a", exclude=("a/out",)))
    assert [entry.path for entry in left] == ["in", "x"]
    assert os.readlink(staging / "in") == "x"
