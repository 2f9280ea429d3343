"""Mapping: where a repository goes. The longest rule wins, and one place is for all that no rule names. Pure."""

from __future__ import annotations

import re
from typing import Final, Self

import msgspec

from provender.errors import InvalidDocument, InvalidReference
from provender.oci import Reference

__all__ = ["Mapping", "Rule", "archive_in", "archived_repository", "is_archive"]

_SUFFIX: Final = re.compile(r"\.(?:tar|tgz|tar\.gz|tar\.zst)(?:\.[0-9]{3,}|\.parts)?$")
_ARCHIVE: Final = re.compile(r"(?P<file>.+?\.(?:tar|tgz|tar\.gz|tar\.zst)(?:\.[0-9]{3,}|\.parts)?)/", re.DOTALL)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Repositories below `prefix` (whole components of their name) go below `place`."""

    prefix: str
    place: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rule that `PREFIX=PLACE` writes; InvalidReference for anything else."""
        prefix, equals, place = text.partition("=")
        prefix, place = prefix.rstrip("/").removeprefix("oci://"), place.rstrip("/")
        if not equals or not prefix or not place:
            raise InvalidReference(
                f"not a rule of a mapping: {text[:200]!r}",
                code="invalid-mapping",
                hint="write PREFIX=PLACE, such as ghcr.io/acme=registry.example/mirror/acme",
            )
        return cls(prefix=prefix, place=place)

    def rest(self, name: str) -> str | None:
        """What of a repository's name is behind the prefix (maybe nothing); None if the rule is not for it."""
        if name == self.prefix:
            return ""
        return name[len(self.prefix) + 1 :] if name.startswith(f"{self.prefix}/") else None


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """The rules, and `base` for repositories that none of them is for: it keeps their path and drops their host."""

    base: str | None = None
    rules: tuple[Rule, ...] = ()

    def destination(self, source: Reference) -> Reference:
        """The repository that the content of `source` goes to.

        Raises InvalidReference where nothing says where, or what comes out is no name of a repository, and
        InvalidDocument (`bad-repository-name`) for what an archive calls one and would lead out of its place.
        """
        archived = archived_repository(source)
        name = source.name if archived is None else archived[1]
        for rule in sorted(self.rules, key=lambda each: len(each.prefix), reverse=True):
            rest = rule.rest(name)
            if rest is not None:
                return _joined(rule.place, rest, source)
        if self.base is None:
            raise InvalidReference(
                f"no rule says where {source.name[:200]} goes",
                code="no-destination",
                hint="give --to, or a rule --map PREFIX=PLACE for it",
            )
        base = self.base.rstrip("/")
        # In an archive repositories have their whole names.
        is_whole = is_archive(base) and (source.kind != "layout" or archived is not None)
        return _joined(base, name if is_whole else _path(source), source)

    def example(self) -> Reference:
        """Some repository that content may go to: for the host alone."""
        place = self.base if self.base is not None else self.rules[0].place
        return _joined(place.rstrip("/"), "x", Reference(kind="registry", registry="x", repository="x"))


def is_archive(place: str) -> bool:
    """True if a place is an archive by its name, or lies in one."""
    return archive_in(place) is not None


def archive_in(place: str) -> str | None:
    """The file of the archive that a place is or lies in, by its name."""
    found = _ARCHIVE.match(place.removeprefix("layout:") + "/") if place.startswith("layout:") else None
    return None if found is None else found["file"]


def archived_repository(reference: Reference) -> tuple[str, str] | None:
    """The archive that a repository is in, and its whole name there; None for any other reference."""
    found = _ARCHIVE.match(reference.registry) if reference.kind == "layout" else None
    return None if found is None else (found["file"], reference.registry[found.end() :])


def _path(source: Reference) -> str:
    """The repository without its host; of a layout the name of its directory."""
    archived = archived_repository(source)
    if archived is not None:
        first, slash, rest = archived[1].partition("/")
        return rest if slash and ("." in first or ":" in first or first == "localhost") else archived[1]
    if source.kind != "layout":
        return source.repository
    name = source.registry.rstrip("/").rpartition("/")[2]
    return _SUFFIX.sub("", name)


def _joined(place: str, rest: str, source: Reference) -> Reference:
    if rest and not {"", ".", ".."}.isdisjoint(rest.replace("\\", "/").split("/")):
        raise InvalidDocument(
            f"{rest[:200]!r} is no repository that could be below {place[:200]}",
            code="bad-repository-name",
            where=source.name[:300],
            hint="nothing was written; say with --map where each goes, if you trust the archive that has it",
        )
    text = f"{place}/{rest}" if rest else place
    reference = Reference.parse(text)
    if reference.target is not None:
        raise InvalidReference(
            f"{text[:200]} for {source.name[:200]} is no repository but an artifact in one",
            code="invalid-mapping",
            hint="a mapping names places without tags and digests",
        )
    return reference
