"""OCI image layouts written with the standard library alone: what is measured is not made by what is measured."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY = b"{}"


class Layer(NamedTuple):
    """A file that becomes a layer; it is moved into the layout."""

    path: Path
    media_type: str
    annotations: Mapping[str, str] = {}


def write_layout(folder: Path, layers: Sequence[Layer], *, tag: str) -> list[Path]:
    """A layout in `folder`, which is made, of one artifact named `tag`; where its layers are."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    places: list[Path] = []
    described: list[dict[str, object]] = []
    for layer in layers:
        with layer.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = layer.path.stat().st_size
        places.append(blobs / digest)
        os.replace(layer.path, places[-1])
        described.append({**_descriptor(layer.media_type, digest, size), "annotations": dict(layer.annotations)})
    empty = _put(blobs, _EMPTY, "application/vnd.oci.empty.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": "application/vnd.example.bench.v1",
        "config": empty,
        "layers": described,
    }
    found = _put(blobs, _json(manifest), _MANIFEST)
    index = {"schemaVersion": 2, "manifests": [{**found, "annotations": {"org.opencontainers.image.ref.name": tag}}]}
    (folder / "index.json").write_bytes(_json(index))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return places


def _put(blobs: Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return _descriptor(media_type, digest, len(content))


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
