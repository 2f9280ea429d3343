"""One dependency of `provender.yaml`, in short or long form, checked key by key with its place in the file.

Project layer, below `manifest`, which reads the file around it; `manifest_origin` has what is of one kind alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

import msgspec

from provender.project.dependency import Dependency, Paths, check_destination, check_pattern, check_root
from provender.project.manifest_origin import Checks, read_origin, repository_of
from provender.project.manifest_shapes import SHAPES, ChosenShape, DependencyShape
from provender.project.origin import OciOrigin, Requested, SourceKind
from provender.settings import Tree, convert

__all__ = ["read_dependency"]

# Keys that say where else a dependency could be, for "did you mean": not all slips are of spelling.
_OTHER_WORDS: Final[Mapping[str, SourceKind]] = {
    "artifact": "oci",
    "ociArtifact": "oci",
    "docker": "image",
    "container": "image",
    "url": "http",
    "https": "http",
    "github": "githubRelease",
    "release": "githubRelease",
    "helm": "helmChart",
    "chart": "helmChart",
    "path": "directory",
    "dir": "directory",
    "local": "directory",
    "files": "inline",
    "imgpkgBundle": "image",
}


def read_dependency(tree: Tree, name: str) -> Dependency:
    """The dependency that `tree` (the whole file) holds under `name`; InvalidProject with file:line:column."""
    checks = Checks(tree, name)
    entry = tree.at("dependencies", name)
    if entry is not None and isinstance(entry.value, str):
        return _short(checks, entry.value)
    if entry is None or not isinstance(entry.value, dict):
        value = None if entry is None else entry.value
        said = "nothing" if value is None else "a list" if isinstance(value, list) else f"{value!r}"[:80]
        raise checks.error(
            (), f"a dependency is a text or a mapping, not {said}", "invalid-value", "write for example acme/x:1.0"
        )
    kind = _kind(checks, entry.value)
    checks.refuse_empty()
    return _long(checks, kind, _converted(entry, SHAPES[kind]))


def _converted(entry: Tree, shape: type[DependencyShape]) -> DependencyShape:
    try:
        return msgspec.convert(entry.value, shape)
    except msgspec.ValidationError:
        # The slower way drops `x-` keys and explains what is wrong.
        return convert(entry, shape)


def _kind(checks: Checks, entry: Mapping[str, object]) -> SourceKind:
    """The source that the keys name: exactly one."""
    found = [kind for kind in SHAPES if kind in entry]
    if "verify" in entry:
        raise checks.error(
            ("verify",),
            "signature verification is not available in this version, so 'verify' cannot be honoured",
            "unsupported-verify",
            "remove the key; content is still held to the digest in the lock",
            of_key=True,
        )
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(repr(kind) for kind in found)
        raise checks.error(
            (found[1],), f"it has several sources: {listed}", "several-sources", "keep one of them", of_key=True
        )
    for key in entry:
        matches = difflib.get_close_matches(key[:80], [str(kind) for kind in SHAPES], n=1)
        near: str | None = _OTHER_WORDS.get(key) or (matches[0] if matches else None)
        if near is not None and key not in ("tag", "to", "root", "include", "exclude", "keep", "version"):
            raise checks.error(
                (key,), f"it has no source; {key[:80]!r} is none", "no-source", f"did you mean {near}?", of_key=True
            )
    raise checks.error((), "it has no source", "no-source", f"add one of {', '.join(SHAPES)}", of_key=True)


def _short(checks: Checks, text: str) -> Dependency:
    """A reference with a tag or a digest."""
    reference = checks.at((), lambda: repository_of(text))
    if reference.target is None:
        raise checks.error(
            (),
            f"{text[:150]!r} has neither tag nor digest",
            "missing-tag",
            f"write {reference.name[:150]}:TAG, or the long form with version, tag or digest",
        )
    return Dependency(
        name=checks.name,
        origin=OciOrigin(
            reference=reference.with_target(), requested=Requested(tag=reference.tag, digest=reference.digest)
        ),
        to=checks.at((), lambda: check_destination(f"vendor/{checks.name}"), of_key=True),
    )


def _long(checks: Checks, kind: SourceKind, entry: DependencyShape) -> Dependency:
    origin = read_origin(checks, kind, entry)
    to = entry.to
    destination = checks.at(("to",), lambda: check_destination(f"vendor/{checks.name}" if to is None else to))
    if not isinstance(entry, ChosenShape):
        return Dependency(name=checks.name, origin=origin, to=destination)
    root = entry.root
    return Dependency(
        name=checks.name,
        origin=origin,
        to=destination,
        paths=Paths(
            include=checks.patterns(("include",), entry.include, check_pattern, is_choice=True),
            exclude=checks.patterns(("exclude",), entry.exclude, check_pattern),
            root=None if root is None else checks.at(("root",), lambda: check_root(root)),
        ),
        keep=checks.patterns(("keep",), entry.keep, check_pattern),
    )
