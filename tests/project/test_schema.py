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
        _dependency("{oci: acme/x, tags: v1}"),
    ],
)
def test_bad_manifests_are_bad_for_both(validator: Draft202012Validator, text: str) -> None:
    with pytest.raises(InvalidProject):
        Manifest.parse(text)
    assert list(validator.iter_errors(yaml.safe_load(text))) != []
