"""One dependency of `provender.yaml`, in short or long form, checked key by key with its place in the file.

Project layer, below `manifest`, which reads the file around it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from provender.errors import InvalidProject, InvalidReference, ProvenderError
from provender.oci import Digest, Platform, Reference
from provender.oci.media_types import is_valid
from provender.oci.reference import check_tag
from provender.project.dependency import (
    Dependency,
    Requested,
    Selection,
    check_destination,
    check_media_type_pattern,
    check_name,
    check_pattern,
    check_root,
)
from provender.project.manifest_file import OciDependency
from provender.settings import Tree
from provender.versions import Range

__all__ = ["read_dependency"]

_IMPLIED_TAG: Final = "latest"

_T = TypeVar("_T")


def read_dependency(tree: Tree, name: str, entry: str | OciDependency) -> Dependency:
    """The dependency that `tree` (the whole file) holds under `name`; InvalidProject with file:line:column."""
    if isinstance(entry, str):
        return _Checks(tree, name).short(entry)
    return _Checks(tree, name).long(entry)


class _Checks:
    """The checks of one dependency; what they raise gets the place of the key that is wrong."""

    def __init__(self, tree: Tree, name: str) -> None:
        self._tree = tree
        self._name = name
        self._at((), lambda: check_name(name), of_key=True)

    def short(self, text: str) -> Dependency:
        """A reference with a tag or a digest."""
        reference = self._at((), lambda: _repository(text))
        if reference.target is None:
            raise self._error(
                (),
                f"{text[:150]!r} has neither tag nor digest",
                "missing-tag",
                f"write {reference.name[:150]}:TAG, or the long form with version, tag or digest",
            )
        return Dependency(
            name=self._name,
            reference=reference.with_target(),
            requested=Requested(tag=reference.tag, digest=reference.digest),
            to=self._at((), lambda: check_destination(f"vendor/{self._name}"), of_key=True),
        )

    def long(self, entry: OciDependency) -> Dependency:
        """A mapping with `oci` and what belongs to it."""
        self._refuse_empty()
        reference = self._at(("oci",), lambda: _repository(entry.oci))
        if reference.target is not None:
            key, value = ("digest", reference.digest) if reference.digest else ("tag", reference.tag)
            raise self._error(
                ("oci",), f"'oci' names a repository, not a {key}", "target-in-oci", f"write {key}: {value} beside it"
            )
        requested = self._requested(entry)
        if entry.artifact_type is not None and not is_valid(entry.artifact_type):
            raise self._error(
                ("artifactType",),
                f"not a media type: {entry.artifact_type[:150]!r}",
                "invalid-media-type",
                "write type/subtype, such as application/vnd.cncf.flux.config.v1+json",
            )
        to = entry.to
        return Dependency(
            name=self._name,
            reference=reference,
            requested=requested or Requested(tag=_IMPLIED_TAG),
            to=self._at(("to",), lambda: check_destination(f"vendor/{self._name}" if to is None else to)),
            artifact_type=entry.artifact_type,
            selection=self._selection(entry),
            keep=self._patterns(("keep",), entry.keep, check_pattern),
            is_tag_implied=requested is None,
        )

    def _refuse_empty(self) -> None:
        """A key with nothing behind it is a slip; `version:` must not come to mean `latest`."""
        for part in ((), ("layers",)):
            tree = self._tree.at("dependencies", self._name, *part)
            fields = tree.value if tree is not None else None
            for key, value in fields.items() if isinstance(fields, dict) else ():
                if value is None and not key.startswith("x-"):
                    hint = "give it one, or remove the key"
                    raise self._error((*part, key), f"{key!r} has no value", "empty-value", hint, of_key=True)

    def _requested(self, entry: OciDependency) -> Requested | None:
        if entry.version is not None and entry.tag is not None:
            raise self._error(
                ("tag",),
                "'version' and 'tag' exclude each other",
                "version-and-tag",
                "keep one of the two",
                of_key=True,
            )
        version, tag, digest = entry.version, entry.tag, entry.digest
        if version is not None:
            wanted = version
            self._at(("version",), lambda: Range.parse(wanted))
        if tag is not None:
            label = tag
            self._at(("tag",), lambda: check_tag(label))
        if version is None and tag is None and digest is None:
            return None
        pinned = None if digest is None else self._at(("digest",), lambda: Digest(digest))
        return Requested(version=version, tag=tag, digest=pinned)

    def _selection(self, entry: OciDependency) -> Selection:
        platform, root, layers = entry.platform, entry.root, entry.layers
        wanted = layers.media_types if layers is not None else None
        media_types = self._patterns(("layers", "mediaTypes"), wanted, check_media_type_pattern, is_choice=True)
        return Selection(
            platform=None if platform is None else self._at(("platform",), lambda: str(Platform.parse(platform))),
            media_types=media_types,
            mode=layers.mode if layers is not None else "auto",
            include=self._patterns(("include",), entry.include, check_pattern, is_choice=True),
            exclude=self._patterns(("exclude",), entry.exclude, check_pattern),
            root=None if root is None else self._at(("root",), lambda: check_root(root)),
        )

    def _patterns(
        self, path: tuple[str, ...], texts: list[str] | None, check: Callable[[str], str], *, is_choice: bool = False
    ) -> tuple[str, ...]:
        if is_choice and texts == []:
            raise self._error(path, f"{path[-1]!r} is empty: nothing would be taken", "empty-choice", "leave it out")
        for number, text in enumerate(texts or ()):
            self._at((*path, number), partial(check, text))
        return tuple(texts or ())

    def _at(self, path: tuple[str | int, ...], check: Callable[[], _T], *, of_key: bool = False) -> _T:
        try:
            return check()
        except ProvenderError as error:
            raise self._error(path, error.message, error.code, error.hint, of_key=of_key) from error

    def _error(
        self, path: tuple[str | int, ...], message: str, code: str, hint: str | None, *, of_key: bool = False
    ) -> InvalidProject:
        full = ("dependencies", self._name, *path)
        return self._tree.error(f"{self._name[:128]}: {message}", path=full, of_key=of_key, code=code, hint=hint)


def _repository(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.kind == "layout" and (reference.registry[:1] in ("/", "~") or ".." in reference.registry.split("/")):
        raise InvalidReference(
            f"the layout {reference.registry[:150]!r} lies outside of the project",
            code="outside-project",
            hint="name a logical registry here and bind it: registries: {store: {location: 'layout:PATH'}}",
        )
    return reference
