"""The source `image`, through whole runs: what is locked, laid, selected and refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import IntegrityError, InvalidDocument, InvalidProject, NotFound, ProvenderError
from provender.oci import Descriptor, Document, Index, Manifest, Platform
from provender.oci.media_types import INDEX, LAYER_TAR, MANIFEST
from provender.storage.roots import StoreRoot
from provender.storage.verify import BytesReader
from support.archives import Piece, archive, file, symlink
from support.local_project import LocalProject

CONFIG = "application/vnd.oci.image.config.v1+json"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[LocalProject]:
    made = LocalProject(tmp_path)
    yield made
    made.close()


def image(project: LocalProject, tag: str, *layers: tuple[Piece, ...]) -> Document:
    """Put an image of these layers, lowest first, into the repository `base`."""
    storage = StoreRoot(project.store).repository("base", create=True)
    blobs = [archive(*pieces) for pieces in layers]
    descriptors = [Descriptor.of(blob, LAYER_TAR) for blob in blobs]
    config = Descriptor.of(b"{}", CONFIG)
    for descriptor, blob in ((config, b"{}"), *zip(descriptors, blobs, strict=True)):
        storage.push(descriptor, BytesReader(blob))
    document = Document.author(
        Manifest(schema_version=2, media_type=MANIFEST, config=config, layers=tuple(descriptors))
    )
    storage.push_document(document, (tag,))
    return document


def refused(project: LocalProject, kind: type[ProvenderError], code: str) -> ProvenderError:
    before = project.look()
    with pytest.raises(kind) as caught:
        project.sync()
    assert caught.value.code == code, caught.value
    assert caught.value.where
    assert caught.value.hint
    assert project.look() == before
    assert project.leftovers() == []
    return caught.value


def test_layers_lie_on_each_other_and_deletions_count(project: LocalProject) -> None:
    made = image(
        project,
        "1.0.0",
        (file("etc/a", b"1"), file("etc/old", b"1"), file("bin/sh", b"#!", mode=0o755)),
        (file("etc/a", b"2"), file("etc/.wh.old", b""), symlink("usr/sh", "/bin/sh")),
    )
    project.depend(base={"image": "acme/base", "version": "^1"})
    assert project.actions() == {"vendor/base": "installed"}
    assert project.files("vendor/base") == {"etc/a": "2", "bin/sh": "#!"}
    assert (project.path("vendor/base") / "usr/sh").read_text() == "#!"
    entry = project.lock["base"]
    assert list(entry)[:6] == ["source", "registry", "repository", "requested", "tag", "digest"]
    assert (entry["source"], entry["digest"], len(entry["layers"])) == ("image", str(made.digest), 2)
    assert project.actions() == {"vendor/base": "unchanged"}


def test_a_part_of_an_image_is_laid_alone(project: LocalProject) -> None:
    image(project, "latest", (file("opt/tool/a.txt", b"a"), file("opt/tool/b.bin", b"b"), file("usr/c", b"c")))
    project.depend(base={"image": "acme/base", "root": "opt/tool", "include": ["**/*.txt"]})
    report = project.sync()
    assert project.files("vendor/base") == {"a.txt": "a"}
    assert any("latest was taken" in note for note in report.notes)
    project.depend(base={"image": "acme/base", "root": "opt/none"})
    refused(project, NotFound, "no-such-root")


def test_an_index_needs_a_platform_where_it_has_several(project: LocalProject) -> None:
    children = {
        text: image(project, text.replace("/", "-"), (file("arch", text.encode()),))
        for text in ("linux/amd64", "linux/arm64")
    }
    entries = tuple(
        Descriptor(
            media_type=child.descriptor.media_type,
            digest=child.digest,
            size=child.descriptor.size,
            platform=Platform.parse(text),
        )
        for text, child in children.items()
    )
    index = Document.author(Index(schema_version=2, media_type=INDEX, manifests=entries))
    StoreRoot(project.store).repository("base").push_document(index, ("1.0.0",))
    project.depend(base={"image": "acme/base", "tag": "1.0.0", "platform": "linux/arm64"})
    project.sync()
    assert project.files("vendor/base") == {"arch": "linux/arm64"}
    assert project.lock["base"]["manifest"] == str(children["linux/arm64"].digest)
    project.depend(base={"image": "acme/base", "tag": "1.0.0"})
    with pytest.raises((InvalidDocument, InvalidProject, NotFound)):
        project.sync()


def test_what_is_no_image_and_what_is_hostile_is_refused(project: LocalProject) -> None:
    project.publish("base", "1.0.0", {"a": "a"})
    project.publish("other", "1.0.0", {"a": "a"})
    project.depend(a="acme/other:1.0.0", base={"image": "acme/base", "tag": "1.0.0"})
    assert "oci" in (refused(project, InvalidProject, "no-image").hint or "")
    image(project, "2.0.0", (file("ok", b""),), (file("../../evil", b""),))
    project.depend(a="acme/other:1.0.0", base={"image": "acme/base", "tag": "2.0.0"})
    refused(project, IntegrityError, "bad-name")
    image(project, "3.0.0", (file("Makefile", b""),), (file("makefile", b""),))
    project.depend(a="acme/other:1.0.0", base={"image": "acme/base", "tag": "3.0.0"})
    refused(project, IntegrityError, "case-collision")


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"image": "nginx"}, "short-name"),
        ({"image": "acme/base:1.0"}, "target-in-image"),
        ({"image": "acme/base", "tag": "1", "version": "^1"}, "version-and-tag"),
        ({"image": "acme/base", "layers": {}}, "unknown-key"),
        ({"image": "acme/base", "platform": "linux"}, "invalid-platform"),
        ({"image": "acme/base", "digest": "sha256:1"}, "invalid-digest"),
    ],
)
def test_what_is_wrong_in_the_manifest_is_told_with_its_place(
    project: LocalProject, keys: dict[str, object], code: str
) -> None:
    project.depend(x=keys)
    assert "provender.yaml:" in (refused(project, InvalidProject, code).where or "")
