"""Contents from any artifact of a registry: `ociArtifact`, which vendir itself does not have."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from provender.dialects.vendir.config import within
from provender.dialects.vendir.fetch import Fetch, Work, identity_of
from provender.dialects.vendir.image import secret_name
from provender.dialects.vendir.lock import LockContents, LockOciArtifact
from provender.dialects.vendir.registries import Access, Registries
from provender.dialects.vendir.schema import Contents, OciArtifact
from provender.errors import InvalidProject, ProvenderError, Unsupported
from provender.oci import Digest, Document, Manifest, Platform, Reference
from provender.oci.reference import check_tag

if TYPE_CHECKING:
    from provender.artifact.layers import Mode
    from provender.dialects.vendir.repository import Repository

__all__ = ["ArtifactFetcher"]

_MAX_CONFIG_BYTES: Final = 4 << 20
_MAX_FILTER: Final = 500
_MODES: Final[dict[str, Mode]] = {"": "auto", "auto": "auto", "extract": "extract", "copy": "copy"}


class ArtifactFetcher:
    """Layers by media type, tars extracted, other layers by their names."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    def resolve(self, contents: Contents, locked: LockContents | None, work: Work) -> Fetch:
        del work
        wish = contents.oci_artifact or OciArtifact()
        reference = _checked(wish)
        access = Access(
            secret=secret_name(wish.secret_ref),
            plain_http=True if wish.plain_http else None,
            skips_tls_verify=wish.dangerous_skip_tls_verify,
            authorities=wish.additional_ca_certificates,
            patience_s=wish.response_header_timeout,
        )
        self._registries.check(access)
        before = locked.oci_artifact if locked is not None else None
        if before is not None:
            return _ArtifactFetch(self._registries, reference, reference.digest, before.tag, wish, access)
        digest = Digest(wish.digest) if wish.digest else reference.digest
        tag = wish.tag or reference.tag or ""
        if digest is None:
            repository = self._registries.open(reference.with_target(), access)
            tag = _selected(wish, repository) or tag or "latest"
            digest = repository.resolve(tag).digest
        return _ArtifactFetch(self._registries, reference, digest, tag, wish, access)


class _ArtifactFetch:
    def __init__(
        self,
        registries: Registries,
        reference: Reference,
        digest: Digest | None,
        tag: str,
        wish: OciArtifact,
        access: Access,
    ) -> None:
        if digest is None:
            raise InvalidProject(
                "the lock has no digest for this artifact",
                code="lock-stale",
                hint="run sync once without --locked, and commit the lock",
            )
        self._registries = registries
        self._reference = reference.with_target()
        self._digest = digest
        self._tag = tag
        self._wish = wish
        self._access = access
        chosen = (wish.artifact_type, wish.platform, wish.media_types, _MODES[wish.layers], wish.include_config)
        self.identity = identity_of("ociArtifact", self._reference.name, tag, digest, chosen)

    def lay(self, staging: str, work: Work) -> LockContents:
        from provender.artifact.unpack import UnpackOptions, unpack
        from provender.dialects.vendir.modes import settle_modes

        wish = self._wish
        repository = self._registries.open(self._reference, self._access)
        document = repository.resolve(str(self._digest))
        child = _child(document, repository, wish)
        manifest = child.manifest()
        if wish.artifact_type and manifest.effective_type != wish.artifact_type:
            raise InvalidProject(
                f"{child.digest} is of type {manifest.effective_type or 'none'}, not {wish.artifact_type}",
                code="wrong-artifact-type",
                hint="correct artifactType, or ask for another artifact",
            )
        options = UnpackOptions(
            media_types=wish.media_types,
            mode=_MODES[wish.layers],
            jobs=work.jobs,
            repository=self._reference.repository,
            is_hashed=False,
        )
        unpack(manifest, repository, staging, options=options, progress=work.progress, cancellation=work.cancellation)
        if wish.include_config:
            _write_config(manifest, repository, staging)
        settle_modes(staging, work.umask)
        return LockContents(
            oci_artifact=LockOciArtifact(
                artifact_type=manifest.effective_type or "",
                image=f"{self._reference.name}@{self._digest}",
                manifest=str(child.digest) if document.is_index else "",
                tag=self._tag,
            )
        )


def _checked(wish: OciArtifact) -> Reference:
    """The reference of a wish that makes sense; else InvalidProject or Unsupported."""
    if not wish.image:
        raise InvalidProject(
            "Expected non-empty image",
            code="missing-value",
            hint="write ociArtifact: {image: ghcr.io/team/artifact, tag: latest}",
        )
    if wish.tag and wish.tag_selection is not None:
        raise InvalidProject(
            "tag and tagSelection exclude each other", code="tag-and-selection", hint="keep one of the two"
        )
    if wish.cosign is not None:
        raise Unsupported(
            "cosign verification is not available in this version, so it cannot be honoured",
            code="unsupported-verify",
            hint="remove cosign to go without; content is still held to the digest in the lock",
        )
    if wish.layers not in _MODES:
        raise InvalidProject(
            f"layers must be auto, extract or copy, not {wish.layers[:80]!r}", code="invalid-value", hint="leave it out"
        )
    if wish.tag:
        check_tag(wish.tag)
    if wish.media_types:
        from provender.project.dependency import check_media_type_pattern

        for pattern in wish.media_types:
            check_media_type_pattern(pattern)
    reference = Reference.parse(wish.image)
    if wish.digest and reference.digest not in (None, Digest(wish.digest)):
        raise InvalidProject(
            "image and digest name different digests", code="two-digests", hint="write the digest once"
        )
    if wish.tag and reference.tag not in (None, wish.tag):
        raise InvalidProject("image and tag name different tags", code="two-tags", hint="write the tag once")
    if wish.tag_selection is not None and (reference.tag or reference.digest):
        raise InvalidProject(
            "image has a tag or a digest beside tagSelection",
            code="tag-and-selection",
            hint=f"write image: {reference.name}",
        )
    return reference


def _selected(wish: OciArtifact, repository: Repository) -> str | None:
    """The tag that `tagSelection`, after `tagFilter`, leads to; None without a selection."""
    if wish.tag_selection is None:
        if wish.tag_filter:
            raise InvalidProject(
                "tagFilter does nothing without tagSelection",
                code="filter-without-selection",
                hint="add tagSelection: {semver: {constraints: '>=1.0.0'}}",
            )
        return None
    from provender.dialects.vendir.semver import select_highest

    tags = list(repository.tags())
    if wish.tag_filter:
        expression = _compiled(wish.tag_filter)
        tags = [tag for tag in tags if expression.search(tag)]
    try:
        return select_highest(tags, wish.tag_selection)
    except ProvenderError as error:
        raise within(error, "Determining tag selection") from error


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text[:_MAX_FILTER])
    except re.error as error:
        raise InvalidProject(
            f"tagFilter is no regular expression: {error}", code="invalid-filter", hint="write for example '^[0-9]'"
        ) from error


def _child(document: Document, repository: Repository, wish: OciArtifact) -> Document:
    if document.is_index and wish.artifact_type and not wish.platform:
        fitting = [each for each in document.index().manifests if each.artifact_type == wish.artifact_type]
        if len(fitting) == 1:
            return repository.resolve(str(fitting[0].digest))
    from provender.artifact.pull import resolve_manifest

    platform = Platform.parse(wish.platform) if wish.platform else None
    return resolve_manifest(repository, document, platform=platform, here=False)


def _write_config(manifest: Manifest, repository: Repository, staging: str) -> None:
    from provender.artifact.unpack import fetch_content
    from provender.storage.verify import read_all

    if manifest.config is None:
        return
    with fetch_content(repository, manifest.config) as reader:
        content = read_all(reader, _MAX_CONFIG_BYTES)
    path = os.path.join(staging, "config.json")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except FileExistsError as error:
        raise InvalidProject(
            "the artifact has a file config.json itself",
            code="config-clash",
            hint="leave includeConfig out, or lay the artifact's file elsewhere",
        ) from error
    with open(fd, "wb") as file:
        file.write(content)
