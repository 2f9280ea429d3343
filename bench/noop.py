"""A `sync` that has nothing to do: 500 dependencies, 20,000 files; `git status` looks at the same tree."""

from __future__ import annotations

import shutil
import tarfile
import time
from pathlib import Path

from bench.ground import Ground
from bench.layouts import Layer, write_layout
from bench.material import drop, small_files
from bench.measure import Claim, Outcome, compare

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_FILES_EACH = 40
_GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "gc.auto=0")
# Both programs look twice at files that were written while they looked; nobody measures that.
_SETTLE_S = 2.5


def run(ground: Ground) -> Outcome | None:
    """`provender sync` of an unchanged project against `git status` of a repository with the same tree."""
    if shutil.which("git") is None:
        print("  git is missing")
        return None
    dependencies = ground.scaled(500)
    project, repository = ground.root / "project", ground.root / "repository"
    _project(ground, project, dependencies)
    ground.call(ground.provender, "sync", cwd=project)
    repository.mkdir()
    shutil.copytree(project / "vendor", repository / "vendor")
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "The tree"), ("status",)):
        ground.call(*_GIT, *command, cwd=repository)
    time.sleep(_SETTLE_S)
    ground.call(*_GIT, "status", cwd=repository)
    rows = compare(
        [
            ground.contender("git status", [*_GIT, "status"], cwd=repository),
            ground.contender("provender sync", [ground.provender, "sync"], cwd=project),
            ground.contender("a bare interpreter", [ground.python, "-c", "pass"]),
        ],
        runs=3 * ground.runs,
    )
    git, sync, _ = rows
    return Outcome(
        f"Sync with nothing to do: {dependencies} dependencies, {dependencies * _FILES_EACH} files",
        rows,
        (Claim("provender sync over git status", sync.ratio(git), 2.0),),
    )


def _project(ground: Ground, project: Path, dependencies: int) -> None:
    """A project whose dependencies are artifacts of a store of layouts, one archive of small files each."""
    tree, packed = ground.root / "tree", ground.root / "packed.tar.gz"
    small_files(tree, count=dependencies * _FILES_EACH, size=1024, per_folder=_FILES_EACH)
    lines = ["version: 1", "registries:", "  store: {location: 'layout:./store'}", "dependencies:"]
    for number in range(dependencies):
        name = f"d{number:04d}"
        with tarfile.open(packed, "w:gz", compresslevel=1, format=tarfile.GNU_FORMAT) as tar:
            tar.add(tree / name, arcname=".")
        write_layout(project / "store" / name, [Layer(packed, _LAYER)], tag="v1")
        lines.append(f"  {name}: store/{name}:v1")
    drop(tree)
    (project / "provender.yaml").write_text("\n".join([*lines, ""]))
