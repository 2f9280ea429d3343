"""ImagesLock, BundleLock and ImageLocations, read as Go programs read them and written as imgpkg does. Pure.

Every image of a lock goes by its digest. Names without a registry are Docker Hub's, spelled `index.docker.io/...`.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from provender.bundle.image_reference import ImageReference
from provender.errors import InvalidProject, ProvenderError
from provender.oci import Digest, Reference
from provender.settings import Tree
from provender.settings.go_documents import read_documents
from provender.settings.go_shape import shaped
from provender.settings.go_yaml import dump

__all__ = [
    "LOCK_PATH",
    "BundleLock",
    "ImageLocation",
    "ImageLocations",
    "ImagesLock",
    "LockedBundle",
    "LockedImage",
    "read_images_lock",
    "read_locations",
    "read_lock",
]

LOCK_PATH: Final = ".imgpkg/images.yml"
"""Where a bundle has its ImagesLock."""

_API_VERSION: Final = "imgpkg.carvel.dev/v1alpha1"
_MAX_IMAGES: Final = 100_000
_KINDS: Final = ("ImagesLock", "BundleLock")

_T = TypeVar("_T", "ImagesLock", "BundleLock", "ImageLocations")


class LockedImage(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image by its full name with a digest, and what its author noted about it."""

    image: str = ""
    annotations: dict[str, str] = {}

    @property
    def reference(self) -> Reference:
        return ImageReference.parse(self.image).reference.with_target(digest=self.digest)

    @property
    def digest(self) -> Digest:
        return Digest(self.image.rpartition("@")[2])

    def at(self, repository: str) -> LockedImage:
        """The same image in another repository."""
        return msgspec.structs.replace(self, image=f"{repository}@{self.digest}")


class ImagesLock(msgspec.Struct, frozen=True, omit_defaults=True):
    """The images that belong together."""

    images: tuple[LockedImage, ...] = ()

    def text(self) -> bytes:
        """The file, byte for byte as imgpkg writes it."""
        return _text("ImagesLock", msgspec.to_builtins(self))


class LockedBundle(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bundle by its full name with a digest, and the tag that it had."""

    image: str = ""
    tag: str = ""


class BundleLock(msgspec.Struct, frozen=True):
    """Which bundle was meant."""

    bundle: LockedBundle = LockedBundle()

    @property
    def reference(self) -> Reference:
        image = ImageReference.parse(self.bundle.image).reference
        return image.with_target(tag=self.bundle.tag or None, digest=image.digest)

    def text(self) -> bytes:
        """The file, byte for byte as imgpkg writes it."""
        return _text("BundleLock", msgspec.to_builtins(self))


class ImageLocation(msgspec.Struct, frozen=True, rename="camel"):
    """An image of a bundle under its original name."""

    image: str = ""
    is_bundle: bool = False


class ImageLocations(msgspec.Struct, frozen=True):
    """What a repository says about a bundle in it: all these images are here as well."""

    images: tuple[ImageLocation, ...] = ()

    def text(self) -> bytes:
        """The file, byte for byte as imgpkg writes it."""
        images = sorted(self.images, key=lambda each: each.image.encode())
        return _text("ImageLocations", {"images": msgspec.to_builtins(images) or None})


# msgspec learns a type when it first meets it, and a second thread that comes meanwhile crashes the process; locks of
# nested bundles are read side by side.
_LEARNED: Final = tuple(msgspec.json.Decoder(kind) for kind in (ImagesLock, BundleLock, ImageLocations))


def read_lock(raw: bytes, *, where: str) -> ImagesLock | BundleLock:
    """The ImagesLock or BundleLock in `raw`. Raises InvalidProject with the place of what is wrong."""
    tree = _tree(raw, where)
    fields = _fields(tree)
    kind, version = fields.get("kind"), fields.get("apiVersion")
    if kind not in _KINDS:
        raise tree.error(
            f"not a lock of images or of a bundle: its kind is {str(kind)[:80]} of {str(version)[:80]}"
            if "kind" in fields
            else "not a lock of images or of a bundle: it does not say what it is",
            path=("kind",) if "kind" in fields else (),
            code="unknown-list",
            hint=f"name an ImagesLock or a BundleLock of {_API_VERSION}",
        )
    if kind == "ImagesLock":
        return _images_lock(tree)
    _check_version(tree, "BundleLock")
    lock = _shaped(tree, BundleLock)
    _pinned(tree, lock.bundle.image, ("bundle", "image"))
    return lock


def read_images_lock(raw: bytes, *, where: str) -> ImagesLock:
    """The ImagesLock in `raw`. Raises InvalidProject with the place of what is wrong."""
    return _images_lock(_tree(raw, where))


def read_locations(raw: bytes, *, where: str) -> ImageLocations:
    """The ImageLocations in `raw`. Raises InvalidProject."""
    tree = _tree(raw, where)
    _check_version(tree, "ImageLocations")
    return _shaped(tree, ImageLocations)


def _images_lock(tree: Tree) -> ImagesLock:
    _check_version(tree, "ImagesLock")
    lock = _shaped(tree, ImagesLock)
    if len(lock.images) > _MAX_IMAGES:
        raise tree.error(
            f"the lock has more than {_MAX_IMAGES} images",
            path=("images",),
            code="list-too-long",
            hint="split it into several",
        )
    images = (
        msgspec.structs.replace(each, image=_pinned(tree, each.image, ("images", number, "image")))
        for number, each in enumerate(lock.images)
    )
    return ImagesLock(images=tuple(images))


def _pinned(tree: Tree, text: str, path: tuple[str | int, ...]) -> str:
    """The full name with its digest alone."""
    place = path if text else path[:-1]
    try:
        image = ImageReference.parse(text)
    except ProvenderError as error:
        raise tree.error(error.message, path=place, code=error.code, hint=error.hint) from error
    if image.reference.digest is None:
        raise tree.error(
            f"an image of a lock has no digest: {text[:200]}",
            path=place,
            code="no-digest",
            hint=f"write {image.repository[:150]}@sha256:…, or have the lock written again by the tool that makes it",
        )
    return f"{image.repository}@{image.reference.digest}"


def _tree(raw: bytes, where: str) -> Tree:
    trees = read_documents(raw, where=where, warn=_unheard)
    if not trees:
        raise InvalidProject(
            "the lock is empty", code="empty-lock", where=where, hint="have it written by the tool that makes it"
        )
    return trees[0]


def _shaped(tree: Tree, kind: type[_T]) -> _T:
    return shaped(tree, kind, warn=_unheard)


def _check_version(tree: Tree, kind: str) -> None:
    fields = _fields(tree)
    for name, wanted in (("apiVersion", _API_VERSION), ("kind", kind)):
        if fields.get(name) != wanted:
            raise tree.error(
                f"{name} is {str(fields.get(name))[:80]}, not {wanted}",
                path=(name,) if name in fields else (),
                code="unknown-list",
                hint=f"only {kind} of {_API_VERSION} is known",
            )


def _fields(tree: Tree) -> dict[str, object]:
    value = tree.node.value
    return value if isinstance(value, dict) else {}


def _text(kind: str, fields: dict[str, object]) -> bytes:
    return f"---\n{dump({'apiVersion': _API_VERSION, 'kind': kind, **fields})}".encode()


def _unheard(_text: str) -> None:
    """Keys that nobody knows do nothing."""
