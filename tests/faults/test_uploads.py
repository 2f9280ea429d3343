"""F17, F18, F23: uploads that break, get lost, or lead elsewhere (more in tests/storage/registry/test_uploads.py)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from provender.errors import Denied, Unavailable
from provender.oci import Descriptor
from provender.storage.registry import RegistryRepository, UploadSettings
from provender.storage.verify import BytesReader
from support.readers import Stream
from support.registry import Reset, SetHeader, Status, TestRegistry
from support.registry_client import Connector

CONTENT = random.Random(18).randbytes(3 << 20)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


@pytest.fixture
def elsewhere() -> Iterator[TestRegistry]:
    with TestRegistry() as running:
        yield running


def is_stored(registry: TestRegistry) -> bool:
    return registry.blob("acme/app", BLOB.digest) == CONTENT


@pytest.mark.parametrize("answer", [Status(500, performed=True), Status(504, performed=True)])
def test_f17_an_error_after_the_blob_was_stored_is_a_success(
    registry: TestRegistry, repository: RegistryRepository, answer: Status
) -> None:
    registry.fault(("PUT", "/uploads/"), action=answer)
    repository.push(BLOB, Stream(CONTENT))
    assert is_stored(registry)
    assert [item.method for item in registry.requests] == ["HEAD", "POST", "PUT", "HEAD"]


def test_f17_an_error_without_the_blob_is_an_error(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("PUT", "/uploads/"), action=Status(500), times=99)
    with pytest.raises(Unavailable) as caught:
        repository.push(BLOB, Stream(CONTENT))
    assert caught.value.exit_status == 75
    assert not is_stored(registry)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_f18_a_lost_upload_starts_anew(registry: TestRegistry, connect: Connector, method: str) -> None:
    settings = UploadSettings(chunk_bytes=1 << 20)
    repository = connect(registry, upload=settings).repository("acme/app")
    registry.fault((method, "/uploads/"), action=Status(404, {}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'))
    repository.push(BLOB, BytesReader(CONTENT))
    assert is_stored(registry)
    assert registry.count("POST", "/uploads/") == 2
    other = Descriptor.of(b"the next of the run", "application/octet-stream")
    repository.push(other, BytesReader(b"the next of the run"))
    assert registry.blob("acme/app", other.digest) is not None


def test_f18_a_restart_of_the_registry_loses_the_upload_and_not_the_run(
    registry: TestRegistry, repository: RegistryRepository, connect: Connector
) -> None:
    repository.push(Descriptor.of(b"before", "x/y"), BytesReader(b"before"))
    registry.fault(("PUT", "/uploads/"), action=Reset(-1))
    connect.on_sleep = registry.content.lose_uploads
    repository.push(BLOB, BytesReader(CONTENT))
    assert is_stored(registry)


def test_f23_a_location_on_another_host_gets_no_credentials(connect: Connector, elsewhere: TestRegistry) -> None:
    with TestRegistry(auth="basic") as registry:
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        target = f"{elsewhere.url}{elsewhere.content.open_upload('acme/app')}"
        registry.fault(("POST", "/uploads/"), action=SetHeader("Location", target), skip=1)
        repository.exists(BLOB)
        registry.fault(("POST", "/uploads/"), action=SetHeader("Location", target))
        repository.push(BLOB, BytesReader(CONTENT))
        assert is_stored(elsewhere)
        assert all("authorization" not in item.headers for item in elsewhere.requests)


@pytest.mark.parametrize("address", ["http://169.254.169.254/upload", "http://metadata.google.internal/x"])
def test_f23_a_location_of_a_metadata_service_is_refused(
    registry: TestRegistry, repository: RegistryRepository, address: str
) -> None:
    registry.fault(("POST", "/uploads/"), action=SetHeader("Location", address))
    with pytest.raises(Denied) as caught:
        repository.push(BLOB, BytesReader(CONTENT))
    assert caught.value.code == "unsafe-target"


@pytest.mark.parametrize("is_absolute", [False, True])
def test_f23_a_relative_location_with_a_query_is_kept(connect: Connector, is_absolute: bool) -> None:
    with TestRegistry(absolute_urls=is_absolute) as registry:
        connect(registry).repository("acme/app").push(BLOB, BytesReader(CONTENT))
        (put,) = registry.asked("PUT", "/uploads/")
        assert put.value("_state") == put.path.rpartition("/")[2]
        assert put.value("digest") == BLOB.digest
        assert is_stored(registry)
