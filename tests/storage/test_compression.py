"""Decompressed streams: round trips, strictness, caps, and that the reader below is read to its end."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tracemalloc
import zlib
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provender.artifact.ahead import ReadAhead
from provender.errors import IntegrityError
from provender.oci import Descriptor, Digest
from provender.storage.compression import Compression, open_stream, sniff
from provender.storage.limits import Limits
from provender.storage.verify import VerifiedReader
from support.archives import archive, file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Slow:
    """A reader that gives few bytes at a time and tells whether its end was met."""

    def __init__(self, content: bytes, step: int) -> None:
        self._held = io.BytesIO(content)
        self._step = step
        self.ended = False

    def read(self, size: int = -1, /) -> bytes:
        piece = self._held.read(self._step if size < 0 else min(size, self._step))
        self.ended = self.ended or not piece
        return piece


def everything(
    content: bytes, compression: Compression | None = None, *, step: int = 1 << 20, size: int = 1000
) -> bytes:
    reader = Slow(content, step)
    stream = open_stream(reader, compression)
    pieces = []
    while piece := stream.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    assert reader.ended
    assert stream.read(size) == b""
    return b"".join(pieces)


def gzip_with_header(content: bytes, *, extra: bytes = b"", name: bytes = b"", crc: bool = False) -> bytes:
    """A gzip member with optional header fields, which `gzip` does not write."""
    raw = gzip.compress(content, mtime=0)
    flags = (4 if extra else 0) | (8 if name else 0) | (2 if crc else 0)
    head = raw[:3] + bytes([flags]) + raw[4:10]
    if extra:
        head += struct.pack("<H", len(extra)) + extra
    if name:
        head += name + b"\0"
    if crc:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + raw[10:]


@settings(deadline=None)
@given(
    st.binary(max_size=3000),
    st.sampled_from(["none", "gzip", "zstd"]),
    st.integers(1, 700),
    st.integers(1, 5000),
)
def test_round_trip_in_pieces_of_any_size(
    content: bytes, compression: Literal["none", "gzip", "zstd"], step: int, size: int
) -> None:
    packed = {"none": bytes, "gzip": gzip.compress, "zstd": zstd.compress}[compression](content)
    assert everything(packed, compression, step=step, size=size) == content
    if compression != "none":
        assert everything(packed, step=step, size=size) == content


@pytest.mark.parametrize("step", [1, 7, 100, 1 << 20])
def test_members_and_frames_follow_each_other(step: int) -> None:
    assert (
        everything(gzip.compress(b"a" * 500) + gzip.compress(b"") + gzip.compress(b"b"), step=step) == b"a" * 500 + b"b"
    )
    skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc"
    frames = skippable + zstd.compress(b"a" * 500) + skippable + zstd.compress(b"b")
    assert everything(frames, step=step) == b"a" * 500 + b"b"


@pytest.mark.parametrize("step", [1, 13, 4096, 1 << 20])
def test_gzip_headers_with_all_fields_pass_in_any_pieces(step: int) -> None:
    content = bytes(range(256)) * 40
    packed = gzip_with_header(content, extra=b"E" * 5000, name=b"n" * 3000, crc=True)
    assert everything(packed + packed, step=step) == content * 2


def test_zero_padding_after_gzip_passes_and_is_read() -> None:
    assert everything(gzip.compress(b"abc") + bytes(100_000), step=1000) == b"abc"


def refused(
    content: bytes, compression: Compression | None = None, limits: Limits | None = None, step: int = 999
) -> str:
    with pytest.raises(IntegrityError) as caught:
        open_stream(Slow(content, step), compression, limits or Limits(), where="layer").drain()
    assert (caught.value.exit_status, caught.value.where) == (65, "layer")
    return caught.value.code


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_every_cut_is_noticed(compress: object) -> None:
    assert callable(compress)
    packed = compress(bytes(range(256)) * 4)
    for end in range(4, len(packed)):
        assert refused(packed[:end]) in ("truncated", "corrupt"), end


def test_damage_is_noticed() -> None:
    packed = bytearray(gzip.compress(b"some content" * 50))
    for at in (len(packed) - 6, len(packed) - 2, 12):
        broken = bytearray(packed)
        broken[at] ^= 0x55
        assert refused(bytes(broken)) == "corrupt"
    assert refused(gzip_with_header(b"abc", name=b"n", crc=True).replace(b"n\0", b"m\0", 1)) == "corrupt"
    checked = zstd.compress(b"some content" * 50, options={zstd.CompressionParameter.checksum_flag: 1})
    assert refused(checked[:-1] + bytes([checked[-1] ^ 1])) == "corrupt"


def test_what_is_not_the_compression_said_is_refused() -> None:
    for compression in ("gzip", "zstd"):
        assert refused(b"plain text, longer than any header", compression) == "corrupt"
        assert refused(b"", compression) in ("corrupt", "truncated")
    # Flags that the format reserves, a method that is not deflate, a name without end.
    assert refused(b"\x1f\x8b\x08\xe0" + bytes(20)) == "corrupt"
    assert refused(b"\x1f\x8b\x07\x00" + bytes(20)) == "corrupt"
    assert refused(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 3_000_000, step=1 << 20) == "corrupt"


def test_garbage_after_the_end_is_refused() -> None:
    assert refused(gzip.compress(b"abc") + b"garbage") == "trailing-data"
    assert refused(gzip.compress(b"abc") + bytes(5000) + b"x") == "trailing-data"
    assert refused(zstd.compress(b"abc") + b"garbage") == "corrupt"


def test_bombs_are_refused_by_ratio() -> None:
    limits = Limits(ratio_after_bytes=1 << 20)
    for packed in (gzip.compress(bytes(8 << 20)), zstd.compress(bytes(8 << 20))):
        assert refused(packed, limits=limits) == "decompression-bomb"
        # The same passes where it is allowed, and below the size from which the ratio counts.
        open_stream(io.BytesIO(packed), None, Limits(ratio=100_000, ratio_after_bytes=1 << 20)).drain()
        open_stream(io.BytesIO(packed), None, Limits(ratio_after_bytes=8 << 20)).drain()


def test_bombs_are_refused_by_total_and_by_members() -> None:
    limits = Limits(stream_bytes=1 << 20, ratio_after_bytes=0, ratio=1_000_000)
    assert refused(gzip.compress(bytes(2 << 20)), limits=limits) == "decompression-bomb"
    assert refused(bytes(2 << 20), "none", limits=limits) == "decompression-bomb"
    assert refused(gzip.compress(b"") * 200, limits=Limits(members=100)) == "decompression-bomb"


def test_a_zstd_window_over_the_cap_is_refused() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 24})
    packed = compressor.compress(b"abc" * 1000) + compressor.flush()
    assert refused(packed, limits=Limits(zstd_window_log=20)) == "corrupt"
    assert everything(packed) == b"abc" * 1000


def test_peek_takes_nothing() -> None:
    stream = open_stream(Slow(gzip.compress(b"0123456789" * 100), 3), None)
    assert stream.compression == "gzip"
    assert stream.peek(15) == b"012345678901234"
    assert stream.peek(5) == b"01234"
    assert stream.read(3) == b"012"
    assert stream.peek(2000) == (b"0123456789" * 100)[3:]
    assert stream.read(1) == b"3"
    stream.drain()
    assert stream.peek(10) == b""


def test_sniffing() -> None:
    assert sniff(gzip.compress(b"")) == "gzip"
    assert sniff(zstd.compress(b"")) == "zstd"
    assert sniff(b"\x50\x2a\x4d\x18\0\0\0\0") == "zstd"
    assert sniff(archive(file("a", b"x"))) == "tar"
    assert sniff(b"") is None
    assert sniff(b"text" * 200) is None
    assert sniff(bytes(1024)) is None
    assert open_stream(io.BytesIO(b""), None).compression == "none"


def test_the_digest_below_is_verified_by_draining() -> None:
    packed = gzip.compress(b"content" * 1000) + bytes(3000)
    wrong = Descriptor(media_type="a/b", digest=Digest.of(packed[:-1] + b"x"), size=len(packed))
    stream = open_stream(VerifiedReader(io.BytesIO(packed), wrong), None)
    assert stream.read(10) == b"contentcon"
    with pytest.raises(IntegrityError) as caught:
        stream.drain()
    assert caught.value.code == "digest-mismatch"


def test_memory_stays_constant() -> None:
    noise = zlib.compress(bytes(range(256)) * 100)
    packed = gzip.compress((noise + bytes(4000)) * ((64 << 20) // (len(noise) + 4000)), compresslevel=1)
    tracemalloc.start()
    try:
        stream = open_stream(io.BytesIO(packed), None)
        total = 0
        while piece := stream.read(1 << 20):
            total += len(piece)
        assert total > 60 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_reading_ahead_gives_the_same_and_hands_errors_over() -> None:
    content = bytes(range(256)) * 20_000
    with ReadAhead(io.BytesIO(content)) as ahead:
        assert ahead.read(10) == content[:10]
        rest = b"".join(iter(ahead.read, b""))
        assert rest == content[10:]
        assert ahead.read() == b""
    packed = gzip.compress(zlib.compress(content) * 400)[:-3]
    with ReadAhead(open_stream(io.BytesIO(packed), None)) as ahead, pytest.raises(IntegrityError) as caught:
        ahead.drain()
    assert caught.value.code == "truncated"


def test_reading_ahead_stops_when_nobody_reads() -> None:
    reader = io.BytesIO(bytes(64 << 20))
    with ReadAhead(reader) as ahead:
        ahead.read()
        ahead.read()
    assert reader.tell() < 8 << 20
