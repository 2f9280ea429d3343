"""Report: what `sync`, `lock` and `check` did or found, as values for the command line to render. Project layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from provender.artifact.tree import Entry
from provender.oci import Digest
from provender.project.drift import Drift

__all__ = ["Action", "Change", "CheckReport", "Difference", "Finding", "SyncReport"]


Action = Literal["unchanged", "installed", "updated", "repaired", "adopted", "locked", "removed", "released"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How many files came, went and changed."""

    added: int = 0
    removed: int = 0
    modified: int = 0

    @classmethod
    def between(cls, old: Iterable[Entry], new: Iterable[Entry]) -> Difference:
        """From one tree to another one."""
        before, after = {each.path: each for each in old}, {each.path: each for each in new}
        return cls(
            added=len(after.keys() - before.keys()),
            removed=len(before.keys() - after.keys()),
            modified=sum(_is_other(each, before[path]) for path, each in after.items() if path in before),
        )


class Change(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one dependency."""

    name: str
    action: Action
    """`adopted`: the files were there already and are right; `released`: left behind, for somebody changed them."""
    to: str
    tag: str | None = None
    digest: Digest | None = None
    before: Digest | None = None
    """What the lock had, where that was another digest; its tag is `before_tag`."""
    before_tag: str | None = None
    tree: Digest | None = None
    files: int | None = None
    """How many files and links it has, None where that is not known: nothing was laid."""
    size_bytes: int | None = None
    difference: Difference | None = None
    """How the files differ from those that were there; None where that is not known."""
    is_laid: bool = False
    """True if files were put in place by this run."""


class SyncReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The outcome of a whole run, by name of the dependency."""

    changes: tuple[Change, ...]
    is_lock_changed: bool = False
    is_dry_run: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """True if everything was as it should be."""
        return not self.is_lock_changed and all(change.action == "unchanged" for change in self.changes)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one dependency's destination. `problem` says what no list of files can."""

    name: str
    to: str
    drift: Drift = Drift()
    problem: str | None = None

    @property
    def is_clean(self) -> bool:
        return self.drift.is_none and self.problem is None


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` found, by name of the dependency."""

    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        return all(finding.is_clean for finding in self.findings)


def _is_other(one: Entry, other: Entry) -> bool:
    return (one.kind, one.mode, one.content) != (other.kind, other.mode, other.content)
