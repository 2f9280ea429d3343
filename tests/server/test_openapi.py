"""The OpenAPI description of the registry API says what the application answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from provender.server.app import METHODS
from provender.server.replies import Problem
from provender.server.routes import route

DESCRIPTION = Path(__file__).resolve().parents[2] / "schema" / "registry.openapi.yaml"
VALUES = {
    "name": "a/b",
    "digest": "sha256:" + "0" * 64,
    "tagOrDigest": "v1",
    "session": "0" * 32,
}


@pytest.fixture(scope="module")
def description() -> Any:
    return yaml.safe_load(DESCRIPTION.read_text())


def operations(description: Any) -> Iterator[tuple[str, str]]:
    for path, item in description["paths"].items():
        concrete = re.sub(r"\{(\w+)\}", lambda match: VALUES[match[1]], path)
        for method in item:
            if method != "parameters":
                yield route(concrete).kind, method.upper()


def test_every_method_of_every_endpoint_is_described_and_no_other(description: Any) -> None:
    described = set(operations(description))
    answered = {(kind, method) for kind, methods in METHODS.items() for method in methods}
    # HEAD is GET without its body, described only where clients make use of it.
    heads = {(kind, "HEAD") for kind in METHODS} - described
    assert described == answered - heads


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(target := value.get("$ref"), str):
            yield target
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_of_the_description_leads_somewhere(description: Any) -> None:
    for target in set(references(description)):
        found: Any = description
        for part in target.removeprefix("#/").split("/"):
            found = found[part]
        assert found is not None


def test_the_patterns_are_those_of_the_specification(description: Any) -> None:
    schemas = description["components"]["schemas"]
    for name in ("a", "a/b-c", "a__b", "a--b/c.d"):
        assert re.search(schemas["Name"]["pattern"], name)
        assert route(f"/v2/{name}/tags/list").name == name
    for name in ("A", "a//b", "a_-b", "-a", "a/", ".a"):
        assert not re.search(schemas["Name"]["pattern"], name)
        with pytest.raises(Problem):
            route(f"/v2/{name}/tags/list")
