"""Locks and lists of other tools, read as wishes: imgpkg's ImagesLock and BundleLock, and plain lists.

What the file is, its content says. Every image of a lock goes by its digest.
"""

from __future__ import annotations

from typing import Final

import msgspec

from provender.errors import InvalidProject, ProvenderError
from provender.oci import Reference
from provender.relocate.wish import Wish, read_list
from provender.settings import Tree, convert, load_tree

__all__ = ["read_wishes"]

_IMGPKG: Final = "imgpkg.carvel.dev/v1alpha1"
_MAX_IMAGES: Final = 100_000
# Docker Hub's name in the locks of imgpkg and kbld, which is no host of a registry's API.
_HUB: Final = "index.docker.io/"


class _Image(msgspec.Struct, frozen=True):
    image: str


class _ImagesLock(msgspec.Struct, frozen=True):
    images: tuple[_Image, ...] = ()


class _Bundle(msgspec.Struct, frozen=True):
    image: str
    tag: str | None = None


class _BundleLock(msgspec.Struct, frozen=True):
    bundle: _Bundle


def read_wishes(text: str, *, where: str) -> tuple[Wish, ...]:
    """The wishes of a file. Raises InvalidProject with the place of what is wrong."""
    if "apiVersion" not in text:
        return tuple(read_list(text, where=where))
    tree = load_tree(text, where=where)
    kind = _kind(tree)
    if kind == "ImagesLock":
        images = convert(tree, _ImagesLock, forbid_unknown=False).images[: _MAX_IMAGES + 1]
        if len(images) > _MAX_IMAGES:
            raise InvalidProject(f"the lock has more than {_MAX_IMAGES} images", code="list-too-long", where=where)
        return tuple(_pinned(each.image, None, where) for each in images)
    bundle = convert(tree, _BundleLock, forbid_unknown=False).bundle
    return (_pinned(bundle.image, bundle.tag, where),)


def _kind(tree: Tree) -> str:
    value = tree.node.value
    fields = value if isinstance(value, dict) else {}
    version, kind = fields.get("apiVersion"), fields.get("kind")
    if version == _IMGPKG and kind in ("ImagesLock", "BundleLock"):
        return str(kind)
    raise InvalidProject(
        f"not a list of artifacts: {str(version)[:80]} {str(kind)[:80]}",
        code="unknown-list",
        where=tree.where,
        hint="name an ImagesLock, a BundleLock, a provender.lock, or a file with one reference a line",
    )


def _pinned(image: str, tag: str | None, where: str) -> Wish:
    text = f"docker.io/{image.removeprefix(_HUB)}" if image.startswith(_HUB) else image
    try:
        reference = Reference.parse(text)
    except ProvenderError as error:
        raise InvalidProject(error.message, code=error.code, where=where, hint=error.hint) from error
    if reference.digest is None:
        raise InvalidProject(
            f"an image of a lock has no digest: {image[:200]}",
            code="no-digest",
            where=where,
            hint="have the lock written again by the tool that makes it",
        )
    return Wish(source=reference.with_target(), target=reference.digest, tags=(tag,) if tag else ())
