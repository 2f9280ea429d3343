"""Ctrl-C at any line: everything is as it was or everything is new, and nothing lies about."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Self
from zlib import crc32

import pytest

from provender.project import changeover, resolution, staging, standing, swap, sync
from provender.project.lock import LOCK_NAME
from support.scene import Scene

_MODULES = (changeover, resolution, staging, standing, swap, sync)
_FILES = frozenset(str(module.__file__) for module in _MODULES)
# Those that only look: where they are interrupted makes no difference.
_READERS = frozenset(str(module.__file__) for module in (resolution, standing))
_WAYS_BACK = frozenset(
    {
        "_take_back",
        "roll_back",
        "_restore",
        "_exchange",
        "_put_back",
        "_drop",
        "recover",
        "discard",
        "close",
        "_identity",
    }
)
_SHARES = 4

_Line = tuple[str, str, int]


class Interrupt:
    """Raises KeyboardInterrupt at the line of that number, over the engine's modules; with -1 it only counts."""

    def __init__(self, at: int, *, only: frozenset[str] | None = None) -> None:
        self._at = at
        self._only = only
        self.count = 0
        self.lines: list[_Line] = []
        self.is_armed = only is None

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        # Not where the project's lock is let go: no signal is met between a `with` block and its end, and a lock that
        # this process still had would stop it for good.
        if frame.f_code.co_filename not in _FILES or frame.f_code.co_name == "run":
            return None
        return self._line if self._only is None or frame.f_code.co_name in self._only else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self.is_armed:
            if self.count == self._at:
                sys.settrace(None)
                raise KeyboardInterrupt
            self.count += 1
            self.lines.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        return self._line


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def points(lines: list[_Line], *, share: int = 0, shares: int = 1) -> list[int]:
    """One point for each way from a line to a line that does something, the jumps back in loops among them.

    CPython has handled exceptions at those otherwise than anywhere else. A way is of the same share whatever else a run
    went through: runs that differ in a few lines leave no way out.
    """
    ways = {way: at for at, way in enumerate(pairwise(lines), start=1)}
    acting = {way: at for way, at in ways.items() if way[1][0] not in _READERS}
    return sorted(at for way, at in acting.items() if crc32(repr(way).encode()) % shares == share)


@pytest.mark.parametrize("share", range(_SHARES))
def test_an_interrupt_at_any_line_leaves_all_old_or_all_new(scene: Scene, share: int) -> None:
    scene.go_on()
    with Interrupt(-1) as tracer:
        scene.project.sync(jobs=1)
    scene.go_back()
    outcomes = set()
    for at in points(tracer.lines, share=share, shares=_SHARES):
        scene.go_on()
        # A run has a few lines less when a file's time is old enough already.
        with suppress(KeyboardInterrupt), Interrupt(at):
            scene.project.sync(jobs=1)
        is_new = scene.check_all_old_or_all_new(at)
        outcomes.add(is_new)
        if is_new:
            assert {change.action for change in scene.project.sync(jobs=1).changes} == {"unchanged"}
            scene.go_back()
    assert False in outcomes


def test_an_interrupted_lock_is_the_old_one_or_the_new_one(scene: Scene) -> None:
    def written() -> bytes:
        return scene.project.path(LOCK_NAME).read_bytes()

    before = written()
    scene.go_on()
    with Interrupt(-1) as tracer:
        scene.project.sync(jobs=1, lock_only=True)
    after = written()
    assert before != after
    seen = set()
    for at in points(tracer.lines):
        scene.project.path(LOCK_NAME).write_bytes(before)
        with suppress(KeyboardInterrupt), Interrupt(at):
            scene.project.sync(jobs=1, lock_only=True)
        assert written() in (before, after), at
        assert scene.project.leftovers() == [], at
        seen.add(written())
    assert seen == {before, after}


def test_an_interrupt_after_the_lock_is_written_comes_too_late(scene: Scene) -> None:
    scene.go_on()
    with Interrupt(-1, only=frozenset({"_conclude", "finish", "prune", "_gone"})) as tracer:
        tracer.is_armed = True
        scene.project.sync(jobs=1)
    scene.go_back()
    assert tracer.count > 10
    for at in range(0, tracer.count, 3):
        scene.go_on()
        interrupt = Interrupt(at, only=frozenset({"_conclude", "finish", "prune", "_gone"}))
        interrupt.is_armed = True
        with suppress(KeyboardInterrupt), interrupt:
            scene.project.sync(jobs=1)
        assert scene.check_all_old_or_all_new(at)
        assert scene.project.synchroniser().is_up_to_date()
        scene.go_back()


def test_an_interrupt_while_a_failure_is_taken_back_does_not_stop_that(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace
    interrupt = Interrupt(-1, only=_WAYS_BACK)

    def full(source: Any, target: Any) -> None:
        if os.path.basename(target) == LOCK_NAME and not str(source).endswith(".before"):
            interrupt.is_armed = True
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    scene.go_on()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"), interrupt:
        scene.project.sync(jobs=1)
    assert not scene.check_all_old_or_all_new("counting")
    total = interrupt.count
    assert total > 30
    for at in range(0, total, max(1, total // 40)):
        interrupt = Interrupt(at, only=_WAYS_BACK)
        with pytest.raises((OSError, KeyboardInterrupt)), interrupt:
            scene.project.sync(jobs=1)
        assert not scene.check_all_old_or_all_new(at)
    monkeypatch.setattr(os, "replace", replace)
    assert {change.action for change in scene.project.sync(jobs=1).changes} >= {"updated", "installed", "removed"}


@pytest.mark.parametrize("jobs", [1, 8])
def test_an_interrupt_while_threads_still_write_leaves_nothing(scene: Scene, jobs: int) -> None:
    import _thread
    import threading

    source = scene.project.sources()["oci"]
    scene.project.publish("many", "1", {f"d{number % 50}/f{number}": "x" * 50 for number in range(3000)})
    scene.project.depend(
        x={"oci": "acme/x", "tag": "2", "keep": ["*.env"]},
        y={"oci": "acme/y", "tag": "1", "to": "deep/down/y"},
        moving={"oci": "acme/moving", "tag": "1", "to": "moving"},
        many="acme/many:1",
        more={"oci": "acme/many", "tag": "1", "to": "more"},
    )

    class Interrupting:
        def resolve(self, dependency: Any) -> Any:
            return source.resolve(dependency)

        def lay(self, dependency: Any, locked: Any, staging: str, **options: Any) -> Any:
            if dependency.name == "many":
                threading.Timer(0.02, _thread.interrupt_main).start()
            laid = source.lay(dependency, locked, staging, **options)
            while not options["cancellation"].is_cancelled:  # the interrupt may be late, but never too late
                time.sleep(0.01)
            return laid

    with pytest.raises(KeyboardInterrupt):
        scene.project.sync({"oci": Interrupting()}, jobs=jobs)
    assert not scene.check_all_old_or_all_new(jobs)
