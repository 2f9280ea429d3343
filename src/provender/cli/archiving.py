"""Archives as the two ends of a copy: written whole or not at all, and verified before anything of them is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from provender.cli.console import Console, counted, human_bytes

if TYPE_CHECKING:
    from provender.oci import Digest, Reference
    from provender.storage.abilities import Fetcher
    from provender.storage.archive import ArchiveStorage
    from provender.storage.archive_writer import Compression
    from provender.storage.files import AtomicFile
    from provender.storage.layout import LayoutStorage
    from provender.storage.open import Opened, Storages
    from provender.storage.registry import RegistryRepository
    from provender.storage.split_files import FilePart, SplitFile
    from provender.transfer.archive_out import Archived, ArchiveSource
    from provender.transfer.graph import Graph
    from provender.transfer.progress import Progress

__all__ = [
    "archive_path",
    "check_archive",
    "check_name",
    "compression_of",
    "opened_archive",
    "part_size",
    "refuse_existing",
    "repositories_in",
    "tell_kind",
    "there",
    "write_archive_file",
]

_KINDS = {
    "docker": "an archive of docker save; its images get manifests of their own",
    "imgpkg": "an archive of imgpkg",
    "haul": "a haul of hauler",
    "zarf": "a package of zarf, of which the images are read",
}
_READ_ONLY = r"\.(?:tgz|tar\.(?:gz|bz2|xz|lz4)|tar(?:\.zst)?\.(?:[0-9]{3,6}|parts))$"
_LEAST_PART_BYTES = 1 << 20
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def part_size(text: str) -> int:
    """Bytes from `4GiB`, `700M` or `1000000000`: units are powers of 1024."""
    import click

    digits = text.rstrip("BIKMGTbikmgt")
    unit = text[len(digits) :].upper().removesuffix("B").removesuffix("I")
    if not digits.isdecimal() or len(digits) > 15 or unit not in _UNITS:
        raise click.UsageError(f"not a size: {text[:40]!r}; write for example 4GiB")
    size = int(digits) << _UNITS[unit]
    if size < _LEAST_PART_BYTES:
        raise click.UsageError("a part has at least 1MiB")
    return size


def archive_path(target: Reference) -> Path | None:
    """The file of a destination that is an archive; None for any other."""
    path = Path(target.registry)
    if target.kind != "layout" or path.is_dir():
        return None
    check_name(path)
    return path if path.name.endswith((".tar", ".tar.zst")) else None


def check_name(path: Path) -> None:
    """A usage error for the name of an archive in a form that is read and not written."""
    import click

    if re.search(_READ_ONLY, path.name):
        raise click.UsageError(f"an archive is written as FILE.tar or FILE.tar.zst, in parts with --split, not {path}")


def tell_kind(console: Console, opened: Opened) -> None:
    """Say what an archive turned out to be, where it is no plain layout."""
    if opened.is_remote:
        return
    from provender.storage.archive import ArchiveStorage

    if isinstance(opened.storage, ArchiveStorage) and opened.storage.kind in _KINDS:
        console.note(f"{opened.location} is {_KINDS[opened.storage.kind]}")


def repositories_in(opened: Opened) -> list[str]:
    """The repositories of an archive of several; none for anything else."""
    if opened.is_remote:
        return []
    from provender.storage.archive import ArchiveStorage

    return list(opened.storage.repositories()) if isinstance(opened.storage, ArchiveStorage) else []


def write_archive_file(
    console: Console,
    graph: Graph,
    source: ArchiveSource,
    path: Path,
    *,
    since: tuple[Storages, str] | None,
    split: int | None,
    jobs: int,
) -> None:
    """Write the archive, without the large blobs that `since` has, and say what is in it."""
    from provender.transfer.archive_out import archive

    without: frozenset[Digest] = frozenset() if since is None else there(console, graph, *since, jobs=jobs)
    with opened_archive(path, split) as file:
        written = archive(
            graph, source, file, without=without, compression=compression_of(path), progress=console.progress()
        )
        parts = file.commit() or ()
    console.stop_progress()
    _show(console, graph, path, written, parts)


def compression_of(path: Path) -> Compression:
    """What the name of an archive says."""
    return "zstd" if path.suffix == ".zst" else "none"


@contextmanager
def opened_archive(path: Path, split: int | None) -> Iterator[AtomicFile | SplitFile]:
    """The file of an archive, or the parts of one, in the making: nobody else makes it at the same time."""
    from provender.storage.files import AtomicFile
    from provender.storage.sole_writer import sole_writer
    from provender.storage.split_files import SplitFile

    with sole_writer(path), AtomicFile(path) if split is None else SplitFile(path, split) as file:
        yield file


def there(console: Console, graph: Graph, storages: Storages, since: str, *, jobs: int) -> frozenset[Digest]:
    """The large blobs that the other side has, as its repository, an earlier archive or an inventory say.

    Raises NotFound (`since-not-found`) for a repository that is not there.
    """
    from provender.errors import InvalidReference, NotFound
    from provender.oci import Reference
    from provender.transfer.archive_out import blobs_at, blobs_told
    from provender.transfer.inventory import Inventory

    if not since.startswith("layout:") and Path(since).is_file():
        return blobs_told(graph, Inventory.load(Path(since)))
    if since.startswith((".", "/")) or since.endswith(".json"):
        raise NotFound(
            f"there is no inventory {since}",
            code="inventory-not-found",
            where=since,
            hint="'provender pull layout:FILE.tar:provender.inventory' lays that of an archive as inventory.json",
        )
    try:
        reference = Reference.parse(since)
    except InvalidReference as error:
        raise error.at(since) from None
    other = storages.open(reference).home()
    # First: zot says of a blob that any repository has that it is in one that nobody made.
    _check_there(other, reference)
    found = blobs_at(graph, other, jobs=jobs)
    if not found:
        console.note(f"{reference.name} has none of the large blobs, so the archive has everything")
    return found


def _check_there(other: RegistryRepository | LayoutStorage | ArchiveStorage, reference: Reference) -> None:
    from provender.errors import NotFound

    if reference.target is not None:
        other.resolve(reference.target)
        return
    try:
        next(iter(other.tags()), None)
    except NotFound as error:
        raise NotFound(
            f"there is no repository {reference.name} with a tag, for the archive to build on",
            code="since-not-found",
            where=str(reference),
            hint="check the name, or name what is there by digest; leave --since out for an archive with everything",
        ) from error


def refuse_existing(path: Path, *, is_split: bool, is_forced: bool) -> None:
    """Raise Conflict (`archive-exists`) if there is such an archive, or an OSError where there can be none.

    One in a single file is never replaced by parts: under its name it would be read instead of them.
    """
    from provender.errors import Conflict
    from provender.storage.files import check_output
    from provender.storage.split_files import parts_there

    check_output(path)
    names = () if is_forced and not is_split else (path,)
    for name in (*names, *(parts_there(path) if is_split and not is_forced else ())):
        if name.exists():
            raise Conflict(
                f"{name} is there already, and an archive is not added to",
                code="archive-exists",
                where=str(path),
                hint=f"name another file, or {'remove that one' if is_forced else 'replace it with --force'}",
            )


def check_archive(graph: Graph, reading: Opened, destination: Fetcher, *, progress: Progress | None = None) -> None:
    """Verify every byte of an archive that is copied from, and that the destination has what a delta lacks.

    Nothing for any other source. Raises IntegrityError, or NotFound (`delta-incomplete`).
    """
    from provender.storage.archive import ArchiveStorage
    from provender.transfer.archive_in import ArchiveCheck
    from provender.transfer.progress import NO_PROGRESS

    if isinstance(reading.storage, ArchiveStorage):
        check = ArchiveCheck(reading.storage, where=reading.location, progress=progress or NO_PROGRESS)
        check.check(graph, destination)


def _show(console: Console, graph: Graph, path: Path, written: Archived, parts: tuple[FilePart, ...]) -> None:
    digest = graph.roots[0].digest
    name = path.with_name(parts[0].name) if parts else path
    if console.is_json:
        fields = {
            "reference": f"layout:{name}@{digest}",
            "digest": digest,
            "tags": list(graph.roots[0].tags),
            "documents": written.documents,
            "blobs": written.blobs,
            "contentBytes": written.content_bytes,
            "lacks": [{"digest": each.digest, "size": each.size} for each in written.left_out],
            "parts": [{"name": part.name, "size": part.size, "sha256": part.sha256} for part in parts],
        }
        console.document("archive", fields)
        return
    console.result(f"layout:{name}@{digest}")
    lacks = (
        f"; it lacks {counted(len(written.left_out), 'blob', 'blobs')} of the other side" if written.left_out else ""
    )
    what = f"{counted(written.documents, 'manifest', 'manifests')}, {counted(written.blobs, 'blob', 'blobs')}"
    console.note(f"{what}, {human_bytes(written.content_bytes)}{lacks}")
    if parts:
        console.note(
            f"{counted(len(parts), 'part', 'parts')} of {path.name}; {path.name}.parts says what they have to be"
        )
