"""Where a dependency of `provender.yaml` comes from: the keys of each kind of source, checked with their places.

Project layer, below `manifest_entry`, which reads what all kinds have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from provender.errors import InvalidProject, InvalidReference, ProvenderError
from provender.oci import Digest, Platform, Reference
from provender.oci.media_types import is_valid
from provender.oci.reference import check_tag
from provender.project.addresses import (
    check_asset_name,
    check_chart,
    check_chart_repository,
    check_commit,
    check_directory,
    check_git_url,
    check_ref,
    check_sha256,
    check_slug,
    check_url,
)
from provender.project.dependency import check_media_type_pattern, check_name, check_pattern
from provender.project.inline_tree import InlineNames
from provender.project.manifest_shapes import (
    DependencyShape,
    DirectoryDependency,
    GitDependency,
    GithubDependency,
    HelmDependency,
    HttpDependency,
    ImageDependency,
    InlineDependency,
    ManualDependency,
    OciDependency,
)
from provender.project.origin import (
    GITHUB_API,
    ChartRequested,
    DirectoryOrigin,
    GithubOrigin,
    GitOrigin,
    GitRequested,
    HelmOrigin,
    HttpOrigin,
    ImageOrigin,
    InlineOrigin,
    ManualOrigin,
    OciOrigin,
    Origin,
    ReleaseRequested,
    Requested,
    SourceKind,
)
from provender.settings import Tree
from provender.versions import Range

__all__ = ["Checks", "read_origin", "repository_of"]

_IMPLIED_TAG: Final = "latest"

_T = TypeVar("_T")
_Key = tuple[str | int, ...]


class Checks:
    """The checks of one dependency; what they raise gets the place of the key that is wrong."""

    def __init__(self, tree: Tree, name: str) -> None:
        self._tree = tree
        self.name = name
        self.at((), lambda: check_name(name), of_key=True)

    def refuse_empty(self) -> None:
        """A key with nothing behind it is a slip; `version:` must not come to mean `latest`."""
        for part in ((), ("layers",)):
            tree = self._tree.at("dependencies", self.name, *part)
            fields = tree.value if tree is not None else None
            for key, value in fields.items() if isinstance(fields, dict) else ():
                if value is None and not key.startswith("x-"):
                    hint = "give it one, or remove the key"
                    raise self.error((*part, key), f"{key!r} has no value", "empty-value", hint, of_key=True)

    def patterns(
        self, path: _Key, texts: list[str] | None, check: Callable[[str], str], *, is_choice: bool = False
    ) -> tuple[str, ...]:
        """Texts that are patterns; of a choice there has to be one, or none was meant to be written."""
        if is_choice and texts == []:
            raise self.error(path, f"{path[-1]!r} is empty: nothing would be taken", "empty-choice", "leave it out")
        for number, text in enumerate(texts or ()):
            self.at((*path, number), partial(check, text))
        return tuple(texts or ())

    def optional(self, path: _Key, text: str | None, check: Callable[[str], object]) -> str | None:
        """`text` after `check`, which may raise; None stays None."""
        if text is not None:
            self.at(path, partial(check, text))
        return text

    def one_of(self, **values: str | None) -> None:
        """At most one of the keys has a value."""
        given = [key for key, value in values.items() if value is not None]
        if len(given) > 1:
            raise self.error(
                (given[1],),
                f"{given[0]!r} and {given[1]!r} exclude each other",
                f"{given[0]}-and-{given[1]}",
                "keep one of the two",
                of_key=True,
            )

    def at(self, path: _Key, check: Callable[[], _T], *, of_key: bool = False) -> _T:
        """What `check` gives; what it raises, with the place of the value (or key) at `path`."""
        try:
            return check()
        except ProvenderError as error:
            raise self.error(path, error.message, error.code, error.hint, of_key=of_key) from error

    def error(self, path: _Key, message: str, code: str, hint: str | None, *, of_key: bool = False) -> InvalidProject:
        """The error about what stands at `path` of the dependency."""
        full = ("dependencies", self.name, *path)
        return self._tree.error(f"{self.name[:128]}: {message}", path=full, of_key=of_key, code=code, hint=hint)


def read_origin(checks: Checks, kind: SourceKind, entry: DependencyShape) -> Origin:
    """The origin that an entry of this kind names; InvalidProject at the key that is wrong."""
    match entry:
        case OciDependency():
            return _oci(checks, entry)
        case ImageDependency():
            return _image(checks, entry)
        case GitDependency():
            return _git(checks, entry)
        case HttpDependency():
            return HttpOrigin(
                url=checks.at(("http",), lambda: check_url(entry.http)),
                sha256=checks.optional(("sha256",), entry.sha256, check_sha256),
                mode=entry.mode,
            )
        case GithubDependency():
            return _github(checks, entry)
        case HelmDependency():
            return _helm(checks, entry)
        case DirectoryDependency():
            return DirectoryOrigin(path=checks.at(("directory",), lambda: check_directory(entry.directory)))
        case InlineDependency():
            return _inline(checks, entry)
        case ManualDependency():
            if not entry.manual:
                raise checks.error(("manual",), "'manual' can only be true", "invalid-value", "remove the dependency")
            return ManualOrigin()
    raise TypeError(f"no reader for the source {kind}")


def repository_of(text: str) -> Reference:
    """The reference that `text` writes, if it may stand in a manifest."""
    reference = Reference.parse(text)
    if reference.kind == "layout" and (reference.registry[:1] in ("/", "~") or ".." in reference.registry.split("/")):
        raise InvalidReference(
            f"the layout {reference.registry[:150]!r} lies outside of the project",
            code="outside-project",
            hint="name a logical registry here and bind it: registries: {store: {location: 'layout:PATH'}}",
        )
    return reference


def _oci(checks: Checks, entry: OciDependency) -> OciOrigin:
    reference = _repository(checks, "oci", entry.oci)
    requested = _requested(checks, entry)
    if entry.artifact_type is not None and not is_valid(entry.artifact_type):
        raise checks.error(
            ("artifactType",),
            f"not a media type: {entry.artifact_type[:150]!r}",
            "invalid-media-type",
            "write type/subtype, such as application/vnd.cncf.flux.config.v1+json",
        )
    layers = entry.layers
    wanted = layers.media_types if layers is not None else None
    return OciOrigin(
        reference=reference,
        requested=requested or Requested(tag=_IMPLIED_TAG),
        artifact_type=entry.artifact_type,
        platform=_platform(checks, entry.platform),
        media_types=checks.patterns(("layers", "mediaTypes"), wanted, check_media_type_pattern, is_choice=True),
        mode=layers.mode if layers is not None else "auto",
        is_tag_implied=requested is None,
    )


def _image(checks: Checks, entry: ImageDependency) -> ImageOrigin:
    reference = _repository(checks, "image", entry.image)
    requested = _requested(checks, entry)
    return ImageOrigin(
        reference=reference,
        requested=requested or Requested(tag=_IMPLIED_TAG),
        platform=_platform(checks, entry.platform),
        is_tag_implied=requested is None,
    )


def _repository(checks: Checks, key: str, text: str) -> Reference:
    reference = checks.at((key,), lambda: repository_of(text))
    if reference.target is not None:
        other, value = ("digest", reference.digest) if reference.digest else ("tag", reference.tag)
        raise checks.error(
            (key,),
            f"{key!r} names a repository, not a {other}",
            f"target-in-{key}",
            f"write {other}: {value} beside it",
        )
    return reference


def _requested(checks: Checks, entry: OciDependency | ImageDependency) -> Requested | None:
    checks.one_of(version=entry.version, tag=entry.tag)
    version = checks.optional(("version",), entry.version, Range.parse)
    tag = checks.optional(("tag",), entry.tag, check_tag)
    digest = entry.digest
    if version is None and tag is None and digest is None:
        return None
    pinned = None if digest is None else checks.at(("digest",), lambda: Digest(digest))
    return Requested(version=version, tag=tag, digest=pinned)


def _platform(checks: Checks, text: str | None) -> str | None:
    return None if text is None else checks.at(("platform",), lambda: str(Platform.parse(text)))


def _git(checks: Checks, entry: GitDependency) -> GitOrigin:
    checks.one_of(version=entry.version, tag=entry.tag, branch=entry.branch)
    return GitOrigin(
        url=checks.at(("git",), lambda: check_git_url(entry.git)),
        requested=GitRequested(
            branch=checks.optional(("branch",), entry.branch, check_ref),
            tag=checks.optional(("tag",), entry.tag, check_ref),
            version=checks.optional(("version",), entry.version, Range.parse),
            commit=checks.optional(("commit",), entry.commit, check_commit),
        ),
        submodules=entry.submodules,
        lfs=entry.lfs,
    )


def _github(checks: Checks, entry: GithubDependency) -> GithubOrigin:
    checks.one_of(version=entry.version, tag=entry.tag)
    for name, digest in (entry.checksums or {}).items():
        checks.at(("checksums", name), partial(check_asset_name, name), of_key=True)
        checks.at(("checksums", name), partial(check_sha256, digest))
    api = checks.optional(("api",), entry.api, check_url)
    return GithubOrigin(
        repository=checks.at(("githubRelease",), lambda: check_slug(entry.github_release)),
        requested=ReleaseRequested(
            version=checks.optional(("version",), entry.version, Range.parse),
            tag=checks.optional(("tag",), entry.tag, check_ref),
        ),
        assets=checks.patterns(("assets",), entry.assets, check_pattern, is_choice=True),
        checksums=entry.checksums or {},
        mode=entry.mode,
        api=GITHUB_API if api is None else api.rstrip("/"),
    )


def _helm(checks: Checks, entry: HelmDependency) -> HelmOrigin:
    repository = checks.at(("repository",), lambda: check_chart_repository(entry.repository))
    return HelmOrigin(
        chart=checks.at(("helmChart",), lambda: check_chart(entry.helm_chart)),
        repository=repository.rstrip("/"),
        requested=ChartRequested(version=checks.optional(("version",), entry.version, Range.parse)),
    )


def _inline(checks: Checks, entry: InlineDependency) -> InlineOrigin:
    if not entry.inline:
        raise checks.error(("inline",), "'inline' has no files", "empty-choice", "add one: PATH and its content")
    names, files = InlineNames(), dict[str, bytes]()
    for path, text in entry.inline.items():
        clean = checks.at(("inline", path), partial(names.add, path), of_key=True)
        files[clean] = text.encode()
    return InlineOrigin(files=files)
