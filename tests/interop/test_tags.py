"""Tags and digests: what we list, resolve and set is what other clients list, resolve and set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interop.programs import Program
from interop.registries import Registry
from support.command import provender, succeed

pytestmark = pytest.mark.interop


def test_tags_and_digests_are_those_of_crane(repository: str, sample: Path, oras: Program, crane: Program) -> None:
    for tag, file in (("v1", "config.json"), ("v2", "schemas/pod.json")):
        oras.run("push", "--plain-http", f"{repository}:{tag}", file, cwd=sample)
    assert sorted(succeed("tags", repository).stdout.split()) == sorted(crane.run("ls", repository).split())
    for tag in ("v1", "v2"):
        digest = crane.run("digest", f"{repository}:{tag}")
        assert succeed("resolve", f"{repository}:{tag}").stdout == f"{digest}\n"
        document = succeed("resolve", f"{repository}@{digest}", "--format", "json").json
        assert (document["kind"], document["digest"]) == ("resolve", digest)
        assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        assert document["size"] == len(crane.attempt("manifest", f"{repository}:{tag}").stdout)


def test_all_of_many_tags_are_listed_once(repository: str, sample: Path, oras: Program, crane: Program) -> None:
    names = [f"1.{number}.0" for number in range(150)]
    oras.run("push", "--plain-http", f"{repository}:{names[0]}", "config.json", cwd=sample)
    oras.run("tag", "--plain-http", f"{repository}:{names[0]}", *names[1:])
    listed = succeed("tags", repository).stdout.split()
    assert len(listed) == 150
    assert sorted(listed) == sorted(names) == sorted(crane.run("ls", repository).split())


def test_a_tag_that_we_set_names_the_same_manifest(
    repository: str, sample: Path, oras: Program, crane: Program
) -> None:
    oras.run("push", "--plain-http", f"{repository}:v1", "config.json", cwd=sample)
    digest = crane.run("digest", f"{repository}:v1")
    succeed("tag", f"{repository}:v1", "stable", "latest")
    succeed("tag", f"{repository}@{digest}", "by-digest")
    for tag in ("stable", "latest", "by-digest"):
        assert crane.run("digest", f"{repository}:{tag}") == digest


def test_a_logical_registry_with_a_prefix_is_the_same_place(
    repository: str, registry: Registry, sample: Path, oras: Program, crane: Program
) -> None:
    oras.run("push", "--plain-http", f"{repository}:v1", "config.json", cwd=sample)
    digest = crane.run("digest", f"{repository}:v1")
    prefix, _, name = repository.rpartition("/")
    assert succeed("resolve", f"acme/{name}:v1", "--registry", f"acme={prefix}").stdout.strip() == digest
    assert succeed("resolve", f"acme/{name}:v1", env={"PROVENDER_REGISTRY_ACME": prefix}).stdout.strip() == digest


@pytest.mark.parametrize("missing", ["tag", "digest", "repository"])
def test_what_is_not_there_is_not_found(repository: str, sample: Path, oras: Program, missing: str) -> None:
    oras.run("push", "--plain-http", f"{repository}:v1", "config.json", cwd=sample)
    reference = {
        "tag": f"{repository}:v2",
        "digest": f"{repository}@sha256:{os.urandom(32).hex()}",
        "repository": f"{repository}-other:v1",
    }[missing]
    result = provender("resolve", reference, "--format", "json")
    assert (result.status, result.error["exit"], result.stdout) == (66, 66, "")
