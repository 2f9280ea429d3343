"""A gzip writer whose output depends on its input alone. Artifact layer; used by `pack`.

A pushed directory is to have one digest everywhere, so its compressed bytes must not depend on a library's build.
None at hand promises that: zlib, zlib-ng (in some builds of Python and several distributions), Apple's and s390x's
zlib differ at the same level; ISA-L chooses its matcher by the processor's instructions and has another one on arm64;
libzstd changes between versions, and directory layers are gzip by convention. Stored blocks alone would be stable,
but are five to twenty times larger for text. So this is RFC 1951 in plain integers: greedy matches inside blocks of
128 KiB, one pair of Huffman codes per block, stored blocks for what does not compress. Measured: 2 to 8 MB/s on
source text and JSON, at most a sixth larger than zlib's default; noise (archives, pictures, weights) passes at over
200 MB/s.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

__all__ = ["GzipWriter"]

_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time, unknown system
_BLOCK: Final = 128 << 10
_WINDOW: Final = 32 << 10
_LONGEST: Final = 258
_KEY: Final = 5  # bytes that make a match; shorter ones cost more time than they save bytes
_MAX_STORED: Final = 0xFFFF
_END: Final = 256
_LENGTH_CODES: Final = 286
_DISTANCE_CODES: Final = 30
_CODE_LENGTH_ORDER: Final = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


class GzipWriter:
    """Compresses what is written to it and hands the gzip bytes to `sink`; `close` ends the member."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._pending = bytearray()
        self._bits = ""  # less than one byte, in the order of the stream
        self._crc = 0
        self._size = 0
        sink(_HEADER)

    def write(self, data: bytes) -> None:
        """Take the next bytes; where they are cut has no influence on the output."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._pending += data
        # The last block is known only at the end, so one block always waits.
        while len(self._pending) > _BLOCK:
            self._block(bytes(self._pending[:_BLOCK]), final=False)
            del self._pending[:_BLOCK]

    def close(self) -> None:
        """Write the last block and the trailer."""
        self._block(bytes(self._pending), final=True)
        self._pending.clear()
        if self._bits:
            self._emit("0" * (8 - len(self._bits)))
        self._sink(self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little"))

    def _block(self, data: bytes, *, final: bool) -> None:
        bits = None if _is_noise(data) else _compressed(data)
        if bits is None or len(bits) >= 8 * len(data):
            self._stored(data, final=final)
        else:
            self._emit(("1" if final else "0") + "01" + bits)

    def _stored(self, data: bytes, *, final: bool) -> None:
        parts = [data[at : at + _MAX_STORED] for at in range(0, len(data), _MAX_STORED)] or [b""]
        for number, part in enumerate(parts, start=1):
            head = ("1" if final and number == len(parts) else "0") + "00"
            self._emit(head + "0" * (-(len(self._bits) + len(head)) % 8))
            size = len(part)
            self._sink(size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + part)

    def _emit(self, bits: str) -> None:
        bits = self._bits + bits
        whole = len(bits) & ~7
        self._bits = bits[whole:]
        if whole:
            # The first bit of the stream is the lowest bit of the first byte (RFC 1951 section 3.1.1).
            self._sink(int(bits[:whole][::-1], 2).to_bytes(whole // 8, "little"))


def _is_noise(data: bytes) -> bool:
    """True if the bytes are spread so evenly that a search for matches is hardly worth it; by integers alone."""
    sample = data[::16]
    size = len(sample)
    return size >= 1024 and sum(n * n for n in Counter(sample).values()) * 256 < size * size + 384 * size


def _tokens(data: bytes) -> list[int]:
    """Literals (0 to 255) and matches (two tokens: 256 + length, 1024 + distance), greedily.

    One loop without calls: it is where the time goes.
    """
    found: list[int] = []
    add = found.append
    number = int.from_bytes
    last: dict[bytes, int] = {}  # where these bytes stood last
    get = last.get
    at, end = 0, len(data)
    while at < end - _KEY:
        key = data[at : at + _KEY]
        earlier = get(key)
        last[key] = at
        if earlier is None or at - earlier > _WINDOW:
            add(data[at])
            at += 1
            continue
        left, right = data[earlier + _KEY : earlier + 24], data[at + _KEY : at + 24]
        if left == right:
            left, right = data[earlier + _KEY : earlier + _LONGEST], data[at + _KEY : at + _LONGEST]
        if differing := number(left[: len(right)], "little") ^ number(right, "little"):
            size = _KEY + ((differing & -differing).bit_length() - 1 >> 3)
        else:
            size = _KEY + len(right)
        add(256 + size)
        add(1024 + at - earlier)
        for inside in range(at + 1, min(at + size, end - _KEY), 1 if size < 12 else 4):
            last[data[inside : inside + _KEY]] = inside
        at += size
    found.extend(data[at:])
    return found


def _compressed(data: bytes) -> str:
    """The bits of one block with its own Huffman codes (RFC 1951 section 3.2.7), without the three of its header."""
    tokens = _tokens(data)
    counts = Counter(tokens)
    lengths = Counter({_END: 1})
    distances: Counter[int] = Counter()
    for token, count in counts.items():
        if token < 1024:
            lengths[_length_code(token - 256)[0] if token > 255 else token] += count
        else:
            distances[_distance_code(token - 1024)[0]] += count
    for code in (0, 1):  # fewer than two distances would be an incomplete code
        if len(distances) < 2:
            distances[code] += 1
    literal_sizes, distance_sizes = _sizes(lengths, 15), _sizes(distances, 15)
    literal, distance = _codes(literal_sizes), _codes(distance_sizes)
    bits: dict[int, str] = {}
    for token in counts:
        if token < 256:
            bits[token] = literal[token]
        else:
            code, extra = _length_code(token - 256) if token < 1024 else _distance_code(token - 1024)
            bits[token] = (literal if token < 1024 else distance)[code] + extra
    return _described(literal_sizes, distance_sizes) + "".join(map(bits.__getitem__, tokens)) + literal[_END]


def _sizes(counts: Mapping[int, int], longest: int) -> dict[int, int]:
    """The code length of each symbol: Huffman's, with counts flattened until none is over `longest`."""
    weights = dict(sorted(counts.items()))
    while True:
        sizes = dict.fromkeys(weights, 0)
        heap: list[tuple[int, int, tuple[int, ...]]] = [
            (weight, symbol, (symbol,)) for symbol, weight in weights.items()
        ]
        heapq.heapify(heap)
        while len(heap) > 1:
            one, two = heapq.heappop(heap), heapq.heappop(heap)
            joined = one[2] + two[2]
            for symbol in joined:
                sizes[symbol] += 1
            heapq.heappush(heap, (one[0] + two[0], min(one[1], two[1]), joined))
        if max(sizes.values()) <= longest:
            return sizes
        weights = {symbol: (weight + 1) // 2 for symbol, weight in weights.items()}


def _codes(sizes: Mapping[int, int]) -> dict[int, str]:
    """The canonical codes of code lengths, as bits (RFC 1951 section 3.2.2)."""
    codes: dict[int, str] = {}
    code = size_before = 0
    for size, symbol in sorted((size, symbol) for symbol, size in sizes.items()):
        code <<= size - size_before
        codes[symbol] = f"{code:0{size}b}"
        code += 1
        size_before = size
    return codes


def _described(literal_sizes: Mapping[int, int], distance_sizes: Mapping[int, int]) -> str:
    """The bits that tell a reader both codes, run-length encoded."""
    plain = [literal_sizes.get(symbol, 0) for symbol in range(_LENGTH_CODES)]
    plain += [distance_sizes.get(symbol, 0) for symbol in range(_DISTANCE_CODES)]
    runs = _runs(plain)
    used = Counter(symbol for symbol, _ in runs)
    for symbol in (0, 18):
        used.setdefault(symbol, 1)
    sizes = _sizes(used, 7)
    codes = _codes(sizes)
    head = _low_first(_LENGTH_CODES - 257, 5) + _low_first(_DISTANCE_CODES - 1, 5) + _low_first(19 - 4, 4)
    table = "".join(_low_first(sizes.get(symbol, 0), 3) for symbol in _CODE_LENGTH_ORDER)
    return head + table + "".join(codes[symbol] + extra for symbol, extra in runs)


def _runs(plain: list[int]) -> list[tuple[int, str]]:
    """Code lengths with 16 for repeats, 17 and 18 for zeros, each with its extra bits."""
    runs: list[tuple[int, str]] = []
    at = 0
    while at < len(plain):
        value, size = plain[at], 1
        most = 138 if value == 0 else 7
        while size < most and at + size < len(plain) and plain[at + size] == value:
            size += 1
        at += size
        if value == 0 and size >= 11:
            runs.append((18, _low_first(size - 11, 7)))
        elif value == 0 and size >= 3:
            runs.append((17, _low_first(size - 3, 3)))
        elif value and size >= 4:
            runs += [(value, ""), (16, _low_first(size - 4, 2))]
        else:
            runs += [(value, "")] * size
    return runs


def _low_first(value: int, size: int) -> str:
    return f"{value:0{size}b}"[::-1] if size else ""


@cache
def _length_code(length: int) -> tuple[int, str]:
    """Symbol and extra bits of a match's length, 3 to 258 (RFC 1951 section 3.2.5)."""
    if length == _LONGEST:
        return 285, ""
    value = length - 3
    if value < 8:
        return 257 + value, ""
    extra = value.bit_length() - 3
    return 257 + 4 * extra + (value >> extra), _low_first(value & ((1 << extra) - 1), extra)


@cache
def _distance_code(distance: int) -> tuple[int, str]:
    """Symbol and extra bits of a match's distance, 1 to 32768."""
    value = distance - 1
    if value < 4:
        return value, ""
    extra = value.bit_length() - 2
    return 2 * extra + (value >> extra), _low_first(value & ((1 << extra) - 1), extra)
