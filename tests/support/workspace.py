"""A project directory beside a test registry, for tests that run the command line: artifacts, runs, and what changed.

The logical registry `acme` is bound to the test registry by a variable, as a user would bind it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.archives import archive, file
from support.command import Result, provender_forked, provender_here, succeed_here
from support.forked import FORKS, Child
from support.registry import TestRegistry, digest_of

__all__ = ["ARCHIVE", "OCTETS", "InProcess", "Workspace", "everything", "layer", "packed", "publish", "refused"]

ARCHIVE = "application/vnd.oci.image.layer.v1.tar+gzip"
OCTETS = "application/octet-stream"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"


def layer(
    registry: TestRegistry, repository: str, content: bytes, *, title: str | None = None, media_type: str = OCTETS
) -> dict[str, object]:
    """The descriptor of a layer that is in the repository now."""
    entry: dict[str, object] = {
        "mediaType": media_type,
        "digest": registry.push_blob(repository, content),
        "size": len(content),
    }
    return entry if title is None else {**entry, "annotations": {"org.opencontainers.image.title": title}}


def packed(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar of these files, the same bytes each time."""
    return gzip.compress(archive(*(file(name, content) for name, content in files.items())), mtime=0)


def publish(
    registry: TestRegistry,
    repository: str,
    tag: str | None,
    files: Mapping[str, bytes] | None = None,
    *,
    layers: list[dict[str, object]] | None = None,
    annotations: Mapping[str, str] | None = None,
    artifact_type: str = "application/vnd.test.thing",
) -> str:
    """Put an artifact into the registry, with a titled layer for each file, or these `layers`; its digest."""
    if layers is None:
        layers = [layer(registry, repository, content, title=name) for name, content in (files or {}).items()]
    registry.push_blob(repository, b"{}")
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": artifact_type,
        "config": {"mediaType": _EMPTY, "digest": digest_of(b"{}"), "size": 2},
        "layers": layers,
    }
    if annotations is not None:
        manifest["annotations"] = dict(annotations)
    return registry.push_manifest(repository, json.dumps(manifest).encode(), tag=tag)


def everything(root: Path, *, without: tuple[str, ...] = (".provender",)) -> dict[str, tuple[str, int, bytes]]:
    """Every file, link and directory below `root` with mode and content, but for these names at the top."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for folder, names, files in os.walk(root):
        hidden = without if Path(folder) == root else ()
        names[:] = [name for name in names if name not in hidden]
        for name in [*names, *(name for name in files if name not in hidden)]:
            path = Path(folder) / name
            status = path.lstat()
            where = str(path.relative_to(root))
            if stat.S_ISLNK(status.st_mode):
                found[where] = ("link", 0, os.readlink(path).encode())
            elif stat.S_ISDIR(status.st_mode):
                found[where] = ("directory", stat.S_IMODE(status.st_mode), b"")
            else:
                found[where] = ("file", stat.S_IMODE(status.st_mode), path.read_bytes())
    return found


def refused(result: Result, status: int, code: str) -> dict[str, Any]:
    """The JSON error of a run, which ended with this status and code and says what, where and how to fix it."""
    assert result.status == status, (result.status, result.stdout, result.stderr)
    error = result.error
    assert (error["code"], error["exit"]) == (code, status), error
    assert error["message"], error
    assert error["where"], error
    assert error["hint"], error
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return error


class Workspace:
    """A project in `directory`, whose alias `acme` is the test registry."""

    def __init__(self, directory: Path, registry: TestRegistry, cache: Path) -> None:
        self.directory = directory
        self.registry = registry
        self.cache = cache
        self.env = {"PROVENDER_REGISTRY_ACME": f"{registry.host}/acme", "PROVENDER_CACHE_DIR": str(cache)}

    def write(self, text: str) -> None:
        """Make `text` the manifest."""
        (self.directory / "provender.yaml").write_text(text)

    def depend(self, **dependencies: object) -> None:
        """Make a manifest of these dependencies (JSON is YAML)."""
        self.write(json.dumps({"version": 1, "registries": {"acme": {}}, "dependencies": dependencies}, indent=1))

    def run(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Result:
        """The outcome of a command in the project."""
        return provender_forked(*arguments, cwd=self.directory, env={**self.env, **(env or {})})

    def json(self, *arguments: str | Path) -> Result:
        """The outcome of a command with `--format json`."""
        return self.run(*arguments, "--format", "json")

    def succeed(self, *arguments: str | Path) -> Result:
        """The outcome of a command that has to succeed."""
        result = self.run(*arguments)
        assert result.status == 0, (arguments, result.stdout, result.stderr)
        return result

    def prepare(self, *arguments: str | Path) -> None:
        """Run a command that has to succeed, in this process: the set-up, or a proof that all is well afterwards."""
        succeed_here(*arguments, cwd=self.directory, env=self.env)

    def answer(self, *arguments: str | Path) -> Result:
        """The outcome of a command that is run in this process: as `run`, and much quicker."""
        return provender_here(*arguments, cwd=self.directory, env=self.env)

    def start(self, *arguments: str | Path) -> Child:
        """A command that runs beside the test; whoever starts it ends it."""
        return FORKS.start(*arguments, cwd=self.directory, env=self.env)

    def look(self) -> dict[str, tuple[str, int, bytes]]:
        """Everything of the project but our own state."""
        return everything(self.directory)

    @property
    def lock(self) -> dict[str, Any]:
        """The entries of the lock."""
        return dict(json.loads((self.directory / "provender.lock").read_bytes())["dependencies"])

    def check_cache(self, *, was_killed: bool = False) -> None:
        """Every entry of the blob cache has its digest; nothing unfinished lies about, unless a run `was_killed`."""
        for path in (self.cache / "blobs").rglob("*") if self.cache.is_dir() else ():
            if path.is_file():
                found = hashlib.new(path.parent.name, path.read_bytes()).hexdigest()
                assert found == path.name, path
        unfinished = [path for name in ("tmp", "locks") for path in (self.cache / name).glob("*")]
        assert was_killed or unfinished == []

    def check_no_leftovers(self) -> None:
        """No staging directory or temporary file lies in the project."""
        left = [str(path) for path in self.directory.rglob("*") if ".provender-" in path.name or ".tmp" in path.name]
        assert left == []


class InProcess(Workspace):
    """A workspace whose commands run in the test's process, at a tenth of the cost.

    Not for what writes raw bytes on stdout, reads stdin or is to be ended: `outside` runs those.
    """

    def run(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Result:
        """The outcome of a command in the project."""
        return provender_here(*arguments, cwd=self.directory, env={**self.env, **(env or {})})

    def outside(self, *arguments: str | Path) -> Result:
        """The outcome of a command in a process of its own."""
        return super().run(*arguments)
