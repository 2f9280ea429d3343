"""A bundle laid out as files, its nested bundles below `.imgpkg/bundles`, its lock pointing to where the images are.

If every image is in the bundle's own repository the lock is rewritten to name them there, byte for byte as imgpkg
writes it; else it stays as it was published.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from provender.bundle.image_reference import ImageReference
from provender.bundle.locks import LOCK_PATH, ImagesLock, LockedImage, read_images_lock
from provender.bundle.reading import ALL_KINDS, BundleSource, Kind, kind_of, not_a_bundle
from provender.errors import InvalidDocument, NotFound, ProvenderError
from provender.oci import Digest, Document
from provender.transfer.pool import Cancellation, run_all

__all__ = ["Lay", "Laying", "Repository"]

_BUNDLES: Final = ".imgpkg/bundles"
_MAX_LOCK_BYTES: Final = 8 << 20
_MAX_IMAGES: Final = 5000
_MAX_LEVELS: Final = 32


class Repository(BundleSource, Protocol):
    """What is asked of a repository."""

    def has(self, target: str) -> bool:
        """Whether this very repository has that tag or manifest."""
        ...


class Lay(Protocol):
    """Puts the files of a bundle into an empty directory."""

    def __call__(self, document: Document, source: BundleSource, place: str, /) -> None: ...


class Laying:
    """Lays bundles. `lay` writes files, and `opened` opens a repository by the name that it has in locks.

    A bundle at a place that has no such name (a layout, an archive) is laid with `name` None: its lock stays. What is
    not of one of `kinds` counts as no bundle.
    """

    def __init__(
        self,
        lay: Lay,
        opened: Callable[[str], Repository],
        *,
        is_recursive: bool = False,
        kinds: frozenset[Kind] = ALL_KINDS,
        jobs: int = 8,
        cancellation: Cancellation | None = None,
    ) -> None:
        self._lay = lay
        self._opened = opened
        self._is_recursive = is_recursive
        self._kinds = kinds
        self._jobs = jobs
        self._cancellation = cancellation or Cancellation()
        self._seen: set[Digest] = set()

    def run(self, repository: Repository, digest: Digest, name: str | None, root: str) -> bool:
        """Lay the bundle of this digest into the empty directory `root`; True if its lock names its own repository.

        Raises InvalidDocument (`no-bundle`, `invalid-bundle`, `too-many-bundles`).
        """
        return self._bundle(repository, repository.resolve(digest), name, root, root, 0)

    def _bundle(
        self, repository: Repository, document: Document, name: str | None, root: str, place: str, level: int
    ) -> bool:
        if kind_of(document, repository) not in self._kinds:
            raise not_a_bundle(f"{name or 'the layout'}@{document.digest}")
        self._lay(document, repository, place)
        path = os.path.join(place, LOCK_PATH)
        lock = _read(path, document.digest)
        new = lock
        if name is not None and self._is_here(repository, lock):
            new = ImagesLock(images=tuple(each.at(name) for each in lock.images))
        if self._is_recursive:
            self._nested(repository if name is None else None, new, root, level)
        if new is lock:
            return False
        with open(path, "wb") as file:
            file.write(new.text())
        return True

    def _nested(self, only: Repository | None, lock: ImagesLock, root: str, level: int) -> None:
        """Lay those images that are bundles; what is in a layout is looked for there first, in `only`."""
        for each in lock.images:
            self._cancellation.check()
            digest = each.digest
            if digest in self._seen:
                continue
            self._seen.add(digest)
            if len(self._seen) > _MAX_IMAGES or level >= _MAX_LEVELS:
                raise InvalidDocument(
                    f"more than {_MAX_IMAGES} images or {_MAX_LEVELS} levels hang together here",
                    code="too-many-bundles",
                    where=each.image,
                    hint="pull the bundles inside one by one, without --recursive",
                )
            name, repository, document = self._find(only, each)
            if kind_of(document, repository) not in self._kinds:
                continue
            place = os.path.join(root, _BUNDLES, digest.replace(":", "-"))
            os.makedirs(place)
            self._bundle(repository, document, name, root, place, level + 1)

    def _find(self, only: Repository | None, locked: LockedImage) -> tuple[str | None, Repository, Document]:
        """The image in `only`, else under its own name."""
        if only is not None:
            try:
                return None, only, only.resolve(locked.digest)
            except NotFound:
                pass  # a layout need not have everything
        repository = self._opened(locked.image.rpartition("@")[0])
        return ImageReference.parse(locked.image).repository, repository, repository.resolve(locked.digest)

    def _is_here(self, repository: Repository, lock: ImagesLock) -> bool:
        """True if every image is in the bundle's own repository.

        imgpkg believes the record of locations; but whoever copied the bundle alone may have copied that, too.
        """
        digests = list(dict.fromkeys(each.digest for each in lock.images))
        if not all(repository.has(digest) for digest in digests[:1]):
            return False  # the usual case of a bundle that was never copied costs one question
        tasks = [partial(repository.has, digest) for digest in digests[1:]]
        return all(run_all(tasks, jobs=self._jobs, cancellation=self._cancellation))


def _read(path: str, digest: Digest) -> ImagesLock:
    try:
        with open(path, "rb") as file:
            raw = file.read(_MAX_LOCK_BYTES + 1)
        lock = read_images_lock(raw, where=LOCK_PATH)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ProvenderError) as error:
        why = f": {error.message}" if isinstance(error, ProvenderError) else ": it is not there"
        raise InvalidDocument(
            f"Reading path {LOCK_PATH}: the bundle's lock of images cannot be used{why}",
            code="no-bundle",
            where=digest,
            hint="have the bundle pushed again, with a lock of images by digest",
        ) from error
    if len(lock.images) > _MAX_IMAGES:
        raise InvalidDocument(
            f"the bundle's lock has more than {_MAX_IMAGES} images",
            code="too-many-bundles",
            where=digest,
            hint="have it published as several bundles",
        )
    return lock
