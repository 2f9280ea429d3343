"""The scribe writes what it takes, says what it could not write, and is gone at the end however that comes."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.artifact.scribe import Scribe, can_have_scribe


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """An open directory with a directory in it."""
    (tmp_path / "d" / "e").mkdir(parents=True)
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def child_is_gone(scribe: Scribe) -> bool:
    return scribe._pid == 0


def test_files_are_written_with_their_modes_whatever_the_umask(root: int, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        scribe = Scribe(root, is_hashing=True)
    finally:
        os.umask(before)
    found: list[str] = []
    large = os.urandom(300_000)
    assert scribe.offer("d", [("a", 0o644, b"one"), ("b", 0o755, b"")], [found.append, found.append])
    assert scribe.offer("d/e", [("large", 0o644, large)], [found.append])
    scribe.finish()
    assert found == [hashlib.sha256(content).hexdigest() for content in (b"one", b"", large)]
    assert [(tmp_path / "d" / name).stat().st_mode & 0o777 for name in ("a", "b")] == [0o644, 0o755]
    assert (tmp_path / "d/e/large").read_bytes() == large
    assert child_is_gone(scribe)
    scribe.stop()


def test_without_hashing_there_are_files_but_no_digests(root: int, tmp_path: Path) -> None:
    scribe = Scribe(root, is_hashing=False)
    found: list[str] = []
    scribe.offer("d", [("a", 0o644, b"one")], [found.append])
    scribe.finish()
    assert found == [""]
    assert (tmp_path / "d/a").read_bytes() == b"one"


def test_it_takes_nothing_while_it_has_enough_to_do(root: int) -> None:
    scribe = Scribe(root, is_hashing=False)
    os.kill(scribe._pid, signal.SIGSTOP)
    try:
        content = bytes(100_000)
        taken = [scribe.offer("d", [(f"f{n}", 0o644, content)], [lambda _: None]) for n in range(12)]
    finally:
        os.kill(scribe._pid, signal.SIGCONT)
    assert taken[0]
    assert not taken[-1]
    scribe.finish()


@pytest.mark.parametrize(("folder", "name"), [("d", "there"), ("absent", "x"), ("link", "x"), ("d/there", "x")])
def test_what_it_cannot_write_is_raised_at_the_end(root: int, tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / "d" / "there").write_text("kept")
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to("outside")
    scribe = Scribe(root, is_hashing=True)
    scribe.offer(folder, [(name, 0o644, b"new")], [lambda _: None])
    scribe.offer("d", [("later", 0o644, b"new")], [lambda _: None])
    with pytest.raises(OSError, match=r".") as caught:
        scribe.finish()
    assert str(caught.value.filename).startswith(folder)
    assert (tmp_path / "d" / "there").read_text() == "kept"
    assert not any((tmp_path / "outside").iterdir())
    assert not (tmp_path / "d" / "later").exists()
    assert child_is_gone(scribe)


def test_stop_ends_it_at_once(root: int) -> None:
    scribe = Scribe(root, is_hashing=True)
    os.kill(scribe._pid, signal.SIGSTOP)
    scribe.offer("d", [("a", 0o644, b"one")], [lambda _: None])
    scribe.stop()
    assert child_is_gone(scribe)


def test_its_death_is_an_error(root: int) -> None:
    scribe = Scribe(root, is_hashing=True)
    scribe.offer("d", [("a", 0o644, b"one")], [lambda _: None])
    os.kill(scribe._pid, signal.SIGKILL)
    with pytest.raises(OSError, match="ended early"):
        scribe.finish()
    assert child_is_gone(scribe)


def test_an_interrupt_is_not_for_it(root: int, tmp_path: Path) -> None:
    scribe = Scribe(root, is_hashing=False)
    scribe.offer("d", [("a", 0o644, b"one")], [lambda _: None])
    while not (tmp_path / "d/a").exists():
        assert os.waitpid(scribe._pid, os.WNOHANG) == (0, 0)
    os.kill(scribe._pid, signal.SIGINT)
    scribe.offer("d", [("b", 0o644, b"two")], [lambda _: None])
    scribe.finish()
    assert (tmp_path / "d/b").read_bytes() == b"two"


def test_no_scribe_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert not can_have_scribe()
