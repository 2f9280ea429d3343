"""What `relocate plan --file` reads: locks and lists of several tools. What a file is, its content says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from provender.cli.writing import read_input

if TYPE_CHECKING:
    from provender.relocate.wish import Wish

__all__ = ["wishes_in"]

_MAX_BYTES: Final = 64 << 20


def wishes_in(path: Path) -> Sequence[Wish]:
    """The wishes of a provender.lock, a file of vendir's, an ImagesLock or BundleLock, a list of flux-mirror's style,
    or a list with a reference a line. Raises NotFound, InvalidProject with the place of what is wrong."""
    from provender.dialects.vendir.relocation import is_vendir, read_vendir_wishes
    from provender.errors import InvalidProject
    from provender.relocate.locks import read_wishes

    raw = read_input(str(path), _MAX_BYTES, "list")
    if raw.lstrip().startswith(b"{"):
        return list(_locked(path, raw))
    if is_vendir(raw):
        return read_vendir_wishes(path, raw)
    try:
        return read_wishes(raw.decode(), where=str(path))
    except UnicodeDecodeError as error:
        raise InvalidProject("the list is not UTF-8", code="invalid-encoding", where=str(path)) from error


def _locked(path: Path, raw: bytes) -> Iterator[Wish]:
    from provender.oci import Reference
    from provender.project.lock import Lock
    from provender.project.lock_entry import LockedArtifact, LockedChart
    from provender.relocate.wish import Wish

    for each in Lock.parse(raw, where=str(path)).dependencies.values():
        if isinstance(each, LockedArtifact):
            yield Wish(source=each.repository_reference, target=each.digest, tags=(each.tag,) if each.tag else ())
        elif isinstance(each, LockedChart) and each.url is None:
            # Helm writes + as _ in tags.
            tag = each.version.replace("+", "_")
            yield Wish(source=Reference.parse(f"{each.repository}/{each.chart}"), target=each.digest, tags=(tag,))
