"""A Git repository with files in Git LFS, whose store lies beside it: git-lfs copies from `file://` itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from support.git_repository import GitRepository

__all__ = ["LfsRepository"]


class LfsRepository:
    """The bare repository at `url`, where `*.bin` is in LFS; `filters` is what `git lfs install` writes for a user."""

    def __init__(self, root: Path, program: Path, files: Mapping[str, bytes]) -> None:
        made = GitRepository(root / "work")
        self._path = root / "remote.git"
        self.filters = (
            f'[filter "lfs"]\n\tclean = {program} clean -- %f\n\tsmudge = {program} smudge -- %f\n'
            f"\tprocess = {program} filter-process\n\trequired = true\n"
        )
        with open(made.path / ".git/config", "a") as config:
            config.write(self.filters)
        for name, content in files.items():
            (made.path / name).write_bytes(content)
        made.commit("files", {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
        made.git("clone", "--quiet", "--bare", str(made.path), str(self._path))
        made.git("remote", "add", "origin", self.url)
        search = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
        made.git("lfs", "push", "--all", "origin", env=search)
        for setting in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            made.git(f"--git-dir={self._path}", "config", setting, "true")

    @property
    def url(self) -> str:
        return f"file://{self._path}"
