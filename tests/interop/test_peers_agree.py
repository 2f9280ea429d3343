"""The ground that the other tests stand on: each registry keeps what one peer pushes, and all peers agree about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.programs import Program
from interop.registries import Registry
from interop.trees import tree

pytestmark = pytest.mark.interop


def test_what_oras_pushed_has_one_digest_for_every_peer(
    repository: str, registry: Registry, sample: Path, tmp_path: Path, oras: Program, crane: Program, regctl: Program
) -> None:
    oras.run("push", "--plain-http", f"{repository}:v1", "config.json:application/json", "schemas", cwd=sample)
    described = json.loads(oras.run("manifest", "fetch", "--plain-http", "--descriptor", f"{repository}:v1"))
    assert crane.run("digest", f"{repository}:v1") == described["digest"]
    head = regctl.run("--host", f"reg={registry.host},tls=disabled", "manifest", "head", f"{repository}:v1")
    assert head == described["digest"]
    oras.run("pull", "--plain-http", f"{repository}:v1", "-o", tmp_path / "out")
    pulled, pushed = tree(tmp_path / "out"), tree(sample)
    assert pulled == {name: leaf for name, leaf in pushed.items() if name != "empty"}
