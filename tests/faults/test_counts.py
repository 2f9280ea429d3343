"""What a pull and a sync ask for, counted: nothing is asked for twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.artifact.pull import pull
from provender.artifact.unpack import UnpackOptions
from provender.oci import Descriptor
from provender.storage.cache import BlobCache
from provender.storage.cached_source import CachedSource
from support.command import provender_forked
from support.registry import TestRegistry
from support.registry_client import Connector
from support.workspace import Workspace, publish

FILES = {f"file-{number}": b"content %d" % number for number in range(12)}


@pytest.fixture
def workspace(registry: TestRegistry, tmp_path: Path) -> Workspace:
    directory = tmp_path / "project"
    directory.mkdir()
    return Workspace(directory, registry, tmp_path / "cache")


def asked(registry: TestRegistry) -> list[str]:
    """The requests so far as method and kind, sorted, and forgotten."""
    kinds = ("manifests", "blobs", "tags", "referrers", "token")
    found = sorted(
        f"{item.method} {next((kind for kind in kinds if f'/{kind}' in item.path), item.path)}"
        for item in registry.requests
    )
    registry.requests.clear()
    return found


def test_a_pull_of_n_layers_costs_one_manifest_and_n_blobs_and_one_token(connect: Connector, tmp_path: Path) -> None:
    with TestRegistry(auth="token") as registry:
        publish(registry, "acme/app", "1.0", FILES)
        repository = connect(registry, connect.user(registry)).repository("acme/app")
        pull(repository, "1.0", str(tmp_path / "out"), options=UnpackOptions(jobs=8))
        # The first request of all is the one that learns where tokens come from.
        assert asked(registry) == [*["GET blobs"] * 12, *["GET manifests"] * 2, "GET token"]


def test_a_second_pull_with_a_warm_cache_costs_one_manifest(
    registry: TestRegistry, connect: Connector, cache: BlobCache, tmp_path: Path
) -> None:
    publish(registry, "acme/app", "1.0", FILES)
    for number, expected in enumerate([[*["GET blobs"] * 12, "GET manifests"], ["GET manifests"]]):
        source = CachedSource(connect(registry).repository("acme/app"), cache)
        pull(source, "1.0", str(tmp_path / str(number)))
        assert asked(registry) == expected


def test_a_pull_by_digest_with_a_warm_cache_costs_nothing(
    registry: TestRegistry, connect: Connector, cache: BlobCache, tmp_path: Path
) -> None:
    digest = publish(registry, "acme/app", "1.0", FILES)
    for number in (1, 2):
        pull(CachedSource(connect(registry).repository("acme/app"), cache), digest, str(tmp_path / str(number)))
        assert len(asked(registry)) == (13 if number == 1 else 0)


def test_a_large_blob_is_read_from_the_cache_and_not_put_there(
    registry: TestRegistry, connect: Connector, cache: BlobCache
) -> None:
    registry.push_blob("acme/app", b"0123456789")
    blob = Descriptor.of(b"0123456789", "application/x")
    source = CachedSource(connect(registry).repository("acme/app"), cache, largest_bytes=9)
    for _ in range(2):
        with source.fetch(blob) as reader:
            assert reader.read() + reader.read() == b"0123456789"
    assert asked(registry) == ["GET blobs"] * 2
    assert not cache.exists(blob)


def test_the_command_pull_uses_the_cache_unless_told_not_to(registry: TestRegistry, tmp_path: Path) -> None:
    publish(registry, "acme/app", "1.0", FILES)
    env = {"PROVENDER_CACHE_DIR": str(tmp_path / "cache")}
    whole = [*["GET blobs"] * 12, "GET manifests"]
    for flags, expected in (((), whole), ((), ["GET manifests"]), (("--no-cache",), whole)):
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        result = provender_forked("pull", f"{registry.host}/acme/app:1.0", "-o", out, *flags, env=env)
        assert result.status == 0, result.stderr
        assert {path.name: path.read_bytes() for path in out.iterdir()} == FILES
        assert asked(registry) == expected


def test_sync_asks_for_each_thing_once_and_then_for_nothing(workspace: Workspace, registry: TestRegistry) -> None:
    publish(registry, "acme/app", "1.0.0", FILES)
    workspace.depend(app="acme/app:1.0.0")
    workspace.succeed("sync")
    assert asked(registry) == [*["GET blobs"] * 12, "GET manifests"]
    workspace.succeed("sync")
    assert asked(registry) == []


def test_sync_of_a_fresh_checkout_with_lock_and_warm_cache_asks_for_nothing(
    workspace: Workspace, registry: TestRegistry, tmp_path: Path
) -> None:
    publish(registry, "acme/app", "1.0.0", FILES)
    workspace.depend(app="acme/app:1.0.0")
    workspace.succeed("sync")
    registry.requests.clear()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for name in ("provender.yaml", "provender.lock"):
        (fresh / name).write_bytes((workspace.directory / name).read_bytes())
    other = Workspace(fresh, registry, workspace.cache)
    other.succeed("sync")
    assert asked(registry) == []
    assert other.look() == workspace.look()
