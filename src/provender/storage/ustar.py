"""Tar headers as we write them: ustar, with pax records only where a value does not fit. Storage layer; pure.

Own code because the digest of a packed directory or archive hangs on every byte, and `tarfile` promises none of them.
"""

from __future__ import annotations

from typing import Final

from provender.errors import Unsupported

__all__ = ["END_OF_ARCHIVE", "header", "padding"]

_BLOCK: Final = 512
END_OF_ARCHIVE: Final = bytes(2 * _BLOCK)
_MAX_OCTAL_SIZE: Final = 0o77777777777
_NO_DEVICES: Final = b"0000000\0" * 2


def header(
    name: str, kind: bytes, mode: int, size: int, link: str, mtime_s: int, *, has_devices: bool = False
) -> bytes:
    """The header of one member: `kind` is `0` (file), `2` (link) or `5` (directory, `name` ends in `/`).

    With `has_devices` the device numbers, zero, are spelled and not left empty: so do Go's archives.
    """
    records: dict[str, str] = {}
    raw_name, raw_link = name.encode(), link.encode()
    split = _split(raw_name) if name.isascii() else None
    if split is None:
        records["path"] = name
    if len(raw_link) > 100 or not link.isascii():
        records["linkpath"] = link
    if size > _MAX_OCTAL_SIZE:
        records["size"] = str(size)
    if not 0 <= mtime_s <= _MAX_OCTAL_SIZE:
        raise Unsupported(f"the time {mtime_s} does not fit into a tar", code="invalid-time", exit_status=2)
    prefix, short = split or (b"", _plain(raw_name))
    extended = _pax(records, mtime_s) if records else b""
    devices = _NO_DEVICES if has_devices else bytes(16)
    return extended + _block(short, prefix, kind, mode, min(size, _MAX_OCTAL_SIZE), _plain(raw_link), mtime_s, devices)


def padding(size: int) -> bytes:
    """What fills up the last block of content of `size` bytes."""
    return bytes(-size % _BLOCK)


def _pax(records: dict[str, str], mtime_s: int) -> bytes:
    body = b"".join(_record(key, value) for key, value in sorted(records.items()))
    return _block(b"pax", b"", b"x", 0o644, len(body), b"", mtime_s) + body + padding(len(body))


def _record(key: str, value: str) -> bytes:
    """`length key=value`, where the length counts its own digits (pax, "Extended Header")."""
    tail = f" {key}={value}\n".encode()
    length = len(tail)
    while len(str(length)) + len(tail) != length:
        length = len(str(length)) + len(tail)
    return str(length).encode() + tail


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and name as ustar has them; None if the name does not fit."""
    if len(name) <= 100:
        return b"", name
    for at in range(min(155, len(name) - 2), 0, -1):
        if name[at : at + 1] == b"/" and len(name) - at - 1 <= 100:
            return name[:at], name[at + 1 :]
    return None


def _plain(text: bytes) -> bytes:
    """What a reader without pax sees: the first 100 characters, others than ASCII as `_`."""
    return bytes(byte if byte < 0x80 else 0x5F for byte in text[:100])


def _block(
    name: bytes,
    prefix: bytes,
    kind: bytes,
    mode: int,
    size: int,
    link: bytes,
    mtime_s: int,
    devices: bytes = bytes(16),
) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0,  # uid
        b"%07o\0" % 0,  # gid
        b"%011o\0" % size,
        b"%011o\0" % mtime_s,
        b" " * 8,
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(32 + 32) + devices,  # no names
        prefix.ljust(155, b"\0"),
        bytes(12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
