"""Tar archives made by hand, including those that no writer makes, and the tree that lies on disk."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

Piece = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """A header for `archive`."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def file(name: str, content: bytes = b"", *, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """A file for `archive`."""
    info = member(name, mode=mode)
    info.size = len(content)
    return info, content


def directory(name: str) -> tarfile.TarInfo:
    return member(name, tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, tarfile.SYMTYPE, link=target)


def hardlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, tarfile.LNKTYPE, link=target)


def archive(*pieces: Piece, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002 - tarfile's own word
    """An uncompressed tar of `pieces`."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=format) as tar:
        for piece in pieces:
            if isinstance(piece, tuple):
                tar.addfile(piece[0], io.BytesIO(piece[1]))
            else:
                tar.addfile(piece)
    return held.getvalue()


def header(
    name: bytes, *, kind: bytes = b"0", size: bytes = b"00000000000\0", link: bytes = b"", mode: bytes = b"0000644\0"
) -> bytes:
    """One raw header block with a right checksum and fields as given."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = mode
    block[124:136] = size
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    return sealed(block)


def sealed(block: bytearray) -> bytes:
    """`block` with its checksum put right."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(records: Iterable[tuple[bytes, bytes]], *, kind: bytes = b"x") -> bytes:
    """A raw extended header."""
    body = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        size = len(rest) + 1
        while len(b"%d" % size) + len(rest) != size:
            size += 1
        body += b"%d" % size + rest
    return header(b"PaxHeader", kind=kind, size=b"%011o\0" % len(body)) + padded(body)


END = bytes(1024)


def on_disk(root: str | Path) -> dict[str, tuple[str, int, bytes]]:
    """Everything below `root`, links not followed: kind, permission bits (0 for links) and content or target."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            where = os.path.relpath(path, root)
            if stat.S_ISLNK(status.st_mode):
                found[where] = ("link", 0, os.readlink(path).encode())
            elif stat.S_ISDIR(status.st_mode):
                found[where] = ("directory", stat.S_IMODE(status.st_mode), b"")
            else:
                found[where] = ("file", stat.S_IMODE(status.st_mode), Path(path).read_bytes())
    return found
