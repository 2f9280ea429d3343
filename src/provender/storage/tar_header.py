"""One tar header block: what it says, or why it is refused. Storage layer, below the readers of tars; pure.

Reads V7, ustar, GNU and star headers. Strict where archives may mean two things to two readers.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

import msgspec

from provender.errors import IntegrityError

__all__ = ["BLOCK_BYTES", "Header", "is_header", "parse_header", "parse_pax"]

BLOCK_BYTES: Final = 512

_MAX_SIZE: Final = (1 << 63) - 1
_ADLER_BASE: Final = 65521
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,9}) ")
_FIELD_ENDS: Final = b"\0 "
_COMMON_MODES: Final = {b"0000644\0": 0o644, b"0000755\0": 0o755, b"000644 \0": 0o644, b"000755 \0": 0o755}
_POSIX_MAGIC: Final = b"ustar\0"


class Header(msgspec.Struct, frozen=True, gc=False):
    """The fields of a header that are of use here. Names are unchecked bytes."""

    name: bytes
    kind: bytes
    mode: int
    size: int
    link: bytes


def is_header(block: bytes) -> bool:
    """True if `block` is a tar header with the right checksum."""
    if len(block) != BLOCK_BYTES or not block[0]:
        return False
    try:
        return has_checksum(block, _number(block[148:156], "checksum"))
    except IntegrityError:
        return False


def parse_header(block: bytes) -> Header:
    """The fields of a block of 512 bytes; IntegrityError (code `bad-archive`) if it is not a header."""
    if not has_checksum(block, _number(block[148:156], "checksum")):
        raise bad_archive("a header has the wrong checksum")
    end = block.find(b"\0", 0, 100)
    name = block[: end if end >= 0 else 100]
    if block[345] and block.startswith(_POSIX_MAGIC, 257):
        # The star format has times behind a shorter prefix.
        end = 476 if block.startswith(b"tar\0", 508) else 500
        name = block[345:end].partition(b"\0")[0] + b"/" + name
    return Header(
        name,
        block[156:157],
        _COMMON_MODES.get(block[100:108]) or _number(block[100:108], "mode"),
        _number(block[124:136], "size"),
        block[157:257].partition(b"\0")[0] if block[157] else b"",
    )


def parse_pax(records: bytes) -> dict[bytes, bytes]:
    """The records of a pax extended header (POSIX `pax`, "Extended Header"); of a repeated key the last one counts."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(records):
        match = _PAX_RECORD.match(records, at)
        end = at + int(match[1]) if match is not None else 0
        if match is None or end > len(records) or end <= match.end() or records[end - 1] != 0x0A:
            # Some writers fill the block up with zeros and count them.
            if not records[at:].strip(b"\0"):
                break
            raise bad_archive("a pax record has the wrong length")
        key, equals, value = records[match.end() : end - 1].partition(b"=")
        if not equals or not key:
            raise bad_archive("a pax record is not key=value")
        found[key] = value
        at = end
    return found


def parse_pax_size(text: bytes) -> int:
    """The value of the pax key `size`."""
    if not text.isdigit() or len(text) > 19 or int(text) > _MAX_SIZE:
        raise bad_archive("a pax header has a size that is not a size")
    return int(text)


def bad_archive(what: str) -> IntegrityError:
    """An error for an archive that is damaged or means to deceive; the reader adds where."""
    return IntegrityError(what, code="bad-archive", hint="nothing was unpacked; the archive is damaged or hostile")


def _number(field: bytes, what: str) -> int:
    # By far most fields are digits and one zero. isdigit first: int() would take signs, underscores and prefixes.
    digits = field[:-1]
    if digits.isdigit() and field[-1] in _FIELD_ENDS:
        return _octal(digits, what)
    if (digits := field[:-2]).isdigit() and field.endswith(b"\0 "):
        return _octal(digits, what)
    if field[0] & 0x80:
        # GNU's base-256: the first byte 0x80 is positive, 0xff negative, the rest big-endian.
        value = int.from_bytes(field[1:], "big")
        if field[0] != 0x80 or value > _MAX_SIZE:
            raise bad_archive(f"a header has a negative or oversized {what}")
        return value
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise bad_archive(f"a header has a {what} that is not an octal number")
    return _octal(digits, what)


def _octal(digits: bytes, what: str) -> int:
    try:
        return int(digits, 8)
    except ValueError as error:
        raise bad_archive(f"a header has a {what} that is not an octal number") from error


def has_checksum(block: bytes, stored: int) -> bool:
    """True if the bytes of `block`, the checksum's own aside, add up to `stored`."""
    # The sum counts the checksum field as eight spaces. Adler-32's lower half is the sum of bytes plus one, modulo a
    # prime; a whole sum in Python would take longer than creating a small file.
    unsigned = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 256
    if (unsigned - stored) % _ADLER_BASE == 0:
        return True
    # Some old writers summed signed characters.
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    return signed == stored
