"""Releases as the API of GitHub describes them. Project layer; values alone."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["RELEASE", "RELEASES", "Asset", "Release"]


class Asset(msgspec.Struct, frozen=True):
    """A file of a release; `url` is that of the API, `size` in bytes."""

    name: str
    url: str
    size: int
    digest: str | None = None


class Release(msgspec.Struct, frozen=True):
    """A release, as far as anybody here looks at it."""

    tag_name: str
    url: str
    draft: bool = False
    prerelease: bool = False
    body: str | None = None
    assets: tuple[Asset, ...] = ()


# Learnt here, once: two threads that meet a type for the first time at once are too much for msgspec.
RELEASE: Final = msgspec.json.Decoder(Release)
RELEASES: Final = msgspec.json.Decoder(tuple[Release, ...])
