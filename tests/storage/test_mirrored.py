"""Several sources read as one: who is asked for what, what leads on, and streams that change their source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

import pytest

from provender.errors import (
    Denied,
    IntegrityError,
    InvalidProject,
    NotFound,
    ProvenderError,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document
from provender.storage.abilities import BlobReader
from provender.storage.attempts import Health
from provender.storage.memory import MemoryStorage
from provender.storage.mirrored import MirroredStorage, Source
from provender.storage.verify import BytesReader
from support.content import blob, manifest

CONTENT = bytes(range(256)) * 64
BLOB = blob(CONTENT)


class Place:
    """A source over a repository in memory that fails as it is told, and remembers what it was asked."""

    def __init__(self, name: str, *contents: bytes, error: ProvenderError | None = None) -> None:
        self.name = name
        self.inner = MemoryStorage(name)
        self.error = error
        self.breaks_at: int | None = None  # at this byte of the content
        self.flips_at: int | None = None
        self.asked: list[str] = []
        self.offsets: list[int] = []
        for content in contents:
            self.inner.push(blob(content), BytesReader(content))

    def fetch(self, descriptor: Descriptor, *, offset: int = 0) -> BlobReader:
        self._ask("fetch")
        self.offsets.append(offset)
        reader = self.inner.fetch(descriptor, offset=offset)
        if self.breaks_at is None and self.flips_at is None:
            return reader
        return _Breaking(reader, self, offset)

    def exists(self, descriptor: Descriptor) -> bool:
        self._ask("exists")
        return self.inner.exists(descriptor)

    def resolve(self, target: str) -> Document:
        self._ask("resolve")
        return self.inner.resolve(target)

    def tags(self) -> Iterator[str]:
        self._ask("tags")
        return self.inner.tags()

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Iterator[Descriptor]:
        self._ask("referrers")
        return self.inner.referrers(digest, artifact_type)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error


class _Breaking:
    """A stream that breaks, or flips a bit, at a byte of the whole content."""

    def __init__(self, reader: BlobReader, place: Place, position: int) -> None:
        self._reader = reader
        self._place = place
        self._position = position

    def read(self, size: int = -1, /) -> bytes:
        at = self._place.breaks_at
        want = 1000 if size < 0 else min(size, 1000)
        if at is not None:
            if self._position >= at:
                raise Unavailable("it broke", code="connection-broken")
            want = min(want, at - self._position)
        chunk = bytearray(self._reader.read(want))
        flip = self._place.flips_at
        if flip is not None and self._position <= flip < self._position + len(chunk):
            chunk[flip - self._position] ^= 1
        self._position += len(chunk)
        return bytes(chunk)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mirrored(
    *places: Place,
    resolving: tuple[str, ...] = (),
    tags_only: tuple[str, ...] = (),
    location: bool = True,
    health: Health | None = None,
    warn: Callable[[str], None] | None = None,
) -> MirroredStorage:
    """The last place is the location unless told otherwise; mirrors serve digests."""
    sources = [
        Source(
            name=place.name,
            host=place.name,
            open=lambda place=place: place,
            is_location=(is_location := location and place is places[-1]),
            resolves_tags=is_location or place.name in resolving or place.name in tags_only,
            serves_digests=place.name not in tags_only,
        )
        for place in places
    ]
    return MirroredStorage("acme/tool", sources, health=health or Health(), warn=warn)


def read(storage: MirroredStorage, *, offset: int = 0) -> bytes:
    with storage.fetch(BLOB, offset=offset) as reader:
        return b"".join(iter(lambda: reader.read(3000), b""))


def put(place: Place, tag: str) -> Document:
    document = manifest("one")
    place.inner.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    place.inner.push_document(document, [tag])
    return document


DOWN = Unavailable("no answer", code="connection-connect")
LEADING_ON: list[ProvenderError] = [
    DOWN,
    Unavailable("answered 503", code="registry-unavailable"),
    Unavailable("a web page", code="not-a-registry-response", retryable=False, exit_status=69),
    NotFound("not there"),
    RateLimited("answered 429"),
    Unsupported("answered 501"),
]
STOPPING: list[ProvenderError] = [
    Unauthorized("answered 401"),
    Denied("answered 403"),
    IntegrityError("other content", code="digest-mismatch"),
    InvalidProject("a CA file that cannot be read"),
]


def test_a_digest_comes_from_the_first_mirror_and_the_location_is_not_asked() -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    assert read(mirrored(mirror, home)) == CONTENT
    assert (mirror.asked, home.asked) == (["fetch"], [])


@pytest.mark.parametrize("error", LEADING_ON, ids=lambda error: error.code)
def test_these_failures_lead_on_to_the_next_source(error: ProvenderError) -> None:
    mirror, home = Place("mirror", error=error), Place("home", CONTENT)
    document = put(home, "1.0")
    storage = mirrored(mirror, home)
    assert read(storage) == CONTENT
    assert storage.exists(BLOB) is True
    assert storage.resolve(document.digest) == document


@pytest.mark.parametrize("error", STOPPING, ids=lambda error: error.code)
def test_these_failures_stop_and_name_the_source(error: ProvenderError) -> None:
    for ask in (read, lambda storage: storage.exists(BLOB), lambda storage: storage.resolve(BLOB.digest)):
        mirror, home = Place("mirror.example/tool", error=error), Place("home", CONTENT)
        error.where = None
        with pytest.raises(type(error)) as caught:
            ask(mirrored(mirror, home))
        assert caught.value.where == "mirror.example/tool"
        assert home.asked == []


def test_a_tag_is_resolved_at_the_location_or_where_it_was_allowed() -> None:
    first, second, home = Place("first"), Place("second"), Place("home")
    document = put(home, "1.0")
    put(first, "1.0")
    assert mirrored(first, second, home).resolve("1.0") == document
    assert (first.asked, second.asked, home.asked) == ([], [], ["resolve"])
    put(second, "1.0")
    assert mirrored(first, second, home, resolving=("second",)).resolve("1.0") == document
    assert (first.asked, second.asked, home.asked) == ([], ["resolve"], ["resolve"])


def test_a_digest_of_a_document_is_resolved_at_any_mirror() -> None:
    mirror, home = Place("mirror"), Place("home")
    document = put(mirror, "1.0")
    assert mirrored(mirror, home).resolve(document.digest) == document
    assert home.asked == []


def test_a_mirror_for_tags_alone_is_not_asked_for_digests() -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    document = put(mirror, "1.0")
    storage = mirrored(mirror, home, tags_only=("mirror",))
    assert storage.resolve("1.0") == document
    assert read(storage) == CONTENT
    assert (mirror.asked, home.asked) == (["resolve"], ["fetch"])


def test_nobody_to_resolve_a_tag_is_an_error_that_says_what_to_do() -> None:
    mirror = Place("mirror", CONTENT)
    storage = mirrored(mirror, location=False)
    for ask in (lambda: storage.resolve("1.0"), storage.tags, lambda: storage.referrers(BLOB.digest)):
        with pytest.raises(InvalidProject) as caught:
            ask()
        assert caught.value.code == "no-tag-source"
        assert "resolve: true" in (caught.value.hint or "")
    assert mirror.asked == []
    assert read(storage) == CONTENT
    with pytest.raises(InvalidProject) as caught:
        mirrored(Place("mirror"), location=False, tags_only=("mirror",)).exists(BLOB)
    assert caught.value.code == "no-digest-source"


def test_tags_are_one_sources_list() -> None:
    mirror, home = Place("mirror"), Place("home")
    put(mirror, "1.0")
    put(home, "2.0")
    assert list(mirrored(mirror, home).tags()) == ["2.0"]
    assert list(mirrored(mirror, home, resolving=("mirror",)).tags()) == ["1.0"]
    mirror.error = DOWN
    assert list(mirrored(mirror, home, resolving=("mirror",)).tags()) == ["2.0"]


def test_referrers_are_asked_of_the_location_first_and_of_no_untrusted_mirror() -> None:
    mirror, home = Place("mirror"), Place("home")
    subject = put(home, "1.0")
    put(mirror, "1.0")
    referrer = manifest("sbom", subject=subject.descriptor)
    home.inner.push_document(referrer)
    storage = mirrored(mirror, home, resolving=("mirror",))
    assert [found.digest for found in storage.referrers(subject.digest)] == [referrer.digest]
    assert mirror.asked == []
    home.error = DOWN
    assert list(storage.referrers(subject.digest)) == []
    with pytest.raises(Unavailable):
        mirrored(mirror, home).referrers(subject.digest)


def test_could_not_ask_is_never_there_is_none() -> None:
    down, absent, home = Place("down", error=DOWN), Place("absent"), Place("home")
    assert mirrored(down, home).exists(BLOB) is False, "the location knows"
    assert mirrored(absent, Place("other"), location=False).exists(BLOB) is False
    with pytest.raises(Unavailable):
        mirrored(down, absent, location=False).exists(BLOB)
    with pytest.raises(Unavailable):
        read(mirrored(down, absent, location=False))
    with pytest.raises(Unavailable):
        mirrored(absent, Place("home", error=DOWN)).exists(BLOB)


def test_the_error_at_the_end_is_the_locations_and_names_everybody() -> None:
    storage = mirrored(Place("m1", error=DOWN), Place("m2"), Place("home"))
    with pytest.raises(NotFound) as caught:
        read(storage)
    assert "also asked: m1 (connection-connect), m2 (" in caught.value.message
    with pytest.raises(Unavailable) as unavailable:
        read(mirrored(Place("m2"), Place("home", error=DOWN)))
    assert unavailable.value.code == "connection-connect"
    assert unavailable.value.retryable


@pytest.mark.parametrize("at", [0, 1, 1000, 5001, len(CONTENT) - 1])
def test_a_stream_that_breaks_goes_on_at_the_same_byte_elsewhere(at: int) -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    mirror.breaks_at = at
    assert read(mirrored(mirror, home)) == CONTENT
    assert home.offsets == [at]


def test_a_stream_that_breaks_after_its_last_byte_is_whole() -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    mirror.breaks_at = len(CONTENT)
    assert read(mirrored(mirror, home)) == CONTENT
    assert home.asked == []


def test_a_stream_may_change_its_source_more_than_once_and_begin_anywhere() -> None:
    first, second, home = Place("first", CONTENT), Place("second", CONTENT), Place("home", CONTENT)
    first.breaks_at, second.breaks_at = 3000, 9000
    assert read(mirrored(first, second, home), offset=1000) == CONTENT[1000:]
    assert (first.offsets, second.offsets, home.offsets) == ([1000], [3000], [9000])


def test_wrong_bytes_before_a_change_are_found_and_both_sources_are_named() -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    mirror.breaks_at, mirror.flips_at = 5000, 100
    with pytest.raises(IntegrityError) as caught:
        read(mirrored(mirror, home))
    assert caught.value.code == "digest-mismatch"
    assert "(from mirror, then home)" in caught.value.message


def test_wrong_bytes_stop_and_name_the_one_source() -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    mirror.flips_at = 4321
    with pytest.raises(IntegrityError) as caught:
        read(mirrored(mirror, home))
    assert "(from mirror)" in caught.value.message
    assert caught.value.where == f"mirror@{BLOB.digest}"
    assert home.asked == []


def test_a_source_that_was_left_before_its_first_byte_is_not_blamed() -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    mirror.breaks_at, home.flips_at = 0, 7
    with pytest.raises(IntegrityError) as caught:
        read(mirrored(mirror, home))
    assert "(from home)" in caught.value.message


def test_a_stream_that_breaks_everywhere_ends_with_the_failure() -> None:
    mirror, home = Place("mirror", CONTENT), Place("home", CONTENT)
    mirror.breaks_at, home.breaks_at = 100, 200
    with pytest.raises(Unavailable) as caught:
        read(mirrored(mirror, home))
    assert "also asked: mirror (connection-broken)" in caught.value.message


def test_a_source_that_failed_three_times_is_asked_last() -> None:
    health, mirror, home = Health(), Place("mirror", error=DOWN), Place("home", CONTENT)
    for _ in range(6):
        assert read(mirrored(mirror, home, health=health)) == CONTENT
    assert mirror.asked == ["fetch"] * 3
    mirror.error, home.error = None, DOWN
    mirror.inner.push(BLOB, BytesReader(CONTENT))
    assert read(mirrored(mirror, home, health=health)) == CONTENT, "it is better than nobody"


def test_a_source_that_failed_is_not_asked_after_the_location_said_no() -> None:
    health, mirror, home = Health(), Place("mirror", error=DOWN), Place("home")
    for _ in range(3):
        health.failed("mirror", DOWN)
    assert mirrored(mirror, home, health=health).exists(BLOB) is False
    assert mirror.asked == []


def test_a_source_that_asks_for_less_is_asked_last_at_once() -> None:
    health, mirror, home = Health(), Place("mirror", error=RateLimited("answered 429")), Place("home", CONTENT)
    for _ in range(3):
        read(mirrored(mirror, home, health=health))
    assert mirror.asked == ["fetch"]


def test_what_a_source_does_not_have_is_no_failure_of_it() -> None:
    health, mirror, home = Health(), Place("mirror"), Place("home", CONTENT)
    for _ in range(5):
        read(mirrored(mirror, home, health=health))
    assert mirror.asked == ["fetch"] * 5


def test_a_failed_source_is_told_once_and_an_empty_one_never() -> None:
    told: list[str] = []
    health = Health()
    for _ in range(3):
        read(
            mirrored(
                Place("down", error=DOWN), Place("absent"), Place("home", CONTENT), health=health, warn=told.append
            )
        )
    assert told == ["down is passed over: no answer"]
