"""`provender export`: everything that a lock needs, in one archive."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import click

from provender.cli.console import Console, counted, human_bytes
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.project import directory_option, project_directory
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.storage.archive_writer import Writable
    from provender.storage.files import AtomicFile
    from provender.storage.split_files import SplitFile


@click.command("export")
@click.option(
    "--for",
    "lock_path",
    metavar="LOCK",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The provender.lock; that of the project unless given. Its provender.yaml lies beside it.",
)
@click.option("-o", "--output", required=True, metavar="FILE", help="The archive to write; - is standard output.")
@click.option(
    "--compression", type=click.Choice(["none", "zstd"]), default="none", show_default=True, help="Of the archive."
)
@click.option(
    "--related",
    metavar="all|none|KIND,...",
    help="What comes along: signature, attestation, sbom, or artifact types.  [default: all; none with --offline]",
)
@click.option("--offline", is_flag=True, help="Ask no registry; the cache and layouts have to do.")
@directory_option
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    lock_path: Path | None,
    output: str,
    compression: Literal["none", "zstd"],
    related: str | None,
    offline: bool,
    directory: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Write everything that the lock needs into one OCI layout archive, for a machine without network.

    There, `provender import` reads it and `provender sync --offline` works. Signatures and all else that refers to the
    artifacts of registries comes along, for whoever imports into a store. The same lock gives the same bytes, as long
    as nobody adds to that. Other tools read it as the OCI layout that it is; layers that the project does not lay are
    left out.

    \b
    Example:
      provender export -o project.tar
      provender export --for deploy/provender.lock -o - | ssh airgap 'cat > project.tar'
    """
    from provender.errors import InvalidProject
    from provender.project.export import export
    from provender.project.lock import LOCK_NAME, Lock
    from provender.project.manifest import MANIFEST_NAME, Manifest
    from provender.transfer.related import Related

    console = console_of(ctx)
    wanted = Related.parse(related or ("none" if offline else "all"))
    project = project_directory(console, lock_path.parent if lock_path is not None else directory)
    path = lock_path or project / LOCK_NAME
    lock = Lock.load(path)
    if lock is None:
        raise InvalidProject(
            "there is no lock to export for", code="no-lock", where=str(path), hint="run 'provender lock' first"
        )
    manifest = Manifest.load(project / MANIFEST_NAME)
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs, is_offline=offline)
    with services.sources(manifest) as sources, _target(console, output) as target:
        out = _Hashed(target)
        done = export(
            project,
            manifest,
            lock,
            sources,
            out,
            compression=compression,
            related=wanted,
            jobs=jobs,
            progress=console.progress(),
        )
        console.stop_progress()
        if not isinstance(target, _Stdout):
            target.commit()
    digest = f"sha256:{out.digest}"
    what = f"{counted(done.blobs, 'blob', 'blobs')} for {counted(len(done.dependencies), 'dependency', 'dependencies')}"
    if output == "-":
        console.note(f"{what}, {human_bytes(out.size)}, {digest}")
    elif console.is_json:
        fields = {
            "path": output,
            "digest": digest,
            "sizeBytes": out.size,
            "compression": compression,
            "documents": done.documents,
            "blobs": done.blobs,
            "dependencies": list(done.dependencies),
            "leftOut": list(done.left_out),
        }
        console.document("export", fields)
    else:
        console.result(f"{output}  {digest}  {human_bytes(out.size)}")
        console.note(f"{what}; on the other machine: provender import {os.path.basename(output)}")


class _Stdout:
    """Standard output as bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, content: bytes, /) -> None:
        self._stream.write(content)


def _target(console: Console, output: str) -> AbstractContextManager[AtomicFile | SplitFile | _Stdout]:
    import sys

    from provender.cli.archiving import opened_archive
    from provender.errors import NotFound

    if output != "-":
        console.directory = output
        path = Path(output)
        if not path.parent.is_dir():
            raise NotFound(
                f"there is no directory {path.parent}", code="no-directory", where=output, hint="make it first"
            )
        return opened_archive(path, None)
    if console.is_json:
        raise click.UsageError("the archive goes to standard output, so the report cannot; leave out --format json")
    if sys.stdout.isatty():
        raise click.UsageError("an archive is nothing for a terminal; name a file with --output, or use a pipe")
    return nullcontext(_Stdout(sys.stdout.buffer))


class _Hashed:
    """Counts and hashes what passes."""

    def __init__(self, out: Writable) -> None:
        self._out = out
        self._hasher = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hasher.hexdigest()

    def write(self, content: bytes, /) -> None:
        self._hasher.update(content)
        self.size += len(content)
        self._out.write(content)
