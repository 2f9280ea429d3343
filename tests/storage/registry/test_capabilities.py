"""What a registry was found able to do is remembered, so that nothing is asked for twice."""

from __future__ import annotations

import pytest

from provender.errors import NotFound, ProvenderError
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Digest, Document
from provender.storage.registry import RegistryRepository
from provender.storage.registry.capabilities import Capabilities, Feature
from provender.storage.verify import BytesReader
from support.content import manifest
from support.readers import Stream
from support.registry import Status, TestRegistry
from support.registry_client import Connector

TAGS = ["1.2.3", "1.2", "1", "latest"]


def pushed(repository: RegistryRepository, *tags: str, name: str = "a") -> Document:
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    document = manifest(name)
    repository.push_document(document, tags)
    return document


def puts(registry: TestRegistry) -> list[str]:
    return [item.target.rpartition("/")[2] for item in registry.asked("PUT", "/manifests/")]


def test_knowledge_is_of_a_host_or_a_repository_and_grows_old() -> None:
    time = 0.0
    memory = Capabilities(lambda: time, lifetime_s=60)
    assert memory.known(Feature.MOUNT) is None
    memory.learn(Feature.MOUNT, offered=False)
    memory.learn(Feature.REFERRERS, offered=True, repository="a")
    assert memory.known(Feature.MOUNT) is False
    assert memory.known(Feature.REFERRERS, "a") is True
    assert memory.known(Feature.REFERRERS, "b") is None
    time = 61.0
    assert memory.known(Feature.MOUNT) is None


def test_sizes_are_the_narrowest_that_were_met() -> None:
    memory = Capabilities()
    assert (memory.chunk_min_bytes, memory.chunk_max_bytes, memory.refused_put_bytes) == (0, None, None)
    for size in (5, 3, 4):
        memory.learn_chunk_min(size)
        memory.learn_chunk_max(size)
        memory.learn_refused_put(size)
    assert (memory.chunk_min_bytes, memory.chunk_max_bytes, memory.refused_put_bytes) == (5, 3, 3)


def test_memory_is_bounded() -> None:
    memory = Capabilities()
    for number in range(10_001):
        memory.learn(Feature.REFERRERS, offered=True, repository=str(number))
    assert memory.known(Feature.REFERRERS, "10000")
    assert memory.known(Feature.REFERRERS, "0") is None


def test_several_tags_go_along_with_the_digest(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.tag_parameter = 10
    document = pushed(repository, *TAGS)
    assert registry.tags("acme/app") == dict.fromkeys(TAGS, document.digest)
    assert len(puts(registry)) == 1
    assert registry.asked("PUT", "/manifests/")[0].values("tag") == TAGS


def test_many_tags_go_along_by_tens(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.tag_parameter = 10
    tags = [f"t{number}" for number in range(25)]
    pushed(repository, *tags)
    assert sorted(registry.tags("acme/app")) == sorted(tags)
    assert len(puts(registry)) == 3


def test_tags_that_were_not_accepted_are_put(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.tag_parameter = 3
    document = pushed(repository, *TAGS)
    assert registry.tags("acme/app") == dict.fromkeys(TAGS, document.digest)
    assert len(puts(registry)) == 2


def test_a_registry_that_ignores_tags_is_asked_once(registry: TestRegistry, connect: Connector) -> None:
    client = connect(registry)
    document = pushed(client.repository("acme/app"), *TAGS)
    assert registry.tags("acme/app") == dict.fromkeys(TAGS, document.digest)
    assert len(puts(registry)) == 5
    pushed(client.repository("acme/other"), *TAGS)
    assert puts(registry)[5:] == TAGS
    assert registry.tags("acme/other") == dict.fromkeys(TAGS, document.digest)


@pytest.mark.parametrize("status", [400, 414, 431])
def test_a_registry_that_refuses_tags_gets_them_one_by_one(
    registry: TestRegistry, repository: RegistryRepository, status: int
) -> None:
    registry.fault(("PUT", "tag="), action=Status(status), times=9)
    document = pushed(repository, *TAGS)
    assert registry.tags("acme/app") == dict.fromkeys(TAGS, document.digest)


def test_one_tag_is_put_at_once(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.tag_parameter = 10
    pushed(repository, "1.0")
    assert puts(registry) == ["1.0"]


def test_a_sha512_document_is_tagged_by_its_digest(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.tag_parameter = 10
    repository.push(EMPTY_DESCRIPTOR, BytesReader(EMPTY_BYTES))
    raw = manifest("a").raw
    document = Document.read(raw, expected=Digest.of(raw, "sha512"))
    repository.push_document(document, ["1.0"])
    assert registry.tags("acme/app") == {"1.0": document.digest}


def test_a_refused_document_is_an_error_with_and_without_tags(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    for tags in ([], ["one"], TAGS):
        with pytest.raises(ProvenderError) as caught:
            repository.push_document(manifest("a"), tags)
        assert caught.value.code == "content-missing"


@pytest.mark.parametrize("status", [405, 501])
def test_mounts_that_are_not_offered_are_not_asked_for_again(
    registry: TestRegistry, connect: Connector, status: int
) -> None:
    registry.fault(("POST", "mount="), action=Status(status), times=9)
    client = connect(registry)
    blob = Descriptor.of(b"x", "application/x")
    assert not client.repository("acme/app").mount(blob, "acme/base")
    assert not client.repository("acme/other").mount(blob, "acme/base")
    assert registry.count("POST") == 1


def test_a_refused_mount_says_nothing_about_the_next(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_blob("acme/base", b"x")
    registry.fault(("POST", "mount="), action=Status(403))
    blob = Descriptor.of(b"x", "application/x")
    assert not repository.mount(blob, "acme/secret")
    assert repository.mount(blob, "acme/base")


def test_deleting_asks_for_the_api_once(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.content.referrers = True
    for name in "abc":
        document = pushed(repository, name=name)
        repository.delete(document.descriptor)
    assert registry.count("GET", "/referrers/") == 1
    assert registry.count("GET", "/manifests/") == 0
    with pytest.raises(NotFound):
        repository.resolve(document.digest)


def test_a_registry_that_answers_nonsense_for_referrers_still_deletes(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    document = pushed(repository, "1.0")
    registry.fault(("GET", "/referrers/"), action=Status(200, {"Content-Type": "text/html"}, b"<html>"), times=99)
    repository.delete(document.descriptor)
    assert registry.tags("acme/app") == {}


def test_a_mirror_is_asked_on_behalf_of_the_registry(registry: TestRegistry, connect: Connector) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [b"layer"])
    repository = connect(registry, namespace="registry.example:5000").repository("acme/app")
    layer = repository.resolve("1.0").manifest().layers[0]
    assert repository.digest_of("1.0") == digest
    with repository.fetch(layer) as reader:
        assert reader.read() == b"layer"
    registry.content.page_size = 1
    registry.push_artifact("acme/app", "2.0", [b"layer"])
    assert list(repository.tags()) == ["1.0", "2.0"]
    assert list(repository.referrers(Digest(digest))) == []
    assert all(item.value("ns") == "registry.example:5000" for item in registry.requests if "last=" not in item.query)
    registry.requests.clear()
    repository.push(Descriptor.of(b"x", "application/x"), Stream(b"x"))
    assert all(item.value("ns") is None for item in registry.asked("POST") + registry.asked("PUT"))
