"""One `provender.lock`, byte for byte, wherever the content is: a registry, its mirror, a proxy, a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from provender.oci import Descriptor, Document
from provender.storage.roots import StoreRoot
from provender.storage.verify import BytesReader
from support.command import Result, provender_forked
from support.mirrors import closed_port
from support.path_proxy import PathProxy
from support.registry import TestRegistry
from support.workspace import ARCHIVE, everything, layer, packed, publish

MANIFEST = """\
version: 1
registries:
  acme: {}
dependencies:
  rules: {oci: acme/team/rules, version: "^1.0"}
  schemas: acme/schemas:stable
"""
FILES = {"a/one.json": b'{"one": 1}\n' * 3000, "b.txt": b"two\n"}
PREFIX = "artifactory/api/docker/team-remote"


@pytest.fixture(scope="module")
def registry() -> Iterator[TestRegistry]:
    """The registry where everything was published."""
    with TestRegistry() as running:
        archive = layer(running, "team/rules", packed(FILES), media_type=ARCHIVE)
        publish(running, "team/rules", "1.2.0", layers=[archive])
        publish(running, "team/rules", "1.0.0", {"old.txt": b"old"})
        publish(running, "schemas", "stable", {"schema.json": b"{}", "README.md": b"read me\n"})
        yield running


class Project:
    """A project with its own cache and home, in a directory of its own."""

    def __init__(self, directory: Path, *, lock: bytes | None = None) -> None:
        self.directory = directory
        self.cache = directory.parent / f"{directory.name}-cache"
        directory.mkdir()
        (directory / "provender.yaml").write_text(MANIFEST)
        if lock is not None:
            (directory / "provender.lock").write_bytes(lock)

    def bind(self, text: str) -> None:
        """Make `text` the project's own `registries.yaml`."""
        (self.directory / ".provender").mkdir(exist_ok=True)
        (self.directory / ".provender" / "registries.yaml").write_text(f"version: 1\nregistries: {{acme: {text}}}\n")

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        return provender_forked(
            *arguments, cwd=self.directory, env={"PROVENDER_CACHE_DIR": str(self.cache), **(env or {})}
        )

    def sync(self, *arguments: str) -> None:
        result = self.run("sync", *arguments)
        assert result.status == 0, result.stderr

    @property
    def lock(self) -> bytes:
        return (self.directory / "provender.lock").read_bytes()

    @property
    def tree(self) -> dict[str, tuple[str, int, bytes]]:
        return everything(self.directory / "vendor")


@pytest.fixture(scope="module")
def original(registry: TestRegistry, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project that was locked and synced against the registry itself."""
    project = Project(tmp_path_factory.mktemp("original") / "project")
    project.bind(f"{{location: '{registry.host}'}}")
    project.sync()
    return project


def copy_to_store(registry: TestRegistry, store: Path) -> None:
    """Fill a store of layouts with everything that the registry has."""
    for name in ("team/rules", "schemas"):
        layout = StoreRoot(store).repository(name, create=True)
        content = registry.content.repository(name)
        for raw in content.blobs.values():
            layout.push(Descriptor.of(raw, "application/octet-stream"), BytesReader(raw))
        for digest, (media_type, raw) in content.manifests.items():
            tags = [tag for tag, found in content.tag_digests.items() if found == digest]
            layout.push_document(Document.read(raw, media_type=media_type), tags)


@contextmanager
def the_registry(registry: TestRegistry, _root: Path) -> Iterator[str]:
    yield f"{{location: '{registry.host}'}}"


@contextmanager
def a_mirror(registry: TestRegistry, _root: Path) -> Iterator[str]:
    with closed_port() as nobody:
        yield f"{{location: '{nobody}', mirrors: [{{location: '{registry.host}'}}]}}"


@contextmanager
def a_mirror_alone(registry: TestRegistry, _root: Path) -> Iterator[str]:
    yield f"{{location: unreachable.example, fallback: none, mirrors: [{{location: '{registry.host}'}}]}}"


@contextmanager
def a_proxy(registry: TestRegistry, _root: Path) -> Iterator[str]:
    with PathProxy(registry, PREFIX) as proxy:
        yield f"{{location: '{proxy.location}'}}"
        assert proxy.requests
        assert all(request.path.startswith(f"/v2/{PREFIX}/") for request in proxy.requests)


@contextmanager
def a_proxy_as_mirror(registry: TestRegistry, _root: Path) -> Iterator[str]:
    with closed_port() as nobody, PathProxy(registry, PREFIX) as proxy:
        yield f"{{location: '{nobody}/elsewhere', mirrors: [{{location: '{proxy.location}'}}]}}"


@contextmanager
def a_store(registry: TestRegistry, root: Path) -> Iterator[str]:
    copy_to_store(registry, root / "store")
    before = len(registry.requests)
    yield f"{{location: 'layout:{root / 'store'}'}}"
    assert len(registry.requests) == before, "a store needs no registry"


_Place = Callable[[TestRegistry, Path], AbstractContextManager[str]]
PLACES: list[_Place] = [the_registry, a_mirror, a_mirror_alone, a_proxy, a_proxy_as_mirror, a_store]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("option", ["--locked", "--frozen"])
def test_the_same_lock_syncs_unchanged(
    registry: TestRegistry, original: Project, tmp_path: Path, place: _Place, option: str
) -> None:
    with place(registry, tmp_path) as binding:
        project = Project(tmp_path / "project", lock=original.lock)
        project.bind(binding)
        project.sync(option)
        assert project.run("check").status == 0
    assert project.lock == original.lock
    assert project.tree == original.tree
    assert project.tree["rules/a/one.json"][2] == FILES["a/one.json"]


@pytest.mark.parametrize("place", [the_registry, a_proxy, a_store], ids=lambda place: place.__name__)
def test_the_same_lock_is_made_anew(registry: TestRegistry, original: Project, tmp_path: Path, place: _Place) -> None:
    with place(registry, tmp_path) as binding:
        project = Project(tmp_path / "project")
        project.bind(binding)
        project.sync()
    assert project.lock == original.lock
    assert project.tree == original.tree


def test_moving_the_alias_leaves_a_synced_project_alone(
    registry: TestRegistry, original: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", lock=original.lock)
    project.bind(f"{{location: '{registry.host}'}}")
    project.sync("--locked")
    before = len(registry.requests)
    with closed_port() as nobody:
        project.bind(f"{{location: '{nobody}'}}")
        project.sync("--locked")
    assert len(registry.requests) == before
    assert project.lock == original.lock


def test_the_lock_holds_no_host(registry: TestRegistry, original: Project) -> None:
    port = registry.host.rpartition(":")[2].encode()
    assert b"127.0.0.1" not in original.lock
    assert port not in original.lock


def test_other_content_behind_the_same_names_is_refused(
    registry: TestRegistry, original: Project, tmp_path: Path
) -> None:
    with TestRegistry() as other:
        publish(other, "team/rules", "1.2.0", {"evil.txt": b"evil"})
        publish(other, "schemas", "stable", {"evil.txt": b"evil"})
        project = Project(tmp_path / "project", lock=original.lock)
        project.bind(f"{{location: '{other.host}'}}")
        result = project.run("sync", "--locked")
        assert result.status == 66, result.stderr
    assert not (project.directory / "vendor").exists()
