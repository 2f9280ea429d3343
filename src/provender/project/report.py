"""Report: what `sync`, `lock` and `check` did or found, as values for the command line to render. Project layer."""

from __future__ import annotations

from typing import Literal

import msgspec

from provender.oci import Digest
from provender.project.drift import Drift

__all__ = ["Change", "CheckReport", "Finding", "SyncReport"]


class Change(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one dependency."""

    name: str
    action: Literal["unchanged", "installed", "updated", "repaired", "adopted", "locked", "removed", "released"]
    """`adopted`: the files were there already and are right; `released`: left behind, for somebody changed them."""
    to: str
    tag: str | None = None
    digest: Digest | None = None
    before: Digest | None = None
    files: int = 0
    size_bytes: int = 0


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
