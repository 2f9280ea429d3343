"""The material of benchmarks: trees of small files, big blobs, projects; the same bytes at every run."""

from __future__ import annotations

import hashlib
import os
import random
import tarfile
from pathlib import Path

MIB = 1 << 20


def small_files(folder: Path, *, count: int = 20_000, size: int = 4096, per_folder: int = 100) -> None:
    """A tree of `count` files of `size` bytes of half-compressible text."""
    words = [hashlib.sha256(str(n).encode()).hexdigest()[:7] for n in range(400)]
    pick = random.Random(7)
    for number in range(count):
        parent = folder / f"d{number // per_folder:04d}"
        if number % per_folder == 0:
            parent.mkdir(parents=True)
        text = " ".join(pick.choices(words, k=size // 8)).encode()[:size].ljust(size, b"\n")
        (parent / f"f{number:05d}.txt").write_bytes(text)


def archive(folder: Path, target: Path) -> None:
    """`folder` as tar+gzip, in the format that GNU tar writes."""
    with tarfile.open(target, "w:gz", compresslevel=6, format=tarfile.GNU_FORMAT) as tar:
        tar.add(folder, arcname=".")


def big_file(path: Path, size_mib: int) -> None:
    """A file that does not compress: pseudo-random megabytes."""
    with path.open("wb") as file:
        block = random.Random(11).randbytes(MIB)
        for number in range(size_mib):
            file.write(number.to_bytes(8, "big") + block[8:])


def drop(path: Path) -> None:
    """Remove a file or a tree; fine without one."""
    if path.is_dir() and not path.is_symlink():
        for entry in os.scandir(path):
            drop(Path(entry.path))
        path.rmdir()
    elif path.exists() or path.is_symlink():
        path.unlink()
