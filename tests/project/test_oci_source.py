"""The source `oci`: a tag becomes a digest once, content comes verified, from the cache where it can."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.artifact.tree import Entry
from provender.errors import IntegrityError, InvalidProject, NotFound, Unavailable
from provender.locations import Locations
from provender.oci import EMPTY_BYTES, Descriptor, Digest, Document, Index, Platform, Reference
from provender.oci.media_types import INDEX
from provender.project.dependency import Dependency, Paths
from provender.project.lock import LockedDependency
from provender.project.origin import OciOrigin, Requested
from provender.project.sources.oci import OciSource
from provender.project.sources.repositories import Repositories
from provender.storage.cache import BlobCache
from provender.storage.open import Storages
from provender.storage.roots import StoreRoot
from provender.transfer.pool import Cancellation, Cancelled
from provender.transfer.progress import NO_PROGRESS
from support.archives import archive, file
from support.local_project import LocalProject
from support.registry import TestRegistry
from support.workspace import ARCHIVE, layer, packed, publish

LARGE = 9 << 20


@pytest.fixture
def project(tmp_path: Path) -> LocalProject:
    made = LocalProject(tmp_path)
    made.publish("x", "1.0.0", {"a.txt": "one", "docs/b.txt": "b"})
    return made


@pytest.fixture(autouse=True)
def _readers_are_closed() -> Iterator[None]:
    """Every reader is closed by whoever opened it, not by the collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        yield
        gc.collect()


def wish(
    repository: str = "x",
    *,
    tag: str | None = "1.0.0",
    version: str | None = None,
    digest: Digest | None = None,
    artifact_type: str | None = None,
    platform: str | None = None,
    paths: Paths | None = None,
) -> Dependency:
    origin = OciOrigin(
        reference=Reference.parse(f"acme/{repository}"),
        requested=Requested(tag=tag, version=version, digest=digest),
        artifact_type=artifact_type,
        platform=platform,
    )
    return Dependency(name=repository, origin=origin, to=f"vendor/{repository}", paths=paths or Paths())


def lay(
    source: OciSource,
    dependency: Dependency,
    locked: LockedDependency,
    staging: Path,
    *,
    jobs: int = 2,
    cancellation: Cancellation | None = None,
) -> tuple[Entry, ...]:
    staging.mkdir(exist_ok=True)
    return source.lay(
        dependency,
        locked,
        str(staging),
        jobs=jobs,
        progress=NO_PROGRESS,
        cancellation=cancellation or Cancellation(),
    )


def of(project: LocalProject) -> OciSource:
    source = project.sources()["oci"]
    assert isinstance(source, OciSource)
    return source


def test_what_is_resolved_is_pinned_and_laid(project: LocalProject, tmp_path: Path) -> None:
    source, dependency = of(project), wish()
    locked = source.resolve(dependency)
    assert (locked.registry, locked.repository, locked.tag) == ("acme", "x", "1.0.0")
    assert locked.artifact_type == "application/vnd.test.thing"
    assert len(locked.layers) == 1
    assert locked.tree is None
    entries = lay(source, dependency, locked, tmp_path / "out")
    assert [entry.path for entry in entries] == ["a.txt", "docs/b.txt"]
    assert (tmp_path / "out/a.txt").read_text() == "one"


def test_a_digest_outranks_the_tag_which_stays_as_a_label(project: LocalProject) -> None:
    digest = of(project).resolve(wish()).digest
    project.publish("x", "1.0.0", {"a.txt": "moved"})
    locked = of(project).resolve(wish(digest=digest))
    assert (locked.digest, locked.tag) == (digest, "1.0.0")


def test_a_range_takes_the_newest_tag_that_fits(project: LocalProject) -> None:
    for tag in ("1.2.0", "1.10.0", "2.0.0", "1.11.0-rc.1", "latest"):
        project.publish("x", tag, {"a.txt": tag})
    assert of(project).resolve(wish(tag=None, version=">=1, <2")).tag == "1.10.0"
    with pytest.raises(NotFound, match="no tag of acme/x is in the range '>=3'") as caught:
        of(project).resolve(wish(tag=None, version=">=3"))
    assert caught.value.code == "no-version-matched"
    assert "2.0.0" in (caught.value.hint or "")


def test_a_moved_tag_does_not_change_what_was_locked(project: LocalProject, tmp_path: Path) -> None:
    locked = of(project).resolve(wish())
    project.publish("x", "1.0.0", {"a.txt": "moved"})
    lay(of(project), wish(), locked, tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_text() == "one"


def test_another_type_than_the_manifest_names_is_refused(project: LocalProject, tmp_path: Path) -> None:
    locked = of(project).resolve(wish())
    other = wish(artifact_type="application/vnd.other")
    with pytest.raises(InvalidProject, match=r"is of type application/vnd\.test\.thing, not application/vnd\.other"):
        of(project).resolve(other)
    with pytest.raises(InvalidProject, match="is of type"):
        lay(of(project), other, locked, tmp_path / "out")


def test_an_index_is_locked_with_the_child_that_is_laid(project: LocalProject, tmp_path: Path) -> None:
    children = {}
    for platform in ("linux/amd64", "linux/arm64"):
        children[platform] = project.publish("multi", platform.replace("/", "-"), {"arch": platform})
    entries = tuple(
        Descriptor(
            media_type=child.descriptor.media_type,
            digest=child.digest,
            size=child.descriptor.size,
            platform=Platform.parse(platform),
        )
        for platform, child in children.items()
    )
    index = Document.author(Index(schema_version=2, media_type=INDEX, manifests=entries))
    StoreRoot(project.store).repository("multi").push_document(index, ("1.0.0",))
    dependency = wish("multi", platform="linux/arm64")
    locked = of(project).resolve(dependency)
    assert (locked.digest, locked.manifest) == (index.digest, children["linux/arm64"].digest)
    lay(of(project), dependency, locked, tmp_path / "out")
    assert (tmp_path / "out/arch").read_text() == "linux/arm64"


def test_only_what_is_selected_is_laid(project: LocalProject, tmp_path: Path) -> None:
    dependency = wish(paths=Paths(root="docs", include=("**/*.txt",)))
    locked = of(project).resolve(dependency)
    assert [entry.path for entry in lay(of(project), dependency, locked, tmp_path / "out")] == ["b.txt"]
    assert os.listdir(tmp_path / "out") == ["b.txt"]


def test_what_is_cached_is_laid_without_the_origin(project: LocalProject, tmp_path: Path) -> None:
    locked = of(project).resolve(wish())
    lay(of(project), wish(), locked, tmp_path / "first")
    os.rename(project.store, tmp_path / "away")
    lay(of(project), wish(), locked, tmp_path / "second")
    assert (tmp_path / "second/a.txt").read_text() == "one"


def test_offline_is_an_error_only_where_the_cache_lacks_something(tmp_path: Path) -> None:
    with TestRegistry() as registry:
        publish(registry, "acme/x", "1.0.0", {"a.txt": b"one"})
        locations = Locations.gather(environ={}, cwd=tmp_path, flags=[f"acme={registry.host}/acme"])
        cache = BlobCache(tmp_path / "cache", max_bytes=1 << 30)
        with Storages(locations, environ={}) as storages:
            locked = OciSource(Repositories(storages, cache)).resolve(wish())
        with Storages(locations, environ={}, is_offline=True) as storages:
            source = OciSource(Repositories(storages, cache))
            with pytest.raises(Unavailable, match="offline"):
                lay(source, wish(), locked, tmp_path / "first")
        with Storages(locations, environ={}) as storages:
            lay(OciSource(Repositories(storages, cache)), wish(), locked, tmp_path / "second")
        with Storages(locations, environ={}, is_offline=True) as storages:
            lay(OciSource(Repositories(storages, cache)), wish(), locked, tmp_path / "third")
    assert (tmp_path / "third/a.txt").read_bytes() == b"one"


def test_every_blob_and_document_is_asked_for_once(tmp_path: Path) -> None:
    with TestRegistry() as registry:
        blobs = [layer(registry, "acme/x", packed({f"{number}.txt": b"x"}), media_type=ARCHIVE) for number in range(3)]
        publish(registry, "acme/x", "1.0.0", layers=blobs)
        locations = Locations.gather(environ={}, cwd=tmp_path, flags=[f"acme={registry.host}/acme"])
        with Storages(locations, environ={}) as storages:
            source = OciSource(Repositories(storages, BlobCache(tmp_path / "cache", max_bytes=1 << 30)))
            locked = source.resolve(wish())
            lay(source, wish(), locked, tmp_path / "out", jobs=3)
        assert registry.count("*", "/manifests/") == 1
        assert sorted(request.path for request in registry.asked("GET", "/blobs/")) == sorted(
            f"/v2/acme/x/blobs/{blob['digest']}" for blob in blobs
        )
    assert sorted(os.listdir(tmp_path / "out")) == ["0.txt", "1.txt", "2.txt"]


def damage(project: LocalProject, digest: Digest) -> Path:
    """Flip a bit of a cached blob; its place."""
    path = project.cache.root / "blobs" / digest.algorithm / digest.encoded
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_damaged_cache_entry_is_fetched_anew(project: LocalProject, tmp_path: Path, jobs: int) -> None:
    """Over 8 MiB an entry is verified as it is read; both large ones are damaged, so that both are met."""
    tars = tuple(archive(file(f"{name}.bin", name.encode() * LARGE)) for name in ("a", "b"))
    project.publish("big", "1.0.0", layers=(*tars, archive(file("c.bin", b"c"))))
    dependency = wish("big")
    locked = of(project).resolve(dependency)
    first = lay(of(project), dependency, locked, tmp_path / "first")
    places = [damage(project, each.digest) for each in locked.layers]
    other = Cancellation()
    assert lay(of(project), dependency, locked, tmp_path / "second", jobs=jobs, cancellation=other) == first
    assert not other.is_cancelled
    assert (tmp_path / "second/b.bin").read_bytes() == b"b" * LARGE
    assert sorted(os.listdir(tmp_path / "second")) == ["a.bin", "b.bin", "c.bin"]
    for place, each in zip(places, locked.layers, strict=True):
        assert Digest.of(place.read_bytes()) == each.digest


def test_wrong_bytes_at_the_origin_are_not_asked_for_again(project: LocalProject, tmp_path: Path) -> None:
    locked = of(project).resolve(wish())
    blob = project.store / "x/blobs/sha256" / locked.layers[0].digest.encoded
    raw = bytearray(blob.read_bytes())
    raw[600] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(raw)
    with pytest.raises(IntegrityError) as caught:
        lay(of(project), wish(), locked, tmp_path / "out")
    assert caught.value.code == "digest-mismatch"
    assert not (project.cache.root / "blobs/sha256" / blob.name).exists()


def test_a_cancelled_run_cancels_the_laying(project: LocalProject, tmp_path: Path) -> None:
    locked = of(project).resolve(wish())
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        lay(of(project), wish(), locked, tmp_path / "out", cancellation=cancellation)


def test_the_empty_config_is_not_laid(project: LocalProject, tmp_path: Path) -> None:
    locked = of(project).resolve(wish())
    entries = lay(of(project), wish(), locked, tmp_path / "out")
    assert all(entry.content != Digest.of(EMPTY_BYTES).encoded for entry in entries)
