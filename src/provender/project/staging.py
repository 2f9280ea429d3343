"""Staging: a directory that is being made ready beside its destination, and the files that move over from the old one.

Project layer, between the sources, which fill it, and `swap`, which puts it in place.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable

import msgspec

from provender.artifact.tree import Entry, tree_digest
from provender.errors import Conflict, IntegrityError, InvalidProject
from provender.project.drift import Kept, kept_by
from provender.project.lock import LockedDependency
from provender.project.state import TICK_NS, DestinationState, scan
from provender.project.swap import link_above

__all__ = ["Staged", "carry_over", "refuse_links", "settle"]


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A directory with everything that a dependency lays; its entries are known and hashed."""

    path: str
    entries: tuple[Entry, ...] = ()

    def record(self, locked: LockedDependency, *, keep: tuple[str, ...]) -> DestinationState:
        """The state of the destination once this directory is there; renaming changes nothing of it."""
        if locked.tree is None:
            raise InvalidProject(f"the tree of {locked.to} is not known", code="unresolved")
        return DestinationState.record(
            self.path,
            tree=locked.tree,
            identity=locked.identity,
            contents={entry.path: entry.content for entry in self.entries},
            keep=keep,
            kept=kept_by(keep),
        )


    def pin(self, name: str, locked: LockedDependency, *, lock: str) -> LockedDependency:
        """`locked` with the digest of this tree; IntegrityError if the lock, a file at `lock`, says another."""
        tree = tree_digest(self.entries)
        if locked.tree is not None and locked.tree != tree:
            raise IntegrityError(
                f"{name} unpacks to the tree {tree}, but the lock says {locked.tree}",
                code="tree-mismatch",
                where=lock,
                hint="restore the lock from version control; or take this dependency out of it, to have it locked anew",
            )
        return msgspec.structs.replace(locked, tree=tree)


def refuse_links(root: str, destinations: Iterable[str]) -> None:
    """Nothing, or Conflict: a link among the directories above a destination may lead anywhere."""
    for to in destinations:
        link = link_above(root, to)
        if link is not None:
            raise Conflict(
                f"the destination {to} lies behind the symbolic link {link}",
                code="destination-behind-a-link",
                where=os.path.join(root, link),
                hint="put a directory in the link's place, or choose another destination with 'to'",
            )


def settle() -> None:
    """Wait until files written by now can be told from files written later by their times."""
    time.sleep(TICK_NS * 1.25e-9)


def carry_over(destination: str, staged: str, *, kept: Kept | None) -> None:
    """Bring the files of `destination` that the project keeps into `staged`; they win over laid ones of the same name.

    The old directory keeps them too, so that nothing is lost if the swap is taken back.
    """
    if kept is None:
        return
    for entry in scan(destination):
        if not kept(entry.path):
            continue
        source, target = os.path.join(destination, entry.path), os.path.join(staged, entry.path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        try:
            os.link(source, target, follow_symlinks=False)
        except (OSError, NotImplementedError):
            shutil.copy2(source, target, follow_symlinks=False)
