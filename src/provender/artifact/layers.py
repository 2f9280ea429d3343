"""What becomes of each layer of an artifact: unpacked, written as one file, or left out. Artifact layer; pure.

The rules in the order in which they are asked (mode `auto`):

1. The empty descriptor without a title carries nothing: skip.
2. Annotation `io.deis.oras.content.unpack` is true: a directory packed by oras or by us; extract (the names in the
   archive start with the title already).
3. Helm provenance: skip. An archive type of a known producer (Flux, Helm), with or without title: extract.
4. An image config with exactly one gzipped image layer is how OPA bundles travel: a tar inside is extracted.
5. A title: the author's file name; copy. The media type does not matter, since oras gives every file a tar type.
6. Otherwise the content decides: a tar, compressed or not, is extracted; anything else is copied under a made-up name.

Mode `copy` takes the name from the title, or makes one up; `extract` takes every layer for an archive but those of 1
and Helm's provenance. A container image is refused unless its layers are selected by media type: its layers are a stack
with whiteouts, no tree of files. An image has an image config with `rootfs.diff_ids` and only image layers, none with a
title.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

from provender.artifact.names import split_path
from provender.errors import IntegrityError, InvalidDocument, NotFound, Unsupported
from provender.oci import Descriptor, Manifest
from provender.oci.annotations import UNPACK
from provender.oci.document import parse_json
from provender.oci.media_types import DOCKER_CONFIG, EMPTY, IMAGE_CONFIG, IMAGE_LAYER_TYPES, LAYER_TAR_GZIP

__all__ = ["Action", "Copy", "Extract", "Mode", "Planned", "Skip", "Sniff", "plan_layers"]

Mode = Literal["auto", "extract", "copy"]

_HELM_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
_HELM_CHARTS: Final = frozenset({"application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip"})
_HELM_PROVENANCE: Final = "application/vnd.cncf.helm.chart.provenance.v1.prov"
_FLUX_ARCHIVE: Final = re.compile(r"application/vnd\.cncf\.flux\.content\..*tar\+gzip")
_KYVERNO_POLICY: Final = "application/vnd.cncf.kyverno.policy.layer.v1+yaml"
_WASM_TYPES: Final = frozenset({"application/wasm", "application/vnd.wasm.content.layer.v1+wasm"})

# Endings of media types, and the file extension that they stand for.
_EXTENSIONS: Final = (
    (("tar+gzip", "tar.gzip", "tar.gz"), ".tar.gz"),
    (("tar+zstd", "tar.zstd"), ".tar.zst"),
    (("tar",), ".tar"),
    (("json",), ".json"),
    (("yaml", "x-yaml"), ".yaml"),
    (("xml",), ".xml"),
    (("toml",), ".toml"),
    (("wasm",), ".wasm"),
    (("zip",), ".zip"),
    (("gzip",), ".gz"),
    (("zstd",), ".zst"),
    (("rego",), ".rego"),
    (("markdown",), ".md"),
    (("plain",), ".txt"),
    (("html",), ".html"),
    (("prov",), ".prov"),
)


class Extract(msgspec.Struct, frozen=True):
    """Unpack the layer, a tar that may be compressed."""


class Copy(msgspec.Struct, frozen=True):
    """Write the layer as one file; `parts` are checked."""

    parts: tuple[str, ...]


class Sniff(msgspec.Struct, frozen=True):
    """Unpack the layer if its content is a tar, else write it as the file `parts`."""

    parts: tuple[str, ...]


class Skip(msgspec.Struct, frozen=True):
    """Leave the layer out."""

    reason: str


Action = Extract | Copy | Sniff | Skip


class Planned(msgspec.Struct, frozen=True):
    """One layer and what becomes of it. `origin` names it in messages, and is unique in its manifest."""

    layer: Descriptor
    action: Action
    origin: str


def plan_layers(
    manifest: Manifest,
    *,
    mode: Mode = "auto",
    media_types: Sequence[str] = (),
    repository: str = "",
    config: Callable[[], bytes],
) -> tuple[Planned, ...]:
    """What becomes of each selected layer, in the manifest's order.

    `media_types` are patterns (`*`, `?`, `[..]`) of which one has to match; none select all. `repository` names things
    that have no name; `config` gives the config's bytes, and is asked only where they decide. Raises NotFound (code
    `no-layer-matched`), Unsupported (code `container-image`), IntegrityError (a title that is no safe path).
    """
    chosen = [
        (number, layer)
        for number, layer in enumerate(manifest.layers, start=1)
        if not media_types or any(fnmatchcase(layer.media_type, pattern) for pattern in media_types)
    ]
    if media_types and not chosen:
        raise _nothing_matched(manifest, media_types)
    if not media_types and mode == "auto" and _is_container_image(manifest, config):
        raise Unsupported(
            "this is a container image: its layers are a stack of file systems, not a tree of files",
            code="container-image",
            hint="select layers by media type if you want their archives anyway, "
            f"such as {next(iter(manifest.layers)).media_type}",
        )
    names = _names([layer for _, layer in chosen], manifest, mode, repository, config)
    kind = _Kind(is_helm=_is_helm(manifest), is_bundle=_is_bundle(manifest))
    planned: list[Planned] = []
    for (number, layer), name in zip(chosen, names, strict=True):
        origin = _origin(number, layer)
        planned.append(Planned(layer, _decide(layer, kind, mode, name, origin), origin))
    return tuple(planned)


class _Kind(msgspec.Struct, frozen=True):
    """What the whole manifest says about each of its layers: looked up once, for it looks at all of them."""

    is_helm: bool
    is_bundle: bool


def _decide(layer: Descriptor, kind: _Kind, mode: Mode, name: str, origin: str) -> Action:
    if layer.media_type == EMPTY and layer.title is None:
        return Skip("the empty descriptor stands for no content")
    if mode == "copy":
        return Copy(split_path(name, where=origin))
    if layer.media_type == _HELM_PROVENANCE and kind.is_helm:
        return Skip("provenance of a chart is no part of it")
    if mode == "extract" or _is_packed(layer):
        return Extract()
    if _FLUX_ARCHIVE.fullmatch(layer.media_type) or (kind.is_helm and layer.media_type in _HELM_CHARTS):
        return Extract()
    parts = split_path(name, where=origin)
    if layer.title is not None and not kind.is_bundle:
        return Copy(parts)
    return Sniff(parts)


def _is_packed(layer: Descriptor) -> bool:
    return (layer.annotations or {}).get(UNPACK, "").lower() == "true"


def _is_helm(manifest: Manifest) -> bool:
    return _HELM_CONFIG in (manifest.effective_type, manifest.config.media_type if manifest.config else None) or any(
        layer.media_type.startswith("application/vnd.cncf.helm.chart.") for layer in manifest.layers
    )


def _is_bundle(manifest: Manifest) -> bool:
    """True for the shape of an OPA bundle (`opa`, `policy`)."""
    return (
        manifest.artifact_type is None
        and manifest.config is not None
        and manifest.config.media_type == IMAGE_CONFIG
        and [layer.media_type for layer in manifest.layers] == [LAYER_TAR_GZIP]
    )


def _is_container_image(manifest: Manifest, config: Callable[[], bytes]) -> bool:
    if (
        manifest.config is None
        or manifest.config.media_type not in (IMAGE_CONFIG, DOCKER_CONFIG)
        or not manifest.layers
    ):
        return False
    if not all(layer.media_type in IMAGE_LAYER_TYPES and layer.title is None for layer in manifest.layers):
        return False
    try:
        rootfs = parse_json(config(), "the image config").get("rootfs")
    except InvalidDocument:
        return False
    return isinstance(rootfs, dict) and bool(rootfs.get("diff_ids"))


def _names(
    layers: Sequence[Descriptor], manifest: Manifest, mode: Mode, repository: str, config: Callable[[], bytes]
) -> list[str]:
    """The file name of each layer: its title, else one made up, with part of the digest where two would be equal."""
    chart = _chart_name(config) if mode == "copy" and _needs_chart_name(layers, manifest) else None
    made_up = [None if layer.title is not None else _made_up(layer, repository, chart) for layer in layers]
    seen = Counter(name for name in made_up if name is not None)
    return [
        _titled(layer) if name is None else (name if seen[name] == 1 else _by_digest(layer))
        for layer, name in zip(layers, made_up, strict=True)
    ]


def _titled(layer: Descriptor) -> str:
    title = layer.title or ""
    # Written as one file, a packed directory is the archive that it travelled as.
    return f"{title if title.strip('./') else layer.digest.short}.tar.gz" if _is_packed(layer) else title


def _made_up(layer: Descriptor, repository: str, chart: str | None) -> str:
    if chart is not None and layer.media_type in _HELM_CHARTS:
        return f"{chart}.tgz"
    if chart is not None and layer.media_type == _HELM_PROVENANCE:
        return f"{chart}.tgz.prov"
    name = None
    if layer.media_type == _KYVERNO_POLICY:
        notes = layer.annotations or {}
        kind, policy = notes.get("io.kyverno.image.kind"), notes.get("io.kyverno.image.name")
        name = f"{kind}-{policy}.yaml" if kind and policy else None
    elif layer.media_type in _WASM_TYPES and repository:
        name = f"{repository.rpartition('/')[2]}.wasm"
    return name if name is not None and _is_file_name(name) else _by_digest(layer)


def _needs_chart_name(layers: Sequence[Descriptor], manifest: Manifest) -> bool:
    types = {layer.media_type for layer in layers if layer.title is None}
    return _is_helm(manifest) and not types.isdisjoint({*_HELM_CHARTS, _HELM_PROVENANCE})


def _chart_name(config: Callable[[], bytes]) -> str | None:
    try:
        fields = parse_json(config(), "the chart's config")
    except InvalidDocument:
        return None
    name, version = fields.get("name"), fields.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name or not version:
        return None
    return f"{name}-{version}" if _is_file_name(f"{name}-{version}.tgz") else None


def _is_file_name(name: str) -> bool:
    """True for text from annotations or a config that is one safe component."""
    try:
        return len(split_path(name, where="")) == 1 and "/" not in name
    except IntegrityError:
        return False


def _by_digest(layer: Descriptor) -> str:
    for endings, extension in _EXTENSIONS:
        if any(layer.media_type.endswith((f"/{ending}", f"+{ending}", f".{ending}")) for ending in endings):
            return layer.digest.short + extension
    return f"{layer.digest.short}.bin"


def _origin(number: int, layer: Descriptor) -> str:
    title = f" ({ascii(layer.title[:100])[1:-1]})" if layer.title else ""
    return f"layer {number} {layer.digest}{title}"


def _nothing_matched(manifest: Manifest, media_types: Sequence[str]) -> NotFound:
    there = ", ".join(dict.fromkeys(layer.media_type for layer in manifest.layers)) or "no layer at all"
    return NotFound(
        f"no layer has a media type that matches {' or '.join(media_types)}",
        code="no-layer-matched",
        hint=f"the artifact has {there[:400]}",
    )
