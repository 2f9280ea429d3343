"""A blob of 100 MiB passes through each registry, both ways."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.programs import Program
from interop.projects import Project
from provender.storage.hashing import settled_size
from support.command import succeed

pytestmark = pytest.mark.interop

SIZE = 100 << 20


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with one file of 100 MiB that no compression makes smaller; removed with all that was made of it."""
    directory = tmp_path_factory.mktemp("large")
    numbers = random.Random(7)
    with (directory / "large.bin").open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(numbers.randbytes(1 << 20))
    # A file of just now is hashed before it is sent; this one is to be sent while it is.
    ends = time.monotonic() + 10
    while settled_size(str(directory / "large.bin")) is None and time.monotonic() < ends:
        time.sleep(0.1)
    yield directory
    shutil.rmtree(directory)


def test_a_large_blob_is_pushed_and_synced(
    repository: str, large: Path, home: Path, oras: Program, crane: Program
) -> None:
    with (large / "large.bin").open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    pushed = succeed("push", f"{repository}:v1", "large.bin:application/octet-stream", "--format", "json", cwd=large)
    assert crane.run("digest", f"{repository}:v1") == pushed.json["digest"]
    project = Project(large / repository.replace("/", "-"), {"large": f"{repository}:v1"})
    try:
        project.succeed("sync")
        with (project.vendor("large") / "large.bin").open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == expected
        (layer,) = project.locked("large")["layers"]
        assert (layer["digest"], layer["size"]) == (f"sha256:{expected}", SIZE)
    finally:
        shutil.rmtree(project.directory)
        shutil.rmtree(home / ".cache", ignore_errors=True)
