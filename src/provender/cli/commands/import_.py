"""`provender import`: the content of an archive, into the cache or a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, counted, human_bytes
from provender.cli.options import console_of, jobs_option, output_options
from provender.cli.services import Services

if TYPE_CHECKING:
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
    from provender.errors import InvalidDocument, NotFound
    from provender.storage.archive import ArchiveStorage

    if file.is_dir():
        raise InvalidDocument(
            f"{file} is a directory, not an archive",
            code="not-an-archive",
            hint="name a file that 'provender export' wrote; a layout that is a directory is bound with --registry",
        )
    if not file.exists():
        raise NotFound(
            f"no such file: {file}", code="no-archive", hint="name the archive that 'provender export' wrote"
        )
    with closing(ArchiveStorage(file, scratch=scratch)) as archive:
        yield archive
