"""`provender copy`: an artifact with everything that belongs to it, from one storage to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provender.cli.archiving import (
    archive_path,
    check_archive,
    part_size,
    refuse_existing,
    tell_kind,
    write_archive_file,
)
from provender.cli.console import Console, counted
from provender.cli.copy_view import show_copy, show_plan, show_unchanged
from provender.cli.options import console_of, jobs_option, output_options, registry_options
from provender.cli.sides import side_options, sides_of, two_sides

if TYPE_CHECKING:
    from provender.artifact.narrow import Narrowed
    from provender.oci import Digest, Platform, Reference
    from provender.storage.open import Opened, Storages
    from provender.transfer.copy import CopyDestination, Report
    from provender.transfer.discover import DiscoverOptions, Start
    from provender.transfer.graph import Graph
    from provender.transfer.plan import Plan, PlanDestination
    from provender.transfer.progress import Progress


@click.command("copy")
@click.argument("source")
@click.argument("destination")
@click.option(
    "--related",
    default="all",
    show_default=True,
    metavar="all|none|KIND,...",
    help="What comes along: signature, attestation, sbom, or artifact types.",
)
@click.option(
    "--platform", "platforms", multiple=True, metavar="OS/ARCH[/VARIANT]", help="Only this platform (repeatable)."
)
@click.option("--tag", "tags", multiple=True, help="A further tag at the destination (repeatable).")
@click.option("--force", is_flag=True, help="Repair what is incomplete below what is there; replace an archive.")
@click.option(
    "--since",
    metavar="REFERENCE|FILE",
    help="Into an archive: leave out large blobs that are there.",
)
@click.option("--split", metavar="SIZE", help="Into an archive: in parts of this size, such as 4GiB.")
@click.option("--fast", is_flag=True, help="Do nothing if the destination's tag names the same digest already.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option("--include-foreign", is_flag=True, help="Copy layers that are not to be distributed, too.")
@click.option("--no-digest-tags", is_flag=True, help="Do not look for tags such as sha256-….sig.")
@click.option(
    "--no-require-listing", is_flag=True, help="Move the tags even if the destination does not list its referrers."
)
@click.option("--referrers-tags", is_flag=True, help="In a layout list referrers under tags, too, as regctl does.")
@side_options
@jobs_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    destination: str,
    related: str,
    platforms: tuple[str, ...],
    tags: tuple[str, ...],
    force: bool,
    since: str | None,
    split: str | None,
    fast: bool,
    dry_run: bool,
    include_foreign: bool,
    no_digest_tags: bool,
    no_require_listing: bool,
    referrers_tags: bool,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
    **sides: object,
) -> None:
    """Copy the artifact at SOURCE to DESTINATION with its signatures, attestations, SBOMs and whatever refers to it.

    Digests never change. Tags are written last, so that nobody meets a tag without its signatures. What is there
    already is not sent again, and a registry takes blobs over from its other repositories by itself. Without a tag at
    the destination the source's is kept.

    A destination layout:FILE.tar (or .tar.zst) is one archive, written front to back, the same bytes for the same
    content, with an inventory. With --since (the destination's repository, an earlier archive, or the inventory.json
    of one) it lacks the large blobs that are there. With --split it is written as FILE.tar.001 and so on, and
    FILE.tar.parts that lists them; either name is read. What comes from an archive is verified as a whole before
    anything of it is sent.

    With one --platform its manifest is copied; with several a new index is made, whose digest is another one.

    \b
    Example:
      provender copy ghcr.io/acme/app:1.2.0 registry.example/mirror/app
      provender copy ghcr.io/acme/app:1.2.0 layout:./bundle --platform linux/amd64 --platform linux/arm64
      provender copy ghcr.io/acme/app:1.2.0 layout:./app.tar --since layout:./last.tar
      provender copy ghcr.io/acme/app:1.2.0 layout:./app.tar.zst --split 4GiB
      provender copy layout:./app.tar.zst.001:1.2.0 registry.example/app --to-authfile ci-auth.json
    """
    from provender.errors import VerificationFailed
    from provender.oci import Platform, Reference
    from provender.storage.layout import LayoutStorage
    from provender.transfer.discover import DiscoverOptions
    from provender.transfer.plan import PlanOptions, missing
    from provender.transfer.related import Related

    console = console_of(ctx)
    console.subject = source[:300]
    asked, target = Reference.parse(source), Reference.parse(destination)
    names = _names(asked, target, tags)
    wanted = asked.target or "latest"
    if asked.target is None:
        console.note("no tag or digest is named, so the tag latest is taken")
    options = DiscoverOptions(
        related=Related.parse(related), foreign=include_foreign, digest_tags=not no_digest_tags, jobs=jobs
    )
    machines = [Platform.parse(text) for text in platforms]
    path = archive_path(target)
    part_bytes = None if split is None else part_size(split)
    if path is None and (since is not None or split is not None):
        option = "--since" if since is not None else "--split"
        raise click.UsageError(f"{option} is for archives: name a destination such as layout:./app.tar")
    if path is not None and not dry_run:
        refuse_existing(path, is_split=split is not None, is_forced=force)
    from_side, to_side = sides_of(sides)
    with two_sides(
        console, ((from_side, asked), (to_side, target)), registries=registries, plain_http=plain_http, jobs=jobs
    ) as (from_storages, to_storages):
        reading = from_storages.open(asked)
        tell_kind(console, reading)
        writing = _writing(to_storages, target, is_archive=path is not None, dry_run=dry_run)
        if fast and not machines:
            digest = _same(reading, writing, wanted, names)
            if digest is not None:
                show_unchanged(console, target, digest, names)
                return
        graph, narrowed = _graph(console, reading, wanted, names, options=options, machines=machines)
        _tell_left_out(console, graph)
        if path is not None and not dry_run:
            base = None if since is None else (to_storages, since)
            write_archive_file(console, graph, reading.storage, path, since=base, split=part_bytes, jobs=jobs)
            return
        plan = missing(graph, writing, options=PlanOptions(is_thorough=force, probe_blobs=dry_run, jobs=jobs))
        if dry_run:
            show_plan(console, target, plan, narrowed)
            return
        place = to_storages.open(target, create=True).writable
        if isinstance(place, LayoutStorage):
            place.tags_referrers = referrers_tags
        progress = console.progress()
        check_archive(graph, reading, place, progress=progress)
        try:
            report = _carry_out(plan, reading, place, progress, jobs=jobs, lists=not no_require_listing)
        except VerificationFailed as error:
            raise error.at(target.name) from None
    console.stop_progress()
    show_copy(console, target, graph, report, narrowed, names)


def _names(asked: Reference, target: Reference, tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags at the destination."""
    from provender.errors import InvalidReference
    from provender.oci.reference import check_tag

    if target.digest is not None:
        raise InvalidReference(
            "a copy has the digest of its source", code="digest-given", where=str(target), hint="name a tag, or none"
        )
    first = target.tag or (None if tags else asked.tag or (None if asked.digest else "latest"))
    return tuple(dict.fromkeys(check_tag(name) for name in (*([first] if first else []), *tags)))


def _same(reading: Opened, writing: PlanDestination, wanted: str, names: tuple[str, ...]) -> Digest | None:
    """The digest, if all the tags of the destination name what the source names; by one question each."""
    from provender.oci import Digest

    if not names:
        return None
    digest = Digest(wanted) if ":" in wanted else reading.storage.digest_of(wanted)
    is_same = digest is not None and all(writing.digest_of(name) == digest for name in names)
    return digest if is_same else None


def _graph(
    console: Console,
    reading: Opened,
    wanted: str,
    names: tuple[str, ...],
    *,
    options: DiscoverOptions,
    machines: list[Platform],
) -> tuple[Graph, Narrowed]:
    from provender.artifact.narrow import narrow
    from provender.transfer.discover import Start, discover

    document = reading.storage.resolve(wanted)
    narrowed = narrow(reading.storage, document, machines)
    start = Start(document=narrowed.document, asked=wanted, tags=names, is_new=narrowed.is_new)
    graph = discover(reading.storage, [start], options=options)
    if narrowed.whole is not None and not options.related.is_none:
        _tell_unapplied(console, reading, Start(document=narrowed.whole, asked=wanted), options)
    return graph, narrowed


def _tell_unapplied(console: Console, reading: Opened, whole: Start, options: DiscoverOptions) -> None:
    """Say which related content belongs to the whole index, and so stays behind."""
    import msgspec

    from provender.transfer.discover import discover

    graph = discover(reading.storage, [whole], options=msgspec.structs.replace(options, levels=1))
    left = [edge.digest for edge in graph.related.get(whole.document.digest, ())]
    if left:
        what = counted(len(left), "related artifact belongs", "related artifacts belong")
        shown = ", ".join(f"{_type(graph, digest)} {digest}" for digest in left[:5])
        console.warning(f"{what} to the index {whole.document.digest}, not to what is copied: {shown}")


def _type(graph: Graph, digest: Digest) -> str:
    node = graph.by_digest[digest]
    return node.artifact_type or node.descriptor.media_type


def _tell_left_out(console: Console, graph: Graph) -> None:
    from provender.bundle.reading import bundles_among

    if bundles_among(graph):
        console.warning("this is a bundle, and its images are not copied; 'provender bundle copy' copies all of it")
    for left in graph.left_out:
        if left.reason in ("foreign", "gone", "other-subject"):
            console.warning(f"left out: {left.digest} ({left.reason}: {left.detail})")


def _writing(storages: Storages, target: Reference, *, is_archive: bool, dry_run: bool) -> PlanDestination:
    """The destination; a dry run makes none, so what is not there is an empty one, as every archive is at first."""
    from provender.errors import NotFound
    from provender.storage.memory import MemoryStorage

    if is_archive:
        return MemoryStorage()
    if not dry_run:
        return storages.open(target, create=True).writable
    try:
        return storages.open(target).home()
    except NotFound:
        return MemoryStorage()


def _carry_out(
    plan: Plan, reading: Opened, destination: CopyDestination, progress: Progress, *, jobs: int, lists: bool
) -> Report:
    from provender.storage.abilities import Mounter
    from provender.transfer.copy import CopyOptions, copy

    name = destination.neighbour(reading.home()) if isinstance(destination, Mounter) else None
    options = CopyOptions(jobs=jobs, mount_from=(name,) if name else (), is_listing_required=lists)
    return copy(plan, reading.storage, destination, options=options, progress=progress)
