"""Archives as the two ends of a copy: written whole or not at all, and verified before anything of them is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provender.cli.console import Console, counted, human_bytes

if TYPE_CHECKING:
    from provender.oci import Digest, Reference
    from provender.storage.abilities import Fetcher
    from provender.storage.archive_writer import Compression
    from provender.storage.open import Opened, Storages
    from provender.transfer.archive_out import Archived
    from provender.transfer.graph import Graph

__all__ = ["archive_path", "check_archive", "write_archive_file"]


def archive_path(target: Reference) -> Path | None:
    """The file of a destination that is an archive; None for any other."""
    path = Path(target.registry)
    is_archive = target.kind == "layout" and path.name.endswith((".tar", ".tar.zst")) and not path.is_dir()
    return path if is_archive else None


def write_archive_file(
    console: Console,
    graph: Graph,
    reading: Opened,
    path: Path,
    *,
    since: tuple[Storages, Reference] | None,
    force: bool,
    jobs: int,
) -> None:
    """Write the archive, without the large blobs that `since` has, and say what is in it."""
    from provender.errors import Conflict
    from provender.storage.files import AtomicFile
    from provender.transfer.archive_out import archive, blobs_at

    if path.exists() and not force:
        raise Conflict(
            f"{path} is there already, and an archive is not added to",
            code="archive-exists",
            where=str(path),
            hint="name another file, or replace it with --force",
        )
    without: frozenset[Digest] = frozenset()
    if since is not None:
        without = blobs_at(graph, since[0].open(since[1]).storage, jobs=jobs)
    with AtomicFile(path) as file:
        compression: Compression = "zstd" if path.suffix == ".zst" else "none"
        written = archive(graph, reading.storage, file, without=without, compression=compression)
        file.commit()
    console.stop_progress()
    _show(console, graph, path, written)


def check_archive(graph: Graph, reading: Opened, destination: Fetcher) -> None:
    """Verify every byte of an archive that is copied from, and that the destination has what a delta lacks.

    Nothing for any other source. Raises IntegrityError, or NotFound (`delta-incomplete`).
    """
    from provender.errors import NotFound
    from provender.storage.archive import ArchiveStorage
    from provender.transfer.archive_out import verify_blobs

    if not isinstance(reading.storage, ArchiveStorage):
        return
    lacking = [each for each in verify_blobs(graph, reading.storage) if not destination.exists(each)]
    if lacking:
        raise NotFound(
            f"the archive lacks {counted(len(lacking), 'blob', 'blobs')} that the destination does not have either: "
            f"{', '.join(each.digest for each in lacking[:3])}",
            code="delta-incomplete",
            where=reading.location,
            hint="copy what it builds on first (see --since), or make an archive with everything",
        )


def _show(console: Console, graph: Graph, path: Path, written: Archived) -> None:
    digest = graph.roots[0].digest
    if console.is_json:
        fields = {
            "reference": f"layout:{path}@{digest}",
            "digest": digest,
            "tags": list(graph.roots[0].tags),
            "documents": written.documents,
            "blobs": written.blobs,
            "contentBytes": written.content_bytes,
            "lacks": [{"digest": each.digest, "size": each.size} for each in written.left_out],
        }
        console.document("archive", fields)
        return
    console.result(f"layout:{path}@{digest}")
    lacks = (
        f"; it lacks {counted(len(written.left_out), 'blob', 'blobs')} of the other side" if written.left_out else ""
    )
    what = f"{counted(written.documents, 'manifest', 'manifests')}, {counted(written.blobs, 'blob', 'blobs')}"
    console.note(f"{what}, {human_bytes(written.content_bytes)}{lacks}")
