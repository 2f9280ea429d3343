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

# Each version that is content of its own, with the other tags of that content.
VERSIONS = {"1.0.0": ("1.4.2", "not-a-version"), "1.10.0": (), "2.0.0": ("2.1.0-rc.1", "latest")}
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
    for version, tags in VERSIONS.items():
        push_version(binding, sample, "schemas", version, *tags)
    if binding.location.startswith("layout:"):
        store = binding.location.removeprefix("layout:")
        oras.run("push", "--oci-layout", *PINNED, f"{store}/tools/tool:stable", "config.json", "schemas", cwd=sample)
    else:
        target = f"{binding.location}/tools/tool:stable"
        oras.run("push", "--plain-http", *PINNED, target, "config.json", "schemas", cwd=sample)


def push_version(binding: Binding, sample: Path, repository: str, version: str, *tags: str) -> None:
    """Push content that says its version."""
    (sample / "version").write_text(version)
    further = [word for tag in tags for word in ("--tag", tag)]
    bound = ("--registry", f"acme={binding.location}")
    succeed("push", f"acme/{repository}:{version}", "version", "schemas", *further, *bound, cwd=sample)
    (sample / "version").unlink()


@pytest.fixture(scope="module")
def published() -> list[Binding]:
    """What `bindings` filled for the first test that asked; the others only read."""
    return []


@pytest.fixture
def bindings(
    published: list[Binding],
    registries: Registries,
    sample: Path,
    tmp_path_factory: pytest.TempPathFactory,
    oras: Program,
) -> list[Binding]:
    """The content in every registry that is here, and last in the embedded store."""
    if not published:
        made = [Binding(registry.kind, f"{registry.host}/interop/projects") for registry in registries.available()]
        made.append(Binding("layout", f"layout:{tmp_path_factory.mktemp('store')}"))
        for binding in made:
            publish(binding, sample, oras)
        published.extend(made)
    return published


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
        assert project.run("sync").status == 1
        assert edited.read_text() == '{"kind":"Edited"}\n'
        project.succeed("sync", "--force")
        assert (tree(project.directory / "vendor"), project.lock_bytes) == (clean, lock)
        assert project.run("check").status == 0


def test_deleted_trees_come_back_without_a_network(bindings: list[Binding], tmp_path: Path) -> None:
    project = make(tmp_path / "project", bindings[0])
    project.succeed("sync")
    clean, lock = tree(project.directory / "vendor"), project.lock_bytes
    shutil.rmtree(project.directory / "vendor")
    assert project.run("check").status == 1
    project.env["PROVENDER_REGISTRY_ACME"] = "127.0.0.1:1"  # nothing answers there
    project.succeed("sync", "--offline")
    assert (tree(project.directory / "vendor"), project.lock_bytes) == (clean, lock)


def test_a_new_version_waits_until_the_manifest_asks_for_it(
    bindings: list[Binding], sample: Path, tmp_path: Path
) -> None:
    locks = set()
    for binding in (bindings[0], bindings[-1]):
        push_version(binding, sample, "growing", "1.0.0")
        growing = {"growing": {"oci": "acme/growing", "version": ">=1.0, <2"}}
        directory = tmp_path / f"project-{binding.name}"
        project = Project(directory, growing, env=binding.env, registries={"acme": {}})
        project.succeed("sync")
        push_version(binding, sample, "growing", "1.1.0")
        project.succeed("sync")
        assert project.locked("growing")["tag"] == "1.0.0"
        manifest = directory / "provender.yaml"
        manifest.write_text(manifest.read_text().replace(">=1.0, <2", ">=1.1, <2"))
        before = project.lock_bytes
        assert project.run("sync", "--locked").status == 78
        assert project.lock_bytes == before
        project.succeed("sync")
        assert project.locked("growing")["tag"] == "1.1.0"
        assert (project.vendor("growing") / "version").read_text() == "1.1.0"
        locks.add(project.lock_bytes)
    assert len(locks) == 1


def test_dependencies_are_added_and_removed_by_command(bindings: list[Binding], tmp_path: Path) -> None:
    manifests = set()
    for binding in (bindings[0], bindings[-1]):
        directory = tmp_path / f"project-{binding.name}"
        directory.mkdir()
        succeed("init", cwd=directory)
        succeed("add", "acme/tools/tool:stable", cwd=directory, env=binding.env)
        assert (directory / "vendor/tool/config.json").is_file()
        manifests.add((directory / "provender.yaml").read_bytes())
        succeed("remove", "tool", cwd=directory, env=binding.env)
        assert not (directory / "vendor/tool").exists()
        assert json.loads((directory / "provender.lock").read_bytes())["dependencies"] == {}
    assert len(manifests) == 1
