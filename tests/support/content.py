"""Small artifacts for the tests of storages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import provender
from provender.oci import EMPTY_DESCRIPTOR, Descriptor, Document, Index, Manifest
from provender.oci.media_types import INDEX, MANIFEST

OCTETS = "application/octet-stream"


def blob(content: bytes) -> Descriptor:
    """The descriptor of a layer of these bytes."""
    return Descriptor.of(content, OCTETS)


def manifest(
    name: str,
    *,
    layers: tuple[Descriptor, ...] = (),
    subject: Descriptor | None = None,
    artifact_type: str | None = "application/vnd.test.thing",
) -> Document:
    """A manifest that differs by `name`."""
    return Document.author(
        Manifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=artifact_type,
            config=EMPTY_DESCRIPTOR,
            layers=layers,
            subject=subject.bare if subject else None,
            annotations={"test.name": name},
        )
    )


def index(*children: Document) -> Document:
    """An index of these documents."""
    return Document.author(
        Index(schema_version=2, media_type=INDEX, manifests=tuple(child.descriptor.bare for child in children))
    )


def start_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs `code` with the package and the tests' support importable; the caller waits for it."""
    folders = [str(Path(provender.__file__).parents[1]), str(Path(__file__).parents[1])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes: list[subprocess.Popen[str]], timeout_s: float = 60) -> list[str]:
    """What each process printed; all must end well. Those that wait for their standard input start now, together."""
    try:
        for process in processes:
            if process.stdin is not None:
                process.stdin.close()
                process.stdin = None
        results = [process.communicate(timeout=timeout_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in results]
