"""`--locked`: a configuration with what its lock says in the place of what it asks for. Pure."""

from __future__ import annotations

import msgspec

from provender.dialects.vendir.lock import LockConfig, LockContents
from provender.dialects.vendir.schema import Config, Contents
from provender.errors import InvalidProject

__all__ = ["pinned"]

_HINT = "run sync once without --locked, and commit the lock"


def pinned(config: Config, lock: LockConfig, *, where: str) -> Config:
    """The configuration as `lock` pins it. Raises InvalidProject (code `lock-stale`) if an entry does not fit."""
    directories = [
        msgspec.structs.replace(
            directory,
            contents=tuple(
                _pinned(contents, lock.require(directory.path, contents.path, where=where), where)
                for contents in directory.contents
            ),
        )
        for directory in config.directories
    ]
    return msgspec.structs.replace(config, directories=tuple(directories))


def _pinned(contents: Contents, entry: LockContents, where: str) -> Contents:
    replace = msgspec.structs.replace
    if contents.git is not None:
        sha = _needed(entry.git.sha if entry.git is not None else None, entry.git, "git", "git SHA", where)
        return replace(contents, git=replace(contents.git, ref=sha))
    if contents.http is not None:
        _needed("there", entry.http, "HTTP", "", where)
        return contents
    if contents.image is not None:
        url = _needed(entry.image.url if entry.image is not None else None, entry.image, "image", "image URL", where)
        return replace(contents, image=replace(contents.image, url=url, tag_selection=None))
    if contents.imgpkg_bundle is not None:
        bundle = entry.imgpkg_bundle
        image = _needed(bundle.image if bundle is not None else None, bundle, "image", "imgpkg bundle Image", where)
        return replace(contents, imgpkg_bundle=replace(contents.imgpkg_bundle, image=image, tag_selection=None))
    if contents.github_release is not None:
        release = entry.github_release
        url = _needed(
            release.url if release is not None else None, release, "github release", "github release URL", where
        )
        tag = release.tag if release is not None else ""
        return replace(contents, github_release=replace(contents.github_release, url=url, tag=tag))
    if contents.helm_chart is not None:
        chart = entry.helm_chart
        version = _needed(
            chart.version if chart is not None else None, chart, "helm chart", "helm chart version", where
        )
        return replace(contents, helm_chart=replace(contents.helm_chart, version=version))
    if contents.oci_artifact is not None:
        artifact = entry.oci_artifact
        image = _needed(
            artifact.image if artifact is not None else None, artifact, "OCI artifact", "OCI artifact image", where
        )
        wish = replace(contents.oci_artifact, image=image, tag="", digest="", tag_selection=None, tag_filter="")
        return replace(contents, oci_artifact=wish)
    return contents


def _needed(value: str | None, entry: object, kind: str, what: str, where: str) -> str:
    if entry is None:
        message = f"Expected {kind} lock configuration to be non-empty"
    elif not value:
        message = f"Expected {what} to be non-empty"
    else:
        return value
    raise InvalidProject(message, code="lock-stale", where=where, hint=_HINT)
