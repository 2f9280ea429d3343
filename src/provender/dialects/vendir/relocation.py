"""What a `vendir.yml` or `vendir.lock.yml` takes from registries, as wishes of a relocation.

Images, imgpkg bundles and OCI artifacts; all else is in no registry. A lock names digests, a configuration tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from provender.bundle.image_reference import ImageReference
from provender.dialects.vendir.config import Configuration, entire_path
from provender.dialects.vendir.lock import LockConfig, LockContents
from provender.dialects.vendir.schema import API_VERSION, Contents
from provender.errors import InvalidProject, ProvenderError
from provender.oci import Digest, Reference
from provender.relocate.wish import Wish

__all__ = ["is_vendir", "read_vendir_wishes"]


def is_vendir(raw: bytes) -> bool:
    """True for a file of vendir's."""
    return API_VERSION.encode() in raw


def read_vendir_wishes(path: Path, raw: bytes) -> tuple[Wish, ...]:
    """The wishes of the file at `path`, which holds `raw`. Raises InvalidProject with the place of what is wrong."""
    if b"LockConfig" in raw:
        lock = LockConfig.parse(raw, where=str(path))
        entries = (contents for directory in lock.directories for contents in directory.contents)
        return tuple(wish for contents in entries for wish in _locked(contents, str(path)))
    return tuple(_configured(path))


def _locked(contents: LockContents, where: str) -> Iterator[Wish]:
    for image, tag in (
        (contents.image and contents.image.url, contents.image and contents.image.tag),
        (
            contents.imgpkg_bundle and contents.imgpkg_bundle.image,
            contents.imgpkg_bundle and contents.imgpkg_bundle.tag,
        ),
        (contents.oci_artifact and contents.oci_artifact.image, contents.oci_artifact and contents.oci_artifact.tag),
    ):
        if not image:
            continue
        try:
            # An OCI artifact follows provender's own grammar.
            reference = Reference.parse(image) if contents.oci_artifact else ImageReference.parse(image).reference
        except ProvenderError as error:
            raise InvalidProject(f"{contents.path}: {error.message}", code=error.code, where=where) from error
        if reference.digest is None:
            raise InvalidProject(
                f"{contents.path} has no digest in the lock: {image[:200]}",
                code="no-digest",
                where=where,
                hint="have the lock written again by 'vendir sync'",
            )
        yield Wish(source=reference.with_target(), target=reference.digest, tags=(tag,) if tag else ())


def _configured(path: Path) -> Iterator[Wish]:
    read = Configuration.load([str(path)], stdin=lambda: b"", warn=lambda _: None)
    for directory in read.config.directories:
        for contents in directory.contents:
            try:
                yield from _wished(contents)
            except ProvenderError as error:
                place = read.places[entire_path(directory, contents)]
                raise InvalidProject(error.message, code=error.code, where=place, hint=error.hint) from error


def _wished(contents: Contents) -> Iterator[Wish]:
    for image, selection in (
        (contents.image and contents.image.url, contents.image and contents.image.tag_selection),
        (
            contents.imgpkg_bundle and contents.imgpkg_bundle.image,
            contents.imgpkg_bundle and contents.imgpkg_bundle.tag_selection,
        ),
    ):
        if image:
            _refuse_selection(contents.path, selection)
            reference = ImageReference.parse(image).reference
            yield _wish(reference)
    artifact = contents.oci_artifact
    if artifact is not None:
        _refuse_selection(contents.path, artifact.tag_selection or artifact.tag_filter or None)
        reference, digest = Reference.parse(artifact.image), Digest(artifact.digest) if artifact.digest else None
        is_named = reference.target is not None
        yield _wish(reference if is_named else reference.with_target(tag=artifact.tag or None, digest=digest))


def _refuse_selection(path: str, selection: object) -> None:
    if selection is not None:
        raise InvalidProject(
            f"{path} selects its tag among others, so that it does not say which artifact is meant",
            code="no-target",
            hint="sync, and relocate what vendir.lock.yml names",
        )


def _wish(reference: Reference) -> Wish:
    if reference.target is None:
        raise InvalidProject(
            f"not said which artifact of {reference.name[:200]}", code="no-target", hint="write its tag"
        )
    tags = (reference.tag,) if reference.tag is not None else ()
    return Wish(source=reference.with_target(), target=reference.target, tags=tags)
