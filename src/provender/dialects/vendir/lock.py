"""`vendir.lock.yml`: read leniently as vendir reads it, and written byte for byte as vendir writes it. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import Final

import msgspec

from provender.dialects.vendir.config import clean_path, within
from provender.dialects.vendir.schema import API_VERSION
from provender.errors import InvalidProject, ProvenderError
from provender.settings.go_documents import read_documents
from provender.settings.go_shape import shaped
from provender.settings.go_yaml import dump

__all__ = ["LOCK_MODE", "LockConfig", "LockContents", "LockDirectory"]

LOCK_MODE: Final = 0o600
_KIND: Final = "LockConfig"
_CONFLICT: Final = re.compile(rb"^(?:<{7}|={7}|>{7})(?:[ \r]|$)", re.MULTILINE)


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all have in common: a plain default is left out when empty, a factory's value never."""


class LockGit(_Shape, frozen=True):
    sha: str = msgspec.field(default_factory=str)
    tags: tuple[str, ...] = ()
    """What `git describe --tags` says."""
    commit_title: str = msgspec.field(default_factory=str)


class LockHg(_Shape, frozen=True):
    sha: str = msgspec.field(default_factory=str)
    tags: tuple[str, ...] = ()
    change_set_title: str = msgspec.field(default_factory=str)


class LockNothing(_Shape, frozen=True):
    """What cannot be locked."""


class LockImage(_Shape, frozen=True):
    url: str = msgspec.field(default_factory=str)
    tag: str = ""


class LockImgpkgBundle(_Shape, frozen=True):
    image: str = msgspec.field(default_factory=str)
    tag: str = ""


class LockGithubRelease(_Shape, frozen=True):
    url: str = msgspec.field(default_factory=str)
    tag: str = ""


class LockHelmChart(_Shape, frozen=True):
    version: str = msgspec.field(default_factory=str)
    app_version: str = msgspec.field(default_factory=str)


class LockVerified(_Shape, frozen=True):
    identity: str = ""
    issuer: str = ""


class LockOciArtifact(_Shape, frozen=True):
    artifact_type: str = ""
    image: str = msgspec.field(default_factory=str)
    manifest: str = ""
    """The child, if `image` is an index."""
    tag: str = ""
    verified: LockVerified | None = None


class LockContents(_Shape, frozen=True):
    """What one of the contents stands for."""

    path: str = msgspec.field(default_factory=str)
    config_digest: str = ""
    git: LockGit | None = None
    hg: LockHg | None = None
    http: LockNothing | None = None
    image: LockImage | None = None
    imgpkg_bundle: LockImgpkgBundle | None = None
    github_release: LockGithubRelease | None = None
    helm_chart: LockHelmChart | None = None
    manual: LockNothing | None = None
    directory: LockNothing | None = None
    inline: LockNothing | None = None
    oci_artifact: LockOciArtifact | None = None


class LockDirectory(_Shape, frozen=True):
    path: str = msgspec.field(default_factory=str)
    contents: tuple[LockContents, ...] = msgspec.field(default_factory=tuple)

    def find(self, path: str) -> LockContents | None:
        """The entry of the contents at that path."""
        return next((each for each in self.contents if each.path == path), None)


class LockConfig(_Shape, frozen=True):
    """A whole lock."""

    api_version: str = msgspec.field(default_factory=lambda: API_VERSION)
    kind: str = msgspec.field(default_factory=lambda: _KIND)
    directories: tuple[LockDirectory, ...] = msgspec.field(default_factory=tuple)

    @classmethod
    def parse(cls, raw: bytes, *, where: str) -> LockConfig:
        """The lock in `raw`; InvalidProject if it is none."""
        try:
            _refuse_conflict(raw, where)
            trees = read_documents(raw, where=where, warn=lambda _: None)
            if not trees:
                raise InvalidProject("the file is empty", code="invalid-lock", where=where)
            # Keys that this version does not know are left alone by vendir too.
            lock = shaped(trees[0], _ReadLock, warn=lambda _: None)
        except ProvenderError as error:
            error.hint = error.hint or "restore it from version control, or delete it and sync without --locked"
            raise within(error, "Unmarshaling lock config") from error
        for wrong, known, given in (
            ("apiVersion: Unknown version", API_VERSION, lock.api_version),
            ("kind: Unknown kind", _KIND, lock.kind),
        ):
            if given != known:
                key = wrong.partition(":")[0]
                raise within(
                    trees[0].error(
                        f"Validating {wrong} (known: {known})",
                        path=(key,),
                        code="invalid-lock",
                        hint="a lock is written by 'vendir sync'; name the right file with --lock-file",
                    ),
                    "Validating lock config",
                )
        return cls(directories=lock.directories)

    def dump(self) -> bytes:
        """The bytes of the file."""
        return dump(msgspec.to_builtins(self)).encode()

    def find_directory(self, path: str) -> LockDirectory | None:
        """The entry of the managed directory at that path."""
        return next((each for each in self.directories if each.path == path), None)

    def require(self, directory: str, contents: str, *, where: str) -> LockContents:
        """The entry of contents; InvalidProject (code `lock-stale`) without it."""
        hint = "run sync once without --locked, and commit the lock"
        found = self.find_directory(directory)
        if found is None:
            raise InvalidProject(
                f"Expected to find directory '{directory}' within lock config, but did not",
                code="lock-stale",
                where=where,
                hint=hint,
            )
        entry = found.find(contents)
        if entry is None:
            raise InvalidProject(
                f"Expected to find contents '{contents}' within directory '{directory}' in lock config, but did not",
                code="lock-stale",
                where=where,
                hint=hint,
            )
        return entry

    def merged(self, other: LockConfig) -> LockConfig:
        """This lock with the entries of `other` in the place of its own, or added to it."""
        directories = list(self.directories)
        for new in other.directories:
            is_placed = False
            for contents in new.contents:
                is_placed = _replace(directories, new.path, contents) or _append(directories, new.path, contents)
            if not is_placed:
                directories.append(new)
        return msgspec.structs.replace(self, directories=tuple(directories))


def _refuse_conflict(raw: bytes, where: str) -> None:
    if found := _CONFLICT.search(raw):
        line = raw.count(b"\n", 0, found.start()) + 1
        raise InvalidProject(
            "the lock has merge conflict markers",
            code="lock-conflict",
            where=f"{where}:{line}:1",
            hint="take either side, then sync without --locked",
        )


class _ReadLock(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A lock as it is read: without the words that say what it is."""

    api_version: str = ""
    kind: str = ""
    directories: tuple[LockDirectory, ...] = ()


def _replace(directories: list[LockDirectory], path: str, new: LockContents) -> bool:
    target = clean_path(posixpath.join(path, new.path))
    for at, directory in enumerate(directories):
        for number, contents in enumerate(directory.contents):
            if clean_path(posixpath.join(directory.path, contents.path)) == target:
                changed = (*directory.contents[:number], new, *directory.contents[number + 1 :])
                directories[at] = msgspec.structs.replace(directory, contents=changed)
                return True
    return False


def _append(directories: list[LockDirectory], path: str, new: LockContents) -> bool:
    for at, directory in enumerate(directories):
        if directory.path == path:
            directories[at] = msgspec.structs.replace(directory, contents=(*directory.contents, new))
            return True
    return False
