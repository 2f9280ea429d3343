"""A project between two manifests that differ in every way there is, for tests that stop a sync somewhere."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from provender.project.lock import LOCK_NAME
from provender.project.manifest import MANIFEST_NAME
from support.local_project import LocalProject, Tree

__all__ = ["Scene"]

_NAMES = ("x", "y", "z", "moving")


class Scene:
    """One dependency is updated (and has a file that is kept), one goes, one comes, one moves into its old self.

    `files` is how many files each artifact has beside the one that names its version.
    """

    def __init__(self, root: Path, *, files: int = 1) -> None:
        self.project = LocalProject(root)
        for tag in ("1", "2"):
            for name in _NAMES:
                many = {f"d{number % 10}/f{number}": f"{name} {tag} {number}" for number in range(files)}
                self.project.publish(name, tag, {"first": f"{name} {tag}", **many, "last": f"{name} {tag}"})
        self.go_back()
        self.project.path("vendor/x/mine.env").write_text("mine")
        self.old = self.project.look()
        self.go_on()
        self.project.sync(jobs=1)
        self.new = self.project.look()
        self.go_back()
        assert self.project.look() == self.old
        assert self.project.files("vendor/x")["mine.env"] == "mine"

    def go_back(self) -> None:
        """The old manifest, synced."""
        self.project.depend(
            x={"oci": "acme/x", "tag": "1", "keep": ["*.env"]},
            y={"oci": "acme/y", "tag": "1", "to": "deep/down/y"},
            moving={"oci": "acme/moving", "tag": "1", "to": "moving"},
        )
        self._age_inputs()
        self.project.sync(jobs=1)

    def go_on(self) -> None:
        """The new manifest, not synced."""
        self.project.depend(
            x={"oci": "acme/x", "tag": "2", "keep": ["*.env"]},
            z={"oci": "acme/z", "tag": "1", "to": "other/z"},
            moving={"oci": "acme/moving", "tag": "1", "to": "moving/inside/it"},
        )
        self._age_inputs()

    def _age_inputs(self) -> None:
        """Manifest and lock as written a while ago: a run waits where they were written in this very instant."""
        then = time.time_ns() - 10**10
        for name in (MANIFEST_NAME, LOCK_NAME):
            with suppress(FileNotFoundError):
                os.utime(self.project.path(name), ns=(then, then))

    def check_all_old_or_all_new(self, what: object) -> bool:
        """True if everything is new; nothing lies about in any case."""
        now = _without_manifest(self.project.look())
        is_new = now == _without_manifest(self.new)
        assert is_new or now == _without_manifest(self.old), what
        assert self.project.leftovers() == [], what
        return is_new

    def check_each_old_or_new(self, what: object, *, may_be_absent: bool = False) -> None:
        """Every destination is wholly old or wholly new; where neither is nothing, it is there."""
        now = self.project.look()
        for to in ("vendor/x", "deep/down/y", "moving", "other/z"):
            states = [_below(tree, to) for tree in (self.old, self.new)]
            found = _below(now, to)
            assert found in states or (may_be_absent and not found), (what, to, sorted(found))
        assert now["provender.lock"] in (self.old["provender.lock"], self.new["provender.lock"]), what

    def check_new(self, what: object) -> None:
        """Everything is new, and nothing lies about."""
        assert self.project.look() == self.new, what
        assert self.project.leftovers() == [], what


def _without_manifest(tree: Tree) -> Tree:
    return {name: value for name, value in tree.items() if name != "provender.yaml"}


def _below(tree: Tree, to: str) -> Tree:
    return {name: value for name, value in tree.items() if name == to or name.startswith(f"{to}/")}
