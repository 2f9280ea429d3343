"""What counts as a bundle, and which of them cannot be read."""

from __future__ import annotations

import gzip
import json

import pytest

from provender.bundle.image_config import push_locations
from provender.bundle.locks import ImageLocation, ImageLocations
from provender.bundle.reading import BUNDLE_TYPE, IMGPKG_LAYER, LABEL, kind_of, locations_at, locations_tag, lock_of
from provender.errors import InvalidDocument
from provender.oci import EMPTY_DESCRIPTOR, Descriptor, Digest, Document, Manifest
from provender.oci.media_types import DOCKER_CONFIG, IMAGE_CONFIG, MANIFEST
from provender.storage.memory import MemoryStorage
from provender.storage.verify import BytesReader
from support.archives import archive, file, symlink
from support.bundles import images_lock

LABELLED = json.dumps({"config": {"Labels": {LABEL: "false"}}}).encode()
LOCK = images_lock([]).encode()


def stored(
    *layers: bytes, config: bytes = LABELLED, config_type: str = IMAGE_CONFIG, artifact_type: str | None = None
) -> tuple[Document, MemoryStorage]:
    """An image with these tars as layers."""
    storage = MemoryStorage()
    described = []
    for content, media_type in [(config, config_type), *((gzip.compress(each), IMGPKG_LAYER) for each in layers)]:
        descriptor = Descriptor.of(content, media_type)
        storage.push(descriptor, BytesReader(content))
        described.append(descriptor)
    document = Document.author(
        Manifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=artifact_type,
            config=described[0],
            layers=tuple(described[1:]),
        )
    )
    storage.push_document(document)
    return document, storage


@pytest.mark.parametrize(
    ("config", "config_type", "artifact_type", "kind"),
    [
        (LABELLED, IMAGE_CONFIG, None, "imgpkg"),
        (LABELLED, DOCKER_CONFIG, None, "imgpkg"),
        (LABELLED, IMAGE_CONFIG, BUNDLE_TYPE, "hybrid"),
        (b'{"config": {}}', IMAGE_CONFIG, BUNDLE_TYPE, "provender"),
        (b'{"config": {"Labels": null}}', IMAGE_CONFIG, None, None),
        (b'{"config": []}', IMAGE_CONFIG, None, None),
        (b"\xff no JSON", DOCKER_CONFIG, None, None),
        (LABELLED, "application/vnd.acme.config+json", None, None),
    ],
)
def test_a_bundle_is_known_by_its_type_or_by_the_label_whatever_its_value(
    config: bytes, config_type: str, artifact_type: str | None, kind: str | None
) -> None:
    document, storage = stored(
        archive(file(".imgpkg/images.yml", LOCK)), config=config, config_type=config_type, artifact_type=artifact_type
    )
    assert kind_of(document, storage) == kind


def test_an_artifact_without_config_is_no_bundle_and_costs_no_question() -> None:
    document = Document.author(
        Manifest(schema_version=2, media_type=MANIFEST, config=EMPTY_DESCRIPTOR, layers=(Descriptor.of(b"x", "a/b"),))
    )
    assert kind_of(document, MemoryStorage()) is None  # which would not find the config


def test_the_first_lock_of_the_layer_counts() -> None:
    other = images_lock([f"ghcr.io/acme/app@sha256:{'a' * 64}"]).encode()
    document, storage = stored(archive(file("./.imgpkg/images.yml", other), file(".imgpkg/images.yml", LOCK)))
    assert len(lock_of(document, storage).images) == 1


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([], "0 layers"),
        ([archive(file(".imgpkg/images.yml", LOCK))] * 2, "2 layers"),
        ([archive(file("images.yml", LOCK))], "no .imgpkg/images.yml"),
        ([archive(symlink(".imgpkg/images.yml", "../images.yml"))], "no .imgpkg/images.yml"),
        ([archive(file(".imgpkg/images.yml", b"x" * ((8 << 20) + 1)))], "8388609 bytes"),
        ([archive(file(".imgpkg/images.yml", images_lock(["ghcr.io/acme/app:1"]).encode()))], "images.yml:4:10"),
        ([archive(file(".imgpkg/images.yml", b"kind: ImagesLock\n"))], "apiVersion"),
    ],
)
def test_a_bundle_without_a_lock_that_can_be_used_is_refused(layers: list[bytes], why: str) -> None:
    document, storage = stored(*layers)
    with pytest.raises(InvalidDocument, match=why) as caught:
        lock_of(document, storage)
    assert caught.value.where == document.digest or caught.value.where in document.raw.decode()
    assert caught.value.hint


def test_a_record_of_locations_is_read_where_it_was_pushed() -> None:
    storage = MemoryStorage()
    bundle = Digest(f"sha256:{'b' * 64}")
    locations = ImageLocations(images=(ImageLocation(image=f"ghcr.io/acme/app@sha256:{'a' * 64}", is_bundle=True),))
    assert locations_at(storage, bundle) is None
    document = push_locations(locations, storage)
    storage.tag(document.descriptor, locations_tag(bundle))
    assert locations_at(storage, bundle) == locations
    assert push_locations(locations, MemoryStorage()) == document
