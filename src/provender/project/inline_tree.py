"""The tree that files in a manifest make, told without writing one. Project layer; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from provender.artifact.names import fold_text, split_path
from provender.artifact.selection import choose
from provender.artifact.tree import Entry, tree_digest
from provender.errors import IntegrityError, InvalidProject
from provender.oci import Digest
from provender.project.dependency import Paths
from provender.project.origin import InlineOrigin

__all__ = ["InlineNames", "inline_entries", "inline_tree"]


class InlineNames:
    """The paths of files that are going to lie in one directory, each checked against those before it."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._above: dict[str, str] = {}

    def add(self, path: str) -> str:
        """The clean form of `path`; InvalidProject if no file may have it, or none beside the others."""
        try:
            clean = "/".join(split_path(path, where=""))
        except IntegrityError as error:
            raise InvalidProject(
                error.message, code="invalid-path", hint="write a relative path such as docs/a.md"
            ) from error
        mine = fold_text(clean)
        parents = [mine[:at] for at, char in enumerate(mine) if char == "/"]
        taken = [self._files.get(each) for each in (mine, *parents)]
        other = next((each for each in (*taken, self._above.get(mine)) if each is not None), None)
        if other is not None:
            raise InvalidProject(
                f"{path[:150]!r} and {other[:150]!r} cannot both be there",
                code="inline-clash",
                hint="upper and lower case do not count; a file cannot be a directory too",
            )
        self._files[mine] = path
        for each in parents:
            self._above.setdefault(each, path)
        return clean


def inline_entries(files: Mapping[str, bytes]) -> tuple[Entry, ...]:
    """The entries of these files, sorted by path."""
    return tuple(
        [
            Entry(path, "f", "644", hashlib.sha256(content).hexdigest(), len(content))
            for path, content in sorted(files.items())
        ]
    )


def inline_tree(origin: InlineOrigin, paths: Paths) -> Digest:
    """The digest of the tree that is laid for the origin; NotFound if `paths` leave nothing of it."""
    return tree_digest(choose(inline_entries(origin.files), paths.selection))
