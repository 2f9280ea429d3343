from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from provender.errors import Unavailable, Unsupported
from provender.storage import files
from provender.storage.files import AtomicFile, FileLock, check_output, is_temporary, temporary_name, write_atomically
from support.content import finish, start_python


def test_write_replaces_the_old_content_and_leaves_one_file(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["index.json"]


def test_write_takes_the_mode_within_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"", mode=0o666)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_write_replaces_a_link_and_spares_its_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(target)
    write_atomically(tmp_path / "link", b"new")
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        for write in (lambda path: write_atomically(path, b"x"), check_output):
            with pytest.raises(Unsupported) as caught:
                write(path)
            assert (caught.value.code, caught.value.exit_status, caught.value.where) == ("special-file", 74, str(path))
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


@pytest.mark.skipif(not Path("/dev/stdout").is_symlink(), reason="there is no /dev/stdout here")
def test_standard_streams_are_never_replaced() -> None:
    with pytest.raises(Unsupported, match="no regular file"):
        check_output("/dev/stdout")


def test_output_that_cannot_appear_is_named_and_not_its_temporary(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, kind in ((tmp_path / "no" / "x", FileNotFoundError), (tmp_path / "file" / "x", NotADirectoryError)):
        for write in (lambda path: write_atomically(path, b"x"), check_output):
            with pytest.raises(kind) as caught:
                write(path)
            assert caught.value.filename == str(path)
    with pytest.raises(Unsupported, match="goes into a file"):
        check_output("-")
    check_output(tmp_path / "new")
    check_output(tmp_path / "file")


def test_file_without_commit_leaves_nothing(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "a") as file:
        file.write(b"half")
        assert [is_temporary(name) for name in os.listdir(tmp_path)] == [True]
    assert os.listdir(tmp_path) == []


def test_file_is_removed_when_the_block_fails(tmp_path: Path) -> None:
    def interrupted() -> None:
        with AtomicFile(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_file_is_removed_when_the_rename_fails(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with AtomicFile(tmp_path / "a") as file, pytest.raises(OSError, match="directory"):
        file.commit()
    assert os.listdir(tmp_path) == ["a"]


def test_file_is_removed_when_the_disk_refuses_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a", b"content")
    assert os.listdir(tmp_path) == []


def test_finished_file_takes_no_more(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "a") as file:
        file.commit()
        with pytest.raises(ValueError, match="finished"):
            file.write(b"more")
        with pytest.raises(ValueError, match="finished"):
            file.commit()
    assert (tmp_path / "a").read_bytes() == b""


def test_temporary_names_are_recognised_and_fit_a_directory() -> None:
    assert is_temporary(temporary_name("x" * 300))
    assert len(temporary_name("x" * 300)) < 255
    assert not is_temporary("index.json")
    assert not is_temporary(".hidden.tmp")


def test_lock_excludes_a_second_holder_and_names_path_purpose_and_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waits: list[str] = []
    with FileLock(path, timeout_s=1, what="the index"):
        second = FileLock(path, timeout_s=0.05, what="the index", on_wait=lambda: waits.append("wait"))
        with pytest.raises(Unavailable) as caught:
            second.acquire()
    assert caught.value.code == "locked"
    assert "the index" in caught.value.message
    assert str(os.getpid()) in caught.value.message
    assert caught.value.where == str(path)
    assert waits == ["wait"]


def test_lock_is_free_after_release_and_calls_nobody(tmp_path: Path) -> None:
    waits: list[str] = []
    for _ in range(2):
        with FileLock(tmp_path / "lock", timeout_s=0, what="it", on_wait=lambda: waits.append("wait")):
            pass
    assert waits == []


def test_lock_waits_for_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = FileLock(path, timeout_s=0, what="it")
    first.acquire()
    waiting = threading.Event()
    entered: list[bool] = []

    def wait() -> None:
        with FileLock(path, timeout_s=30, what="it", on_wait=waiting.set):
            entered.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(30)
    assert entered == []
    first.release()
    thread.join(30)
    assert entered == [True]


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from provender.storage.files import FileLock\n"
        "FileLock(Path(sys.argv[1]), timeout_s=0, what='it').acquire(); print('held', flush=True); time.sleep(60)"
    )
    process = start_python(code, str(path))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert not FileLock(path, timeout_s=0, what="it").try_acquire()
    finally:
        process.kill()
        process.communicate()
    with FileLock(path, timeout_s=0, what="it"):
        assert path.exists()


def test_removed_lock_file_still_excludes(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    code = (
        "import sys; from pathlib import Path; from provender.storage.files import FileLock\n"
        "path = Path(sys.argv[1])\n"
        "for _ in range(60):\n"
        "    with FileLock(path.with_name('lock'), timeout_s=60, what='it', remove=True):\n"
        "        path.write_text(str(int(path.read_text()) + 1))\n"
    )
    finish([start_python(code, str(path)) for _ in range(4)])
    assert path.read_text() == "240"
    assert not (tmp_path / "lock").exists()


def test_an_interrupt_while_an_unfinished_file_is_taken_away_leaves_it_to_be_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_path: object) -> None:
        raise KeyboardInterrupt

    file = AtomicFile(tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.discard()
    file.discard()
    assert list(tmp_path.iterdir()) == []
