"""What is in a bundle: its images with where they are now, and the bundles among them, to a bounded depth.

An image is looked for in the repository of the bundle, where a relocation put it, then under its own name. Every digest
is looked at once, so whatever hangs together ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from provender.bundle.locks import ImageLocation, ImageLocations, ImagesLock, LockedImage
from provender.bundle.reading import BundleSource, Kind, kind_of, lock_of, not_a_bundle
from provender.errors import InvalidDocument, NotFound, ProvenderError
from provender.oci import Digest, Document, Reference
from provender.storage.abilities import RelationLister, TagLister
from provender.transfer.pool import Cancellation, run_all

__all__ = ["Bundle", "Contents", "ContentsLimits", "Family", "Item", "Place", "Places"]


class Place(BundleSource, TagLister, RelationLister, Protocol):
    """A repository, with what is needed to find all that belongs to an image in it."""


Places = Callable[[Reference], Place]
"""Opens the repository of a reference."""


class ContentsLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bundle ends as an error: levels of bundles in bundles, bundles, images."""

    levels: int = 16
    bundles: int = 500
    images: int = 10_000


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An image: `locked` is what the lock says, `place` the repository that it was found in."""

    locked: LockedImage
    place: Reference
    document: Document
    is_bundle: bool

    @property
    def digest(self) -> Digest:
        return self.document.digest


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle and its images, in the order of its lock."""

    place: Reference
    document: Document
    kind: Kind
    items: tuple[Item, ...]

    @property
    def digest(self) -> Digest:
        return self.document.digest

    def locations(self) -> ImageLocations:
        """What a repository that has all of it says about it."""
        found = {
            item.locked.image: ImageLocation(image=item.locked.image, is_bundle=item.is_bundle) for item in self.items
        }
        return ImageLocations(images=tuple(found[name] for name in sorted(found)))


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle with all the bundles inside, by digest, outer ones first: `root` is the first of them."""

    root: Bundle
    bundles: dict[Digest, Bundle]

    def items(self) -> tuple[Item, ...]:
        """The images of all of them, each digest once."""
        found: dict[Digest, Item] = {}
        for bundle in self.bundles.values():
            for item in bundle.items:
                if item.digest != self.root.digest:
                    found.setdefault(item.digest, item)
        return tuple(found.values())


class _Seen(msgspec.Struct, frozen=True):
    """What is known of a digest; what is no bundle has neither kind nor lock."""

    place: Reference
    document: Document
    kind: Kind | None
    lock: ImagesLock | None


class Contents:
    """Finds out what is in bundles; `places` opens repositories."""

    def __init__(
        self,
        places: Places,
        *,
        limits: ContentsLimits | None = None,
        jobs: int = 8,
        cancellation: Cancellation | None = None,
    ) -> None:
        self._places = places
        self._limits = limits or ContentsLimits()
        self._jobs = jobs
        self._cancellation = cancellation or Cancellation()
        self._seen: dict[Digest, _Seen] = {}

    def of_bundle(self, reference: Reference) -> Family:
        """The bundle that `reference` names, with all in it.

        Raises InvalidDocument (`no-bundle`, `invalid-bundle`, `bundle-too-deep`, `too-many-bundles`), NotFound
        (`image-missing`).
        """
        place = reference.with_target()
        storage = self._places(place)
        document = storage.resolve(reference.target or "latest")
        root = self._look(storage, place, document)
        if root.lock is None:
            raise not_a_bundle(str(reference))
        self._seen[root.document.digest] = root
        bundles = {seen.document.digest: self._assembled(seen) for seen in self._walk(root)}
        return Family(root=bundles[document.digest], bundles=bundles)

    def of_lock(self, lock: ImagesLock) -> tuple[Item, ...]:
        """The images of a lock, each found under its own name; bundles among them are not looked into."""
        self._bound(len(lock.images))
        tasks = [partial(self._find, None, locked) for locked in lock.images]
        found = run_all(tasks, jobs=self._jobs, cancellation=self._cancellation)
        return tuple(
            Item(
                locked=locked,
                place=seen.place,
                document=seen.document,
                is_bundle=seen.kind is not None,
            )
            for locked, seen in zip(lock.images, found, strict=True)
        )

    def _walk(self, root: _Seen) -> list[_Seen]:
        """The bundle and all bundles inside, level by level; everything in them is known then."""
        found: list[_Seen] = []
        level = [root]
        for _ in range(self._limits.levels):
            found += level
            if len(found) > self._limits.bundles:
                raise _too_many(f"{len(found)} bundles")
            level = self._next(level)
            if not level:
                return found
        raise InvalidDocument(
            f"bundles are nested deeper than {self._limits.levels} levels",
            code="bundle-too-deep",
            where=str(level[0].place.with_target(digest=level[0].document.digest)),
            hint="copy or describe the bundles inside by themselves",
        )

    def _next(self, level: list[_Seen]) -> list[_Seen]:
        """Look at the images of these bundles; those that are bundles themselves."""
        wanted: dict[Digest, tuple[Reference, LockedImage]] = {}
        for seen in level:
            for locked in seen.lock.images if seen.lock is not None else ():
                if locked.digest not in self._seen:
                    wanted.setdefault(locked.digest, (seen.place, locked))
        self._bound(len(self._seen) + len(wanted))
        tasks = [partial(self._find, place, locked) for place, locked in wanted.values()]
        found = run_all(tasks, jobs=self._jobs, cancellation=self._cancellation)
        self._seen.update({seen.document.digest: seen for seen in found})
        return [seen for seen in found if seen.lock is not None]

    def _bound(self, images: int) -> None:
        if images > self._limits.images:
            raise _too_many(f"{images} images")

    def _find(self, beside: Reference | None, locked: LockedImage) -> _Seen:
        """The image in the repository `beside`, else under its own name."""
        self._cancellation.check()
        places = [locked.reference.with_target()]
        if beside is not None and beside not in places:
            places.insert(0, beside)
        for place in places:
            try:
                storage = self._places(place)
                document = storage.resolve(locked.digest)
            except NotFound:
                continue
            except ProvenderError as error:
                error.at(locked.image)
                raise
            return self._look(storage, place, document)
        raise NotFound(
            f"an image of the bundle is not there: neither {' nor '.join(place.name for place in places)} has it",
            code="image-missing",
            where=locked.image,
            hint="push it there again, or take the bundle from a place that has all of it",
        )

    def _look(self, storage: Place, place: Reference, document: Document) -> _Seen:
        kind = kind_of(document, storage)
        return _Seen(place, document, kind, None if kind is None else lock_of(document, storage))

    def _assembled(self, seen: _Seen) -> Bundle:
        images = () if seen.lock is None else seen.lock.images
        known = [(locked, self._seen[locked.digest]) for locked in images]
        items = tuple(
            Item(locked=locked, place=each.place, document=each.document, is_bundle=each.kind is not None)
            for locked, each in known
        )
        return Bundle(place=seen.place, document=seen.document, kind=seen.kind or "provender", items=items)


def _too_many(what: str) -> InvalidDocument:
    return InvalidDocument(
        f"too much hangs together: {what} are not the end",
        code="too-many-bundles",
        hint="copy or describe the bundles inside by themselves",
    )
