"""Names from outside: what passes, what does not, and where links lead."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provender.artifact.names import check_link, check_links, fold, fold_text, is_plain, split_path
from provender.errors import IntegrityError
from provender.storage.limits import Limits


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("./a/b", ("a", "b")),
        ("a/./b/", ("a", "b")),
        ("a/b c/ü.txt", ("a", "b c", "ü.txt")),
        (".wh.gone", (".wh.gone",)),
        ("..a/.b/c..d", ("..a", ".b", "c..d")),
        ("config/console.log", ("config", "console.log")),
        ("com10/lpt", ("com10", "lpt")),
        ("@scope/pkg+1=2,~x", ("@scope", "pkg+1=2,~x")),
        ("日本/語", ("日本", "語")),
    ],
)
def test_ordinary_names_pass(text: str, parts: tuple[str, ...]) -> None:
    assert split_path(text, where="here") == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "./",
        "/",
        "/etc/passwd",
        "//server/share",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "a//b",
        "a//",
        "a\0b",
        "a\nb",
        "a\x1b[31m",
        "a\x7f",
        "a\x85",
        "a\\b",
        "\\\\server\\share",
        "C:",
        "C:/windows",
        "a:stream",
        "CON",
        "con.txt",
        "a/NUL",
        "Aux.c",
        "com1",
        "LPT9.log",
        "com¹",
        "CONIN$",
        "nul .txt",
        "dot.",
        "space ",
        "...",
        "a/b./c",
        "bad\udcff",
        "x" * 256,
        "ü" * 128,
        "a/" * 64 + "b",
        "x/" * 20 + "/".join(["y" * 250] * 17),
    ],
)
def test_names_that_leave_or_mean_something_else_are_refused(text: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        split_path(text, where="layer 1")
    assert (caught.value.code, caught.value.exit_status, caught.value.where) == ("bad-name", 65, "layer 1")
    assert caught.value.message.isascii()
    assert caught.value.hint


def test_limits_are_exact() -> None:
    assert split_path("x" * 255, where="") == ("x" * 255,)
    assert split_path("ü" * 127, where="") == ("ü" * 127,)
    assert len(split_path("a/" * 63 + "b", where="")) == 64
    small = Limits(depth=2, name_bytes=3, path_bytes=6)
    assert split_path("abc/de", where="", limits=small) == ("abc", "de")
    for text in ("abcd", "a/b/c", "abc/def", "ab/üü"):
        with pytest.raises(IntegrityError):
            split_path(text, where="", limits=small)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_what_passes_is_relative_plain_components(text: str) -> None:
    try:
        parts = split_path(text, where="")
    except IntegrityError:
        return
    assert parts
    assert all(part not in ("", ".", "..") and not set(part) & set("/\\:\0") for part in parts)
    assert split_path("/".join(parts), where="") == parts


@settings(deadline=None)
@given(st.text(alphabet="aAcCoOnN.pPrRxX1m$- _@", max_size=8))
def test_the_short_cut_agrees_with_the_long_way(name: str) -> None:
    if is_plain(name):
        assert split_path(name, where="") == (name,)


def test_paths_collide_by_case_and_by_unicode_form() -> None:
    assert fold(("A", "b")) == fold(("a", "B"))
    assert fold(("Straße",)) == fold(("STRASSE",))
    assert fold((unicodedata.normalize("NFC", "é"),)) == fold((unicodedata.normalize("NFD", "É"),))
    assert fold(("a",)) != fold(("b",))


@pytest.mark.parametrize(
    ("path", "target"),
    [("a", "b"), ("a/b", "../c"), ("a/b", ".."), ("a", "."), ("a/b/c", "../../d/./e//f/"), ("a", "missing/../x")],
)
def test_links_inside_the_tree_pass(path: str, target: str) -> None:
    check_link(tuple(path.split("/")), target, where="")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", ".."),
        ("a", "../b"),
        ("a/b", "../../c"),
        ("a", "b/../.."),
        ("a", "/etc/passwd"),
        ("a", ""),
        ("a", "b\\c"),
        ("a", "C:x"),
        ("a", "b\0c"),
        ("a", "x" * 300),
        ("a", "b/" * 3000),
        ("a", "\udcff"),
    ],
)
def test_links_that_leave_the_tree_are_refused(path: str, target: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        check_link(tuple(path.split("/")), target, where="layer")
    assert caught.value.exit_status == 65


def test_links_are_followed_through_links() -> None:
    # Looks like an escape, but 'deep' leads two levels down.
    check_links({"deep": "x/y/z", "up": "deep/../../f"}, where="")
    for links in (
        {"d/e/up": "../..", "out": "d/e/up/../x"},
        {"a/up": "..", "b": "a/up/.."},
        {"a/one": "..", "a/two": "one/..", "three": "a/two/x"},
        # Where case does not count, 'UP' is followed as well.
        {"d/e/up": "../..", "out": "D/e/UP/../x"},
    ):
        with pytest.raises(IntegrityError) as caught:
            check_links(links, where="")
        assert caught.value.code == "bad-link"


def test_circles_of_links_are_refused() -> None:
    for links in ({"a": "a"}, {"a": "b", "b": "a"}, {"a": "b/x", "b": "a/y"}):
        with pytest.raises(IntegrityError):
            check_links(links, where="")


@settings(deadline=None)
@given(
    st.dictionaries(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join),
        st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=5).map("/".join),
        max_size=5,
    )
)
def test_no_accepted_table_of_links_leaves_the_tree(links: dict[str, str]) -> None:
    links = {path: target for path, target in links.items() if not any(path.startswith(f"{up}/") for up in links)}
    try:
        check_links(links, where="")
    except IntegrityError:
        return
    for path in links:
        depth_never_negative(links, path)


def depth_never_negative(links: dict[str, str], path: str) -> None:
    """Walks as a kernel would, one component at a time, and asserts that it never goes above the root."""
    known = {fold_text(key): target for key, target in links.items()}
    at: list[str] = []
    todo = path.split("/")
    steps = 0
    while todo:
        steps += 1
        assert steps < 10_000
        piece = todo.pop(0)
        if piece == "..":
            assert at, f"{path} leaves the tree"
            at.pop()
        elif piece not in ("", "."):
            at.append(piece)
            if (target := known.get("/".join(at))) is not None:
                at.pop()
                todo = target.split("/") + todo
