"""The nineteen kinds of content that the official conformance tool of distribution-spec moves, made by ourselves.

Each is a small graph of blobs and documents, the same bytes in every run: what a client has to push, list, pull, copy
and delete without changing anything.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from provender.oci import Descriptor, Digest, Document
from provender.oci.media_types import EMPTY, IMAGE_CONFIG, INDEX, LAYER_TAR, LAYER_TAR_GZIP, MANIFEST

__all__ = ["DATA_SETS", "DataSet", "data_set"]

_TYPE_1 = "application/vnd.example.data-set.one"
_TYPE_2 = "application/vnd.example.data-set.two"
_NOTE = {"example.data-set": "hello"}
_FOREIGN_TAR = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_PLATFORMS = ({"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux"})

_Fields = dict[str, Any]


@dataclass
class DataSet:
    """One data set: blobs, documents with children first, the tags of documents, and who refers to what."""

    name: str
    algorithm: str = "sha256"
    blobs: dict[Digest, tuple[Descriptor, bytes]] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    tags: dict[Digest, list[str]] = field(default_factory=dict)
    referrers: dict[Digest, dict[Digest, str]] = field(default_factory=dict)
    """By subject: the referrers with their types."""

    def tagged(self, document: Document, *tags: str) -> DataSet:
        """The data set, with tags for a document."""
        self.tags.setdefault(document.digest, []).extend(tags)
        return self

    # The pieces

    def blob(self, content: bytes, media_type: str) -> _Fields:
        """The fields of the descriptor of a blob, which is kept."""
        digest = Digest.of(content, self.algorithm)
        self.blobs[digest] = (Descriptor(media_type=media_type, digest=digest, size=len(content)), content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def layer(self, number: int, *, is_compressed: bool = True) -> tuple[_Fields, str]:
        """A layer of an image and the digest of its tar."""
        tar = _tar(f"{self.name}-{number}")
        content = gzip.compress(tar, mtime=0) if is_compressed else tar
        diff_id = f"sha256:{hashlib.sha256(tar).hexdigest()}"
        return self.blob(content, LAYER_TAR_GZIP if is_compressed else LAYER_TAR), diff_id

    def image(
        self,
        *,
        number: int = 0,
        layers: int = 2,
        is_compressed: bool = True,
        platform: _Fields = _PLATFORMS[0],
        extra: _Fields | None = None,
        more: _Fields | None = None,
        has_data: bool = False,
    ) -> Document:
        """An image of some layers. `extra` goes into manifest and config, `more` into the manifest."""
        made = [self.layer(10 * number + index, is_compressed=is_compressed) for index in range(layers)]
        config = {
            **platform,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in made]},
            "history": [{"created_by": f"step {index}"} for index in range(layers)],
            **(extra or {}),
        }
        config_fields = self.blob(json.dumps(config).encode(), IMAGE_CONFIG)
        fields = {"config": config_fields, "layers": [layer for layer, _ in made], **(more or {}), **(extra or {})}
        if has_data:
            for descriptor in (config_fields, *fields["layers"]):
                content = self.blobs[Digest(descriptor["digest"])][1]
                descriptor["data"] = base64.b64encode(content).decode()
        return self.document(MANIFEST, fields)

    def artifact(
        self,
        artifact_type: str = _TYPE_1,
        *,
        number: int = 0,
        layer_type: str = _TYPE_1,
        subject: _Fields | None = None,
        more: _Fields | None = None,
    ) -> Document:
        """An artifact with one layer."""
        content = hashlib.shake_256(f"{self.name} {number}".encode()).digest(1024)
        return self.document(
            MANIFEST,
            {
                "artifactType": artifact_type,
                "config": self.blob(b"{}", EMPTY),
                "layers": [self.blob(b"{}" if layer_type == EMPTY else content, layer_type)],
                **({"subject": subject} if subject else {}),
                **(more or {}),
            },
        )

    def index(self, *children: Document, more: _Fields | None = None, has_platforms: bool = True) -> Document:
        """An index of documents."""
        listed = [
            {**fields_of(child), **({"platform": platform} if has_platforms else {})}
            for child, platform in zip(children, _PLATFORMS * len(children), strict=False)
        ]
        return self.document(INDEX, {"manifests": listed, **(more or {})})

    def document(self, media_type: str, fields: _Fields) -> Document:
        """The document of some fields, which is kept."""
        raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}, indent=2).encode()
        document = Document.read(raw, media_type=media_type, expected=Digest.of(raw, self.algorithm))
        self.documents.append(document)
        if subject := fields.get("subject"):
            kind = fields.get("artifactType") or (fields.get("config") or {}).get("mediaType", "")
            self.referrers.setdefault(Digest(subject["digest"]), {})[document.digest] = kind
        return document


def fields_of(document: Document) -> _Fields:
    """The fields of the descriptor of a document."""
    descriptor = document.descriptor
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def _tar(name: str) -> bytes:
    target = io.BytesIO()
    content = hashlib.shake_256(name.encode()).digest(2048)
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(f"{name}.bin")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


# The data sets


def _image(data: DataSet) -> DataSet:
    return data.tagged(data.image(), "image")


def _image_uncompressed(data: DataSet) -> DataSet:
    return data.tagged(data.image(is_compressed=False), "image-uncompressed")


def _large_manifest(data: DataSet) -> DataSet:
    notes = {f"large-annotation-{number}": "A" * 10_000 for number in range(390)}
    return data.tagged(data.image(more={"annotations": notes}), "large-manifest")


def _platforms(data: DataSet, first: int = 0, **options: Any) -> list[Document]:
    return [data.image(number=first + n, platform=platform, **options) for n, platform in enumerate(_PLATFORMS)]


def _index(data: DataSet) -> DataSet:
    return data.tagged(data.index(*_platforms(data)), "index")


def _nested_index(data: DataSet) -> DataSet:
    children = [data.index(*_platforms(data, first)) for first in (0, 2)]
    return data.tagged(data.index(*children, has_platforms=False), "index-of-index")


def _empty_index(data: DataSet) -> DataSet:
    return data.tagged(data.index(), "index")


def _artifact(data: DataSet) -> DataSet:
    return data.tagged(data.artifact(), "artifact")


def _artifact_index(data: DataSet) -> DataSet:
    children = [data.artifact(number=number) for number in range(2)]
    return data.tagged(data.index(*children, more={"artifactType": _TYPE_1}), "artifact-index")


def _artifact_without_layers(data: DataSet) -> DataSet:
    return data.tagged(data.artifact(layer_type=EMPTY), "artifact-without-layers")


def _artifacts_with_subject(data: DataSet) -> DataSet:
    subject = data.image()
    named = fields_of(subject)
    data.image(number=1, more={"subject": named})
    first = data.artifact(_TYPE_1, number=1, subject=named, more={"annotations": {**_NOTE, "number": "1"}})
    second = data.artifact(
        _TYPE_2,
        number=2,
        layer_type="application/octet-stream",
        subject=named,
        more={"annotations": {**_NOTE, "number": "2"}},
    )
    return data.tagged(subject, "image").tagged(first, "tagged-artifact1").tagged(second, "tagged-artifact2")


def _index_with_subject(data: DataSet) -> DataSet:
    subject = data.index(*_platforms(data))
    children = [data.artifact(number=number) for number in range(2)]
    more = {"artifactType": _TYPE_1, "annotations": _NOTE, "subject": fields_of(subject)}
    return data.tagged(subject, "index").tagged(data.index(*children, more=more), "tagged-artifact")


def _missing_subject(data: DataSet) -> DataSet:
    missing = {"mediaType": MANIFEST, "digest": Digest.of(b"missing content"), "size": 123}
    return data.tagged(data.artifact(subject=missing, more={"annotations": _NOTE}), "tagged-artifact")


def _data_field(data: DataSet) -> DataSet:
    return data.tagged(data.image(has_data=True), "data-field")


def _non_distributable_layers(data: DataSet) -> DataSet:
    foreign = []
    for suffix, size in (("+gzip", 123_456), ("", 12_345)):
        digest = Digest.of(f"elsewhere{suffix}".encode())
        url = f"https://store.example.com/blobs/sha256/{digest.encoded}"
        foreign.append({"mediaType": _FOREIGN_TAR + suffix, "digest": digest, "size": size, "urls": [url]})
    layer, diff_id = data.layer(0)
    diff_ids = [*(item["digest"] for item in foreign), diff_id]
    config = {**_PLATFORMS[0], "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    fields = {"config": data.blob(json.dumps(config).encode(), IMAGE_CONFIG), "layers": [*foreign, layer]}
    return data.tagged(data.document(MANIFEST, fields), "non-distributable-image")


def _custom_fields(data: DataSet) -> DataSet:
    extra = {"example.custom.4f1d": "a value that nobody knows", "example.custom.numbers": [1, {"two": None}]}
    return data.tagged(data.index(*_platforms(data, extra=extra), more=extra), "custom-fields")


def _no_layers(data: DataSet) -> DataSet:
    return data.tagged(data.image(layers=0), "no-layers")


def _sparse(data: DataSet) -> DataSet:
    image = data.image()
    del data.blobs[image.manifest().layers[0].digest]
    present = data.image(number=1)
    missing = {"mediaType": MANIFEST, "digest": Digest.of(b"missing platform"), "size": 1024, "platform": _PLATFORMS[1]}
    listed = [{**fields_of(present), "platform": _PLATFORMS[0]}, missing]
    return data.tagged(image, "sparse-image").tagged(data.document(INDEX, {"manifests": listed}), "sparse-index")


def _sha512(data: DataSet) -> DataSet:
    data.algorithm = "sha512"
    data.index(*_platforms(data))
    return data


def _tag_param(data: DataSet) -> DataSet:
    index = data.index(*_platforms(data))
    for number, document in enumerate(data.documents):
        data.tagged(document, f"tag-param-{number}", f"tag-param-{number}-again")
    return data.tagged(index, "tag-param")


DATA_SETS: dict[str, Callable[[DataSet], DataSet]] = {
    "image": _image,
    "image-uncompressed": _image_uncompressed,
    "large-manifest": _large_manifest,
    "index": _index,
    "nested-index": _nested_index,
    "empty-index": _empty_index,
    "artifact": _artifact,
    "artifact-index": _artifact_index,
    "artifact-without-layers": _artifact_without_layers,
    "artifacts-with-subject": _artifacts_with_subject,
    "index-with-subject": _index_with_subject,
    "missing-subject": _missing_subject,
    "data-field": _data_field,
    "non-distributable-layers": _non_distributable_layers,
    "custom-fields": _custom_fields,
    "no-layers": _no_layers,
    "sparse": _sparse,
    "sha512": _sha512,
    "tag-param": _tag_param,
}


def data_set(name: str) -> DataSet:
    """The data set of that name, afresh."""
    return DATA_SETS[name](DataSet(name))
