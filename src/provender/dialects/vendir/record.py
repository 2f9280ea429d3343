"""What vendir contents were laid by earlier runs: `.provender/vendir.json`. A cache of this machine; safe to delete.

With it unchanged contents are neither fetched nor read: times, sizes and inodes tell that they are as they were laid.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from provender import __version__
from provender.dialects.vendir.lock import LockContents
from provender.oci import Digest
from provender.project.state import DestinationState, State

__all__ = ["RECORDS_FILE", "ContentsRecord", "Records"]

RECORDS_FILE: Final = "vendir.json"
_MAX_BYTES: Final = 1 << 30
_NO_TREE: Final = Digest(f"sha256:{'0' * 64}")


class ContentsRecord(msgspec.Struct, frozen=True):
    """What lies at the path of contents."""

    identity: str
    """Equal only for contents that would be laid with the same bytes and modes."""
    lock: LockContents
    laid: DestinationState

    @classmethod
    def take(cls, directory: str, *, identity: str, lock: LockContents) -> ContentsRecord:
        """The record of contents that are staged, or lie, in `directory`."""
        return cls(identity, lock, DestinationState.record(directory, tree=_NO_TREE, identity=Digest(identity)))

    def holds(self, directory: str) -> bool:
        """True if `directory` is certainly as it was laid; no file is opened."""
        try:
            if not self.laid.compare(directory).is_unchanged:
                return False
            return all(
                os.lstat(os.path.join(directory, entry.path) if entry.path else directory).st_mode == entry.mode
                for entry in self.laid.directories
            )
        except OSError:
            return False


class Records(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All records of a working directory, by the absolute path of the contents."""

    version: int = 1
    program: str = ""
    contents: dict[str, ContentsRecord] = {}

    @classmethod
    def load(cls, directory: Path) -> Records:
        """Those of the working directory `directory`; none if they cannot be used, or another version wrote them."""
        path = directory / ".provender" / RECORDS_FILE
        try:
            if path.parent.is_symlink() or path.is_symlink() or path.stat().st_size > _MAX_BYTES:
                return cls()
            found = msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            return cls()
        return found if (found.version, found.program) == (1, __version__) else cls()

    def write(self, directory: Path) -> None:
        """Put them beside the configuration, in a directory that version control ignores."""
        from provender.storage.files import write_atomically

        known = msgspec.structs.replace(self, program=__version__)
        write_atomically(State.prepare(directory) / RECORDS_FILE, msgspec.json.encode(known), durable=False)
