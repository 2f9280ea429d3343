"""Ctrl-C, SIGTERM, readers that go away, and several runs at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from provender.storage.files import FileLock
from support.forked import Child
from support.registry import Delay, Stall
from support.workspace import ARCHIVE, Workspace, everything, layer, packed, publish

# The registry holds a blob back for this long, far longer than a run may take to end.
STALL_S = 100
ENDS_WITHIN_S = 20
CONTENT = os.urandom(400_000)


def wait_for(what: Callable[[], bool]) -> None:
    """Return when `what` is true; fail if it never is."""
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


@contextmanager
def running(workspace: Workspace, *arguments: str) -> Iterator[Child]:
    process = workspace.start(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def received(workspace: Workspace, size: int) -> Callable[[], bool]:
    """Whether so many bytes of something unfinished are on this disk."""

    def look() -> bool:
        total = 0
        for root in (workspace.directory, workspace.cache / "tmp", workspace.cache / "partial"):
            for path in root.rglob("*"):
                if path.is_file() and (root != workspace.directory or ".provender-" in str(path)):
                    with suppress(FileNotFoundError):
                        total += path.stat().st_size
        return total >= size

    return look


def interrupt(workspace: Workspace, number: int, *arguments: str, times: int = 1) -> tuple[int, str, str]:
    """Status and output of a command that is interrupted in the middle of its blobs."""
    with running(workspace, *arguments) as process:
        wait_for(lambda: workspace.registry.count("GET", "/blobs/") > 0)
        wait_for(received(workspace, 100_000))
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.05)
        # The registry is still silent: whoever waited for it would be killed by this limit.
        out, err = process.communicate(timeout=ENDS_WITHIN_S)
        return process.returncode, out, err


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("count", [1, 3])
def test_an_interrupted_sync_changes_nothing_and_the_next_one_works(
    synced: Workspace, number: int, status: int, count: int
) -> None:
    files = {f"big-{part}.bin": CONTENT + bytes([part]) for part in range(count)}
    publish(synced.registry, "acme/big", "1", files)
    publish(synced.registry, "acme/good", "2.0.0", {"a.txt": b"new"})
    synced.depend(good="acme/good:2.0.0", big="acme/big:1")
    synced.registry.fault(("GET", "/v2/acme/big/blobs/"), action=Stall(STALL_S, after_bytes=200_000), times=count)
    before = synced.look()
    left, out, err = interrupt(synced, number, "sync")
    assert (left, out) == (status, "")
    assert err.splitlines()[-1] == "error: interrupted; what was finished is kept, nothing is half done"
    assert "Traceback" not in err
    assert synced.look() == before
    synced.check_no_leftovers()
    # Threads that wait for the network are left behind with their downloads, which have no name yet.
    synced.check_cache(was_killed=True)
    synced.prepare("sync")
    assert (synced.directory / "vendor/big/big-0.bin").read_bytes() == CONTENT + b"\0"
    assert (synced.directory / "vendor/good/a.txt").read_bytes() == b"new"
    synced.prepare("check", "--deep")


def test_an_interrupt_in_an_archive_changes_nothing(synced: Workspace) -> None:
    content = layer(synced.registry, "acme/big", packed({"big.bin": CONTENT}), media_type=ARCHIVE)
    publish(synced.registry, "acme/big", "1", layers=[content])
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    synced.registry.fault(("GET", "/v2/acme/big/blobs/"), action=Stall(STALL_S, after_bytes=200_000))
    before = synced.look()
    status, _, _ = interrupt(synced, signal.SIGINT, "sync")
    assert status == 130
    assert synced.look() == before
    synced.check_no_leftovers()
    synced.prepare("sync")


def test_as_json_an_interrupt_is_a_json_error(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": CONTENT})
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    synced.registry.fault(("GET", "/v2/acme/big/blobs/"), action=Stall(STALL_S, after_bytes=200_000))
    status, out, err = interrupt(synced, signal.SIGTERM, "sync", "--format", "json")
    error = json.loads(err.splitlines()[-1])["error"]
    assert (status, out) == (143, "")
    assert (error["code"], error["exit"], error["retryable"]) == ("interrupted", 143, True)


def test_impatience_changes_nothing_either(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": CONTENT, "other.bin": CONTENT + b"1"})
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    synced.registry.fault(("GET", "/v2/acme/big/blobs/"), action=Stall(STALL_S, after_bytes=200_000), times=2)
    before = synced.look()
    status, _, err = interrupt(synced, signal.SIGINT, "sync", times=4)
    # A second Ctrl-C may fall into the interpreter's own end; then the signal itself is the status.
    assert status in (130, -signal.SIGINT), err
    assert synced.look() == before
    synced.prepare("sync")
    synced.check_no_leftovers()


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_an_interrupted_pull_leaves_no_partial_file(project: Workspace, number: int, status: int) -> None:
    publish(project.registry, "acme/big", "1", {"big.bin": CONTENT})
    project.registry.fault(("GET", "/blobs/"), action=Stall(STALL_S, after_bytes=200_000))
    left, _, _ = interrupt(project, number, "pull", "acme/big:1", "-o", "out/deep")
    assert left == status
    assert everything(project.directory) == {}
    project.prepare("pull", "acme/big:1", "-o", "out/deep")
    assert (project.directory / "out/deep/big.bin").read_bytes() == CONTENT


def test_an_interrupted_push_leaves_no_tag(project: Workspace) -> None:
    (project.directory / "big.bin").write_bytes(CONTENT)
    project.registry.fault(("PUT", "/blobs/uploads/"), action=Delay(STALL_S))
    with running(project, "push", "acme/pushed:1", "big.bin") as process:
        wait_for(lambda: project.registry.count("POST", "/blobs/uploads/") > 0)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=ENDS_WITHIN_S)
        assert process.returncode == 130
    assert project.registry.tags("acme/pushed") == {}


def test_an_interrupted_add_takes_the_manifest_back(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": CONTENT})
    synced.registry.fault(("GET", "/v2/acme/big/blobs/"), action=Stall(STALL_S, after_bytes=200_000))
    before = synced.look()
    status, _, _ = interrupt(synced, signal.SIGINT, "add", "acme/big:1")
    assert status == 130
    assert synced.look() == before


def test_a_killed_sync_needs_no_repair(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": CONTENT})
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    synced.registry.fault(("GET", "/v2/acme/big/blobs/"), action=Stall(STALL_S, after_bytes=200_000))
    lock, kept = (synced.directory / "provender.lock").read_bytes(), everything(synced.directory / "vendor/good")
    status, _, _ = interrupt(synced, signal.SIGKILL, "sync")
    assert status == -signal.SIGKILL
    assert (synced.directory / "provender.lock").read_bytes() == lock
    assert everything(synced.directory / "vendor/good") == kept
    assert not (synced.directory / "vendor/big").exists()
    synced.prepare("sync")
    assert (synced.directory / "vendor/big/big.bin").read_bytes() == CONTENT
    synced.check_no_leftovers()


# --- side by side


def test_of_two_syncs_at_once_one_waits_and_both_succeed(synced: Workspace) -> None:
    publish(synced.registry, "acme/big", "1", {"big.bin": CONTENT})
    synced.depend(good="acme/good:1.0.0", big="acme/big:1")
    # While the test holds the project itself, both have to wait; then one of them meets the work of the other.
    with FileLock(synced.directory / ".provender/lock", timeout_s=60, what="the test"):
        processes = [synced.start("sync") for _ in range(2)]
        for process in processes:
            assert process.stderr is not None
            assert process.stderr.readline() == "waiting for another provender that works on this project\n"
        assert synced.registry.count("GET", "/blobs/") == 0
    try:
        ended = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], ended
    assert sorted("1 installed" in err for _, err in ended) == [False, True]
    assert synced.registry.count("GET", "/v2/acme/big/blobs/") == 1
    assert list(synced.lock) == ["big", "good"]
    synced.prepare("check", "--deep")
    synced.check_no_leftovers()


def test_syncs_at_once_never_mix(synced: Workspace) -> None:
    publish(synced.registry, "acme/good", "2.0.0", {"a.txt": b"new\n"})
    synced.depend(good="acme/good:2.0.0")
    processes = [synced.start("sync") for _ in range(4)]
    try:
        ended = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * 4, ended
    assert everything(synced.directory / "vendor/good") == {"a.txt": ("file", 0o644, b"new\n")}
    synced.prepare("check", "--deep")
    synced.check_no_leftovers()


def test_many_projects_share_one_cache_and_one_download(project: Workspace, tmp_path: Path) -> None:
    publish(project.registry, "acme/big", "1", {"big.bin": CONTENT})
    project.registry.fault(("GET", "/blobs/"), action=Delay(1))
    others = []
    for number in range(3):
        (tmp_path / f"project-{number}").mkdir()
        others.append(Workspace(tmp_path / f"project-{number}", project.registry, project.cache))
        others[-1].depend(big="acme/big:1")
    processes = [other.start("sync") for other in others]
    try:
        ended = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    assert project.registry.count("GET", "/blobs/") == 1
    for other in others:
        assert (other.directory / "vendor/big/big.bin").read_bytes() == CONTENT
    project.check_cache()


def test_a_waiting_sync_can_be_interrupted(synced: Workspace) -> None:
    publish(synced.registry, "acme/other", "1", {"o": b"o"})
    synced.depend(good="acme/good:1.0.0", other="acme/other:1")
    before = synced.look()
    with (
        FileLock(synced.directory / ".provender/lock", timeout_s=60, what="the test"),
        running(synced, "sync") as process,
    ):
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=ENDS_WITHIN_S)
        assert process.returncode == 130
    assert synced.look() == before


# --- readers that go away


def closing_early(workspace: Workspace, *arguments: str, lines: int = 1) -> tuple[int, list[str], str]:
    """Status, the lines that were read before the reader went away, and what stands on stderr."""
    with running(workspace, *arguments) as process:
        assert process.stdout is not None
        read = [process.stdout.readline() for _ in range(lines)]
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        return process.wait(timeout=60), read, err


@pytest.mark.parametrize("arguments", [["tags", "acme/many"], ["tags", "acme/many", "--format", "json"]])
def test_a_reader_that_goes_away_ends_it_quietly(
    project: Workspace, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without its buffer Python takes a part that was written for the whole, and never hears of the reader.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    digest = publish(project.registry, "acme/many", "v0", {"a": b"a"})
    tags = project.registry.content.repository("acme/many").tag_digests
    tags.update({f"v{number}-{'x' * 90}": digest for number in range(3000)})
    status, read, err = closing_early(project, *arguments)
    assert (status, err) == (141, "")
    assert read[0]


def test_a_reader_that_was_never_there_ends_it_quietly(synced: Workspace) -> None:
    for arguments in (["list"], ["check"], ["sync", "--format", "json"], ["--help"], ["--version"]):
        status, _, err = closing_early(synced, *arguments, lines=0)
        assert status in (0, 141), (arguments, status, err)
        assert "Traceback" not in err
        assert "BrokenPipe" not in err
        assert "Exception ignored" not in err


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_closed_streams_are_no_bug(synced: Workspace, closed: str) -> None:
    shell = shutil.which("sh")
    if shell is None:
        pytest.skip("there is no sh to close a stream")
    ends = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-"}[closed]
    for arguments in ("list", "sync", "resolve acme/missing:1", "--version"):
        command = f'exec "$0" -m provender {arguments} {ends}'
        run = subprocess.run(
            [shell, "-c", command, sys.executable],
            cwd=synced.directory,
            env={**os.environ, **synced.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        expected = 66 if "missing" in arguments else 0
        assert run.returncode == expected, (arguments, run)
        assert "Traceback" not in run.stderr


def test_an_error_whose_reader_went_away_keeps_its_status(synced: Workspace) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        run = subprocess.run(
            [sys.executable, "-m", "provender", "resolve", "acme/missing:1"],
            cwd=synced.directory,
            env={**os.environ, **synced.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=write,
            timeout=60,
        )
    finally:
        os.close(write)
    assert run.returncode == 66
