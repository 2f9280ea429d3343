"""Where the regular files of a tar lie, found by one pass over its headers; nothing is extracted or read into memory.

Storage layer, below the layout archive. An own scan, since `tarfile` reads extension records of any size into memory.
Formats: POSIX ustar and pax, and GNU long names and sizes, which the tools that write layouts use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from provender.errors import IntegrityError, InvalidDocument
from provender.storage.tar_header import parse_pax
from provender.storage.volume import Cursor, read_exactly

__all__ = ["Member", "scan"]

_BLOCK: Final = 512
_MAX_MEMBERS: Final = 500_000
_MAX_EXTENSION_BYTES: Final = 1 << 20
_MAX_ALL_EXTENSIONS_BYTES: Final = 256 << 20  # what names can cost in memory
_REGULAR = frozenset({b"0", b"\0", b"7"})
_DIRECTORY: Final = b"5"
_SYMLINK: Final = b"2"
_HEADER_ONLY = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})  # links, devices, directories: whatever size they claim


class Member(NamedTuple):
    """A regular file in a tar: where its content starts, and its size, in bytes."""

    offset: int
    size: int


class _Header(NamedTuple):
    name: str
    kind: bytes
    size: int
    link: str


def scan(file: Cursor, wanted: Callable[[str], bool], *, links: dict[str, str] | None = None) -> dict[str, Member]:
    """The wanted regular files by name (without a leading `./`); the last one of a name counts, as in extraction.

    `links` takes the targets of wanted names that are symbolic links, which are refused without it.

    Raises InvalidDocument for what is no tar, IntegrityError for an archive that is cut short, has too many members, or
    has a wanted name that is not a regular file.
    """
    end = file.seek(0, os.SEEK_END)
    table: dict[str, Member] = {}
    long_name: str | None = None
    long_link: str | None = None
    extended: dict[str, str] = {}
    position = extension_bytes = 0
    for _ in range(_MAX_MEMBERS):
        header = _header(file, position, end)
        if header is None:
            return table
        content = position + _BLOCK
        if header.kind in (b"L", b"x", b"g", b"K"):
            extension_bytes += header.size
            if extension_bytes > _MAX_ALL_EXTENSIONS_BYTES:
                raise _hostile(f"it has more than {_MAX_ALL_EXTENSIONS_BYTES} bytes of extended headers")
            record = _extension(file, content, header.size, end)
            if header.kind == b"L":
                long_name = _text(record)
            elif header.kind == b"K":
                long_link = _text(record)
            elif header.kind == b"x":
                extended = _pax(record)
            position = content + _padded(header.size)
            continue
        size = _pax_size(extended) if "size" in extended else header.size
        if header.kind in _HEADER_ONLY:
            size = 0
        if content + size > end:
            raise _hostile(f"it ends in the middle of {header.name[:150]!r}", "archive-truncated")
        name = _plain(extended.get("path") or long_name or header.name)
        if links is not None and header.kind == _SYMLINK and wanted(name):
            links[name] = extended.get("linkpath") or long_link or header.link
        elif wanted(name) and header.kind != _DIRECTORY:
            if header.kind not in _REGULAR or any(key.startswith("GNU.sparse") for key in extended):
                raise _hostile(f"{name[:150]!r} is a link or a special file")
            if name in table and "blobs/" not in name and links is None:
                raise _hostile(f"{name[:150]!r} stands in it twice")
            table[name] = Member(content, size)
        long_name, long_link, extended = None, None, {}
        position = content + _padded(size)
    raise _hostile(f"it has more than {_MAX_MEMBERS} members")


def _header(file: Cursor, position: int, end: int) -> _Header | None:
    """The header at `position`; None at the end of the archive."""
    if position == end and position > 0:
        return None  # without the two blocks of zeros, as some writers leave it
    block = _read(file, position, _BLOCK)
    if len(block) < _BLOCK:
        raise _hostile("it ends in the middle of a header", "archive-truncated") if position else _no_tar()
    if not any(block):
        return None
    checksum = _number(block[148:156])
    if checksum != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise _hostile(f"the header at byte {position} is damaged") if position else _no_tar()
    name = _text(block[:100])
    # GNU headers keep times where POSIX ones keep the prefix; their magic ends in blanks.
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    size = _number(block[124:136])
    if size is None or not 0 <= size < 1 << 62:
        raise _hostile(f"{name[:150]!r} has no usable size")
    return _Header(name, block[156:157], size, _text(block[157:257]))


def _extension(file: Cursor, position: int, size: int, end: int) -> bytes:
    if size > _MAX_EXTENSION_BYTES:
        raise _hostile(f"an extended header has {size} bytes")
    if position + size > end:
        raise _hostile("it ends in an extended header", "archive-truncated")
    return _read(file, position, size)


def _pax(record: bytes) -> dict[str, str]:
    found = parse_pax(record)
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in found.items()}


def _pax_size(extended: dict[str, str]) -> int:
    text = extended["size"]
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise _hostile(f"an extended header has the size {text[:40]!r}")
    return int(text)


def _number(field: bytes) -> int | None:
    """A number in octal digits, or in base 256 as GNU writes large ones; None for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not text:
        return 0
    if any(digit not in b"01234567" for digit in text):
        return None
    return int(text, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _padded(size: int) -> int:
    return (size + _BLOCK - 1) // _BLOCK * _BLOCK


def _read(file: Cursor, position: int, size: int) -> bytes:
    file.seek(position)
    return read_exactly(file, size)


def _no_tar() -> InvalidDocument:
    return InvalidDocument(
        "not a tar archive",
        code="not-a-layout",
        hint="an archive of a layout is a plain tar with oci-layout, index.json and blobs; check the path",
    )


def _hostile(why: str, code: str = "hostile-archive") -> IntegrityError:
    return IntegrityError(
        f"the archive cannot be used: {why}",
        code=code,
        hint="make or fetch the archive again; nothing was read from it",
    )
