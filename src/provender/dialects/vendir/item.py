"""Item: one of the contents on its way: how it is asked for and meant, what lies there, what the lock says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from provender.dialects.vendir.config import Configuration, within
from provender.dialects.vendir.fetch import Fetch
from provender.dialects.vendir.lock import LockConfig, LockContents, LockDirectory
from provender.dialects.vendir.record import ContentsRecord
from provender.dialects.vendir.schema import Contents, Directory
from provender.errors import ProvenderError
from provender.settings.go_yaml import dump

__all__ = ["Item", "config_digest", "locate", "lock_of", "mode_of"]

_WORDS: Final = {
    "git": "git contents",
    "http": "HTTP contents",
    "image": "image contents",
    "imgpkgBundle": "imgpkgBundle contents",
    "ociArtifact": "OCI artifact contents",
    "githubRelease": "github release contents",
    "helmChart": "helm chart contents",
    "inline": "inline contents",
}


class Item(msgspec.Struct):
    """One of the contents on its way."""

    directory: Directory
    asked: Contents
    meant: Contents
    path: str
    """As vendir spells it, from the working directory."""
    target: str
    """Absolute."""
    place: str | None
    old_lock: LockContents | None
    digest: str
    """Of the configuration of lazy contents."""
    is_lazy: bool = False
    fetch: Fetch | None = None
    identity: str = ""
    is_right: bool = False
    """What lies there is what is wanted."""
    lock: LockContents | None = None
    staged: str = ""
    record: ContentsRecord | None = None


def mode_of(item: Item) -> int | None:
    """The mode that contents are to have, their own or that of their directory; None for whatever they come with."""
    own, common = item.asked.permissions, item.directory.permissions
    mode = own if own is not None else common
    return None if mode is None else mode & 0o7777


def config_digest(contents: Contents) -> str:
    """What vendir notes of lazy contents: the digest of their configuration as it marshals it."""
    import hashlib

    return hashlib.sha256(dump(msgspec.to_builtins(contents)).encode()).hexdigest()


def lock_of(asked: Configuration, items: Sequence[Item]) -> LockConfig:
    """The lock that says what the items are, in the order of the configuration."""
    directories = [
        LockDirectory(
            path=directory.path,
            contents=tuple(_entry(item) for item in items if item.directory is directory),
        )
        for directory in asked.config.directories
    ]
    return LockConfig(directories=tuple(directories))


def _entry(item: Item) -> LockContents:
    if item.is_lazy and item.old_lock is not None:
        return item.old_lock
    return msgspec.structs.replace(item.lock or LockContents(), path=item.asked.path, config_digest=item.digest)


def locate(error: ProvenderError, item: Item) -> None:
    """Give the error the chain that vendir puts before it, and the place in the configuration."""
    words = _WORDS.get(item.meant.sources[0])
    if item.meant.directory is not None:
        within(error, f"Copying another directory contents into directory '{item.asked.path}'")
    elif words is not None:
        within(error, f"Syncing directory '{item.asked.path}' with {words}")
    within(error, f"Syncing directory '{item.directory.path}'")
    if item.place is not None:
        error.where = item.place if error.where is None else f"{error.where}, asked for at {item.place}"
