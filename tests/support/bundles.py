"""Bundles on disk and in a registry, for the tests of `provender bundle`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["images_lock", "write_bundle"]


def images_lock(images: Sequence[str], annotations: Mapping[str, str] | None = None) -> str:
    """An ImagesLock of these images, each with these annotations."""
    lines = ["apiVersion: imgpkg.carvel.dev/v1alpha1", "kind: ImagesLock", f"images:{'' if images else ' []'}"]
    for image in images:
        lines.append(f"- image: {image}")
        if annotations:
            lines.append("  annotations:")
            lines += [f"    {key}: {value}" for key, value in annotations.items()]
    return "\n".join(lines) + "\n"


def write_bundle(
    directory: Path,
    images: Sequence[str] = (),
    *,
    files: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Path:
    """The directory of a bundle with these images, and some files."""
    found = {"config/a.yml": "a: 1\n", "run.sh": "#!/bin/sh\n", **(files or {})}
    found[".imgpkg/images.yml"] = images_lock(images, annotations)
    for name, text in found.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "run.sh").chmod(0o755)
    return directory
