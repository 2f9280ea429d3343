"""Registries that refuse OCI 1.1 artifacts: the refusal is explained, and the forms that they take are published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provender.artifact.pack import Source
from provender.artifact.publish import ArtifactCompat, ConfigFile, PublishOptions, publish
from provender.errors import InvalidReference, Unavailable, Unsupported
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Document, Index, Manifest
from provender.oci.annotations import COMPAT_TYPE
from provender.oci.media_types import IMAGE_CONFIG, INDEX, MANIFEST
from provender.storage.memory import MemoryStorage
from provender.storage.registry import RegistryRepository
from provender.storage.verify import BytesReader
from support.command import provender_forked, succeed
from support.content import manifest
from support.registry import Status, TestRegistry

TYPE = "application/vnd.acme.rules.v1"


@pytest.fixture
def strict() -> Iterator[TestRegistry]:
    """A registry that takes images and Helm charts alone, as GitLab does."""
    with TestRegistry() as registry:
        registry.content.allowed_types = frozenset({IMAGE_CONFIG, "application/vnd.cncf.helm.config.v1+json"})
        yield registry


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.txt").write_text("be kind")
    (tmp_path / "config.json").write_text("[]")
    return tmp_path


def push(*arguments: str) -> dict[str, object]:
    return dict(succeed("push", *arguments, "--format", "json").json)


def stored(registry: TestRegistry) -> dict[str, Any]:
    raw = registry.manifest("acme/rules", "1.0")
    assert raw is not None
    return dict(json.loads(raw))


def test_a_refused_artifact_is_explained_with_the_way_out(strict: TestRegistry) -> None:
    result = provender_forked(
        "push", f"{strict.host}/acme/rules:1.0", "rules.txt", "--artifact-type", TYPE, "--format", "json"
    )
    error = result.error
    assert (result.status, error["code"], error["retryable"]) == (69, "artifact-refused", False)
    assert TYPE in error["message"]
    assert "unknown media type" in error["message"]
    assert "--artifact-compat image-config" in error["hint"]
    assert strict.tags("acme/rules") == {}


def test_an_artifact_that_pretends_to_be_an_image_is_taken(strict: TestRegistry) -> None:
    pushed = push(
        f"{strict.host}/acme/rules:1.0", "rules.txt", "--artifact-type", TYPE, "--artifact-compat", "image-config"
    )
    assert pushed["artifactType"] == TYPE
    document = stored(strict)
    assert "artifactType" not in document
    assert document["annotations"] == {COMPAT_TYPE: TYPE}
    config = document["config"]
    assert config["mediaType"] == IMAGE_CONFIG
    content = strict.blob("acme/rules", config["digest"])
    assert content is not None
    # What image-spec wants of an image's config, for registries that look into it.
    assert json.loads(content).keys() >= {"architecture", "os", "rootfs"}
    succeed("pull", f"{strict.host}/acme/rules:1.0", "-o", "out")
    assert Path("out/rules.txt").read_text() == "be kind"


def test_an_artifact_of_a_type_that_is_known_is_taken_in_the_older_form(strict: TestRegistry) -> None:
    strict.content.allowed_types = frozenset({TYPE})
    arguments = (f"{strict.host}/acme/rules:1.0", "rules.txt", "--artifact-type", TYPE)
    assert provender_forked("push", *arguments).status == 69
    assert push(*arguments, "--artifact-compat", "config-type")["artifactType"] == TYPE
    document = stored(strict)
    assert "artifactType" not in document
    assert document["config"]["mediaType"] == TYPE


@pytest.mark.parametrize("compat", ["image-config", "config-type"])
def test_a_form_has_one_digest(compat: ArtifactCompat) -> None:
    storage = MemoryStorage()
    options = PublishOptions(artifact_type=TYPE, artifact_compat=compat)
    documents = {publish(storage, [Source.parse("rules.txt")], options=options).digest for _ in range(2)}
    assert len(documents) == 1


def test_the_older_form_is_that_of_image_spec_1_0() -> None:
    storage = MemoryStorage()
    sources = [Source.parse("rules.txt")]
    older = publish(storage, sources, options=PublishOptions(artifact_type=TYPE, image_spec="v1.0"))
    compatible = publish(storage, sources, options=PublishOptions(artifact_type=TYPE, artifact_compat="config-type"))
    assert older == compatible


@pytest.mark.parametrize(
    "options",
    [
        PublishOptions(config=ConfigFile(path="config.json"), artifact_compat="image-config"),
        PublishOptions(config=ConfigFile(path="config.json"), artifact_type=TYPE, artifact_compat="config-type"),
    ],
    ids=["image-config", "config-type"],
)
def test_a_config_that_the_form_has_no_place_for_is_refused(options: PublishOptions) -> None:
    with pytest.raises(InvalidReference) as caught:
        publish(MemoryStorage(), [Source.parse("rules.txt")], options=options)
    assert caught.value.code == "conflicting-options"


# What is a refusal of the form


def refusal(code: str = "MANIFEST_INVALID", status: int = 400) -> Status:
    return Status(status, {"Content-Type": "application/json"}, json.dumps({"errors": [{"code": code}]}).encode())


@pytest.mark.parametrize("answer", [refusal(), refusal("UNSUPPORTED", 405), Status(415), Status(422), Status(400)])
def test_every_way_of_refusing_is_understood(
    registry: TestRegistry, repository: RegistryRepository, answer: Status
) -> None:
    registry.fault(("PUT", "/manifests/"), action=answer)
    with pytest.raises(Unsupported) as caught:
        repository.push_document(manifest("a"), ["1.0"])
    assert caught.value.code == "artifact-refused"
    assert caught.value.where == f"{registry.host}/acme/app:1.0"


def test_a_registry_that_takes_no_manifest_at_all_is_not_about_the_form(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    answer = refusal("UNSUPPORTED", 405)
    registry.fault(("PUT", "/manifests/"), action=Status(405, {**answer.headers, "Allow": "GET, HEAD"}, answer.body))
    with pytest.raises(Unsupported) as caught:
        repository.push_document(manifest("a"), ["1.0"])
    assert (caught.value.code, "does not offer this" in caught.value.message) == ("unsupported", True)


@pytest.mark.parametrize(
    "code", ["MANIFEST_BLOB_UNKNOWN", "DIGEST_INVALID", "NAME_INVALID", "TAG_INVALID", "SIZE_INVALID"]
)
def test_other_problems_are_not_taken_for_a_refusal(
    registry: TestRegistry, repository: RegistryRepository, code: str
) -> None:
    registry.fault(("PUT", "/manifests/"), action=refusal(code))
    with pytest.raises(Unavailable) as caught:
        repository.push_document(manifest("a"), ["1.0"])
    assert caught.value.code in ("refused-by-registry", "content-missing")


def test_a_plain_image_or_index_is_not_refused_for_its_form(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    config = Descriptor.of(EMPTY_BYTES, IMAGE_CONFIG)
    image = Document.author(Manifest(schema_version=2, media_type=MANIFEST, config=config, layers=(EMPTY_DESCRIPTOR,)))
    index = Document.author(Index(schema_version=2, media_type=INDEX, manifests=()))
    registry.fault(("PUT", "/manifests/"), action=refusal(), times=9)
    for document in (image, index):
        with pytest.raises(Unavailable) as caught:
            repository.push_document(document, ["1.0"])
        assert caught.value.code == "refused-by-registry"


def test_a_manifest_that_only_a_registry_understands_is_pushed(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    # Its layer's digest cannot be verified here; a copy moves the bytes all the same.
    raw = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "config": None, "size": -1}).encode()
    document = Document(Descriptor.of(raw.replace(b"[]", b"[{}]"), MANIFEST), raw.replace(b"[]", b"[{}]"))
    registry.fault(("PUT", "/manifests/"), action=refusal())
    with pytest.raises(Unavailable):
        repository.push_document(document)
    registry.fault(("PUT", "/manifests/"), action=Status(201))
    repository.push(document.descriptor, BytesReader(document.raw))
