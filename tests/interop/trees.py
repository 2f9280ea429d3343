"""Directory trees as values: compared between clients, and hashed by the lock's rule without our code."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple


class Leaf(NamedTuple):
    """One file or link: its kind `f` or `l`, its mode `644`, `755` or `-`, and its content's hash or its target."""

    kind: str
    mode: str
    content: str


def tree(root: Path) -> dict[str, Leaf]:
    """Every file and link below `root` by its `/`-separated path."""
    leaves = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            leaves[name] = Leaf("l", "-", os.readlink(path))
        elif path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            leaves[name] = Leaf("f", "755" if path.stat().st_mode & 0o100 else "644", content)
    return leaves


def tree_digest(root: Path) -> str:
    """The digest of a tree as section 2 of the formats defines it."""
    hasher = hashlib.sha256()
    for name, leaf in sorted((os.fsencode(name), leaf) for name, leaf in tree(root).items()):
        hasher.update(b"%b %b %b\0%b\n" % (leaf.kind.encode(), leaf.mode.encode(), os.fsencode(leaf.content), name))
    return f"sha256:{hasher.hexdigest()}"


def sha256(content: bytes) -> str:
    """The digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def write_sample(root: Path) -> Path:
    """A directory with plain files, an empty one, and a directory with an executable, a link and deep, odd names."""
    files = {
        "config.json": b'{"a":1}\n',
        "empty": b"",
        "schemas/pod.json": b'{"kind":"Pod"}\n',
        "schemas/sub/deep/er/ünï code.txt": "größe\n".encode(),
        "schemas/bin/run.sh": b"#!/bin/sh\nexit 0\n",
        "schemas/large.bin": bytes(range(256)) * 2048,
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    (root / "schemas/bin/run.sh").chmod(0o755)
    (root / "schemas/link.json").symlink_to("pod.json")
    return root
