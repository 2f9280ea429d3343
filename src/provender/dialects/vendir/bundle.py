"""imgpkg bundles: an image whose `.imgpkg/images.yml` names further images, which may travel in the same repository.

If every one of them is there, or the repository says so itself (its locations image), the file is rewritten to name
them there, byte for byte as imgpkg writes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import msgspec

from provender.artifact.unpack import fetch_content
from provender.dialects.vendir.documents import read_documents
from provender.dialects.vendir.fetch import Work
from provender.dialects.vendir.go_yaml import dump
from provender.dialects.vendir.image_reference import ImageReference
from provender.dialects.vendir.image_tree import lay_image
from provender.dialects.vendir.repository import Repository
from provender.dialects.vendir.shape import shaped
from provender.errors import InvalidDocument, InvalidProject, ProvenderError
from provender.oci import Digest, Document
from provender.oci.document import parse_json
from provender.storage.verify import read_all

__all__ = ["Bundle"]

_LABEL: Final = "dev.carvel.imgpkg.bundle"
_LOCK: Final = ".imgpkg/images.yml"
_BUNDLES: Final = ".imgpkg/bundles"
_API_VERSION: Final = "imgpkg.carvel.dev/v1alpha1"
_MAX_CONFIG_BYTES: Final = 4 << 20
_MAX_LOCK_BYTES: Final = 8 << 20
_MAX_IMAGES: Final = 5000
_MAX_BUNDLES: Final = 500


class _Image(msgspec.Struct, frozen=True, omit_defaults=True):
    image: str = ""
    annotations: dict[str, str] = {}


class _ImagesLock(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    api_version: str = msgspec.field(default_factory=str)
    kind: str = msgspec.field(default_factory=str)
    images: tuple[_Image, ...] = ()


# Made here, for two threads that meet a type for the first time at once are too much for msgspec.
_DECODER: Final = msgspec.json.Decoder(_ImagesLock)


class Bundle:
    """One bundle by its repository, as imgpkg spells it, and digest; `opened` opens repositories by such a name."""

    def __init__(self, repository: str, digest: Digest, opened: Callable[[str], Repository]) -> None:
        self._repository = repository
        self._digest = digest
        self._opened = opened

    def lay(self, root: str, work: Work, *, is_recursive: bool) -> None:
        """Its files, in the empty directory `root`; with `is_recursive` those of its bundles below `.imgpkg/bundles`.

        Raises InvalidDocument (code `no-bundle`) for an image that is none.
        """
        self._lay(root, root, work, is_recursive=is_recursive, seen=set())

    def _lay(self, root: str, place: str, work: Work, *, is_recursive: bool, seen: set[str]) -> None:
        repository = self._opened(self._repository)
        document = repository.resolve(str(self._digest))
        if document.is_index or not _is_bundle(document, repository):
            raise InvalidDocument(
                "Expected bundle image but found plain image (hint: Did you use -i instead of -b?)",
                code="no-bundle",
                where=f"{self._repository}@{self._digest}",
                hint="use image: {url: ...} for an image that is no imgpkg bundle",
            )
        lay_image(document.manifest().layers, repository, place, work)
        path = os.path.join(place, _LOCK)
        lock = _read_lock(path)
        is_relocated = self._is_relocated(repository, lock)
        images = [self._localized(each.image) if is_relocated else each.image for each in lock.images]
        if is_recursive:
            self._lay_inner(root, images, work, seen)
        if is_relocated:
            new = [msgspec.structs.replace(old, image=image) for old, image in zip(lock.images, images, strict=True)]
            text = dump(msgspec.to_builtins(msgspec.structs.replace(lock, images=tuple(new))))
            with open(path, "wb") as file:
                file.write(f"---\n{text}".encode())

    def _lay_inner(self, root: str, images: list[str], work: Work, seen: set[str]) -> None:
        for name in images:
            work.cancellation.check()
            image = ImageReference.parse(name)
            digest = image.reference.digest
            if digest is None or str(digest) in seen:
                continue
            seen.add(str(digest))
            if len(seen) > _MAX_BUNDLES:
                raise InvalidDocument(f"more than {_MAX_BUNDLES} images hang together here", code="too-many-bundles")
            repository = self._opened(image.repository)
            document = repository.resolve(str(digest))
            if document.is_index or not _is_bundle(document, repository):
                continue
            place = os.path.join(root, _BUNDLES, str(digest).replace(":", "-"))
            os.makedirs(place)
            Bundle(image.repository, digest, self._opened)._lay(  # noqa: SLF001 - its own kind
                root, place, work, is_recursive=True, seen=seen
            )

    def _is_relocated(self, repository: Repository, lock: _ImagesLock) -> bool:
        """True if every image is in the bundle's own repository."""
        if repository.has(f"{str(self._digest).replace(':', '-')}.image-locations.imgpkg"):
            return True
        return all(repository.has(str(_digest_of(each.image))) for each in lock.images)

    def _localized(self, image: str) -> str:
        return f"{self._repository}@{_digest_of(image)}"


def _is_bundle(document: Document, repository: Repository) -> bool:
    config = document.manifest().config
    if config is None:
        return False
    with fetch_content(repository, config) as reader:
        fields = parse_json(read_all(reader, _MAX_CONFIG_BYTES), "the image config")
    inner = fields.get("config")
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    return isinstance(labels, dict) and _LABEL in labels


def _read_lock(path: str) -> _ImagesLock:
    try:
        with open(path, "rb") as file:
            raw = file.read(_MAX_LOCK_BYTES + 1)
        trees = read_documents(raw, where=_LOCK, warn=lambda _: None)
        lock = shaped(trees[0], _ImagesLock, warn=lambda _: None) if trees else _ImagesLock()
    except (FileNotFoundError, IsADirectoryError, ProvenderError) as error:
        raise InvalidDocument(
            f"Reading path {_LOCK}: the bundle's lock of images cannot be used",
            code="no-bundle",
            hint="push the bundle again with imgpkg push -b",
        ) from error
    if (lock.api_version, lock.kind) != (_API_VERSION, "ImagesLock") or len(lock.images) > _MAX_IMAGES:
        raise InvalidDocument(
            f"Validating images lock: {_LOCK} is no ImagesLock of {_API_VERSION}",
            code="no-bundle",
            hint="push the bundle again with imgpkg push -b",
        )
    named = tuple(msgspec.structs.replace(each, image=_full_name(each.image)) for each in lock.images)
    return msgspec.structs.replace(lock, images=named)


def _full_name(text: str) -> str:
    image = ImageReference.parse(text)
    return f"{image.repository}@{_digest_of(text)}"


def _digest_of(text: str) -> Digest:
    digest = ImageReference.parse(text).reference.digest
    if digest is None:
        raise InvalidProject(
            f"Expected ref to be in digest form, got '{text[:200]}'",
            code="no-digest",
            hint="push the bundle again with imgpkg push -b, with a lock of images by digest",
        )
    return digest
