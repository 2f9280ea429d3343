"""Wish: what is to be relocated, before anything was asked: a tag, a digest, or a pattern of tags of one repository.

Pure. Wishes are written on the command line and in lists; locks of every kind become wishes too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from typing import Final, Self

import msgspec

from provender.errors import InvalidProject, InvalidReference, ProvenderError
from provender.oci import Reference
from provender.relocate.mapping import is_archive
from provender.relocate.selector import Selector
from provender.transfer.inventory import INVENTORY_TAG
from provender.transfer.related import DigestTag
from provender.versions import Range, Version

__all__ = ["Wish", "read_list"]

_PATTERN: Final = re.compile(r"[a-zA-Z0-9_.*?\[\]!-]{1,256}")
_WILD: Final = frozenset("*?[")
_MAX_LINES: Final = 100_000


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the repository `source`: what `target` (a tag or digest) names, or the tags that match.

    `tags` are what it gets at the destination; without them a tag keeps its name, and a digest gets none.
    """

    source: Reference
    target: str | None = None
    pattern: str | None = None
    """A pattern of tags with `*`, `?` and `[...]`."""
    versions: str | None = None
    """A range that the tags have to be in, as versions."""
    selector: Selector | None = None
    """What chooses among the tags instead."""
    tags: tuple[str, ...] = ()
    destination: Reference | None = None
    """The repository that it goes to, whatever a mapping says."""
    is_bare: bool = False
    """True to leave related content behind."""
    keeps_tags: bool = False
    """True if no tag at the destination may be moved for it."""

    @classmethod
    def parse(cls, text: str, *, versions: str | None = None) -> Self:
        """The wish that `REPOSITORY:TAG`, `REPOSITORY@DIGEST`, `REPOSITORY:PATTERN` writes.

        With `versions` a repository alone is enough. Raises InvalidReference.
        """
        head, pattern = _split_pattern(text)
        reference = Reference.parse(head)
        if pattern is not None and reference.target is not None:
            raise InvalidReference(
                f"a pattern beside a digest: {text[:200]!r}", code="invalid-pattern", hint="write the one or the other"
            )
        if versions is not None:
            Range.parse(versions)
            if reference.target is not None:
                raise InvalidReference(
                    f"a range of versions is for a repository, and {text[:200]} names one artifact in it",
                    code="invalid-wish",
                    hint=f"write {reference.name[:200]}, or leave the range out",
                )
            return cls(source=reference, pattern=pattern, versions=versions)
        if pattern is not None:
            return cls(source=reference, pattern=pattern)
        if reference.target is None and is_archive(reference.name):
            return cls(source=reference, pattern="*")
        if reference.target is None:
            raise InvalidReference(
                f"not said which artifact of {reference.name[:200]}",
                code="no-target",
                hint=f"write {reference.name[:200]}:TAG, or {reference.name[:200]}:* for all of its tags",
            )
        tags = (reference.tag,) if reference.tag is not None else ()
        return cls(source=reference.with_target(), target=reference.target, tags=tags)

    @property
    def is_selection(self) -> bool:
        """True if the tags have to be listed."""
        return self.target is None

    def select(self, tags: Iterable[str]) -> list[str]:
        """Those of `tags` that are wished for, sorted.

        Digest tags belong to related content, never to wishes, nor does the inventory of an archive.
        """
        tags = {tag for tag in tags if tag != INVENTORY_TAG and DigestTag.parse(tag) is None}
        if self.selector is not None:
            return sorted(self.selector.select(tags))
        matches = None if self.pattern is None else re.compile(translate(self.pattern)).match
        wanted = None if self.versions is None else Range.parse(self.versions)
        found: list[str] = []
        for tag in tags:
            if matches is not None and matches(tag) is None:
                continue
            if wanted is not None:
                version = Version.from_tag(tag)
                if version is None or not wanted.matches(version):
                    continue
            found.append(tag)
        return sorted(found)

    def __str__(self) -> str:
        if self.target is not None:
            return str(self.source) + ("@" if ":" in self.target else ":") + self.target
        if self.selector is not None:
            return f"{self.source}, {self.selector}"
        chosen = f":{self.pattern}" if self.pattern else ""
        return f"{self.source}{chosen}" + (f" in {self.versions}" if self.versions else "")


def read_list(text: str, *, where: str) -> Iterator[Wish]:
    """The wishes of a list with one on each line; `#` begins a comment. InvalidProject with the line for a bad one."""
    lines = text.splitlines()
    if len(lines) > _MAX_LINES:
        raise InvalidProject(f"the list has more than {_MAX_LINES} lines", code="list-too-long", where=where)
    for number, line in enumerate(lines, start=1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        try:
            yield Wish.parse(written)
        except ProvenderError as error:
            raise InvalidProject(error.message, code=error.code, where=f"{where}:{number}", hint=error.hint) from error


def _split_pattern(text: str) -> tuple[str, str | None]:
    head, colon, tail = text.rpartition(":")
    if not colon or "/" in tail or "@" in tail or _WILD.isdisjoint(tail):
        return text, None
    if _PATTERN.fullmatch(tail) is None:
        raise InvalidReference(
            f"not a pattern of tags: {tail[:150]!r}", code="invalid-pattern", hint="write for example 1.*, or * for all"
        )
    return head, tail
