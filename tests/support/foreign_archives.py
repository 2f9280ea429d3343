"""Archives as other tools write them, made by hand after their formats."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence

from provender.oci import Descriptor, Document
from support.archives import archive, file, symlink

LAYERS = (
    archive(file("a", b"a" * 3000), format=tarfile.USTAR_FORMAT),
    archive(file("b", b"b" * 5000), format=tarfile.USTAR_FORMAT),
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def image_config(layers: Sequence[bytes] = LAYERS) -> bytes:
    """The config of an image with these uncompressed layers."""
    fields = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
    }
    return json.dumps(fields).encode()


def tar(files: Mapping[str, bytes | str]) -> bytes:
    """A tar of these files; text is the target of a symbolic link."""
    pieces = [symlink(name, data) if isinstance(data, str) else file(name, data) for name, data in files.items()]
    return archive(*pieces)


def docker_archive(kind: str, tags: Sequence[str] | None = ("acme/app:1.0",)) -> bytes:
    """One image with the layers LAYERS, the first of them twice, as skopeo, crane or old `docker save` lay it."""
    layers = [*LAYERS, LAYERS[0]]
    config = image_config(layers)
    files: dict[str, bytes | str] = {}
    if kind == "skopeo":
        names = [f"{sha256(layer)}.tar" for layer in layers]
        files |= dict(zip(names, layers, strict=True))
        files |= {f"{number}/layer.tar": f"../{name}" for number, name in enumerate(names)}
        config_name = f"{sha256(config)}.json"
    elif kind == "crane":
        packed = [gzip.compress(layer, mtime=0) for layer in layers]
        names = [f"{sha256(layer)}.tar.gz" for layer in packed]
        files |= dict(zip(names, packed, strict=True))
        config_name = f"sha256:{sha256(config)}"
    else:
        names = [f"{number}/layer.tar" for number in "123"]
        files |= {names[0]: layers[0], names[1]: layers[1], names[2]: "../1/layer.tar"}
        config_name = f"{sha256(config)}.json"
    files[config_name] = config
    files["manifest.json"] = json.dumps(
        [{"Config": config_name, "RepoTags": None if tags is None else list(tags), "Layers": names}]
    ).encode()
    return tar(files)


def imgpkg_image(document: Document, config: bytes, *, refs: Sequence[str], tag: str = "") -> dict[str, object]:
    """An image as imgpkg notes it in its `manifest.json`."""
    manifest = document.manifest()
    assert manifest.config is not None
    return {
        "Refs": list(refs),
        "Layers": [
            {"MediaType": each.media_type, "Digest": each.digest, "Size": each.size} for each in manifest.layers
        ],
        "Config": {"Digest": manifest.config.digest, "Raw": config.decode()},
        "Manifest": {
            "MediaType": document.descriptor.media_type,
            "Digest": document.digest,
            "Raw": document.raw.decode(),
        },
        "Tag": tag,
        "OrigRef": "",
        "Labels": None,
    }


def imgpkg_tar(items: Sequence[Mapping[str, object]], layers: Sequence[bytes]) -> bytes:
    """An archive of `imgpkg copy --to-tar`."""
    files: dict[str, bytes | str] = {"manifest.json": json.dumps(items).encode()}
    files |= {f"sha256-{sha256(layer)}.tar.gz": layer for layer in layers}
    return tar(files)


def layout_files(
    entries: Sequence[Mapping[str, object]], blobs: Sequence[bytes], *, prefix: str = "", marker: bool = True
) -> dict[str, bytes | str]:
    """The files of a layout; `entries` are those of index.json."""
    files: dict[str, bytes | str] = {prefix + "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'} if marker else {}
    files[prefix + "index.json"] = json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode()
    files |= {f"{prefix}blobs/sha256/{sha256(blob)}": blob for blob in blobs}
    return files


def entry(document: Document, annotations: Mapping[str, str]) -> dict[str, object]:
    """An entry of index.json."""
    descriptor: Descriptor = document.descriptor
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
        "annotations": dict(annotations),
    }


def haul_entry(document: Document, name: str, kind: str) -> dict[str, object]:
    """An entry as `hauler store` writes it: signatures bear the name of their image, `kind` tells them apart."""
    return entry(
        document,
        {
            "kind": f"dev.hauler/{kind}",
            "org.opencontainers.image.ref.name": name.partition("/")[2],
            "io.containerd.image.name": name,
            "hauler.dev/original-ref": name,
        },
    )


def chunks(content: bytes, size: int) -> list[bytes]:
    """`content` in pieces."""
    stream = io.BytesIO(content)
    return list(iter(lambda: stream.read(size), b""))
