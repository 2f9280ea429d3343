"""Links in managed directories: each has to lead to something that is there and inside of the same managed directory.

Looked at before anything is put in place: what is staged counts as lying where it is going to be.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from provender.errors import InvalidProject

__all__ = ["check_symlinks"]

_MAX_STEPS: Final = 255


def check_symlinks(managed: str, staged: Mapping[str, str]) -> None:
    """Nothing, or InvalidProject (code `symlink-outside` or `dangling-symlink`).

    `managed` is the absolute path of the managed directory, `staged` has the absolute paths of what will be replaced in
    it, or of itself, with the directories that will be there.
    """
    places = _Places(staged)
    root = places.resolve(managed)
    for target in staged:
        for place, directories, names in os.walk(staged[target]):
            for name in (*directories, *names):
                actual = os.path.join(place, name)
                if os.path.islink(actual):
                    _check(places, root, target + actual.removeprefix(staged[target]))


def _check(places: _Places, root: str, path: str) -> None:
    found = places.resolve(path)
    if not found:
        raise InvalidProject(
            f"Unable to resolve symlink: lstat {path}: no such file or directory",
            code="dangling-symlink",
            where=path,
            hint="leave it out with excludePaths, or allow it with --dangerous-allow-all-symlink-destinations",
        )
    if found != root and not found.startswith(f"{root}/"):
        raise InvalidProject(
            f'Invalid symlink found to outside parent directory: "{found}"',
            code="symlink-outside",
            where=path,
            hint="leave it out with excludePaths, or allow it with --dangerous-allow-all-symlink-destinations",
        )


class _Places:
    """The file system as it will be."""

    def __init__(self, staged: Mapping[str, str]) -> None:
        self._staged = dict(sorted(staged.items(), key=lambda pair: -len(pair[0])))

    def resolve(self, path: str) -> str:
        """The path without links; empty if nothing is there, or the links go round in a circle."""
        done = "/"
        waiting = [part for part in path.split("/") if part]
        for _ in range(_MAX_STEPS + len(waiting)):
            if not waiting:
                return done
            part = waiting.pop(0)
            if part in (".", ""):
                continue
            if part == "..":
                done = os.path.dirname(done)
                continue
            step = os.path.join(done, part)
            actual = self._actual(step)
            if os.path.islink(actual):
                target = os.readlink(actual)
                done = "/" if target.startswith("/") else done
                waiting = [*(each for each in target.split("/") if each), *waiting]
            elif os.path.lexists(actual) or self._is_above_staged(step):
                done = step
            else:
                return ""
            if len(waiting) > 16 * _MAX_STEPS:
                return ""
        return ""

    def _actual(self, path: str) -> str:
        """Where what will be at `path` is now."""
        for target, staged in self._staged.items():
            if path == target or path.startswith(f"{target}/"):
                return staged + path.removeprefix(target)
        return path

    def _is_above_staged(self, path: str) -> bool:
        return any(target.startswith(f"{path}/") for target in self._staged)
