"""What the commands for bundles do over storages: opening, copying to a repository or an archive, pulling, locks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from provender.cli.archiving import archive_path, check_archive, refuse_existing, tell_kind, write_archive_file
from provender.cli.console import Console
from provender.storage.files import check_output

if TYPE_CHECKING:
    from provender.bundle.contents import Place
    from provender.bundle.locks import ImagesLock
    from provender.bundle.moving import Merged, Part
    from provender.bundle.pulling import PulledBundle
    from provender.oci import Digest, Reference
    from provender.storage.layout import LayoutStorage
    from provender.storage.open import Opened, Storages
    from provender.storage.registry import RegistryRepository
    from provender.transfer.copy import Report
    from provender.transfer.discover import DiscoverOptions
    from provender.transfer.graph import Graph

__all__ = [
    "Copied",
    "Destination",
    "Opening",
    "bundle_in",
    "copy_bundle",
    "copy_images",
    "lock_name",
    "pull_into",
    "repositories_of",
    "write_bundle_lock",
]

_HUB = "docker.io"
_MAX_REPOSITORIES = 10_000


class Opening:
    """Opens each repository once; threads may share it."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._opened: dict[Reference, Opened] = {}
        self._lock = threading.Lock()

    def __call__(self, reference: Reference) -> Place:
        return self.opened(reference).storage

    def opened(self, reference: Reference) -> Opened:
        """As the storages open it."""
        with self._lock:
            found = self._opened.get(reference)
            if found is None:
                found = self._opened[reference] = self._storages.open(reference)
            return found


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy did: the bundle (None for the images of a lock), all of it, and what became of that.

    An archive has no report.
    """

    digest: Digest | None
    tags: tuple[str, ...]
    graph: Graph
    report: Report | None
    bundles: int = 0
    images: int = 0


class Destination:
    """One repository, or one archive."""

    def __init__(
        self,
        console: Console,
        storages: Storages,
        target: Reference,
        *,
        archive: Path | None,
        lock_output: Path | None,
        is_forced: bool,
        jobs: int,
    ) -> None:
        if archive is not None and archive_path(target) is None:
            raise click.UsageError(f"an archive is FILE.tar or FILE.tar.zst, not {archive}")
        if archive is not None:
            refuse_existing(archive, is_split=False, is_forced=is_forced)
        if lock_output is not None:
            check_output(lock_output)
        self.target = target
        self.lock_output = lock_output
        self.jobs = jobs
        self.is_archive = archive is not None
        self._console = console
        self._is_forced = is_forced
        self.name = lock_name(storages, target) if lock_output is not None else None
        self.storage = None if archive is not None else storages.open(target, create=True).writable

    def _tell_left_out(self, parts: Sequence[Part]) -> None:
        """Say what does not come along though somebody may miss it."""
        for left in (left for part in parts for left in part.graph.left_out):
            if left.reason in ("foreign", "gone", "other-subject"):
                self._console.warning(f"left out: {left.digest} ({left.reason}: {left.detail})")

    def take(self, parts: Sequence[Part], opening: Opening, first: Digest | None, tags: Sequence[str]) -> Copied:
        """Write the parts as one; the `tags` of the document `first` come after everything else."""
        from provender.bundle.moving import Merged, merge
        from provender.errors import VerificationFailed

        self._tell_left_out(parts)
        graph, source = merge(parts, first), Merged(parts)
        if self.storage is None:
            path = Path(self.target.registry)
            write_archive_file(self._console, graph, source, path, since=None, split=None, jobs=self.jobs)
            return Copied(digest=first, tags=tuple(tags), graph=graph, report=None)
        for part in parts:  # an archive is read to its end before anything of it is sent
            if part.place is not None:
                check_archive(part.graph, opening.opened(part.place), self.storage)
        try:
            report = self._send(graph, source, parts, opening, self.storage)
        except VerificationFailed as error:
            raise error.at(self.target.name) from None
        if first is not None:
            document = graph.documents[first]
            named = [(tag, document) for tag in tags if self.storage.digest_of(tag) != first]
            self.storage.finish((), named)
        return Copied(digest=first, tags=tuple(tags), graph=graph, report=report)

    def _send(
        self,
        graph: Graph,
        source: Merged,
        parts: Sequence[Part],
        opening: Opening,
        storage: RegistryRepository | LayoutStorage,
    ) -> Report:
        from provender.storage.abilities import Mounter
        from provender.transfer.copy import CopyOptions, copy
        from provender.transfer.plan import PlanOptions, missing

        plan = missing(graph, storage, options=PlanOptions(is_thorough=self._is_forced, jobs=self.jobs))
        neighbours: dict[Digest, str] = {}
        for part in parts:
            if part.place is not None and isinstance(storage, Mounter):
                name = storage.neighbour(opening.opened(part.place).home())
                if name is not None:
                    neighbours |= dict.fromkeys((node.digest for node in part.graph.blobs), name)
        options = CopyOptions(jobs=self.jobs, mount_by=neighbours)
        return copy(plan, source, storage, options=options, progress=self._console.progress())


def copy_bundle(storages: Storages, reference: Reference, destination: Destination, options: DiscoverOptions) -> Copied:
    """Copy the bundle with all in it; its tag is the destination's, else the source's."""
    from provender.bundle.contents import Contents
    from provender.bundle.moving import parts_of_family

    opening = Opening(storages)
    family = Contents(opening, jobs=destination.jobs).of_bundle(reference)
    tag = (None if destination.is_archive else destination.target.tag) or reference.tag
    if tag is None and reference.digest is None:
        tag = "latest"
    tags = (tag,) if tag else ()
    digest = family.root.digest
    in_graph = tags if destination.is_archive else ()
    parts = parts_of_family(family, opening, tags=in_graph, known=destination.storage, options=options)
    copied = destination.take(parts, opening, digest, tags)
    if destination.lock_output is not None and destination.name is not None:
        write_bundle_lock(destination.lock_output, destination.name, digest, tag)
    images = sum(1 for item in family.items() if not item.is_bundle)
    return msgspec.structs.replace(copied, bundles=len(family.bundles), images=images)


def copy_images(storages: Storages, lock: ImagesLock, destination: Destination, options: DiscoverOptions) -> Copied:
    """Copy the images of a lock. A bundle among them is refused, for what is in it would be left behind."""
    from provender.bundle.contents import Contents
    from provender.bundle.locks import ImagesLock
    from provender.bundle.moving import parts_of_images
    from provender.errors import InvalidProject
    from provender.storage.files import write_atomically

    if not lock.images:
        raise click.UsageError("the lock names no image, so there is nothing to copy")
    opening = Opening(storages)
    items = Contents(opening, jobs=destination.jobs).of_lock(lock)
    bundle = next((item for item in items if item.is_bundle), None)
    if bundle is not None:
        raise InvalidProject(
            "an image of the lock is a bundle, and a lock of images would leave behind what is in it",
            code="bundle-in-lock",
            where=bundle.locked.image,
            hint="copy it with --bundle, or push a bundle with this lock in it and copy that",
        )
    parts = parts_of_images(items, opening, options=options)
    copied = destination.take(parts, opening, None, ())
    name = destination.name
    if destination.lock_output is not None and name is not None:
        moved = ImagesLock(images=tuple(each.at(name) for each in lock.images))
        write_atomically(destination.lock_output, moved.text(), mode=0o600)
    return msgspec.structs.replace(copied, images=len({item.digest for item in items}))


class _Asked:
    """A repository as the laying of bundles asks it."""

    def __init__(self, opened: Opened) -> None:
        self._storage = opened.storage
        self.resolve = opened.storage.resolve
        self.fetch = opened.storage.fetch
        self.exists = opened.storage.exists

    def has(self, target: str) -> bool:
        """Whether this very repository has it; a question that was not answered is an error."""
        from provender.errors import NotFound

        try:
            self._storage.resolve(target)
        except NotFound:
            return False
        return True


def pull_into(
    console: Console, storages: Storages, asked: Reference, output: str, *, is_recursive: bool, force: bool, jobs: int
) -> PulledBundle:
    """Lay a bundle into a directory (see `pull_bundle`)."""
    from provender.bundle.image_reference import ImageReference
    from provender.bundle.pulling import pull_bundle

    opening = Opening(storages)

    def opened(name: str) -> _Asked:
        return _Asked(opening.opened(ImageReference.parse(name).reference.with_target()))

    repository = _Asked(opening.opened(asked.with_target()))
    digest = asked.digest or repository.resolve(asked.tag or "latest").digest
    place = storages.locations.place(asked)
    name = None if place.host is None else _spelled(place.host, place.repository)
    return pull_bundle(
        repository,
        digest,
        name,
        opened,
        output,
        is_recursive=is_recursive,
        force=force,
        jobs=jobs,
        progress=console.progress(),
    )


def bundle_in(console: Console, storages: Storages, path: Path) -> Reference:
    """The one bundle of an archive that is in no other one."""
    from provender.bundle.listing import bundles_in, outermost
    from provender.errors import InvalidDocument
    from provender.oci import Reference
    from provender.storage.archive import ArchiveStorage

    reference = Reference.parse(f"layout:{path}")
    opened = storages.open(reference)
    tell_kind(console, opened)
    named = {bundle.digest: bundle.tags[0] for bundle in bundles_in(opened.storage)}
    found = list(named)
    if isinstance(opened.storage, ArchiveStorage):
        found = outermost(opened.storage.entries, opened.storage)
    if len(found) == 1:
        return reference.with_target(tag=named.get(found[0]), digest=found[0])
    if not found:
        raise InvalidDocument(
            "the archive has no bundle",
            code="no-bundle",
            where=str(path),
            hint=f"provender copy and relocate are for what is no bundle; 'provender tags layout:{path}' lists it",
        )
    shown = ", ".join(named.get(digest, digest) for digest in found[:5])
    raise InvalidDocument(
        f"the archive has {len(found)} bundles: {shown}",
        code="which-bundle",
        where=str(path),
        hint=f"name it: --bundle layout:{path}:TAG, or layout:{path}@DIGEST",
    )


def lock_name(storages: Storages, target: Reference) -> str:
    """The repository as locks of imgpkg spell it; a usage error for what is in no registry."""
    place = storages.locations.place(target)
    if place.host is None:
        raise click.UsageError(
            f"a lock names a place in a registry, and {target.name} is none: leave out --lock-output"
        )
    return _spelled(place.host, place.repository)


def write_bundle_lock(path: Path, name: str, digest: Digest, tag: str | None) -> None:
    """Write the lock of a bundle, as imgpkg does."""
    from provender.bundle.locks import BundleLock, LockedBundle
    from provender.storage.files import write_atomically

    lock = BundleLock(bundle=LockedBundle(image=f"{name}@{digest}", tag=tag or ""))
    write_atomically(path, lock.text(), mode=0o600)


def repositories_of(storages: Storages, text: str) -> list[Reference]:
    """The repository that was named, or all that a registry lists."""
    from itertools import islice

    from provender.errors import InvalidDocument
    from provender.oci import Reference

    if "/" in text or text.startswith("layout:"):
        return [Reference.parse(text).with_target()]
    host = Reference.parse(f"{text}/x")  # a host, or the name of a logical registry
    place = storages.locations.place(host)
    if place.host is None:
        raise click.UsageError(f"{text} is no registry that lists repositories: name one of its repositories, {text}/…")
    prefix = place.repository.removesuffix("x")
    client = storages.client(place.host, connection=place.connection)
    names = list(islice(client.repositories(), _MAX_REPOSITORIES + 1))
    if len(names) > _MAX_REPOSITORIES:
        raise InvalidDocument(
            f"the registry has more than {_MAX_REPOSITORIES} repositories",
            code="too-many-repositories",
            where=text,
            hint="name repositories, one at a time",
        )
    return [Reference.parse(f"{text}/{name[len(prefix) :]}") for name in names if name.startswith(prefix)]


def _spelled(host: str, repository: str) -> str:
    return f"index.docker.io/{repository}" if host == _HUB else f"{host}/{repository}"
