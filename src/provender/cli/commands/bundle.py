"""`provender bundle`: files with the images that they need, as one artifact: push, pull, copy, describe, list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.bundle_view import show_copied, show_family, show_list, show_pulled, show_pushed
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.services import Services
from provender.cli.sides import side_options, sides_of, two_sides
from provender.cli.writing import read_input

if TYPE_CHECKING:
    from provender.bundle.locks import BundleLock, ImagesLock
    from provender.oci import Reference

_FILE = click.Path(dir_okay=False, path_type=Path)
_MAX_LOCK_BYTES = 8 << 20


@click.group("bundle")
def command() -> None:
    """Bundles: files with the images that they need. Words and files are those of imgpkg.

    \b
    Example:
      provender bundle push -b ghcr.io/acme/stack:1.0 -f stack/
      provender bundle copy -b ghcr.io/acme/stack:1.0 --to-repo registry.example/stack
      provender bundle pull -b registry.example/stack:1.0 -o stack
    """


@command.command("push")
@click.option("-b", "--bundle", required=True, metavar="REFERENCE", help="Where to.")
@click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="PATH", help="A file or directory (repeatable)."
)
@click.option("--imgpkg", "is_hybrid", is_flag=True, help="Write it so that imgpkg reads it, too.")
@click.option(
    "--file-exclusion",
    "excluded",
    multiple=True,
    default=(".git",),
    show_default=True,
    metavar="PATH",
    help="A path in the bundle to leave out (repeatable).",
)
@click.option("-l", "--labels", "labels", multiple=True, metavar="KEY=VALUE", help="With --imgpkg: label the image.")
@click.option("-a", "--annotation", "annotations", multiple=True, metavar="KEY=VALUE", help="Annotate the manifest.")
@click.option("--lock-output", type=_FILE, help="Write a BundleLock of what was pushed.")
@jobs_option
@registry_options
@output_options
@click.pass_context
def push(
    ctx: click.Context,
    bundle: str,
    files: tuple[str, ...],
    is_hybrid: bool,
    excluded: tuple[str, ...],
    labels: tuple[str, ...],
    annotations: tuple[str, ...],
    lock_output: Path | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Publish files and directories as a bundle. One of them has .imgpkg/images.yml, which lists images by digest.

    The bundle is an OCI 1.1 artifact; with --imgpkg it is an image that imgpkg pulls, copies and describes as well.

    \b
    Example:
      provender bundle push -b ghcr.io/acme/stack:1.0 -f stack/ --lock-output bundle.lock.yml
      provender bundle push -b ghcr.io/acme/stack:1.0 -f stack/ --imgpkg
    """
    from provender.artifact.annotation_file import parse_annotations
    from provender.artifact.publish import push_blobs
    from provender.artifact.scratch import packing_directory
    from provender.bundle.packing import pack_bundle
    from provender.bundle.reading import LABEL, imgpkg_tag
    from provender.cli.bundling import lock_name, write_bundle_lock
    from provender.errors import InvalidReference
    from provender.oci import Reference
    from provender.storage.files import check_output

    console = console_of(ctx)
    console.subject = bundle[:300]
    target = Reference.parse(bundle)
    if target.digest is not None:
        raise InvalidReference(
            "a push cannot choose its digest", code="digest-given", where=bundle, hint="name a tag, or none"
        )
    noted = parse_annotations(labels)
    if noted and not is_hybrid:
        raise click.UsageError("--labels are an image's, so they need --imgpkg; --annotation is for every bundle")
    if LABEL in noted:
        raise click.UsageError(f"the label {LABEL} says that it is a bundle, and is written anyway")
    if lock_output is not None:
        check_output(lock_output)
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    tag = target.tag or "latest"
    with services.storages(services.nearby_locations()) as storages, packing_directory() as scratch:
        name = lock_name(storages, target) if lock_output is not None else None
        packed = pack_bundle(
            files,
            scratch,
            is_hybrid=is_hybrid,
            excluded=excluded,
            labels=noted,
            annotations=parse_annotations(annotations),
        )
        storage = storages.open(target, create=True).writable
        push_blobs(storage, packed.blobs, jobs=jobs, progress=console.progress())
        digest = packed.document.digest
        storage.push_document(packed.document, (tag, imgpkg_tag(digest)) if is_hybrid else (tag,))
    console.stop_progress()
    if lock_output is not None and name is not None:
        write_bundle_lock(lock_output, name, digest, tag)
    show_pushed(console, target, packed.document, tag)


@command.command("pull")
@click.option("-b", "--bundle", metavar="REFERENCE", help="Which bundle.")
@click.option("--lock", type=_FILE, help="A BundleLock that names it.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="The directory to lay it into.")
@click.option("-r", "--recursive", is_flag=True, help="Lay the bundles inside below .imgpkg/bundles, too.")
@click.option("--force", is_flag=True, help="Overwrite files that differ.")
@jobs_option
@registry_options
@output_options
@click.pass_context
def pull(
    ctx: click.Context,
    bundle: str | None,
    lock: Path | None,
    output: str,
    recursive: bool,
    force: bool,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Lay the files of a bundle into a directory.

    Its lock names the images beside the bundle if all of them are there, else it is as it was published. Files that
    are there already stay; those that differ are an error that lists them, or with --force are replaced.

    \b
    Example:
      provender bundle pull -b registry.example/stack:1.0 -o stack
      provender bundle pull --lock bundle.lock.yml -o stack --recursive
    """
    from provender.cli.bundling import pull_into

    console = console_of(ctx)
    console.directory = output
    asked = _one_bundle(bundle, lock)
    console.subject = str(asked)[:300]
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    with services.storages(services.nearby_locations()) as storages:
        pulled = pull_into(console, storages, asked, output, is_recursive=recursive, force=force, jobs=jobs)
    console.stop_progress()
    show_pulled(console, asked, pulled)


@command.command("copy")
@click.option("-b", "--bundle", metavar="REFERENCE", help="Which bundle.")
@click.option("--lock", type=_FILE, help="A BundleLock or ImagesLock: that bundle, or those images.")
@click.option("--tar", type=_FILE, help="An archive with one bundle, ours or imgpkg's.")
@click.option("--to-repo", metavar="REPOSITORY[:TAG]", help="The one repository for all of it.")
@click.option("--to-tar", type=_FILE, help="An archive, FILE.tar or FILE.tar.zst.")
@click.option("--lock-output", type=_FILE, help="Write a lock of what is at the destination.")
@click.option(
    "--related",
    default="all",
    show_default=True,
    metavar="all|none|KIND,...",
    help="What comes along with every image: signature, attestation, sbom, or artifact types.",
)
@click.option("--include-non-distributable-layers", "foreign", is_flag=True, help="Copy such layers, too.")
@click.option("--force", is_flag=True, help="Repair what is incomplete below what is there; replace an archive.")
@side_options
@jobs_option
@registry_options
@output_options
@click.pass_context
def copy(
    ctx: click.Context,
    /,
    bundle: str | None,
    lock: Path | None,
    tar: Path | None,
    to_repo: str | None,
    to_tar: Path | None,
    lock_output: Path | None,
    related: str,
    foreign: bool,
    force: bool,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
    **sides: object,
) -> None:
    """Copy a bundle with all its images, the bundles inside, and the signatures, SBOMs and attestations of all of them.

    Everything goes into one repository, the bundle's own tag last. Digests never change. imgpkg finds all of it there.

    \b
    Example:
      provender bundle copy -b ghcr.io/acme/stack:1.0 --to-repo registry.example/stack --lock-output bundle.lock.yml
      provender bundle copy -b ghcr.io/acme/stack:1.0 --to-tar stack.tar
      provender bundle copy --tar stack.tar --to-repo registry.example/stack
    """
    from provender.bundle.locks import ImagesLock
    from provender.cli.bundling import Destination, bundle_in, copy_bundle, copy_images
    from provender.oci import Reference
    from provender.transfer.discover import DiscoverOptions
    from provender.transfer.related import Related

    console = console_of(ctx)
    if [bundle, lock, tar].count(None) != 2:
        raise click.UsageError("name one source: --bundle, --lock or --tar")
    if (to_repo is None) == (to_tar is None):
        raise click.UsageError("name one destination: --to-repo or --to-tar")
    if to_tar is not None and lock_output is not None:
        raise click.UsageError("--lock-output names a place in a registry, and an archive has none: use --to-repo")
    target = Reference.parse(to_repo if to_repo is not None else f"layout:{to_tar}")
    if to_repo is not None and target.digest is not None:
        raise click.UsageError(f"a copy has the digest of its source: name a repository, not {to_repo}")
    read = _read_lock(lock) if lock is not None else None
    if tar is not None:
        asked = Reference.parse(f"layout:{tar}")
    elif isinstance(read, ImagesLock):
        asked = read.images[0].reference if read.images else target
    else:
        asked = Reference.parse(bundle) if bundle is not None else _locked(read, lock)
    console.subject = str(asked)[:300]
    options = DiscoverOptions(related=Related.parse(related), foreign=foreign, jobs=jobs)
    from_side, to_side = sides_of(sides)
    with two_sides(
        console, ((from_side, asked), (to_side, target)), registries=registries, plain_http=plain_http, jobs=jobs
    ) as (from_storages, to_storages):
        destination = Destination(
            console, to_storages, target, archive=to_tar, lock_output=lock_output, is_forced=force, jobs=jobs
        )
        if isinstance(read, ImagesLock):
            copied = copy_images(from_storages, read, destination, options)
        else:
            reference = bundle_in(console, from_storages, tar) if tar is not None else asked
            copied = copy_bundle(from_storages, reference, destination, options)
    console.stop_progress()
    show_copied(console, target if to_tar is None else None, copied)


@command.command("describe")
@click.option("-b", "--bundle", required=True, metavar="REFERENCE", help="Which bundle.")
@jobs_option
@registry_options
@output_options
@click.pass_context
def describe(ctx: click.Context, bundle: str, jobs: int, registries: tuple[str, ...], plain_http: bool | None) -> None:
    """Show the images of a bundle, the bundles inside, where they come from, and what is signed.

    \b
    Example:
      provender bundle describe -b registry.example/stack:1.0
      provender bundle describe -b registry.example/stack:1.0 --format json
    """
    from provender.bundle.contents import Contents
    from provender.bundle.moving import parts_of_family
    from provender.cli.bundling import Opening
    from provender.oci import Reference
    from provender.transfer.discover import DiscoverOptions

    console = console_of(ctx)
    asked = Reference.parse(bundle)
    console.subject = bundle[:300]
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    with services.storages(services.nearby_locations()) as storages:
        places = Opening(storages)
        family = Contents(places, jobs=jobs).of_bundle(asked)
        parts = parts_of_family(family, places, has_records=False, options=DiscoverOptions(jobs=jobs))
    show_family(console, family, parts)


@command.command("list")
@click.argument("place", metavar="REPOSITORY|REGISTRY")
@jobs_option
@registry_options
@output_options
@click.pass_context
def list_(ctx: click.Context, place: str, jobs: int, registries: tuple[str, ...], plain_http: bool | None) -> None:
    """List the bundles that have a tag in a repository, or in all repositories that a registry lists.

    \b
    Example:
      provender bundle list registry.example/stack
      provender bundle list registry.example
    """
    from provender.bundle.listing import bundles_in
    from provender.cli.bundling import repositories_of

    console = console_of(ctx)
    console.subject = place[:300]
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    with services.storages(services.nearby_locations()) as storages:
        references = repositories_of(storages, place)
        # A registry lists what has lost its last tag, too; what was named has to be there.
        is_listed = "/" not in place and not place.startswith("layout:")
        found = [
            (each, bundles_in(storages.open(each).storage, missing_ok=is_listed, jobs=jobs)) for each in references
        ]
    show_list(console, found)


def _one_bundle(bundle: str | None, lock: Path | None) -> Reference:
    from provender.oci import Reference

    if (bundle is None) == (lock is None):
        raise click.UsageError("name one bundle: with --bundle or with --lock")
    return Reference.parse(bundle) if bundle is not None else _locked(_read_lock(lock), lock)


def _read_lock(path: Path | None) -> BundleLock | ImagesLock | None:
    from provender.bundle.locks import read_lock

    if path is None:
        return None
    return read_lock(read_input(str(path), _MAX_LOCK_BYTES, "lock"), where=str(path))


def _locked(lock: BundleLock | ImagesLock | None, path: Path | None) -> Reference:
    from provender.bundle.locks import BundleLock
    from provender.errors import InvalidProject

    if isinstance(lock, BundleLock):
        return lock.reference
    raise InvalidProject(
        "the lock names images, not the bundle to pull",
        code="unknown-list",
        where=str(path),
        hint="name a BundleLock, such as bundle push and bundle copy write with --lock-output",
    )
