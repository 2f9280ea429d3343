"""Locks and lists, read as wishes: imgpkg's ImagesLock and BundleLock, lists of flux-mirror's style, plain lists.

What the file is, its content says. Every image of a lock goes by its digest.
"""

from __future__ import annotations

from provender.bundle.locks import BundleLock, read_lock
from provender.relocate.mirror_list import is_mirror_list, read_mirror_list
from provender.relocate.wish import Wish, read_list

__all__ = ["read_wishes"]


def read_wishes(text: str, *, where: str) -> tuple[Wish, ...]:
    """The wishes of a file. Raises InvalidProject with the place of what is wrong."""
    if is_mirror_list(text):
        return read_mirror_list(text, where=where)
    if "apiVersion" not in text:
        return tuple(read_list(text, where=where))
    lock = read_lock(text.encode(), where=where)
    if isinstance(lock, BundleLock):
        reference, tag = lock.reference, lock.bundle.tag
        return (Wish(source=reference.with_target(), target=reference.digest, tags=(tag,) if tag else ()),)
    references = (image.reference for image in lock.images)
    return tuple(Wish(source=each.with_target(), target=each.digest) for each in references)
