"""The JSON Schema says about example manifests what the reader says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from provender.errors import InvalidProject
from provender.project.manifest import Manifest
from provender.project.schema import manifest_schema, manifest_schema_text

_DIGEST = "sha256:" + "0" * 64
_SHIPPED = Path(__file__).parents[2] / "schema" / "provender.schema.json"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = manifest_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    assert _SHIPPED.read_text(encoding="utf-8") == manifest_schema_text()
    assert json.loads(manifest_schema_text()) == manifest_schema()


def test_every_key_is_described() -> None:
    schema = manifest_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    for shape in (schema, *definitions.values()):
        assert shape["description"]
        for key, field in shape["properties"].items():
            assert field.get("description"), key


def _dependency(text: str) -> str:
    return f"version: 1\ndependencies:\n  a: {text}\n"


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\n",
        "version: 1\nx-own: {any: thing}\nregistries:\ndependencies:\n",
        "version: 1\nregistries: {a: {}, b: , c: {location: ghcr.io/x, x-note: 1}, d: {location: 'layout:./s'}}\n",
        _dependency("acme/x:1.0"),
        _dependency(f"ghcr.io:443/x/y@{_DIGEST}"),
        _dependency(f"oci://ghcr.io/x/y:v1@{_DIGEST}"),
        _dependency("layout:store:v1"),
        _dependency("{oci: acme/x}"),
        _dependency("{oci: acme/x, version: '>=1, <2', x-note: [1]}"),
        _dependency(f"{{oci: 'localhost:5000/x', tag: v1, digest: '{_DIGEST}'}}"),
        _dependency("{image: docker.io/library/busybox, tag: '1', platform: linux/amd64, root: bin}"),
        _dependency("{git: 'https://example.com/x.git', version: ^1, root: a, submodules: true, lfs: true}"),
        _dependency("{git: 'git@example.com:a/x.git', branch: main, include: ['*.md']}"),
        _dependency("{git: 'file:///srv/x.git', commit: '" + "a" * 40 + "'}"),
        _dependency("{http: 'https://example.com/x.tgz', sha256: '" + "0" * 64 + "', mode: copy, keep: [x]}"),
        _dependency("{githubRelease: a/b, version: ^1, assets: ['*.zip'], checksums: {x: '" + "0" * 64 + "'}}"),
        _dependency("{githubRelease: a/b, api: 'https://ghe.example.com/api/v3'}"),
        _dependency("{helmChart: podinfo, repository: 'https://example.com/charts', version: 6.x}"),
        _dependency("{helmChart: podinfo, repository: 'oci://localhost:5000/charts'}"),
        _dependency("{helmChart: podinfo, repository: acme/charts}"),
        _dependency("{directory: ../shared, exclude: ['*.bak']}"),
        _dependency("{inline: {a/b.txt: x}, x-note: 1}"),
        _dependency("{manual: true, to: vendor/mine}"),
        _dependency("{oci: acme/x, to: a/b, artifactType: a/b+c, platform: linux/arm/v7, root: x/y}"),
        _dependency("{oci: acme/x, layers: {mediaTypes: ['a/*'], mode: copy}, include: [a], exclude: [], keep: ['*']}"),
    ],
)
def test_good_manifests_are_good_for_both(validator: Draft202012Validator, text: str) -> None:
    Manifest.parse(text)
    assert list(validator.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "{}\n",
        "[]\n",
        "version: 2\n",
        "version: '1'\n",
        "version: 1\ndependencis: {}\n",
        "version: 1\nregistries: {a: {url: x}}\n",
        "version: 1\nregistries: {A: {}}\n",
        "version: 1\nregistries: {localhost: {}}\n",
        "version: 1\nregistries: {a: x}\n",
        "version: 1\ndependencies: []\n",
        "version: 1\ndependencies: {a/b: acme/x:1}\n",
        _dependency("1"),
        _dependency("null"),
        _dependency("nginx:1"),
        _dependency("acme/x"),
        _dependency("{}"),
        _dependency("{tag: v1}"),
        _dependency("{oci: 'acme/x:1'}"),
        _dependency("{oci: nginx}"),
        _dependency("{oci: acme/x, version: ^1, tag: v1}"),
        _dependency("{oci: acme/x, version: 1.2}"),
        _dependency("{oci: acme/x, version: }"),
        _dependency("{oci: acme/x, tag: a+b}"),
        _dependency("{oci: acme/x, digest: 'sha256:12'}"),
        _dependency("{oci: acme/x, to: /abs}"),
        _dependency("{oci: acme/x, to: ../x}"),
        _dependency("{oci: acme/x, to: a/../../x}"),
        _dependency("{oci: acme/x, artifactType: flux}"),
        _dependency("{oci: acme/x, platform: linux}"),
        _dependency("{oci: acme/x, layers: {mode: extrac}}"),
        _dependency("{oci: acme/x, layers: {mediaTypes: []}}"),
        _dependency("{oci: acme/x, include: []}"),
        _dependency("{oci: acme/x, include: ['!x']}"),
        _dependency("{oci: acme/x, include: ['']}"),
        _dependency("{oci: acme/x, exclude: /x}"),
        _dependency("{oci: acme/x, verify: {}}"),
        _dependency("{oci: acme/x, git: 'https://example.com/x'}"),
        _dependency("{hg: 'https://example.com/x'}"),
        _dependency("{git: /srv/x}"),
        _dependency("{git: 'ext::sh -c id'}"),
        _dependency("{git: 'https://example.com/x', tag: v1, branch: main}"),
        _dependency("{git: 'https://example.com/x', commit: abc}"),
        _dependency("{http: ftp://example.com/x}"),
        _dependency("{http: 'https://example.com/x', sha256: '1'}"),
        _dependency("{http: 'https://example.com/x', mode: unpack}"),
        _dependency("{githubRelease: a, tag: v1}"),
        _dependency("{githubRelease: a/b, assets: []}"),
        _dependency("{helmChart: podinfo}"),
        _dependency("{helmChart: a/b, repository: 'https://example.com'}"),
        _dependency("{helmChart: podinfo, repository: example.com}"),
        _dependency("{directory: /etc}"),
        _dependency("{inline: {}}"),
        _dependency("{inline: {/etc/x: y}}"),
        _dependency("{manual: false}"),
        _dependency("{manual: true, root: x}"),
        _dependency("{oci: acme/x, tags: v1}"),
    ],
)
def test_bad_manifests_are_bad_for_both(validator: Draft202012Validator, text: str) -> None:
    with pytest.raises(InvalidProject):
        Manifest.parse(text)
    assert list(validator.iter_errors(yaml.safe_load(text))) != []
