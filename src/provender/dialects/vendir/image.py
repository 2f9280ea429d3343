"""Contents from container images: `image` and `imgpkgBundle`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from provender.bundle.image_reference import ImageReference
from provender.dialects.vendir.config import within
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.lock import LockContents, LockImage, LockImgpkgBundle
from provender.dialects.vendir.registries import Access, Registries
from provender.dialects.vendir.schema import Contents, SecretRef
from provender.dialects.vendir.selection import VersionSelection
from provender.errors import InvalidDocument, InvalidProject, ProvenderError, Unsupported
from provender.oci import Digest, Document

if TYPE_CHECKING:
    from provender.bundle.reading import BundleSource
    from provender.dialects.vendir.repository import Repository

__all__ = ["BundleFetcher", "ImageFetcher", "secret_name"]


class ImageFetcher:
    """`image`: the files of an image's layers."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del work
        image = contents.image
        if image is None or not image.url:
            raise _empty("URL", "image: {url: registry.example/team/app:1.0}")
        access = Access(
            secret=secret_name(image.secret_ref),
            skips_tls_verify=image.dangerous_skip_tls_verify,
            patience_s=image.response_header_timeout,
        )
        pinned = locked.image.tag if locked is not None and locked.image is not None else None
        found = _resolve(self._registries, image.url, image.tag_selection, access, pinned)
        return _ImageFetch(found)


class BundleFetcher:
    """`imgpkgBundle`: the files of a bundle, with its lock of images pointing to where they are."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del work
        bundle = contents.imgpkg_bundle
        if bundle is None or not bundle.image:
            raise _empty("image", "imgpkgBundle: {image: registry.example/team/bundle:1.0}")
        access = Access(
            secret=secret_name(bundle.secret_ref),
            skips_tls_verify=bundle.dangerous_skip_tls_verify,
            authorities=bundle.additional_ca_certificates,
            patience_s=bundle.response_header_timeout,
        )
        pinned = locked.imgpkg_bundle.tag if locked is not None and locked.imgpkg_bundle is not None else None
        found = _resolve(self._registries, bundle.image, bundle.tag_selection, access, pinned)
        return _BundleFetch(found, is_recursive=bundle.recursive)


class _Found(msgspec.Struct, frozen=True):
    """An image that a reference leads to. `open` gives its repository, `opened` another one's of the same access."""

    repository: str
    digest: Digest
    tag: str
    open: Callable[[], Repository]
    opened: Callable[[str], Repository]

    @property
    def url(self) -> str:
        return f"{self.repository}@{self.digest}"


def _resolve(
    registries: Registries, text: str, selection: VersionSelection | None, access: Access, pinned: str | None
) -> _Found:
    """The image; asks the registry unless a digest is given."""
    registries.check(access)

    def opened(name: str) -> Repository:
        return registries.open(ImageReference.parse(name).reference, access)

    if selection is not None:
        from provender.dialects.vendir.semver import select_highest

        tags = list(registries.open(ImageReference.parse(text).reference, access).tags())
        try:
            text = f"{text}:{select_highest(tags, selection)}"
        except ProvenderError as error:
            raise within(error, "Determining tag selection") from error
    image = ImageReference.parse(text)
    reference = image.reference

    def open_() -> Repository:
        return registries.open(reference, access)

    digest = reference.digest
    if digest is None:
        document = open_().resolve(reference.tag or "latest")
        _check_image(document)
        digest = document.digest
    return _Found(image.repository, digest, pinned or image.typed_tag, open_, opened)


class _ImageFetch:
    def __init__(self, found: _Found) -> None:
        self._found = found
        self.identity = identity_of("image", found.url, found.tag)

    def lay(self, staging: str, work: Work) -> LockContents:
        from provender.dialects.vendir.image_tree import lay_image

        repository = self._found.open()
        document = repository.resolve(str(self._found.digest))
        _check_image(document)
        lay_image(document.manifest().layers, repository, staging, work)
        return LockContents(image=LockImage(url=self._found.url, tag=self._found.tag))


class _BundleFetch:
    def __init__(self, found: _Found, *, is_recursive: bool) -> None:
        self._found = found
        self._is_recursive = is_recursive
        self.identity = identity_of("imgpkgBundle", found.url, found.tag, is_recursive)

    def lay(self, staging: str, work: Work) -> LockContents:
        from provender.bundle.laying import Laying
        from provender.bundle.reading import IMGPKG_KINDS
        from provender.dialects.vendir.image_tree import lay_image

        def lay(document: Document, source: BundleSource, place: str) -> None:
            lay_image(document.manifest().layers, source, place, work)

        laying = Laying(
            lay,
            self._found.opened,
            is_recursive=self._is_recursive,
            kinds=IMGPKG_KINDS,
            cancellation=work.cancellation,
        )
        repository = self._found.opened(self._found.repository)
        try:
            laying.run(repository, self._found.digest, self._found.repository, staging)
        except InvalidDocument as error:
            if error.code == "no-bundle":
                error.message = (
                    "Expected bundle image but found plain image (hint: Did you use -i instead of -b?): "
                    f"{error.message}"
                )
                error.hint = "use image: {url: ...} for an image that is no imgpkg bundle"
            raise
        return LockContents(imgpkg_bundle=LockImgpkgBundle(image=self._found.url, tag=self._found.tag))


def secret_name(ref: SecretRef | None) -> str:
    """The name of a Secret, or nothing."""
    return "" if ref is None else ref.name


def _check_image(document: Document) -> None:
    if document.is_index:
        children = ", ".join(
            f"{child.digest} ({child.platform})" if child.platform else str(child.digest)
            for child in document.index().manifests[:10]
        )
        raise Unsupported(
            "Unable to pull non-images, such as image indexes. (hint: provide a specific digest to the image instead)",
            code="image-index",
            hint=f"it has {children}"[:500],
        )


def _empty(what: str, example: str) -> InvalidProject:
    return InvalidProject(f"Expected non-empty {what}", code="missing-value", hint=f"write {example}")
