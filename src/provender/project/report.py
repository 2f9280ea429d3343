"""Report: what `sync`, `lock` and `check` did or found, as values for the command line to render. Project layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from provender.artifact.tree import Entry
from provender.oci import Digest
from provender.project.drift import Drift
from provender.project.lock_entry import LockedDependency
from provender.project.origin import SourceKind

__all__ = ["Action", "Change", "CheckReport", "Difference", "Finding", "SyncReport", "describe", "short_pin"]

Action = Literal["unchanged", "installed", "updated", "repaired", "adopted", "locked", "removed", "released"]
"""`adopted`: the files were there already and are right; `released`: left behind, for somebody changed them."""

_BY_DIGEST: Final = frozenset({"oci", "image", "http", "helmChart"})


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
    source: SourceKind | None = None
    """None for what only the disk still told of."""
    action: Action
    to: str
    tag: str | None = None
    """What people call the version: a tag, a branch, the version of a chart."""
    digest: str | None = None
    """Of what was fetched: a manifest, a file, a chart's archive."""
    commit: str | None = None
    before: str | None = None
    """What the lock had, where that was another digest or commit; its tag is `before_tag`."""
    before_tag: str | None = None
    tree: Digest | None = None
    """Of the files in the destination."""
    files: int | None = None
    """How many files and links it has, None where that is not known: nothing was laid."""
    size_bytes: int | None = None
    difference: Difference | None = None
    """How the files differ from those that were there; None where that is not known."""
    is_laid: bool = False
    """True if files were put in place by this run."""


def describe(
    name: str, entry: LockedDependency, action: Action, *, before: LockedDependency | None, is_laid: bool = False
) -> Change:
    """What became of the dependency that `entry` locks, and `before` did; without what only the disk can tell."""
    is_other = before is not None and (before.source, before.revision) != (entry.source, entry.revision)
    return Change(
        name=name,
        source=entry.source,
        action=action,
        to=entry.to,
        tag=entry.label,
        digest=entry.revision if entry.source in _BY_DIGEST else None,
        commit=entry.revision if entry.source == "git" else None,
        before=before.revision if before is not None and is_other else None,
        before_tag=before.label if before is not None and is_other else None,
        tree=entry.tree,
        is_laid=is_laid,
    )


def short_pin(revision: str) -> str:
    """The beginning of a digest or commit, enough for people to tell it from others."""
    return revision.rpartition(":")[2][:12]


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
