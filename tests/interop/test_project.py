"""One project against every registry and the embedded store: the same lock, the same trees, and the way back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from interop.programs import Program
from interop.projects import Project
from interop.registries import Registries
from interop.trees import tree, tree_digest
from support.command import succeed

pytestmark = pytest.mark.interop

VERSIONS = ("1.0.0", "1.4.2", "1.10.0", "2.0.0", "2.1.0-rc.1", "latest", "not-a-version")
PINNED = ("--annotation", "org.opencontainers.image.created=2020-01-01T00:00:00Z")
DEPENDENCIES = {
    "schemas": {"oci": "acme/schemas", "version": ">=1.0, <2", "exclude": ["**/*.bin"]},
    "tool": "acme/tools/tool:stable",
}


class Binding(NamedTuple):
    """The logical registry `acme`, bound to one place that holds the content."""

    name: str
    location: str

    @property
    def env(self) -> dict[str, str]:
        return {"PROVENDER_REGISTRY_ACME": self.location}


def publish(binding: Binding, sample: Path, oras: Program) -> None:
    """The same content in that place: versions by us, the tool by oras."""
    for version in VERSIONS:
        (sample / "version").write_text(version)
        reference = f"acme/schemas:{version}"
        succeed("push", reference, "version", "schemas", "--registry", f"acme={binding.location}", cwd=sample)
    (sample / "version").unlink()
    if binding.location.startswith("layout:"):
        store = binding.location.removeprefix("layout:")
        oras.run("push", "--oci-layout", *PINNED, f"{store}/tools/tool:stable", "config.json", "schemas", cwd=sample)
    else:
        target = f"{binding.location}/tools/tool:stable"
        oras.run("push", "--plain-http", *PINNED, target, "config.json", "schemas", cwd=sample)


@pytest.fixture
def bindings(registries: Registries, sample: Path, tmp_path: Path, oras: Program) -> list[Binding]:
    """The content in every registry that is here, and in the embedded store."""
    prefix = f"interop/projects/{tmp_path.name.replace('_', '-').lower().strip('-')}"
    made = [Binding(registry.kind, f"{registry.host}/{prefix}") for registry in registries.available()]
    made.append(Binding("layout", f"layout:{tmp_path / 'store'}"))
    for binding in made:
        publish(binding, sample, oras)
    return made


def make(directory: Path, binding: Binding) -> Project:
    return Project(directory, DEPENDENCIES, env=binding.env, registries={"acme": {}})


def test_every_place_gives_the_same_lock_and_the_same_trees(
    bindings: list[Binding], sample: Path, tmp_path: Path
) -> None:
    projects = {binding.name: make(tmp_path / f"project-{binding.name}", binding) for binding in bindings}
    for project in projects.values():
        project.succeed("lock")
        assert not (project.directory / "vendor").exists()
        before = project.lock_bytes
        project.succeed("sync", "--locked")
        assert project.lock_bytes == before
        assert project.run("check").status == 0
    first, *others = projects.values()
    assert first.locked("schemas")["tag"] == "1.10.0"
    for project in others:
        assert project.lock_bytes == first.lock_bytes
        assert tree(project.directory / "vendor") == tree(first.directory / "vendor")
    (sample / "version").write_text("1.10.0")
    expected = {name: leaf for name, leaf in tree(sample).items() if name == "version" or name.startswith("schemas/")}
    assert tree(first.vendor("schemas")) == {n: leaf for n, leaf in expected.items() if not n.endswith(".bin")}
    for name in DEPENDENCIES:
        assert first.locked(name)["tree"] == tree_digest(first.vendor(name))
    text = first.lock_bytes.decode()
    assert not any(word in text for word in ("127.0.0.1", "interop/", "layout:", str(tmp_path)))


def test_a_lock_of_one_place_is_synced_from_every_other(bindings: list[Binding], tmp_path: Path) -> None:
    first, *others = bindings
    origin = make(tmp_path / "origin", first)
    origin.succeed("sync")
    for number, binding in enumerate(others):
        project = make(tmp_path / f"project-{binding.name}", binding)
        (project.directory / "provender.lock").write_bytes(origin.lock_bytes)
        # A cache of its own: the bytes have to come from that place.
        project.env["XDG_CACHE_HOME"] = str(tmp_path / f"cache-{binding.name}")
        project.succeed("sync", "--frozen" if number % 2 else "--locked")
        assert tree(project.directory / "vendor") == tree(origin.directory / "vendor")
        assert project.lock_bytes == origin.lock_bytes
        assert json.loads(project.succeed("list", "--format", "json").stdout)


def test_an_edited_tree_is_found_protected_and_repaired(bindings: list[Binding], tmp_path: Path) -> None:
    for binding in bindings:
        project = make(tmp_path / f"project-{binding.name}", binding)
        project.succeed("sync")
        clean, lock = tree(project.directory / "vendor"), project.lock_bytes
        edited = project.vendor("schemas") / "schemas/pod.json"
        edited.write_text('{"kind":"Edited"}\n')
        found = project.run("check")
        assert (found.status, "pod.json" in found.stdout + found.stderr) == (1, True)
        assert project.run("sync").status != 0
        assert edited.read_text() == '{"kind":"Edited"}\n'
        project.succeed("sync", "--force")
        assert project.run("check").status == 0
        shutil.rmtree(project.directory / "vendor")
        assert project.run("check").status == 1
        project.succeed("sync", "--offline")
        assert (tree(project.directory / "vendor"), project.lock_bytes) == (clean, lock)


def test_a_new_version_enters_by_lock_alone(bindings: list[Binding], sample: Path, tmp_path: Path) -> None:
    locks = set()
    for binding in bindings:
        project = make(tmp_path / f"project-{binding.name}", binding)
        project.succeed("sync")
        (sample / "version").write_text("1.11.0")
        bound = ("--registry", f"acme={binding.location}")
        succeed("push", "acme/schemas:1.11.0", "version", "schemas", *bound, cwd=sample)
        project.succeed("sync")
        assert project.locked("schemas")["tag"] == "1.10.0"
        text = (project.directory / "provender.yaml").read_text()
        (project.directory / "provender.yaml").write_text(text.replace(">=1.0, <2", ">=1.10.1, <2"))
        before = project.lock_bytes
        assert project.run("sync", "--locked").status == 78
        assert project.lock_bytes == before
        project.succeed("sync")
        assert project.locked("schemas")["tag"] == "1.11.0"
        assert (project.vendor("schemas") / "version").read_text() == "1.11.0"
        locks.add(project.lock_bytes)
    assert len(locks) == 1


def test_dependencies_are_added_and_removed_by_command(bindings: list[Binding], tmp_path: Path) -> None:
    manifests = set()
    for binding in bindings:
        directory = tmp_path / f"project-{binding.name}"
        directory.mkdir()
        bound = {"cwd": directory, "env": binding.env}
        succeed("init", **bound)
        succeed("add", "acme/tools/tool:stable", **bound)
        assert (directory / "vendor/tool/config.json").is_file()
        manifests.add((directory / "provender.yaml").read_bytes())
        succeed("remove", "tool", **bound)
        assert not (directory / "vendor/tool").exists()
        assert json.loads((directory / "provender.lock").read_bytes())["dependencies"] == {}
    assert len(manifests) == 1
