"""`provender import`: the content of an archive, into the cache or a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from provender.cli.console import Console, counted, human_bytes
from provender.cli.options import console_of, jobs_option, output_options
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.artifact.compression import Stream
    from provender.project.importing import Imported
    from provender.storage.archive import ArchiveStorage


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--store",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put artifacts into this store of OCI layouts, DIR/REGISTRY/REPOSITORY, instead of the cache.",
)
@jobs_option
@output_options
@click.pass_context
def command(ctx: click.Context, file: Path, store: Path | None, jobs: int) -> None:
    """Read the archive FILE that `export` wrote, verify every byte of it, and keep it in this user's cache.

    Then `provender sync --offline` lays what it has. With --store the artifacts can be served, pulled and bound to
    logical registries instead; files of other origins go to the cache in any case.

    \b
    Example:
      provender import project.tar
      provender import project.tar --store /srv/store && provender sync --registry acme=layout:/srv/store/acme
    """
    import msgspec

    from provender.project.importing import import_to_cache, import_to_store
    from provender.storage.roots import StoreRoot

    console = console_of(ctx)
    console.subject = str(file)
    cache = Services(console, jobs=jobs).cache()
    with _opened(file, cache.root) as archive:
        if store is None:
            done = import_to_cache(archive, cache, jobs=jobs, progress=console.progress())
        else:
            console.directory = str(store)
            done = import_to_store(archive, StoreRoot(store), cache, jobs=jobs, progress=console.progress())
    console.stop_progress()
    place = str(store or cache.root)
    if console.is_json:
        console.document("import", {"path": str(file), "to": place, **msgspec.to_builtins(done)})
        return
    _render(console, done, place, is_store=store is not None)


def _render(console: Console, done: Imported, place: str, *, is_store: bool) -> None:
    for path in done.repositories:
        console.result(path)
    what = f"{counted(done.documents, 'document', 'documents')} and {counted(done.blobs, 'blob', 'blobs')}"
    console.note(f"{what}, {human_bytes(done.size_bytes)}, verified; kept in {place}")
    if done.absent:
        console.note(f"{done.absent} more are named in it and were left out when it was written")
    if is_store and done.repositories:
        registries = sorted({path.partition("/")[0] for path in done.repositories})
        bindings = " ".join(f"--registry {name}=layout:{place}/{name}" for name in registries)
        console.note(f"to sync from there: provender sync {bindings}")


@contextmanager
def _opened(file: Path, scratch: Path) -> Iterator[ArchiveStorage]:
    """The archive; a compressed one is unpacked into a temporary file first, for it is read at random."""
    import tempfile

    from provender.artifact.compression import open_stream, sniff
    from provender.errors import InvalidDocument, NotFound
    from provender.storage.archive import ArchiveStorage
    from provender.storage.verify import CHUNK_BYTES

    try:
        source = open(file, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError as error:
        raise NotFound(
            f"no such file: {file}", code="no-archive", hint="name the archive that 'provender export' wrote"
        ) from error
    except IsADirectoryError as error:
        raise InvalidDocument(
            f"{file} is a directory, not an archive",
            code="not-an-archive",
            hint="name a file that 'provender export' wrote; a layout that is a directory is bound with --registry",
        ) from error
    with source:
        compression = sniff(source.peek(512)[:512])
        if compression not in ("gzip", "zstd"):
            yield ArchiveStorage(file)
            return
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=scratch, prefix=".import.", suffix=".tmp") as plain:
            stream = open_stream(source, compression, where=str(file))
            _copy(stream, plain, CHUNK_BYTES)
            plain.flush()
            yield ArchiveStorage(Path(plain.name))


def _copy(source: Stream, target: IO[bytes], size: int) -> None:
    while chunk := source.read(size):
        target.write(chunk)
