"""Every entry of the table of quirks: a registry that behaves so is used as well as any other."""

from __future__ import annotations

import hashlib

import pytest

from provender.errors import Conflict, Denied, NotFound, Unsupported
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest
from provender.storage.layout_index import fallback_tag
from provender.storage.registry import NoCredentials, RegistryClient, RegistryRepository, UploadSettings
from provender.storage.registry.quirks import HostQuirks, host_quirks
from provender.storage.verify import BytesReader
from support.content import index, manifest
from support.readers import Stream
from support.registry import Reply, SetHeader, Status, TestRegistry
from support.registry_client import Connector

MIB = 1 << 20
CONTENT = hashlib.shake_256(b"quirks").digest(12 * MIB + 5)
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


def quirks_of(host: str) -> HostQuirks:
    found = host_quirks(host)
    assert found != HostQuirks()
    return found


def test_most_hosts_have_no_quirks() -> None:
    for host in ("registry.example", "quay.io", "ghcr.io.example", "docker.io:5000", "127.0.0.1:5000"):
        assert host_quirks(host) == HostQuirks()


@pytest.mark.parametrize(
    "host",
    [
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "123456789012.dkr-ecr.us-east-1.on.aws",
        "public.ecr.aws",
    ],
)
def test_hosts_of_one_service_share_their_quirks(host: str) -> None:
    assert host_quirks(host).chunk_min_bytes == 5 * MIB


def test_ghcr_takes_chunks_of_four_mib_at_most(registry: TestRegistry, connect: Connector) -> None:
    registry.content.upload_rules.chunk_max = 4 * MIB
    settings = UploadSettings(chunk_bytes=8 * MIB)
    client = connect(registry, upload=settings, quirks=quirks_of("ghcr.io"))
    client.repository("acme/app").push(BLOB, Stream(CONTENT))
    assert [len(item.body) for item in registry.asked("PATCH")] == [4 * MIB] * 3
    # A registry with this limit whose name does not tell is found out by its 416.
    unknown = connect(registry, upload=settings).repository("acme/other")
    unknown.push(BLOB, Stream(CONTENT))
    assert registry.blob("acme/other", BLOB.digest) == CONTENT


def test_ecr_takes_chunks_of_five_mib_at_least(registry: TestRegistry, connect: Connector) -> None:
    rules = registry.content.upload_rules
    rules.patched_status, rules.stale_range, rules.empty_close = 201, True, False
    client = connect(
        registry,
        upload=UploadSettings(chunk_bytes=1 * MIB),
        quirks=quirks_of("123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
    )
    client.repository("acme/app").push(BLOB, Stream(CONTENT))
    assert [len(item.body) for item in registry.asked("PATCH")] == [5 * MIB] * 2
    assert registry.blob("acme/app", BLOB.digest) == CONTENT


def test_a_stale_range_after_a_break_makes_the_upload_start_over(registry: TestRegistry, connect: Connector) -> None:
    rules = registry.content.upload_rules
    rules.patched_status, rules.stale_range = 201, True
    registry.fault(("PATCH", "/uploads/"), action=Status(502), skip=2)
    repository = connect(registry, upload=UploadSettings(chunk_bytes=3 * MIB)).repository("acme/app")
    repository.push(BLOB, BytesReader(CONTENT))
    assert registry.blob("acme/app", BLOB.digest) == CONTENT
    assert registry.count("POST") == 2


def test_docker_hub_counts_gets_so_what_was_read_is_asked_for_by_head(
    registry: TestRegistry, connect: Connector
) -> None:
    assert quirks_of("docker.io").counts_manifest_gets
    digest = registry.push_artifact("acme/app", "1.0", [b"layer"])
    repository = connect(registry, quirks=HostQuirks(counts_manifest_gets=True)).repository("acme/app")
    for _ in range(3):
        assert repository.resolve("1.0").digest == digest
        assert repository.resolve(digest).digest == digest
    assert registry.count("GET") == 1
    other = registry.push_artifact("acme/app", "1.0", [b"another"])
    assert repository.resolve("1.0").digest == other
    assert registry.count("GET") == 2
    del registry.content.repository("acme/app").manifests[digest]
    with pytest.raises(NotFound):
        repository.resolve(digest)


def test_elsewhere_every_resolution_is_one_get(registry: TestRegistry, repository: RegistryRepository) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [b"layer"])
    repository.resolve("1.0")
    repository.resolve(digest)
    assert [item.method for item in registry.requests] == ["GET", "GET"]


def test_docker_hub_is_asked_below_library_at_its_api_host(connect: Connector) -> None:
    client = RegistryClient("docker.io", transport=connect.transport, credentials=NoCredentials())
    assert client.repository("alpine").api_name == "library/alpine"
    assert str(client.repository("alpine").session.registry) == "https://registry-1.docker.io"


def test_artifactory_says_403_for_what_is_not_there(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("HEAD", "/blobs/"), action=Status(403))
    repository.push(BLOB, BytesReader(CONTENT))
    assert registry.blob("acme/app", BLOB.digest) == CONTENT


@pytest.mark.parametrize("status", [403, 405])
def test_a_head_that_tells_nothing_is_followed_by_a_get(
    registry: TestRegistry, repository: RegistryRepository, status: int
) -> None:
    """Artifactory's 403 for a missing manifest, and proxies that let no HEAD through."""
    digest = registry.push_artifact("acme/app", "1.0", [CONTENT])
    there = repository.resolve("1.0").descriptor
    gone = Descriptor.of(b"gone", there.media_type)
    registry.fault(("HEAD", "/v2/"), action=Status(status), times=99)
    assert repository.digest_of("1.0") == digest
    assert repository.digest_of("2.0") is None
    assert [repository.exists(item) for item in (there, gone, BLOB)] == [True, False, True]
    assert not repository.exists(Descriptor.of(b"gone", "application/octet-stream"))


def test_a_403_to_both_is_a_refusal(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.fault(("*", "/v2/"), action=Status(403), times=9)
    with pytest.raises(Denied):
        repository.exists(BLOB)
    with pytest.raises(Denied):
        repository.digest_of("1.0")


def test_ecr_and_gitlab_make_no_repository_for_a_push(registry: TestRegistry, repository: RegistryRepository) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"The repository does not exist in the registry"}]}'
    registry.fault(("POST", "/uploads/"), action=Status(404, {"Content-Type": "application/json"}, body))
    with pytest.raises(NotFound) as caught:
        repository.push(BLOB, BytesReader(CONTENT))
    assert caught.value.code == "repository-not-found"
    assert "make the repository first" in str(caught.value.hint)


def test_googles_registries_delete_nothing_that_has_a_tag(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.push_artifact("acme/app", "1.0", [b"layer"])
    body = b'{"errors":[{"code":"GOOGLE_MANIFEST_DANGLING_TAG","message":"Manifest is still referenced by tag: 1.0"}]}'
    registry.fault(("DELETE", "/manifests/"), action=Status(400, {"Content-Type": "application/json"}, body))
    with pytest.raises(Conflict) as caught:
        repository.delete(repository.resolve("1.0").descriptor)
    assert caught.value.code == "still-tagged"
    assert "remove the tags" in str(caught.value.hint)


def test_googles_registries_put_more_into_a_list_of_tags(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    body = b'{"child":["x"],"manifest":{"sha256:ab":{"tag":["1.0"]}},"name":"acme/app","tags":["1.0","latest"]}'
    registry.fault(("GET", "/tags/"), action=Status(200, {"Content-Type": "application/json"}, body))
    assert list(repository.tags()) == ["1.0", "latest"]


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_docker_hub_and_ghcr_list_no_repositories(registry: TestRegistry, connect: Connector, status: int) -> None:
    registry.fault(("GET", "/_catalog"), action=Status(status), times=9)
    with pytest.raises(Unsupported) as caught:
        list(connect(registry).repositories())
    assert caught.value.code == "no-catalog"
    assert "name the repositories" in str(caught.value.hint)


def test_distribution_2_8_ignores_how_tags_are_paged(registry: TestRegistry, repository: RegistryRepository) -> None:
    tags = [f"t{(7 * number) % 1000}" for number in range(1000)]  # unsorted, and just as many as are asked for
    body = ('{"name":"acme/app","tags":["' + '","'.join(tags) + '"]}').encode()
    registry.fault(("GET", "/tags/list"), action=Status(200, {"Content-Type": "application/json"}, body), times=9)
    assert list(repository.tags()) == tags
    assert registry.count("GET", "/tags/list") == 2


def test_gitlab_finds_the_subject_itself_by_the_fallback_tag(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.content.subject_by_fallback_tag = True
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    child = manifest("child")
    repository.push_document(child)
    subject = index(child)
    repository.push_document(subject, ["1.0"])
    # The children of an index are no referrers of it.
    assert list(repository.referrers(subject.digest)) == []
    attached = manifest("attached", subject=subject.descriptor)
    repository.push_document(attached)
    assert [found.digest for found in repository.referrers(subject.digest)] == [attached.digest]
    assert registry.tags("acme/app")["1.0"] == subject.digest


def test_quay_fails_on_a_mount_without_from(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_blob("acme/base", CONTENT)
    assert repository.mount(BLOB, "acme/base")
    assert all(item.value("from") == "acme/base" for item in registry.asked("POST", "mount="))


def test_quay_lists_referrers_without_types(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.referrers = True
    registry.content.referrer_rules.types = False
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    subject = manifest("subject")
    repository.push_document(subject)
    repository.push_document(manifest("a", subject=subject.descriptor, artifact_type="application/vnd.test.a"))
    assert [found.artifact_type for found in repository.referrers(subject.digest)] == ["application/vnd.test.a"]


def test_harbor_does_not_delete_tags(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_artifact("acme/app", "1.0", [b"layer"])
    registry.content.tag_deletes = False
    with pytest.raises(Unsupported) as caught:
        repository.untag("1.0")
    assert caught.value.code == "delete-unsupported"
    assert "UNSUPPORTED" in caught.value.message


def test_an_unknown_repository_is_told_from_a_missing_api(registry: TestRegistry, connect: Connector) -> None:
    # Harbor and Quay answer NAME_UNKNOWN, zot an empty list: neither is a sign that there is no API.
    registry.content.referrers = True
    repository = connect(registry).repository("acme/none")
    body = b'{"errors":[{"code":"NAME_UNKNOWN"}]}'
    registry.content.referrer_rules.reply = Reply(404, {"Content-Type": "application/json"}, body)
    with pytest.raises(NotFound):
        list(repository.referrers(Digest.of(b"x")))
    registry.content.referrer_rules.reply = None
    registry.push_blob("acme/none", b"x")
    assert list(repository.referrers(Digest.of(b"x"))) == []
    assert registry.count("GET", "/referrers/") == 2


def test_ecr_sends_oci_subject_without_an_api(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.referrer_rules.header = True
    registry.content.referrer_rules.absent_status = 405
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    subject = manifest("subject")
    repository.push_document(subject)
    attached = manifest("attached", subject=subject.descriptor)
    repository.push_document(attached)
    assert fallback_tag(subject.digest) in registry.tags("acme/app")
    assert [found.digest for found in repository.referrers(subject.digest)] == [attached.digest]


def test_docker_registry_reports_sha256_for_sha512(registry: TestRegistry, repository: RegistryRepository) -> None:
    blob = Descriptor(media_type="application/x", digest=Digest.of(CONTENT, "sha512"), size=len(CONTENT))
    registry.fault(("PUT", "/uploads/"), action=SetHeader("Docker-Content-Digest", BLOB.digest))
    repository.push(blob, BytesReader(CONTENT))
    assert registry.blob("acme/app", blob.digest) == CONTENT
