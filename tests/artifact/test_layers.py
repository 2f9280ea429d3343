"""What becomes of each layer, by producer and by rule."""

from __future__ import annotations

import pytest

from provender.artifact.layers import Action, Copy, Extract, Mode, Skip, Sniff, plan_layers
from provender.errors import IntegrityError, NotFound, Unsupported
from provender.oci import EMPTY_DESCRIPTOR, Descriptor, Manifest
from provender.oci.annotations import TITLE, UNPACK
from provender.oci.media_types import DOCKER_CONFIG, IMAGE_CONFIG, LAYER_TAR, LAYER_TAR_GZIP

FLUX = "application/vnd.cncf.flux.content.v1.tar+gzip"
HELM = "application/vnd.cncf.helm.config.v1+json"
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
KYVERNO = "application/vnd.cncf.kyverno.policy.layer.v1+yaml"


def layer(media_type: str, title: str | None = None, content: bytes = b"x", **annotations: str) -> Descriptor:
    notes = {key.replace("__", "."): value for key, value in annotations.items()}
    return Descriptor.of(content, media_type, annotations={**notes, **({TITLE: title} if title is not None else {})})


def planned(
    *layers: Descriptor,
    config_type: str = "application/vnd.oci.empty.v1+json",
    config: bytes = b"{}",
    mode: Mode = "auto",
    media_types: tuple[str, ...] = (),
    repository: str = "acme/tools/thing",
) -> list[Action]:
    manifest = Manifest(config=Descriptor.of(config, config_type), layers=layers)
    plan = plan_layers(manifest, mode=mode, media_types=media_types, repository=repository, config=lambda: config)
    return [item.action for item in plan]


def test_a_packed_directory_is_extracted() -> None:
    assert planned(layer(LAYER_TAR_GZIP, "d", io__deis__oras__content__unpack="true")) == [Extract()]
    assert planned(layer(LAYER_TAR_GZIP, "d", io__deis__oras__content__unpack="True")) == [Extract()]
    assert planned(layer(LAYER_TAR_GZIP, "d", io__deis__oras__content__unpack="false")) == [Copy(("d",))]


@pytest.mark.parametrize("media_type", [LAYER_TAR, LAYER_TAR_GZIP, "text/plain", "application/zip"])
def test_a_titled_file_is_copied_whatever_its_type(media_type: str) -> None:
    assert planned(layer(media_type, "docs/a.txt")) == [Copy(("docs", "a.txt"))]


def test_flux_content_is_extracted_with_and_without_title() -> None:
    assert planned(layer(FLUX), config_type="application/vnd.cncf.flux.config.v1+json") == [Extract()]
    assert planned(layer(FLUX, "artifact.tgz")) == [Extract()]


def test_static_flux_content_without_title_is_looked_into() -> None:
    (action,) = planned(layer("application/vnd.cncf.flux.content.v1.yaml"))
    assert isinstance(action, Sniff)


def test_a_chart_is_extracted_and_its_provenance_left_out_in_any_order() -> None:
    actions = planned(layer(PROVENANCE, content=b"p"), layer(CHART), config_type=HELM)
    assert isinstance(actions[0], Skip)
    assert actions[1] == Extract()
    assert planned(layer("application/tar+gzip"), config_type=HELM) == [Extract()]


def test_a_copied_chart_is_named_by_its_config() -> None:
    config = b'{"name":"web","version":"1.2.3+4"}'
    actions = planned(layer(CHART), layer(PROVENANCE, content=b"p"), config_type=HELM, config=config, mode="copy")
    assert actions == [Copy(("web-1.2.3+4.tgz",)), Copy(("web-1.2.3+4.tgz.prov",))]


@pytest.mark.parametrize("config", [b"{}", b"no json", b'{"name":"../../x","version":"1"}', b'{"name":1,"version":2}'])
def test_a_chart_with_a_useless_config_is_named_by_its_digest(config: bytes) -> None:
    chart = layer(CHART)
    assert planned(chart, config_type=HELM, config=config, mode="copy") == [Copy((f"{chart.digest.short}.tar.gz",))]


def test_wasm_takes_the_last_part_of_the_repository() -> None:
    assert planned(layer("application/wasm")) == [Sniff(("thing.wasm",))]


def test_two_layers_never_share_a_made_up_name() -> None:
    one, two = layer("application/wasm", content=b"1"), layer("application/wasm", content=b"2")
    assert planned(one, two) == [Sniff((f"{one.digest.short}.wasm",)), Sniff((f"{two.digest.short}.wasm",))]


def test_kyverno_policies_are_named_by_kind_and_name() -> None:
    policy = layer(KYVERNO, io__kyverno__image__kind="ClusterPolicy", io__kyverno__image__name="no-latest")
    assert planned(policy) == [Sniff(("ClusterPolicy-no-latest.yaml",))]
    hostile = layer(KYVERNO, io__kyverno__image__kind="..", io__kyverno__image__name="/../../x")
    assert planned(hostile) == [Sniff((f"{hostile.digest.short}.yaml",))]


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [
        ("application/json", ".json"),
        ("application/vnd.acme.v1+json", ".json"),
        ("text/plain", ".txt"),
        ("application/vnd.acme.tar+zstd", ".tar.zst"),
        ("application/octet-stream", ".bin"),
        ("application/vnd.acme.notjson", ".bin"),
    ],
)
def test_an_unnamed_layer_is_named_by_digest_and_type(media_type: str, extension: str) -> None:
    blob = layer(media_type)
    assert planned(blob) == [Sniff((blob.digest.short + extension,))]
    assert planned(blob, mode="copy") == [Copy((blob.digest.short + extension,))]


@pytest.mark.parametrize("mode", ["auto", "extract", "copy"])
def test_the_empty_descriptor_is_left_out(mode: Mode) -> None:
    (action,) = planned(EMPTY_DESCRIPTOR, mode=mode)
    assert isinstance(action, Skip)


def test_mode_extract_takes_titled_layers_for_archives() -> None:
    assert planned(layer("application/x", "a.tgz"), layer(LAYER_TAR), mode="extract") == [Extract(), Extract()]


def test_mode_copy_keeps_a_packed_directory_as_its_archive() -> None:
    assert planned(layer(LAYER_TAR_GZIP, "a/d", **{UNPACK.replace(".", "__"): "true"}), mode="copy") == [
        Copy(("a", "d.tar.gz"))
    ]


@pytest.mark.parametrize("mode", ["auto", "copy"])
@pytest.mark.parametrize("title", ["../x", "/etc/passwd", "a/../../b", "", "a\\b", "con"])
def test_a_title_that_is_no_safe_path_is_refused(title: str, mode: Mode) -> None:
    with pytest.raises(IntegrityError) as caught:
        planned(layer("text/plain", title), mode=mode)
    assert caught.value.code == "bad-name"
    assert caught.value.where is not None
    assert "layer 1" in caught.value.where


IMAGE = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:00"]}}'


@pytest.mark.parametrize("config_type", [IMAGE_CONFIG, DOCKER_CONFIG])
@pytest.mark.parametrize("count", [1, 2])
def test_a_container_image_is_refused(config_type: str, count: int) -> None:
    layers = [layer(LAYER_TAR_GZIP, content=bytes([number])) for number in range(count)]
    with pytest.raises(Unsupported) as caught:
        planned(*layers, config_type=config_type, config=IMAGE)
    assert caught.value.code == "container-image"


def test_a_container_image_is_taken_when_its_layers_are_named() -> None:
    actions = planned(layer(LAYER_TAR_GZIP), config_type=IMAGE_CONFIG, config=IMAGE, media_types=(LAYER_TAR_GZIP,))
    assert isinstance(actions[0], Sniff)


@pytest.mark.parametrize("title", [None, "bundle.tar.gz"])
@pytest.mark.parametrize("config", [b"{}", b"", b'{"architecture":"amd64"}'])
def test_an_opa_bundle_is_looked_into(title: str | None, config: bytes) -> None:
    (action,) = planned(layer(LAYER_TAR_GZIP, title), config_type=IMAGE_CONFIG, config=config)
    assert isinstance(action, Sniff)


def test_files_of_an_oras_push_are_no_container_image_even_with_an_image_config() -> None:
    actions = planned(layer(LAYER_TAR, "a"), layer(LAYER_TAR, "b"), config_type=IMAGE_CONFIG, config=IMAGE)
    assert actions == [Copy(("a",)), Copy(("b",))]


def test_layers_are_selected_by_patterns_over_media_types() -> None:
    layers = (layer("application/vnd.a.v1+json"), layer("application/vnd.b.v1+json"), layer("text/plain"))
    manifest = Manifest(layers=layers)
    plan = plan_layers(manifest, media_types=("*/vnd.?.v1*", "nothing"), config=lambda: b"")
    assert [item.layer for item in plan] == list(layers[:2])


def test_a_selection_that_matches_nothing_lists_what_there_is() -> None:
    with pytest.raises(NotFound) as caught:
        planned(layer("text/plain"), layer("application/json"), media_types=("application/wasm",))
    assert caught.value.code == "no-layer-matched"
    assert caught.value.hint is not None
    assert "text/plain, application/json" in caught.value.hint
