from __future__ import annotations

import errno

import pytest

from provender.errors import Denied, IntegrityError, NotFound, Unavailable, Unsupported
from provender.oci import Descriptor
from provender.storage.registry import RegistryRepository
from provender.storage.verify import BytesReader
from support.readers import Stream
from support.registry import Redirect, Reset, SetHeader, Status, TestRegistry
from support.registry_client import Connector

CONTENT = b"0123456789abcdef" * 200_000
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


class Dribble(Stream):
    """A reader that gives a few bytes at a time, and may fail."""

    def __init__(self, content: bytes, error: OSError | None = None) -> None:
        super().__init__(content)
        self.error = error
        self.biggest = 0

    def read(self, size: int = -1, /) -> bytes:
        chunk = super().read(min(size, 777_777))
        self.biggest = max(self.biggest, len(chunk))
        if not chunk and self.error is not None:
            raise self.error
        return chunk


def methods(registry: TestRegistry) -> list[str]:
    return [item.method for item in registry.requests]


def test_a_blob_goes_up_in_one_put_with_its_length(registry: TestRegistry, repository: RegistryRepository) -> None:
    reader = Dribble(CONTENT)
    repository.push(BLOB, reader)
    assert registry.blob("acme/app", BLOB.digest) == CONTENT
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    put = registry.asked("PUT")[0]
    assert put.headers["content-length"] == str(len(CONTENT))
    assert put.value("_state") == put.path.rpartition("/")[2]
    assert reader.biggest <= 777_777


def test_what_is_there_is_not_sent_again(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_blob("acme/app", CONTENT)
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["HEAD"]


def test_absolute_locations_are_followed(connect: Connector) -> None:
    with TestRegistry(absolute_urls=True) as registry:
        connect(registry).repository("acme/app").push(BLOB, BytesReader(CONTENT))
        assert registry.blob("acme/app", BLOB.digest) == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"X", b""])
def test_wrong_content_is_never_sent_whole(
    registry: TestRegistry, repository: RegistryRepository, content: bytes
) -> None:
    with pytest.raises(IntegrityError):
        repository.push(BLOB, BytesReader(content))
    assert registry.content.repository("acme/app").blobs == {}
    # No PUT arrived with its whole body, and the upload was cancelled.
    assert all(len(item.body) < len(CONTENT) for item in registry.asked("PUT"))
    assert registry.content.uploads == set()


def test_a_failing_reader_is_no_failure_of_the_registry(registry: TestRegistry, repository: RegistryRepository) -> None:
    with pytest.raises(OSError, match="Input/output") as caught:
        repository.push(BLOB, Dribble(CONTENT[:100], OSError(errno.EIO, "Input/output error")))
    assert caught.value.errno == errno.EIO
    assert registry.content.uploads == set()


def test_the_token_is_fetched_before_the_body_and_once(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        repository.push(BLOB, BytesReader(CONTENT))
        repository.push(Descriptor.of(b"x", "application/x"), BytesReader(b"x"))
        assert registry.count("GET", "^/token") == 1
        assert [item.method for item in registry.asked("*", "^/v2/")] == ["HEAD", *["HEAD", "POST", "PUT"] * 2]


def test_a_commit_that_took_effect_counts_though_its_answer_was_lost(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(500, performed=True))
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["HEAD", "POST", "PUT", "HEAD"]
    other = Descriptor.of(b"other", "application/x")
    registry.fault(("PUT", "/uploads/"), action=Reset(-1))
    repository.push(other, BytesReader(b"other"))


def test_a_lost_upload_is_an_error_that_names_the_blob(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(404, {}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'))
    with pytest.raises(NotFound) as caught:
        repository.push(BLOB, Stream(CONTENT))
    assert caught.value.code == "upload-lost"
    assert caught.value.where == f"{registry.host}/acme/app@{BLOB.digest}"


def test_a_failed_upload_can_be_tried_again(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(503))
    with pytest.raises(Unavailable) as caught:
        repository.push(BLOB, Stream(CONTENT))
    assert caught.value.retryable
    repository.push(BLOB, BytesReader(CONTENT))
    assert registry.blob("acme/app", BLOB.digest) == CONTENT


def test_opening_an_upload_is_tried_again(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("POST", "/uploads/"), action=Status(429, {"Retry-After": "1"}), times=2)
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["HEAD", "POST", "POST", "POST", "PUT"]


def test_a_403_to_the_probe_means_push(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("HEAD", "/blobs/"), action=Status(403))
    repository.push(BLOB, BytesReader(CONTENT))
    assert registry.blob("acme/app", BLOB.digest) == CONTENT


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/upload", "unsafe-target"),
        ("file:///etc/passwd", "invalid-url"),
        ("", "no-upload-location"),
    ],
)
def test_a_bad_upload_location_is_refused(
    registry: TestRegistry, repository: RegistryRepository, location: str, code: str
) -> None:
    registry.fault(("POST", "/uploads/"), action=SetHeader("Location", location))
    with pytest.raises((Denied, Unavailable)) as caught:
        repository.push(BLOB, BytesReader(CONTENT))
    assert caught.value.code == code
    assert registry.count("PUT") == 0


def test_a_redirected_put_is_refused(registry: TestRegistry, repository: RegistryRepository) -> None:
    with TestRegistry() as other:
        registry.fault(("PUT", "/uploads/"), action=Redirect(f"{other.url}/take"))
        with pytest.raises(Unavailable) as caught:
            repository.push(BLOB, BytesReader(CONTENT))
        assert caught.value.code == "unexpected-redirect"
        assert other.count() == 0


def test_a_refusal_over_size_is_named(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(413))
    with pytest.raises(Unsupported) as caught:
        repository.push(BLOB, Stream(CONTENT))
    assert caught.value.code == "too-large-for-registry"


def test_a_mount_moves_no_bytes(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_blob("acme/base", CONTENT)
    assert repository.mount(BLOB, "acme/base")
    assert registry.blob("acme/app", BLOB.digest) == CONTENT
    assert methods(registry) == ["POST"]


def test_a_mount_that_opened_an_upload_saves_the_next_requests(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    assert not repository.mount(BLOB, "acme/base")
    repository.push(BLOB, BytesReader(CONTENT))
    assert methods(registry) == ["POST", "PUT"]


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_any_refusal_to_mount_means_push(registry: TestRegistry, repository: RegistryRepository, status: int) -> None:
    registry.fault(("POST", "mount="), action=Status(status))
    assert not repository.mount(BLOB, "acme/base")
    repository.push(BLOB, BytesReader(CONTENT))
    assert registry.blob("acme/app", BLOB.digest) == CONTENT


def test_a_mount_asks_for_the_destination_first(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.push_blob("acme/base", CONTENT)
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        assert repository.mount(BLOB, "acme/base")
        token = registry.asked("GET", "^/token")[0]
        assert token.values("scope") == ["repository:acme/app:pull,push", "repository:acme/base:pull"]
