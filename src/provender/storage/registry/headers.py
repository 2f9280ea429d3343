"""Headers with a grammar of their own: `Link`, `Warning`, `Content-Range`, and numbers. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["ContentRange", "next_link", "parse_content_range", "parse_warnings", "whole_number"]

_MAX_LENGTH: Final = 16 << 10
_LINK: Final = r"<([^<>]*)>((?:\s*;\s*[^\s;,=]+(?:\s*=\s*(?:\"[^\"]*\"|[^\s\",;]*))?)*)"
_REL: Final = r"(?i);\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s\",;]*))"
_WARNING: Final = r'299\s+\S+\s+"((?:[^"\\]|\\.)*)"'
_CONTENT_RANGE: Final = r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)"
_MAX_DIGITS: Final = 18
_MAX_WARNINGS_BYTES: Final = 4096  # distribution-spec, "Warnings"


def next_link(header: str) -> str | None:
    """The target of the link with relation `next` (RFC 8288); None without one."""
    for match in re.finditer(_LINK, header[:_MAX_LENGTH]):
        relation = re.search(_REL, match[2])
        if relation is not None and "next" in (relation[1] or relation[2] or "").lower().split():
            return match[1].strip()
    return None


def parse_warnings(header: str) -> list[str]:
    """The texts of warnings with code 299 in a `Warning` header; anything else in it is left out."""
    return [re.sub(r"\\(.)", r"\1", match[1]) for match in re.finditer(_WARNING, header[:_MAX_WARNINGS_BYTES])]


class ContentRange(msgspec.Struct, frozen=True):
    """The bytes `start` to `end` (inclusive) of `total`, which may be unknown."""

    start: int
    end: int
    total: int | None


def parse_content_range(header: str) -> ContentRange | None:
    """The range of a 206 answer; None if the header says something else."""
    match = re.fullmatch(_CONTENT_RANGE, header.strip())
    if match is None:
        return None
    start, end, total = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
    if start > end or (total is not None and end >= total):
        return None
    return ContentRange(start, end, total)


def whole_number(header: str) -> int | None:
    """The number that a header is; None if it is none, or one beyond every size.

    Headers are read as Latin-1, where `isdigit` alone takes `²` for a digit that `int` then does not know.
    """
    text = header.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None
