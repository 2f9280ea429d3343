"""Uploads in chunks, in one POST, resumed and started over: what arrives is the content, whatever happens."""

from __future__ import annotations

import hashlib

import pytest

from provender.errors import (
    Denied,
    IntegrityError,
    NotFound,
    ProvenderError,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from provender.oci import Descriptor, Digest
from provender.storage.registry import RegistryRepository, UploadSettings
from provender.storage.verify import BytesReader
from support.readers import Stream
from support.registry import DropHeader, Redirect, Reset, SetHeader, Status, TestRegistry
from support.registry_client import Connector

KIB = 1 << 10
CHUNK = 256 * KIB
CONTENT = hashlib.shake_256(b"content").digest(4 * CHUNK + 1000)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


@pytest.fixture
def chunked(registry: TestRegistry, connect: Connector) -> RegistryRepository:
    """The repository acme/app, with blobs in chunks."""
    return connect(registry, upload=UploadSettings(chunk_bytes=CHUNK)).repository("acme/app")


def stored(registry: TestRegistry) -> bool:
    return registry.blob("acme/app", BLOB.digest) == CONTENT


def methods(registry: TestRegistry) -> list[str]:
    return [item.method for item in registry.requests]


def spans(registry: TestRegistry, method: str = "PATCH") -> list[str]:
    return [item.headers["content-range"] for item in registry.asked(method)]


def test_a_blob_goes_up_in_chunks_and_the_last_one_closes(registry: TestRegistry, chunked: RegistryRepository) -> None:
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)
    assert methods(registry) == ["HEAD", "POST", *["PATCH"] * 4, "PUT"]
    assert spans(registry) == [f"{n * CHUNK}-{(n + 1) * CHUNK - 1}" for n in range(4)]
    assert spans(registry, "PUT") == [f"{4 * CHUNK}-{len(CONTENT) - 1}"]
    assert all(item.headers["content-type"] == "application/octet-stream" for item in registry.asked("PATCH"))
    assert registry.content.uploads == set()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK])
def test_a_blob_of_one_chunk_goes_up_whole(registry: TestRegistry, chunked: RegistryRepository, size: int) -> None:
    blob = Descriptor.of(CONTENT[:size], "application/octet-stream")
    chunked.push(blob, Stream(CONTENT[:size]))
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    assert registry.blob("acme/app", blob.digest) == CONTENT[:size]


@pytest.mark.parametrize("size", [CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_every_length_arrives(registry: TestRegistry, chunked: RegistryRepository, size: int) -> None:
    blob = Descriptor.of(CONTENT[:size], "application/octet-stream")
    chunked.push(blob, Stream(CONTENT[:size]))
    assert registry.blob("acme/app", blob.digest) == CONTENT[:size]
    # The closing PUT always has content: some registries fail on an empty one.
    assert all(item.body for item in registry.asked("PUT"))


def test_the_least_size_of_chunks_is_obeyed_and_remembered(registry: TestRegistry, connect: Connector) -> None:
    registry.content.upload_rules.chunk_min = 2 * CHUNK
    client = connect(registry, upload=UploadSettings(chunk_bytes=CHUNK))
    client.repository("acme/app").push(BLOB, Stream(CONTENT))
    assert spans(registry) == [f"0-{2 * CHUNK - 1}", f"{2 * CHUNK}-{4 * CHUNK - 1}"]
    registry.content.upload_rules.chunk_min = None
    registry.requests.clear()
    client.repository("acme/other").push(BLOB, Stream(CONTENT))
    assert spans(registry) == [f"0-{2 * CHUNK - 1}", f"{2 * CHUNK}-{4 * CHUNK - 1}"]


@pytest.mark.parametrize("least", ["99999999999", "-1", "many", "1" * 40])
def test_a_senseless_least_size_does_not_fill_the_memory(
    registry: TestRegistry, chunked: RegistryRepository, least: str
) -> None:
    registry.fault(("POST", "/uploads/"), action=SetHeader("OCI-Chunk-Min-Length", least))
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)


def test_a_sha512_blob_in_chunks_names_its_algorithm(registry: TestRegistry, chunked: RegistryRepository) -> None:
    blob = Descriptor(media_type="application/x", digest=Digest.of(CONTENT, "sha512"), size=len(CONTENT))
    chunked.push(blob, Stream(CONTENT))
    assert registry.blob("acme/app", blob.digest) == CONTENT
    assert registry.asked("POST")[0].value("digest-algorithm") == "sha512"
    registry.requests.clear()
    chunked.push(BLOB, Stream(CONTENT))
    assert registry.asked("POST")[0].query == ""


@pytest.mark.parametrize("kept", [0, 1000, CHUNK])
def test_a_broken_chunk_goes_on_from_where_the_registry_is(
    registry: TestRegistry, chunked: RegistryRepository, kept: int
) -> None:
    registry.content.upload_rules.keeps = [kept]
    # A stream: nothing could be read again.
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 1
    assert methods(registry)[2:4] == ["PATCH", "GET"]
    assert spans(registry)[1] == f"{kept}-{kept + CHUNK - 1}"


def test_a_chunk_whose_answer_was_lost_is_not_sent_twice(registry: TestRegistry, chunked: RegistryRepository) -> None:
    registry.content.upload_rules.appends = True  # it would be there twice
    registry.fault(("PATCH", "/uploads/"), action=Reset(-1), skip=1)
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)
    assert registry.count("PATCH") == 4


def test_each_chunk_may_break(registry: TestRegistry, chunked: RegistryRepository) -> None:
    registry.fault(("PATCH", "/uploads/"), action=Status(502), times=3)
    registry.fault(("PATCH", "/uploads/"), action=Status(429, {"Retry-After": "7"}), times=2, skip=2)
    registry.fault(("PUT", "/uploads/"), action=Status(503))
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 1


def test_a_token_that_runs_out_between_chunks_is_renewed(connect: Connector) -> None:
    with TestRegistry(auth="token", token_uses=2) as registry:
        client = connect(registry, connect.user(registry), upload=UploadSettings(chunk_bytes=CHUNK))
        client.repository("acme/app").push(BLOB, Stream(CONTENT))
        assert stored(registry)
        assert registry.count("POST", "/uploads/$") <= 2


class Expiring(BytesReader):
    """Content during whose first reading every token runs out, as often as asked."""

    def __init__(self, content: bytes, registry: TestRegistry, times: int) -> None:
        super().__init__(content)
        self.registry = registry
        self.times = times

    def read(self, size: int = -1, /) -> bytes:
        if self.times:
            self.times -= 1
            self.registry.expire_tokens()
        return super().read(size)


def test_a_token_that_runs_out_under_the_content_is_renewed_once(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.push(BLOB, Expiring(CONTENT, registry, 1))
        assert stored(registry)
        other = Descriptor.of(b"other", "application/x")
        with pytest.raises(Unauthorized):
            repository.push(other, Expiring(b"other", registry, 99))
        assert registry.content.uploads == set()


def test_a_redirected_chunk_is_sent_where_it_leads(registry: TestRegistry, chunked: RegistryRepository) -> None:
    registry.fault(("PATCH", "/uploads/"), action=Redirect(registry.content.open_upload("acme/app")))
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)


def test_an_upload_that_never_goes_on_ends(registry: TestRegistry, chunked: RegistryRepository) -> None:
    registry.fault(("PATCH", "/uploads/"), action=Status(503), times=999)
    with pytest.raises(Unavailable) as caught:
        chunked.push(BLOB, Stream(CONTENT))
    assert caught.value.retryable
    assert registry.count("PATCH") < 20
    assert registry.content.uploads == set()


def test_a_lost_upload_starts_over_if_the_content_can_be_read_again(
    registry: TestRegistry, chunked: RegistryRepository
) -> None:
    lost = Status(404, {}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
    registry.fault(("PATCH", "/uploads/"), action=lost, skip=1)
    chunked.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 2
    assert registry.content.uploads == set()


def test_a_lost_upload_of_a_stream_is_an_error(registry: TestRegistry, chunked: RegistryRepository) -> None:
    registry.fault(("PATCH", "/uploads/"), action=Status(502, performed=True))
    registry.content.upload_rules.stale_locations = False  # docker-registry 2.8: the newest Location is needed
    with pytest.raises(NotFound) as caught:
        chunked.push(BLOB, Stream(CONTENT))
    assert caught.value.code == "upload-lost"


def test_a_registry_that_cannot_say_how_far_it_came_makes_it_start_over(
    registry: TestRegistry, chunked: RegistryRepository
) -> None:
    registry.content.upload_rules.status = False
    registry.content.upload_rules.keeps = [CHUNK // 2]
    chunked.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 2


@pytest.mark.parametrize("said", ["0-99999999", "17-20", "bytes 0-", "none", f"0-{CHUNK // 4}"])
def test_a_position_that_cannot_be_is_not_believed(
    registry: TestRegistry, chunked: RegistryRepository, said: str
) -> None:
    registry.fault(("PATCH", "/uploads/"), action=Status(502), skip=1)
    registry.fault(("GET", "/uploads/"), action=SetHeader("Range", said))
    with pytest.raises(Unavailable) as caught:
        chunked.push(BLOB, Stream(CONTENT))
    assert caught.value.code == "upload-out-of-step"
    assert registry.content.uploads == set()
    chunked.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)


def test_an_answer_without_a_new_location_keeps_the_old_one(
    registry: TestRegistry, chunked: RegistryRepository
) -> None:
    registry.fault(("PATCH", "/uploads/"), action=DropHeader("Location"), times=99)
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"X"])
def test_wrong_content_in_chunks_is_never_closed(
    registry: TestRegistry, chunked: RegistryRepository, content: bytes
) -> None:
    with pytest.raises(IntegrityError):
        chunked.push(BLOB, BytesReader(content))
    assert registry.count("PUT") == 0
    assert registry.content.uploads == set()
    # It is not tried again: what is wrong stays wrong.
    assert registry.count("POST") == 1


def test_a_refused_upload_is_cancelled(registry: TestRegistry, chunked: RegistryRepository) -> None:
    registry.fault(("PATCH", "/uploads/"), action=Status(403), skip=1)
    with pytest.raises(ProvenderError):
        chunked.push(BLOB, BytesReader(CONTENT))
    assert methods(registry)[-1] == "DELETE"
    assert registry.content.uploads == set()


def test_an_upload_is_cancelled_whatever_ends_it(registry: TestRegistry, chunked: RegistryRepository) -> None:
    class Stop(Exception):
        pass

    class Stopped(Stream):
        def read(self, size: int = -1, /) -> bytes:
            chunk = super().read(size)
            if len(self._rest) < CHUNK:
                raise Stop
            return chunk

    with pytest.raises(Stop):
        chunked.push(BLOB, Stopped(CONTENT))
    assert registry.content.uploads == set()


def test_a_commit_in_chunks_counts_though_its_answer_was_lost(
    registry: TestRegistry, chunked: RegistryRepository
) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(502, performed=True))
    chunked.push(BLOB, Stream(CONTENT))
    assert stored(registry)
    assert methods(registry)[-3:] == ["PUT", "GET", "HEAD"]


# One PUT that is too large


def test_what_a_proxy_refuses_as_a_whole_goes_up_in_chunks(registry: TestRegistry, connect: Connector) -> None:
    registry.content.upload_rules.body_max = CHUNK
    client = connect(registry)
    client.repository("acme/app").push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    # The limit was found out, and the next blob needs no refusal.
    registry.requests.clear()
    client.repository("acme/other").push(BLOB, Stream(CONTENT))
    assert registry.count("PUT") == 1
    assert max(len(item.body) for item in registry.asked("PATCH")) <= CHUNK
    assert registry.blob("acme/other", BLOB.digest) == CONTENT


def test_a_stream_that_a_proxy_refuses_is_an_error_and_goes_up_next_time(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.content.upload_rules.body_max = CHUNK
    with pytest.raises(Unsupported) as caught:
        repository.push(BLOB, Stream(CONTENT))
    assert caught.value.code == "too-large-for-registry"
    repository.push(BLOB, Stream(CONTENT))
    assert stored(registry)


def test_a_proxy_that_takes_next_to_nothing_is_given_up(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.upload_rules.body_max = 1000
    with pytest.raises(Unsupported) as caught:
        repository.push(BLOB, BytesReader(CONTENT))
    assert caught.value.code == "chunk-too-large-for-registry"
    assert registry.content.uploads == set()


# Whole blobs


def test_a_broken_upload_of_a_whole_starts_over(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(503), times=2)
    repository.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert registry.count("POST") == 3


def test_refusals_for_a_while_are_waited_out(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(429, {"Retry-After": "7"}), times=9)
    repository.push(BLOB, BytesReader(CONTENT))
    assert stored(registry)
    assert sum(connect.sleeps) >= 9 * 7


def test_a_refusal_for_a_day_is_an_error_at_once(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(429, {"Retry-After": "86400"}), times=9)
    with pytest.raises(RateLimited) as caught:
        repository.push(BLOB, BytesReader(CONTENT))
    assert "86400 s" in caught.value.message
    assert (methods(registry), connect.sleeps) == (["HEAD", "POST", "PUT"], [])


def test_an_upload_that_cannot_be_cancelled_now_is_left_alone(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(403))
    registry.fault(("DELETE", "/uploads/"), action=Status(429, {"Retry-After": "7"}), times=9)
    with pytest.raises(Denied):
        repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["HEAD", "POST", "PUT", "DELETE"]


def test_starting_over_ends(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(503), times=99)
    with pytest.raises(Unavailable):
        repository.push(BLOB, BytesReader(CONTENT))
    assert registry.count("PUT") == 4
    assert registry.content.uploads == set()


def test_one_post_stores_a_blob_where_that_is_offered(registry: TestRegistry, connect: Connector) -> None:
    registry.content.upload_rules.single_post = True
    repository = connect(registry, upload=UploadSettings(single_post=True)).repository("acme/app")
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["HEAD", "POST"]
    # Now that it is known, a stream may go this way.
    other = Descriptor.of(b"other", "application/x")
    repository.push(other, Stream(b"other"))
    assert registry.blob("acme/app", other.digest) == b"other"
    assert registry.count("PUT") == 0


def test_one_post_that_is_not_offered_is_tried_once(registry: TestRegistry, connect: Connector) -> None:
    repository = connect(registry, upload=UploadSettings(single_post=True)).repository("acme/app")
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    assert stored(registry)
    registry.requests.clear()
    repository.push(Descriptor.of(b"x", "application/x"), BytesReader(b"x"))
    assert registry.asked("POST")[0].body == b""


def test_one_post_of_wrong_content_is_not_whole(registry: TestRegistry, connect: Connector) -> None:
    registry.content.upload_rules.single_post = True
    repository = connect(registry, upload=UploadSettings(single_post=True)).repository("acme/app")
    with pytest.raises(IntegrityError):
        repository.push(BLOB, BytesReader(CONTENT[:-1] + b"X"))
    assert registry.content.repository("acme/app").blobs == {}


# Small blobs

SMALL = b"a signature"
SMALL_BLOB = Descriptor.of(SMALL, "application/x")
SMALL_SETTINGS = UploadSettings(small_bytes=1000)


def test_a_small_blob_is_sent_without_asking_in_one_post_where_that_is_offered(
    registry: TestRegistry, connect: Connector
) -> None:
    registry.content.upload_rules.single_post = True
    repository = connect(registry, upload=SMALL_SETTINGS).repository("acme/app")
    repository.push(SMALL_BLOB, Stream(SMALL))
    assert methods(registry) == ["POST"]
    assert registry.blob("acme/app", SMALL_BLOB.digest) == SMALL
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["POST", "HEAD", "POST", "PUT"]


def test_a_small_blob_costs_two_requests_where_one_post_is_not_offered(
    registry: TestRegistry, connect: Connector
) -> None:
    repository = connect(registry, upload=SMALL_SETTINGS).repository("acme/app")
    for content in (SMALL, b"another"):
        repository.push(Descriptor.of(content, "application/x"), Stream(content))
    assert methods(registry) == ["POST", "PUT", "POST", "PUT"]
    assert [len(request.body) for request in registry.asked("POST")] == [len(SMALL), 0]


@pytest.mark.parametrize("status", [400, 404, 405, 411, 415, 501])
def test_a_registry_that_refuses_content_in_a_post_is_asked_without(
    registry: TestRegistry, connect: Connector, status: int
) -> None:
    registry.fault(("POST", "digest="), action=Status(status), times=9)
    repository = connect(registry, upload=SMALL_SETTINGS).repository("acme/app")
    repository.push(SMALL_BLOB, Stream(SMALL))
    assert methods(registry) == ["POST", "POST", "PUT"]
    assert registry.blob("acme/app", SMALL_BLOB.digest) == SMALL


def test_a_small_blob_answers_a_challenge(registry: TestRegistry, connect: Connector) -> None:
    registry.auth = "token"
    repository = connect(registry, connect.user(registry), upload=SMALL_SETTINGS).repository("acme/app")
    repository.push(SMALL_BLOB, Stream(SMALL))
    assert registry.blob("acme/app", SMALL_BLOB.digest) == SMALL


def test_a_small_blob_with_wrong_content_is_not_sent(registry: TestRegistry, connect: Connector) -> None:
    repository = connect(registry, upload=SMALL_SETTINGS).repository("acme/app")
    with pytest.raises(IntegrityError):
        repository.push(SMALL_BLOB, Stream(SMALL[:-1] + b"X"))
    assert registry.requests == []
