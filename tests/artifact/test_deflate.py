"""The gzip writer: readable by others, and the same bytes everywhere."""

from __future__ import annotations

import gzip
import hashlib
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.artifact.deflate import GzipWriter


def compressed(*pieces: bytes) -> bytes:
    out: list[bytes] = []
    writer = GzipWriter(out.append)
    for piece in pieces:
        writer.write(piece)
    writer.close()
    return b"".join(out)


def words(count: int) -> bytes:
    """Text from a generator of our own, so that it is the same in every Python."""
    state, out = 1, []
    for _ in range(count):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        out.append(b"key%d: %s" % (state >> 20, b"value\n" if state & 0x10000 else b"other/path.yaml\n"))
    return b"".join(out)


NOISE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(10_000))

GOLDEN = {
    "empty": (b"", "30e6fa98fb48c2b132824d1ac5e2243c0be9e9082ff32598d34d7687ca7f6c7f"),
    "one byte": (b"x", "53445b4929892e2e2429c0bd7dc9bd7237665159b4ba3051de2caf47d33d476f"),
    "a run": (b"a" * 400_000, "3df0fdfeaebf7faca0a131846c8f0568ecb8ffbc3ee47828da0addca8c05fc8f"),
    "text": (words(20_000), "04d2d9f3d4318106363ff15db55199e412cfa9b3012aebe49fee370a3f51bf8a"),
    "noise": (NOISE, "bdca09dd550912c9d6dd0a38e2590de61fdaf21451a8f9c78efc2dbba555cf00"),
    "both": (words(8_000) + NOISE + words(8_000), "91d5861fc7215372169c2e9b997da16de4c5687c5cd316236bdc932d67f5565a"),
    "every byte": (bytes(range(256)) * 3, "efb59a562b5c786b1aeeae02bf76e8270f5b59eee3836557a8d9f2c1354943ca"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_bytes_are_the_same_on_every_machine(name: str) -> None:
    content, expected = GOLDEN[name]
    assert hashlib.sha256(compressed(content)).hexdigest() == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_any_gzip_reader_reads_it(name: str) -> None:
    content, _ = GOLDEN[name]
    assert gzip.decompress(compressed(content)) == content
    assert zlib.decompress(compressed(content), wbits=31) == content


@given(st.lists(st.one_of(st.binary(max_size=2000), st.text("ab\n", max_size=500).map(str.encode))))
def test_how_the_input_is_cut_does_not_matter(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert compressed(*pieces) == compressed(whole)
    assert gzip.decompress(compressed(whole)) == whole


@pytest.mark.parametrize("size", [131071, 131072, 131073, 262144, 65535, 65536])
def test_block_borders_are_kept(size: int) -> None:
    for content in ((NOISE * 2)[:size], words(20_000)[:size]):
        assert gzip.decompress(compressed(content)) == content


def test_skewed_counts_still_make_codes_of_at_most_fifteen_bits() -> None:
    a, b = 1, 1
    content = bytearray()
    for symbol in range(24):
        content += bytes([symbol]) * a
        a, b = b, a + b
    shuffled = bytearray(content)
    random.Random(0).shuffle(shuffled)
    assert gzip.decompress(compressed(bytes(shuffled))) == shuffled


def test_text_becomes_small_and_noise_hardly_grows() -> None:
    text = words(20_000)
    assert len(compressed(text)) < 1.3 * len(zlib.compress(text))
    assert len(compressed(NOISE)) < len(NOISE) + 64
