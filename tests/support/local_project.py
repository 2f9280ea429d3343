"""A project over a store of layouts, driven in this process: for tests of what lies on disk afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provender.locations import Locations
from provender.oci import EMPTY_BYTES, EMPTY_DESCRIPTOR, Descriptor, Document, Manifest
from provender.oci.media_types import LAYER_TAR, MANIFEST
from provender.project.check import check
from provender.project.report import CheckReport, SyncReport
from provender.project.sources import Source
from provender.project.sources.of_project import sources_of
from provender.project.sync import Synchroniser, SyncOptions
from provender.storage.cache import BlobCache
from provender.storage.open import Storages
from provender.storage.roots import StoreRoot
from provender.storage.verify import BytesReader
from support.archives import Piece, archive, file
from support.workspace import everything

__all__ = ["LocalProject"]

Tree = dict[str, tuple[str, int, bytes]]


class LocalProject:
    """The directory `root/project`, whose alias `acme` is the store `root/store`."""

    is_offline = False
    environ: Mapping[str, str] = {}
    """Variables for programs that a run starts."""
    _storages: Storages | None = None

    def __init__(self, root: Path) -> None:
        self.directory = root / "project"
        self.directory.mkdir()
        self.store = root / "store"
        self.cache = BlobCache(root / "cache", max_bytes=1 << 30)

    def close(self) -> None:
        """End the connections of the last run."""
        if self._storages is not None:
            self._storages.close()

    # --- content

    def publish(
        self,
        repository: str,
        tag: str,
        files: Mapping[str, str | bytes] | None = None,
        *,
        pieces: tuple[Piece, ...] = (),
        layers: tuple[bytes, ...] = (),
    ) -> Document:
        """Put an artifact into the store: one tar of `files` and `pieces`, or these layers, which are tars."""
        storage = StoreRoot(self.store).repository(repository, create=True)
        made = [file(name, each.encode() if isinstance(each, str) else each) for name, each in (files or {}).items()]
        blobs = layers or (archive(*made, *pieces),)
        descriptors = [Descriptor.of(blob, LAYER_TAR) for blob in blobs]
        for descriptor, blob in [(EMPTY_DESCRIPTOR, EMPTY_BYTES), *zip(descriptors, blobs, strict=True)]:
            storage.push(descriptor, BytesReader(blob))
        document = Document.author(
            Manifest(
                schema_version=2,
                media_type=MANIFEST,
                artifact_type="application/vnd.test.thing",
                config=EMPTY_DESCRIPTOR,
                layers=tuple(descriptors),
            )
        )
        storage.push_document(document, (tag,))
        return document

    def depend(self, **dependencies: object) -> None:
        """Make a manifest of these dependencies (JSON is YAML)."""
        registries = {"acme": {"location": f"layout:{self.store}"}}
        document = {"version": 1, "registries": registries, "dependencies": dependencies}
        (self.directory / "provender.yaml").write_text(json.dumps(document, indent=1))

    # --- runs

    def sources(self) -> dict[str, Source]:
        """The sources over the store; a test may put another in the place of one."""
        locations = Locations.gather(environ={}, cwd=self.directory, manifest={"acme": f"layout:{self.store}"})
        self.close()
        self._storages = storages = Storages(locations, environ={})
        environ = {**os.environ, "HOME": str(self.directory.parent), "GIT_CONFIG_NOSYSTEM": "1", **self.environ}
        return sources_of(self.directory, storages, self.cache, environ=environ, is_offline=self.is_offline)

    def synchroniser(self, sources: Mapping[str, Source] | None = None) -> Synchroniser:
        return Synchroniser(self.directory, self.sources() if sources is None else sources)

    def sync(self, sources: Mapping[str, Source] | None = None, **options: Any) -> SyncReport:
        """The report of a sync; `options` are those of SyncOptions without `is_`."""
        named = {
            name if name in ("jobs", "names", "wait_s") else f"is_{name}": value for name, value in options.items()
        }
        return self.synchroniser(sources).run(SyncOptions(**named))

    def actions(self, **options: Any) -> dict[str, str]:
        """What a sync did with each destination."""
        return {change.to: change.action for change in self.sync(**options).changes}

    def check(self, sources: Mapping[str, Source] | None = None, *, deep: bool = False) -> CheckReport:
        return check(self.directory, self.sources() if sources is None else sources, is_deep=deep)

    # --- what lies there

    def path(self, name: str) -> Path:
        return self.directory / name

    def files(self, name: str) -> dict[str, str]:
        """The files of a directory with their content."""
        return {
            path: content.decode() for path, (kind, _, content) in everything(self.path(name)).items() if kind == "file"
        }

    def look(self) -> Tree:
        """Everything of the project but our own state, modes and the lock's bytes included."""
        return everything(self.directory)

    @property
    def lock(self) -> dict[str, Any]:
        return dict(json.loads((self.directory / "provender.lock").read_bytes())["dependencies"])

    def leftovers(self) -> list[str]:
        """What a run should not leave: staging directories, temporary files, notes for a killed run's successor."""
        found = []
        for folder, names, files in os.walk(self.directory):
            found += [
                os.path.join(folder, name) for name in (*names, *files) if ".provender-" in name or ".tmp" in name
            ]
        own = self.directory / ".provender"
        if own.is_dir():
            known = {".gitignore", "index", "lock", "state.json", "registries.yaml"}
            found += [str(own / name) for name in os.listdir(own) if name not in known]
        return found
