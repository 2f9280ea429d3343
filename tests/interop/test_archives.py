"""Archives that real skopeo, crane and imgpkg write are read in place, as the images that those see in them."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from interop.programs import Program, program
from provender.oci import Descriptor, Document, Manifest
from provender.oci.media_types import MANIFEST
from provender.storage.layout import LayoutStorage
from provender.storage.verify import BytesReader
from support.command import succeed
from support.foreign_archives import LAYERS, image_config

pytestmark = pytest.mark.interop

_POLICY = "--insecure-policy"


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStorage:
    """A layout with the image `1.0`."""
    storage = LayoutStorage(tmp_path / "source", create=True)
    contents = [*LAYERS, LAYERS[0]]
    config = image_config(contents)
    layers = [gzip.compress(content, mtime=0) for content in contents]
    described = [Descriptor.of(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers]
    configured = Descriptor.of(config, "application/vnd.oci.image.config.v1+json")
    for descriptor, content in zip((configured, *described), (config, *layers), strict=True):
        storage.push(descriptor, BytesReader(content))
    image = Manifest(schema_version=2, media_type=MANIFEST, config=configured, layers=tuple(described))
    storage.push_document(Document.author(image), ["1.0"])
    return storage


@pytest.fixture
def zstd() -> Program:
    """The zstd tool."""
    return program("zstd")


def digest_in(reference: str) -> str:
    digest: str = succeed("show", reference, "--format", "json").json["digest"]
    return digest


@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_an_archive_of_skopeo_is_the_image_that_skopeo_sees(
    layout: LayoutStorage, tmp_path: Path, skopeo: Program, compression: str
) -> None:
    path = tmp_path / "image.tar"
    skopeo.run(_POLICY, "copy", f"oci:{layout.path}:1.0", f"docker-archive:{path}:docker.io/acme/app:1.0")
    raw = skopeo.attempt("inspect", "--raw", f"docker-archive:{path}").stdout
    skopeo.run(_POLICY, "copy", f"docker-archive:{path}", f"dir:{tmp_path / 'dir'}")
    if compression == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert digest_in(f"layout:{path}:1.0") == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    succeed("copy", f"layout:{path}:1.0", f"layout:{tmp_path / 'ours'}")
    blobs = {each.name: each.read_bytes() for each in (tmp_path / "ours/blobs/sha256").iterdir()}
    assert raw in blobs.values()
    for layer in json.loads(raw)["layers"]:
        name = layer["digest"].removeprefix("sha256:")
        assert blobs[name] == (tmp_path / "dir" / name).read_bytes()


def test_a_compressed_archive_of_ours_is_read_by_zstd_and_skopeo(
    layout: LayoutStorage, tmp_path: Path, skopeo: Program, zstd: Program
) -> None:
    for name in ("ours.tar", "ours.tar.zst"):
        succeed("copy", f"layout:{layout.path}:1.0", f"layout:{tmp_path / name}")
    zstd.run("-d", "-q", tmp_path / "ours.tar.zst", "-o", tmp_path / "unpacked.tar")
    assert (tmp_path / "unpacked.tar").read_bytes() == (tmp_path / "ours.tar").read_bytes()
    raw = skopeo.attempt("inspect", "--raw", f"oci-archive:{tmp_path / 'ours.tar.zst'}:1.0").stdout
    assert raw == layout.resolve("1.0").raw
    skopeo.run(_POLICY, "copy", f"oci-archive:{tmp_path / 'ours.tar.zst'}:1.0", f"dir:{tmp_path / 'dir'}")
    # And theirs, whatever way it was compressed, is the same archive to us.
    zstd.run("-19", "-q", tmp_path / "ours.tar", "-o", tmp_path / "theirs.tar.zst")
    assert digest_in(f"layout:{tmp_path / 'theirs.tar.zst'}:1.0") == layout.resolve("1.0").digest


def test_an_archive_of_crane_is_the_image_that_crane_pushes(
    layout: LayoutStorage, repository: str, tmp_path: Path, crane: Program
) -> None:
    succeed("copy", f"layout:{layout.path}:1.0", f"{repository}/a")
    path = tmp_path / "image.tar"
    crane.run("pull", f"{repository}/a:1.0", path)
    crane.run("push", path, f"{repository}/b:1.0")
    succeed("copy", f"layout:{path}:1.0", f"{repository}/c")
    assert crane.run("digest", f"{repository}/c:1.0") == crane.run("digest", f"{repository}/b:1.0")


def test_an_archive_of_imgpkg_is_what_imgpkg_copies(
    layout: LayoutStorage, repository: str, tmp_path: Path, imgpkg: Program, crane: Program
) -> None:
    succeed("copy", f"layout:{layout.path}:1.0", f"{repository}/app")
    digest = crane.run("digest", f"{repository}/app:1.0")
    bundle = tmp_path / "bundle"
    (bundle / ".imgpkg").mkdir(parents=True)
    images = {"apiVersion": "imgpkg.carvel.dev/v1alpha1", "kind": "ImagesLock"}
    lock = {**images, "images": [{"image": f"{repository}/app@{digest}"}]}
    (bundle / ".imgpkg/images.yml").write_text(json.dumps(lock))
    imgpkg.run("push", "-b", f"{repository}/bundle:v1", "-f", bundle)
    path = tmp_path / "bundle.tar"
    imgpkg.run("copy", "-b", f"{repository}/bundle:v1", "--to-tar", path)
    imgpkg.run("copy", "--tar", path, "--to-repo", f"{repository}/theirs")
    succeed("copy", f"layout:{path}:v1", f"{repository}/ours")
    succeed("copy", f"layout:{path}@{digest}", f"{repository}/ours", "--tag", "app")
    assert crane.run("digest", f"{repository}/ours:v1") == crane.run("digest", f"{repository}/theirs:v1")
    assert crane.run("digest", f"{repository}/ours:app") == crane.run("digest", f"{repository}/theirs@{digest}")
