"""Archives of docker, skopeo, crane, imgpkg, hauler and zarf, read as layouts; and those that do not fit together."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import InvalidDocument, NotFound, ProvenderError
from provender.oci import Descriptor, Digest, Document, Manifest
from provender.oci.media_types import MANIFEST
from provender.storage.archive import ArchiveStorage
from provender.storage.archive_contents import is_content, qualified
from provender.storage.docker_archive import docker_contents
from provender.storage.tar_table import scan
from provender.storage.verify import read_all
from provender.storage.volume import Cursor, FileVolume
from support.content import blob, index, manifest
from support.foreign_archives import (
    LAYERS,
    chunks,
    docker_archive,
    entry,
    haul_entry,
    image_config,
    imgpkg_image,
    imgpkg_tar,
    layout_files,
    tar,
)
from support.zstd import compressed

Opener = Callable[[bytes], ArchiveStorage]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Opens an archive with these bytes."""

    def open_archive(content: bytes) -> ArchiveStorage:
        (tmp_path / "a.tar").write_bytes(content)
        return ArchiveStorage(tmp_path / "a.tar", scratch=tmp_path)

    return open_archive


def content_of(storage: ArchiveStorage, descriptor: Descriptor) -> bytes:
    with storage.fetch(descriptor) as reader:
        return read_all(reader, 1 << 20)


def names(storage: ArchiveStorage) -> list[str]:
    return [(each.annotations or {}).get("org.opencontainers.image.ref.name", "") for each in storage.entries]


@pytest.mark.parametrize("kind", ["skopeo", "legacy"])
def test_an_archive_of_docker_is_the_image_that_skopeo_makes_of_it(opened: Opener, kind: str) -> None:
    storage = opened(docker_archive(kind))
    document = storage.resolve("1.0")
    assert storage.kind == "docker"
    assert names(storage) == ["docker.io/acme/app:1.0"]
    layers = document.manifest().layers
    assert [content_of(storage, layer) for layer in layers] == [LAYERS[0], LAYERS[1], LAYERS[0]]
    assert content_of(storage, document.manifest().config) == image_config([*LAYERS, LAYERS[0]])
    assert document.raw.startswith(
        b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":'
    )
    assert document.raw == opened(docker_archive("skopeo")).resolve("1.0").raw


def test_compressed_layers_of_an_archive_of_docker_keep_their_bytes(opened: Opener) -> None:
    storage = opened(docker_archive("crane"))
    layers = storage.resolve("1.0").manifest().layers
    assert [gzip.decompress(content_of(storage, layer)) for layer in layers] == [LAYERS[0], LAYERS[1], LAYERS[0]]


@pytest.mark.parametrize("pack", [gzip.compress, compressed])
def test_a_compressed_archive_of_docker_is_read(opened: Opener, pack: Callable[[bytes], bytes]) -> None:
    storage = opened(pack(docker_archive("legacy")))
    assert content_of(storage, storage.resolve("1.0").manifest().layers[1]) == LAYERS[1]
    storage.close()


def test_an_image_without_a_tag_is_there_by_its_digest(opened: Opener) -> None:
    storage = opened(docker_archive("skopeo", None))
    assert list(storage.tags()) == []
    digest = storage.entries[0].digest
    assert storage.resolve(digest).digest == digest
    with pytest.raises(NotFound) as caught:
        storage.resolve("latest")
    assert digest in str(caught.value.hint)


@pytest.mark.parametrize(
    "change",
    [
        {"Config": "missing.json"},
        {"Layers": ["missing.tar"]},
        {"Layers": []},
        {"Layers": "a"},
        {"Layers": ["a.tar"] * 2000},
        {"Config": "../../etc/passwd"},
        {"Config": "loop.json"},
    ],
)
def test_an_archive_of_docker_that_does_not_fit_together_is_refused(opened: Opener, change: dict[str, object]) -> None:
    config = image_config()
    files: dict[str, bytes | str] = {"c.json": config, "a.tar": LAYERS[0], "b.tar": LAYERS[1], "loop.json": "loop.json"}
    item = {"Config": "c.json", "RepoTags": None, "Layers": ["a.tar", "b.tar"], **change}
    with pytest.raises(InvalidDocument) as caught:
        opened(tar({**files, "manifest.json": json.dumps([item]).encode()}))
    assert caught.value.code == "invalid-docker-archive"


def test_a_layer_with_many_names_is_read_once(tmp_path: Path) -> None:
    """Links cost nothing to write, and each of them could ask for the whole layer to be hashed."""
    layer = gzip.compress(os.urandom(200_000))
    links = [f"{number}.tar" for number in range(300)]
    files: dict[str, bytes | str] = {"layer.tar": layer, **dict.fromkeys(links, "layer.tar")}
    config = json.dumps({"rootfs": {"diff_ids": [f"sha256:{'0' * 64}"] * len(links)}}).encode()
    item = {"Config": "c.json", "RepoTags": ["a:1"], "Layers": links}
    (tmp_path / "a.tar").write_bytes(tar({**files, "c.json": config, "manifest.json": json.dumps([item]).encode()}))
    volume = FileVolume([tmp_path / "a.tar"], where="a.tar")
    counted = _Counted(volume.open())
    docker_contents(counted, scan(counted, is_content))
    counted.close()
    assert len(layer) < counted.bytes_read < 5 * len(layer)


class _Counted:
    """A cursor that knows how much was read through it."""

    def __init__(self, cursor: Cursor) -> None:
        self.seek, self.close = cursor.seek, cursor.close
        self._cursor = cursor
        self.bytes_read = 0

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._cursor.read(size)
        self.bytes_read += len(chunk)
        return chunk


def test_a_layer_that_is_not_what_the_config_says_is_met_when_it_is_read(opened: Opener) -> None:
    files: dict[str, bytes | str] = {"c.json": image_config(), "a.tar": LAYERS[1], "b.tar": LAYERS[1]}
    item = {"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["a.tar", "b.tar"]}
    storage = opened(tar({**files, "manifest.json": json.dumps([item]).encode()}))
    with pytest.raises(ProvenderError) as caught:
        content_of(storage, storage.resolve("1").manifest().layers[0])
    assert caught.value.exit_status == 65


@pytest.fixture
def image() -> tuple[Document, bytes, list[bytes]]:
    """A manifest, its config, and its layers."""
    layers = [gzip.compress(layer, mtime=0) for layer in LAYERS]
    config = image_config()
    written = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        config=Descriptor.of(config, "application/vnd.oci.image.config.v1+json"),
        layers=tuple(map(blob, layers)),
    )
    return Document.author(written), config, layers


def test_an_archive_of_imgpkg_has_the_images_byte_for_byte(
    opened: Opener, image: tuple[Document, bytes, list[bytes]]
) -> None:
    document, config, layers = image
    noted = imgpkg_image(document, config, refs=[f"index.docker.io/library/app@{document.digest}"], tag="v1")
    storage = opened(imgpkg_tar([{"Image": noted, "ImageIndex": None}], layers))
    assert (storage.kind, names(storage)) == ("imgpkg", ["docker.io/library/app:v1"])
    assert storage.resolve("v1") == document
    assert [content_of(storage, each) for each in document.manifest().layers] == layers
    assert content_of(storage, blob(config)) == config


def test_an_index_in_an_archive_of_imgpkg_is_read_with_its_children(
    opened: Opener, image: tuple[Document, bytes, list[bytes]]
) -> None:
    document, config, layers = image
    parent = index(document)
    item = {
        "Refs": [f"ghcr.io/acme/app@{parent.digest}"],
        "Images": [imgpkg_image(document, config, refs=[])],
        "Indexes": [],
        "MediaType": parent.descriptor.media_type,
        "Digest": parent.digest,
        "Raw": parent.raw.decode(),
        "Tag": "",
        "Labels": {"dev.carvel.imgpkg.copy.root-bundle": ""},
    }
    storage = opened(imgpkg_tar([{"ImageIndex": item, "Image": None}], layers))
    assert storage.resolve(parent.digest) == parent
    assert storage.resolve(document.digest) == document
    assert names(storage) == [f"ghcr.io/acme/app@{parent.digest}"]
    assert "dev.carvel.imgpkg.copy.root-bundle" in (storage.entries[0].annotations or {})


@pytest.mark.parametrize("change", [{"Manifest": None}, {"Config": {"Digest": "sha256:x", "Raw": ""}}, {"Tag": 7}])
def test_an_archive_of_imgpkg_that_cannot_be_used_is_refused(
    opened: Opener, image: tuple[Document, bytes, list[bytes]], change: dict[str, object]
) -> None:
    document, config, layers = image
    noted = imgpkg_image(document, config, refs=[]) | change
    with pytest.raises(InvalidDocument) as caught:
        opened(imgpkg_tar([{"Image": noted}], layers))
    assert caught.value.code == "invalid-imgpkg-tar"


@pytest.mark.parametrize("has_marker", [True, False])
@pytest.mark.parametrize("is_split", [True, False])
def test_a_haul_has_images_with_their_names_and_their_signatures_apart(
    tmp_path: Path, image: tuple[Document, bytes, list[bytes]], has_marker: bool, is_split: bool
) -> None:
    document, config, layers = image
    signature, bundle, other = manifest("sig"), manifest("bundle", subject=document.descriptor), manifest("other")
    name = "index.docker.io/library/app:1.0"
    entries = [
        haul_entry(document, name, "image"),
        haul_entry(signature, name, "sigs"),
        haul_entry(bundle, name, f"referrers/{bundle.digest.encoded}"),
        haul_entry(other, "ghcr.io/acme/other:1.0", "imageIndex"),
    ]
    blobs = [document.raw, signature.raw, bundle.raw, other.raw, config, *layers]
    files = layout_files(entries, blobs, marker=has_marker) | {"manifest.json": b"[]"}
    content = compressed(tar(files), sized=False)
    pieces = chunks(content, 300) if is_split else [content]
    for number, piece in enumerate(pieces, start=1):
        (tmp_path / (f"haul.tar.zst.{number:03}" if is_split else "haul.tar.zst")).write_bytes(piece)
    path = tmp_path / ("haul.tar.zst.001" if is_split else "haul.tar.zst")
    storage = ArchiveStorage(path, scratch=tmp_path)
    assert storage.kind == "haul"
    assert storage.resolve("docker.io/library/app:1.0") == document
    assert storage.resolve("ghcr.io/acme/other:1.0") == other
    assert storage.resolve(f"sha256-{document.digest.encoded}.sig") == signature
    assert [each.digest for each in storage.referrers(document.digest)] == [bundle.digest]
    storage.close()


@pytest.mark.parametrize("kind", ["dev.hauler/image", "of several repositories"])
def test_halves_of_characters_in_an_index_do_not_stand_in_the_way(opened: Opener, kind: str) -> None:
    document = manifest("it")
    note = entry(document, {"kind": kind, "org.opencontainers.image.ref.name": "ghcr.io/a/b:1", "x": "\udfff"})
    storage = opened(tar(layout_files([note], [document.raw])))
    assert storage.repository("ghcr.io/a/b").resolve("1") == document


@pytest.mark.parametrize("key", ["org.opencontainers.image.ref.name", "org.opencontainers.image.base.name"])
def test_the_images_of_a_zarf_package_are_read_and_the_rest_is_not(
    opened: Opener, image: tuple[Document, bytes, list[bytes]], key: str
) -> None:
    document, config, layers = image
    files = layout_files(
        [entry(document, {key: "ghcr.io/acme/app:1.0"})], [document.raw, config, *layers], prefix="images/"
    )
    rest: dict[str, bytes | str] = {"zarf.yaml": b"kind: ZarfPackageConfig\n", "components/a.tar": b"x", "link": "/etc"}
    storage = opened(compressed(tar({**rest, **files})))
    assert (storage.kind, list(storage.tags())) == ("zarf", ["1.0"])
    assert storage.resolve("ghcr.io/acme/app:1.0") == document
    assert content_of(storage, document.manifest().layers[0]) == layers[0]
    storage.close()


def test_a_zarf_package_without_images_has_none(opened: Opener) -> None:
    assert list(opened(tar({"zarf.yaml": b"", "checksums.txt": b""})).tags()) == []


@pytest.mark.parametrize("content", [b"[]", b"{}", b"[1]", b'[{"Config": "a"}]', b"[" * 5000, b"\xff", b'[{"a":1}]'])
def test_another_manifest_json_is_no_archive_of_images(opened: Opener, content: bytes) -> None:
    with pytest.raises(InvalidDocument):
        opened(tar({"manifest.json": content}))


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("alpine:3", "docker.io/library/alpine:3"),
        ("acme/app:1", "docker.io/acme/app:1"),
        ("docker.io/alpine:3", "docker.io/library/alpine:3"),
        ("index.docker.io/library/alpine:3", "docker.io/library/alpine:3"),
        ("localhost/app:1", "localhost/app:1"),
        ("host:5000/app:1", "host:5000/app:1"),
        ("ghcr.io/a/b@sha256:1", "ghcr.io/a/b@sha256:1"),
    ],
)
def test_names_are_docker_s(written: str, full: str) -> None:
    assert qualified(written) == full


@given(st.data())
def test_any_damage_of_an_archive_of_docker_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(docker_archive("skopeo"))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    path.write_bytes(raw)
    try:
        storage = ArchiveStorage(path, scratch=path.parent)
        for each in storage.entries:
            for layer in storage.resolve(Digest(each.digest)).manifest().layers:
                content_of(storage, layer)
    except ProvenderError:
        return
