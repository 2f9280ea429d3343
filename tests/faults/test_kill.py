"""kill -9 at any point: no destination is mixed, and the next sync puts everything right without being told to."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from support import kill_runner
from support.command import provender_here, succeed_here
from support.forked import FORKS, Child
from support.scene import Scene

# What is called, on which path, for the how manyth time, and on which side of the call the process dies.
POINTS: dict[str, tuple[str, str, int, str]] = {
    "before anything is announced": ("open", r"/\.provender/lock$", 1, "after"),
    "before a staging directory": ("mkdir", r"\.provender-new-", 1, "before"),
    "after the parents of one": ("mkdir", r"other$", 1, "after"),
    "after all staging directories": ("mkdir", r"\.provender-new-", 3, "after"),
    "before a blob has its name": ("replace", r"cache/blobs/", 2, "before"),
    "after a blob has its name": ("replace", r"cache/blobs/", 2, "after"),
    "while files are written": ("open", r"^last$", 2, "after"),
    "before the next state is told": ("replace", r"state\.next\.json$", 1, "before"),
    "after the next state is told": ("replace", r"state\.next\.json$", 1, "after"),
    "after the first rename": ("rename", r"\.moving\.provender-old-", 1, "after"),
    "before the first exchange": ("exchange", r"moving", 1, "before"),
    "after the first exchange": ("exchange", r"moving", 1, "after"),
    "while a kept file is carried over": ("link", r"mine\.env", 1, "before"),
    "after a kept file was carried over": ("link", r"mine\.env", 1, "after"),
    "before the second exchange": ("exchange", r"vendor/x", 1, "before"),
    "after the second exchange": ("exchange", r"vendor/x", 1, "after"),
    "before a new directory": ("rename", r"other/z$", 1, "before"),
    "after a new directory": ("rename", r"other/z$", 1, "after"),
    "before a removal": ("rename", r"\.y\.provender-old-", 1, "before"),
    "after a removal": ("rename", r"\.y\.provender-old-", 1, "after"),
    "after the lock's copy": ("link", r"provender\.lock$|\.before", 1, "after"),
    "before the lock": ("replace", r"/provender\.lock$", 1, "before"),
    "after the lock": ("replace", r"/provender\.lock$", 1, "after"),
    "before old directories are let go": ("rename", r"\.provender-gone-", 1, "before"),
    "between old directories": ("rename", r"\.provender-gone-", 2, "before"),
    "while an old directory is deleted": ("unlink", r"^last$", 1, "after"),
    "while the last old directory is deleted": ("unlink", r"^last$", 3, "after"),
    "before empty directories go": ("rmdir", r"deep/down$", 1, "before"),
    "before the state": ("replace", r"/state\.json$", 1, "before"),
    "after the state": ("replace", r"/state\.json$", 1, "after"),
    "before the next state is forgotten": ("unlink", r"state\.next\.json$", 1, "before"),
    # Where the kernel cannot exchange two names:
    "before the old one is moved aside": ("rename!", r"vendor/x .*\.x\.provender-old-", 1, "before"),
    "between two renames": ("rename!", r"vendor/x .*\.x\.provender-old-", 1, "after"),
    "after two renames": ("rename!", r"\.provender-new-\w+ \S*vendor/x$", 1, "after"),
}

SYNC = ("sync", "--no-progress")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("small"), files=3)


def kill(scene: Scene, point: str) -> None:
    """A sync that dies at that point."""
    function, pattern, number, when = POINTS[point]
    process = start(scene, *SYNC, "--concurrency", "1", point=(function, pattern, str(number), when))
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, (process.returncode, said)


def start(scene: Scene, *arguments: str, point: tuple[str, ...] = ()) -> Child:
    """A command in a process of its own, which dies at the point if one is given."""
    directory, env = scene.project.directory, {"PROVENDER_CACHE_DIR": str(scene.project.cache.root)}
    if not point:
        return FORKS.start(*arguments, cwd=directory, env=env)
    return FORKS.start(*point, *arguments, cwd=directory, env=env, entry=kill_runner.ENTRY)


@pytest.mark.parametrize("point", POINTS)
def test_a_sync_that_is_killed_needs_no_repair(small: Scene, point: str) -> None:
    scene = small
    scene.go_back()
    assert scene.project.look() == scene.old
    scene.go_on()
    if "blob" in point:
        scene.project.publish("z", "1", {"first": "z 1", **{f"d{n}/f{n}": f"z 1 {n}" for n in range(3)}, "last": "z 1"})
        for entry in (scene.project.cache.root / "blobs").rglob("*"):
            if entry.is_file():
                entry.unlink()
    kill(scene, point)
    scene.check_each_old_or_new(point, may_be_absent=POINTS[point][0].endswith("!"))
    succeed_here(*SYNC, cwd=scene.project.directory, env={"PROVENDER_CACHE_DIR": str(scene.project.cache.root)})
    scene.check_new(point)
    assert scene.project.synchroniser().is_up_to_date()


@pytest.mark.parametrize(
    "point", ["after the second exchange", "after a removal", "after the lock", "while an old directory is deleted"]
)
def test_after_a_kill_the_project_can_be_taken_back_too(small: Scene, point: str) -> None:
    scene = small
    scene.go_back()
    scene.go_on()
    kill(scene, point)
    scene.go_back()
    assert scene.project.look() == scene.old
    assert scene.project.leftovers() == []


def test_a_failure_after_a_kill_forgets_nothing(small: Scene) -> None:
    """What the killed run had put in place stays known though the next run fails."""
    scene = small
    scene.go_back()
    scene.go_on()
    kill(scene, "before the lock")
    manifest = scene.project.path("provender.yaml").read_bytes()
    scene.project.depend(x="acme/x:2", absent="acme/absent:1")
    result = provender_here("sync", cwd=scene.project.directory)
    assert result.status == 66, result.stderr
    scene.project.path("provender.yaml").write_bytes(manifest)
    scene.project.sync()
    scene.check_new("after a failure")


def test_what_was_staged_for_a_dependency_that_is_gone_is_cleaned_up(small: Scene) -> None:
    scene = small
    scene.go_back()
    before = scene.project.look()
    scene.go_on()
    kill(scene, "while files are written")
    assert any("other" in path for path in scene.project.leftovers())
    scene.go_back()
    assert scene.project.look() == before
    assert scene.project.leftovers() == []


def test_a_lock_that_is_killed_leaves_the_destinations(small: Scene) -> None:
    scene = small
    scene.go_back()
    scene.go_on()
    scene.project.path("provender.lock").unlink()
    scene.project.path(".provender/state.json").unlink()
    process = start(scene, "lock", point=("replace", r"/provender\.lock$", "1", "before"))
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert not scene.project.path("provender.lock").exists()
    scene.project.sync(lock_only=True)
    assert scene.project.leftovers() == []
    assert scene.project.files("vendor/x")["first"] == "x 1"


class Watcher:
    """Looks at one destination all the time: its first and its last file have to be of one version."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: set[str] = set()

    def __enter__(self) -> Watcher:  # noqa: PYI034 - no subclasses
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._is_over.wait(0.001):
            try:
                fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                self.seen.add("absent")
                continue
            try:
                self.seen.add(" | ".join(sorted({_read(fd, "first"), _read(fd, "last")})))
            except FileNotFoundError:
                # What we have open was exchanged meanwhile, and is being deleted: look at the one that is there now.
                if os.path.samestat(os.fstat(fd), os.stat(self._directory)):
                    self.seen.add("incomplete")
            finally:
                os.close(fd)


def _read(directory: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY, dir_fd=directory)) as file:
        return file.read()


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_any_time_need_no_repair(tmp_path: Path, seed: int) -> None:
    scene = Scene(tmp_path, files=20)
    chance = random.Random(seed)
    scene.go_on()
    began = time.monotonic()
    process = start(scene, *SYNC)
    _, said = process.communicate()
    assert process.returncode == 0, said
    whole_s = time.monotonic() - began
    scene.go_back()
    killed = 0
    with Watcher(scene.project.path("vendor/x")) as watcher:
        for number in range(18):
            scene.go_on()
            process = start(scene, *SYNC)
            time.sleep(whole_s * chance.uniform(0.05, 1.05))
            process.kill()
            _, said = process.communicate()
            assert process.returncode in (0, -signal.SIGKILL), said
            killed += process.returncode != 0
            whole_s *= 1 if process.returncode else 0.8
            scene.check_each_old_or_new(number)
            scene.project.sync()
            scene.check_new(number)
            scene.go_back()
            assert scene.project.look() == scene.old
    assert watcher.seen == {"x 1", "x 2"}
    assert killed
