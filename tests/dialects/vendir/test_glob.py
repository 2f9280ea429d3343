"""Globs: what doublestar 1.2.1, which vendir uses, says of the same patterns and paths."""

from __future__ import annotations

import pytest

from provender.dialects.vendir.glob import check_glob, matches_glob
from provender.dialects.vendir.schema import DEFAULT_LEGAL_PATHS
from provender.errors import InvalidProject


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.yml", "a.yml", True),
        ("*.yml", "d/a.yml", False),
        ("**/*.yml", "a.yml", True),
        ("**/*.yml", "d/e/a.yml", True),
        ("d/**", "d/a", True),
        ("d/**", "d/e/a", True),
        ("d/**", "d", False),
        ("d", "d/a", False),
        ("**", "d/a", True),
        ("d/**/a", "d/a", True),
        ("./d/../a", "a", True),
        ("/a", "a", True),
        ("d//a", "d/a", True),
        ("../**/a", "a", False),
        ("{a,b}.txt", "b.txt", True),
        ("{a,b/c}.txt", "b/c.txt", True),
        ("{d/**,x}", "d/e/f", True),
        ("{a,{b,c}}", "c", True),
        ("a{,.md}", "a", True),
        ("*{,.md}", "a", False),
        ("{**,x}/a", "d/e/a", False),
        ("?", "é", True),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[!a]x", "bx", False),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("a**b", "axxb", True),
        ("a**b", "a/b", False),
        (".*/config", ".git/config", True),
        ("*", ".hidden", True),
    ],
)
def test_patterns_match_as_in_vendir(pattern: str, path: str, expected: bool) -> None:
    assert matches_glob(path, [pattern]) is expected


@pytest.mark.parametrize("name", ["LICENSE", "LICENCE.md", "License.txt", "NOTICE", "Notice.rst", "COPYRIGHT"])
def test_legal_files_are_found_at_the_root_alone(name: str) -> None:
    assert matches_glob(name, DEFAULT_LEGAL_PATHS)
    assert not matches_glob(f"d/{name}", DEFAULT_LEGAL_PATHS)


@pytest.mark.parametrize("pattern", ["[a", "{a,b", "a\\", "[]", "[-a]", "[a-]", "{a,b}" * 20])
def test_what_is_no_pattern_is_an_error(pattern: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        check_glob(pattern)
    assert caught.value.code == "invalid-glob"
