"""The tree writer: what may stand beside what, what lies on disk afterwards, and the digest of it."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provender.artifact.tree import Entry, TreeWriter, tree_digest
from provender.errors import Conflict, IntegrityError, ProvenderError
from provender.storage.limits import Limits
from support.archives import on_disk

Act = Callable[[TreeWriter], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "staging"
    path.mkdir()
    return path


def put(path: str, content: bytes = b"", *, executable: bool = False, origin: str = "one") -> Act:
    parts = tuple(path.split("/"))
    return lambda writer: writer.file(parts, content, executable=executable, origin=origin)


def link(path: str, target: str, *, origin: str = "one") -> Act:
    return lambda writer: writer.symlink(tuple(path.split("/")), target, origin=origin)


def hard(path: str, target: str, *, origin: str = "one") -> Act:
    return lambda writer: writer.hardlink(tuple(path.split("/")), tuple(target.split("/")), origin=origin)


def folder(path: str, *, origin: str = "one") -> Act:
    return lambda writer: writer.directory(tuple(path.split("/")), origin=origin)


def written(root: Path, *acts: Act, limits: Limits | None = None) -> tuple[Entry, ...]:
    with TreeWriter(str(root), limits or Limits()) as writer:
        for act in acts:
            act(writer)
        return writer.finish()


def refused(root: Path, *acts: Act, limits: Limits | None = None) -> ProvenderError:
    with pytest.raises((IntegrityError, Conflict)) as caught:
        written(root, *acts, limits=limits)
    assert caught.value.exit_status == 65
    return caught.value


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_tree_lies_on_disk_as_the_entries_say(root: Path) -> None:
    entries = written(
        root,
        put("b/run", b"#!/bin/sh\n", executable=True),
        put("a.txt", b"text"),
        link("b/to-a", "../a.txt"),
        hard("copy", "b/run"),
        folder("empty/deep"),
    )
    assert entries == (
        Entry("a.txt", "f", "644", sha(b"text"), 4),
        Entry("b/run", "f", "755", sha(b"#!/bin/sh\n"), 10),
        Entry("b/to-a", "l", "-", "../a.txt", 0),
        Entry("copy", "f", "755", sha(b"#!/bin/sh\n"), 10),
    )
    assert on_disk(root) == {
        "a.txt": ("file", 0o644, b"text"),
        "b": ("directory", 0o755, b""),
        "b/run": ("file", 0o755, b"#!/bin/sh\n"),
        "b/to-a": ("link", 0, b"../a.txt"),
        "copy": ("file", 0o755, b"#!/bin/sh\n"),
        "empty": ("directory", 0o755, b""),
        "empty/deep": ("directory", 0o755, b""),
    }


def test_modes_do_not_depend_on_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        written(root, put("d/f"), put("d/x", executable=True), put("d/g"))
    finally:
        os.umask(before)
    assert {path: mode for path, (_, mode, _) in on_disk(root).items()} == {
        "d": 0o755,
        "d/f": 0o644,
        "d/x": 0o755,
        "d/g": 0o644,
    }


def test_hard_links_become_separate_files(root: Path) -> None:
    written(root, put("a", b"one"), hard("b", "a"), hard("c", "b"))
    (root / "b").write_bytes(b"two")
    assert (root / "a").read_bytes() == b"one"
    assert (root / "c").read_bytes() == b"one"
    assert os.stat(root / "a").st_nlink == 1


def test_content_comes_as_bytes_pieces_or_a_reader(root: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (b"a\n", b"", b"b")

    with TreeWriter(str(root)) as writer:
        writer.file(("pieces",), pieces(), executable=False, origin="x")
        writer.file(("reader",), io.BytesIO(b"a\nb"), executable=False, size=3, origin="x")
        writer.file(("bytes",), b"a\nb", executable=False, size=3, origin="x")
        assert {(entry.content, entry.size) for entry in writer.finish()} == {(sha(b"a\nb"), 3)}
    assert {content for _, _, content in on_disk(root).values()} == {b"a\nb"}


@pytest.mark.parametrize("content", [b"abc", b"abcde"])
def test_another_size_than_declared_is_refused(root: Path, content: bytes) -> None:
    for name, given in (("bytes", content), ("reader", io.BytesIO(content))):
        with TreeWriter(str(root)) as writer:
            with pytest.raises(IntegrityError) as caught:
                writer.file((name,), given, executable=False, size=4, origin="x")
            assert caught.value.code == "size-mismatch"
            with pytest.raises(IntegrityError) as unfinished:
                writer.finish()
            assert unfinished.value.code == "unfinished"
        os.unlink(root / name)


def test_the_tree_digest_is_the_one_of_the_lock_format() -> None:
    entries = [
        Entry("b", "f", "755", sha(b"x"), 1),
        Entry("a/b", "l", "-", "../b", 0),
        Entry("a-b", "f", "644", sha(b""), 0),
        Entry("ü", "f", "644", sha(b""), 0),
    ]
    lines = [
        f"f 644 {sha(b'')}\0a-b\n",
        "l - ../b\0a/b\n",
        f"f 755 {sha(b'x')}\0b\n",
        f"f 644 {sha(b'')}\0ü\n",
    ]
    assert tree_digest(entries) == "sha256:" + sha("".join(lines).encode())
    assert tree_digest(reversed(entries)) == tree_digest(entries)
    assert tree_digest([]) == "sha256:" + sha(b"")


def test_the_digest_follows_the_bytes_of_the_path() -> None:
    names = ["\U00010000", "\uffff", "z", "Z", "a/b", "a.b"]
    entries = [Entry(name, "l", "-", "t", 0) for name in names]
    in_order = b"".join(b"l - t\0" + raw + b"\n" for raw in sorted(name.encode() for name in names))
    assert tree_digest(entries) == "sha256:" + sha(in_order)


def test_two_origins_may_write_the_same(root: Path) -> None:
    entries = written(
        root,
        put("d/f", b"same", origin="one"),
        put("d/f", b"same", origin="two"),
        link("l", "d/f", origin="one"),
        link("l", "d/f", origin="two"),
        folder("d", origin="two"),
        hard("h", "d/f", origin="one"),
        put("h", b"same", origin="two"),
        hard("d/f", "h", origin="three"),
    )
    assert [entry.path for entry in entries] == ["d/f", "h", "l"]
    assert (root / "h").read_bytes() == b"same"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (put("p", b"1"), put("p", b"2", origin="two")),
        (put("p", b"1"), put("p", b"1", executable=True, origin="two")),
        (put("p", b"1"), link("p", "q", origin="two")),
        (link("p", "q"), link("p", "r", origin="two")),
        (put("p", b"1"), put("p/below", b"1", origin="two")),
        (put("p/below", b"1"), put("p", b"1", origin="two")),
        (folder("p"), link("p", "q", origin="two")),
    ],
)
def test_two_origins_that_differ_are_a_conflict_that_names_both(root: Path, first: Act, second: Act) -> None:
    error = refused(root, first, second)
    assert isinstance(error, Conflict)
    assert error.code == "layer-conflict"
    assert all(word in error.message for word in ("'p'", "one", "two"))


@pytest.mark.parametrize(
    ("acts", "code"),
    [
        ([put("p", b"1"), put("p", b"1")], "duplicate-name"),
        ([put("p", b"1", origin="zero"), put("p", b"1"), put("p", b"1")], "duplicate-name"),
        ([put("p"), hard("p", "p")], "duplicate-name"),
        ([put("p"), folder("p")], "kind-clash"),
        ([folder("p"), put("p")], "kind-clash"),
        ([put("p/q"), link("p", "q")], "kind-clash"),
        ([link("p", "q"), put("p/q")], "through-link"),
        ([link("p", "q"), put("p/q", origin="two")], "through-link"),
        ([link("p", "q"), folder("p", origin="two")], "through-link"),
        ([put("Readme"), put("README")], "case-collision"),
        ([put("d/x"), put("D/y")], "case-collision"),
        ([folder("d"), put("D", origin="two")], "case-collision"),
        ([link("é", "q"), put("e\u0301")], "case-collision"),
        ([hard("a", "missing")], "bad-link"),
        ([hard("a", "b"), hard("b", "a")], "bad-link"),
        ([hard("a", "a")], "bad-link"),
        ([link("l", "q"), hard("a", "l")], "bad-link"),
        ([folder("d"), hard("a", "d")], "bad-link"),
        ([link("a", "..")], "bad-link"),
        ([link("a", "/etc")], "bad-link"),
        ([link("d/a", ".."), link("b", "d/a/../x")], "bad-link"),
    ],
)
def test_what_cannot_stand_beside_each_other_is_refused(root: Path, acts: list[Act], code: str) -> None:
    assert refused(root, *acts).code == code


def test_directories_may_repeat(root: Path) -> None:
    assert written(root, folder("a/b"), folder("a/b"), put("a/b/c"), folder("a"))[0].path == "a/b/c"


def test_limits_count_over_all_origins(root: Path) -> None:
    for number, (limits, acts, code) in enumerate(
        [
            (Limits(entries=3), [put("a/b"), put("c", origin="two"), put("d")], "too-many-entries"),
            (Limits(entries=3), [put("a/b/c/d")], "too-many-entries"),
            (Limits(entries=3), [put("a"), *[put("a", origin=str(i)) for i in range(3)]], "too-many-entries"),
            (Limits(total_bytes=5), [put("a", b"123"), put("b", b"456", origin="two")], "too-large"),
            (Limits(file_bytes=5), [put("a", b"123456")], "too-large"),
            (Limits(link_bytes=5), [put("a", b"123"), hard("b", "a"), hard("c", "a")], "too-large"),
            (Limits(total_bytes=5), [put("a", b"123"), hard("b", "a")], "too-large"),
            (Limits(total_name_bytes=9), [put("aaaaa"), put("bbbbb")], "too-many-entries"),
        ]
    ):
        folder_ = root / str(number)
        folder_.mkdir()
        assert refused(folder_, *acts, limits=limits).code == code
    pieces = root / "pieces"
    pieces.mkdir()
    with TreeWriter(str(pieces), Limits(file_bytes=5)) as writer, pytest.raises(IntegrityError):
        writer.file(("a",), iter([b"123", b"456"]), executable=False, origin="x")
    assert (pieces / "a").stat().st_size <= 5


def test_a_root_that_is_not_empty_or_no_directory_is_refused(tmp_path: Path, root: Path) -> None:
    (root / "left").touch()
    with pytest.raises(IntegrityError) as caught:
        TreeWriter(str(root))
    assert caught.value.code == "staging-not-empty"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(OSError, match="link"):
        TreeWriter(str(tmp_path / "link"))


@pytest.mark.parametrize("planted", ["d", "d/f"])
def test_a_link_planted_meanwhile_is_not_followed(tmp_path: Path, root: Path, planted: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"old")
    with TreeWriter(str(root)) as writer:
        if planted == "d":
            (root / "d").symlink_to(outside)
        else:
            writer.directory(("d",), origin="x")
            (root / "d" / "f").symlink_to(outside / "f")
        with pytest.raises(IntegrityError) as caught:
            writer.file(("d", "f"), b"new", executable=False, origin="x")
        assert caught.value.code == "staging-changed"
    assert on_disk(outside) == {"f": ("file", 0o644, b"old")}


def test_many_directories_stay_within_a_few_descriptors(root: Path) -> None:
    with TreeWriter(str(root)) as writer:
        before = len(os.listdir("/dev/fd"))
        for number in range(300):
            writer.file((f"d{number % 150}", f"f{number}"), b"", executable=False, origin="x")
        assert len(os.listdir("/dev/fd")) - before < 80
        assert len(writer.finish()) == 300
        assert len(os.listdir("/dev/fd")) < before


def test_descriptors_are_closed_after_a_failure(root: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    refused(root, put("a/b"), put("a/b"))
    assert len(os.listdir("/dev/fd")) == before


def test_threads_write_one_tree(root: Path) -> None:
    errors: list[BaseException] = []

    def work(writer: TreeWriter, number: int) -> None:
        try:
            for name in range(200):
                writer.file(
                    (f"d{name % 90}", f"own{number}-{name}"), b"%d" % name, executable=False, origin=str(number)
                )
                writer.file((f"d{name % 90}", f"shared{name}"), b"same", executable=False, origin=str(number))
        except (ProvenderError, OSError) as error:
            errors.append(error)

    with TreeWriter(str(root)) as writer:
        threads = [threading.Thread(target=work, args=(writer, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        entries = writer.finish()
    assert len(entries) == 4 * 200 + 200
    found = on_disk(root)
    assert all(sha(found[entry.path][2]) == entry.content for entry in entries)


def test_threads_that_differ_are_noticed_whoever_is_first(root: Path) -> None:
    with TreeWriter(str(root)) as writer:
        ready = threading.Barrier(2)

        def slowly(content: bytes) -> Iterator[bytes]:
            ready.wait(30)
            yield content

        def work(number: int) -> None:
            writer.file(("f",), slowly(b"%d" % number), executable=False, origin=f"layer {number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with pytest.raises(Conflict) as caught:
            writer.finish()
    assert caught.value.code == "layer-conflict"
    assert "layer 0" in caught.value.message
    assert "layer 1" in caught.value.message
