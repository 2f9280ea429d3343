"""Dependency: what a project asks for, in one normal form whichever file and short or long form it was written in.

Project layer; pure values and their checks; `origin` has the kinds. `manifest` makes them, `staleness` compares them
with the lock; dialects make them too.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from provender.artifact.names import fold, split_path
from provender.artifact.selection import Selection
from provender.errors import IntegrityError, InvalidProject
from provender.project.origin import Origin, SourceKind

__all__ = [
    "Dependency",
    "Paths",
    "check_destination",
    "check_media_type_pattern",
    "check_name",
    "check_pattern",
    "check_root",
    "find_overlap",
]

_O = TypeVar("_O")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MEDIA_TYPE_PATTERN: Final = re.compile(r"[A-Za-z0-9!#$&^_.+*?/-]{1,255}")
_MAX_PATTERN: Final = 1024
# Files of ours at the top of a project, and names below which a version control system would run what is laid there.
_OURS: Final = frozenset({".provender", "provender.yaml", "provender.lock"})
_CONTROLLED: Final = frozenset({".git", "git~1", ".hg", ".svn"})


class Paths(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which files of an origin are laid on disk. The default is all of them."""

    include: tuple[str, ...] = ()
    """Patterns of paths; none means every path. Then `exclude`, then `root`."""
    exclude: tuple[str, ...] = ()
    root: str | None = None
    """The directory of the origin that becomes the destination's root: a clean relative path."""

    @property
    def selection(self) -> Selection:
        """The same, as `artifact.selection` takes it."""
        return Selection(include=self.include, exclude=self.exclude, root=self.root or "")

    @property
    def recorded(self) -> Paths | None:
        """The same, as a lock has it: None for the default."""
        return None if self == Paths() else self


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a project needs, and where it is laid."""

    name: str
    origin: Origin
    to: str
    """A clean relative path with `/`, inside the project."""
    paths: Paths = Paths()
    keep: tuple[str, ...] = ()
    """Patterns of existing files in the destination that stay. Not part of the lock: they change nothing it records."""

    @property
    def source(self) -> SourceKind:
        """The kind of its origin."""
        kind: SourceKind = self.origin.__struct_config__.tag  # type: ignore[assignment]
        return kind

    def origin_as(self, kind: type[_O]) -> _O:
        """The origin, for whoever handles that kind alone; TypeError if it is another."""
        if not isinstance(self.origin, kind):
            raise TypeError(f"{self.name} comes from {self.source}, not {kind.__name__}")
        return self.origin


def check_name(text: str) -> str:
    """`text`, if it can name a dependency; else InvalidProject."""
    if _NAME.fullmatch(text) is None:
        raise InvalidProject(
            f"not a name of a dependency: {text[:150]!r}",
            code="invalid-name",
            hint="use letters, digits, '.', '_' and '-', at most 128, beginning with a letter or digit",
        )
    return text


def check_destination(text: str) -> str:
    """The clean form of a destination, relative to the project; InvalidProject for one that may not be written."""
    parts = _split(text, "a destination is a relative path inside the project, such as vendor/schemas")
    folded = [fold((part,)) for part in parts]
    if folded[0] in _OURS or not _CONTROLLED.isdisjoint(folded):
        raise InvalidProject(
            f"the destination {text[:150]!r} belongs to provender or to version control",
            code="reserved-destination",
            hint="choose a directory of its own, such as vendor/schemas",
        )
    return "/".join(parts)


def check_root(text: str) -> str:
    """The clean form of the path of a directory inside an artifact; else InvalidProject."""
    return "/".join(_split(text, "leave it out for the whole artifact, or name a directory inside of it"))


def check_pattern(text: str) -> str:
    """`text`, if it is a pattern of relative paths (`*`, `?`, `[...]`, `**`); else InvalidProject."""
    if not text or len(text) > _MAX_PATTERN:
        problem = "it is empty" if not text else f"it is longer than {_MAX_PATTERN} characters"
    elif _CONTROL.search(text) or "\\" in text:
        problem = "it has a backslash or a control character"
    elif text.startswith(("/", "!")):
        problem = f"it begins with {text[0]!r}"
    elif ".." in text.split("/"):
        problem = "it climbs with '..'"
    elif _has_open_bracket(text):
        problem = "a '[' is not closed"
    else:
        return text
    raise InvalidProject(
        f"not a pattern of paths: {text[:150]!r}: {problem}",
        code="invalid-pattern",
        hint="write for example '*.json', 'schemas/**' or '**/[a-z]*.yaml'",
    )


def check_media_type_pattern(text: str) -> str:
    """`text`, if it is a pattern of media types (`*`, `?`); else InvalidProject."""
    if _MEDIA_TYPE_PATTERN.fullmatch(text) is None:
        raise InvalidProject(
            f"not a pattern of media types: {text[:150]!r}",
            code="invalid-pattern",
            hint="write for example 'application/vnd.cncf.flux.content.*'",
        )
    return text


def find_overlap(destinations: dict[str, str]) -> tuple[str, str] | None:
    """Two names whose destinations (name to clean path) are one place or lie in each other; None if there are none.

    Upper and lower case and Unicode forms do not count: they do not on every file system.
    """
    taken: dict[str, str] = {}
    for name, path in destinations.items():
        other = taken.setdefault(fold(tuple(path.split("/"))), name)
        if other != name:
            return other, name
    for path, name in taken.items():
        parent = path.rpartition("/")[0]
        while parent:
            if parent in taken:
                return taken[parent], name
            parent = parent.rpartition("/")[0]
    return None


def _split(text: str, hint: str) -> tuple[str, ...]:
    try:
        return split_path(text, where="")
    except IntegrityError as error:
        raise InvalidProject(error.message, code="invalid-path", hint=hint) from error


def _has_open_bracket(text: str) -> bool:
    at = text.find("[")
    while at >= 0:
        # A ']' that comes first, also after '!' or '^', stands for itself.
        first = at + 2 if text[at + 1 : at + 2] in ("!", "^") else at + 1
        end = text.find("]", first + 1)
        if end < 0:
            return True
        at = text.find("[", end)
    return False
