"""What of fetched contents stays, under which root, and with which existing files. Works on a staged directory.

The order is vendir's: include and exclude, `newRootPath`, then the files of `ignorePaths`, then permissions.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from typing import Final

from provender.dialects.vendir.config import clean_path
from provender.dialects.vendir.glob import matches_glob
from provender.dialects.vendir.schema import Contents
from provender.errors import InvalidProject, NotFound

__all__ = ["apply_filter", "apply_new_root", "copy_ignored", "link_tree", "same_trees"]

_MAX_LISTED: Final = 20


def apply_filter(root: str, contents: Contents) -> None:
    """Remove from `root` the files that are not wanted, and directories without files.

    Raises NotFound (code `nothing-selected`) if nothing stays.
    """
    seen: list[str] = []
    count = 0
    takes_all = not contents.include_paths and not contents.exclude_paths
    for place, _, names in _walk(root):
        prefix = _prefix(place, root)
        for name in names:
            relative = prefix + name
            if takes_all or _is_wanted(relative, contents):
                count += 1
            else:
                os.unlink(os.path.join(place, name))
            if len(seen) < _MAX_LISTED:
                seen.append(relative)
    for place, directories, _ in _walk(root, top_down=False):
        for name in directories:
            path = os.path.join(place, name)
            if not os.listdir(path):
                os.rmdir(path)
    if not count:
        raise NotFound(
            "Expected to find at least one file within directory",
            code="nothing-selected",
            hint=f"it had {', '.join(seen)[:300]}; correct includePaths and excludePaths"
            if seen
            else "there were no files at all",
        )


def apply_new_root(root: str, new_root: str) -> None:
    """Make the directory `new_root` inside of `root` the whole content of `root`.

    Raises InvalidProject (code `invalid-path`) for one outside, NotFound (code `no-such-root`) for none.
    """
    clean = clean_path(new_root.lstrip("/"))
    if clean == ".." or clean.startswith("../"):
        hint = "newRootPath names a directory inside of the contents"
        raise InvalidProject(f"Invalid path: {new_root}", code="invalid-path", hint=hint)
    if clean == ".":
        return
    source = os.path.join(root, clean)
    if not _is_directory_inside(root, clean):
        parent = os.path.dirname(source)
        others = sorted(name for name in _names(parent) if os.path.isdir(os.path.join(parent, name)))
        there = ", ".join(os.path.join(os.path.dirname(clean), name) for name in others[:_MAX_LISTED])
        raise NotFound(
            f"Expected directory '{new_root}' (subpath) to exist"
            + (f" (found other directories: {there})" if there else ""),
            code="no-such-root",
            hint="correct newRootPath; it is looked for after includePaths and excludePaths did their work",
        )
    # The new root has its own mode, as in vendir, which moves it to the place of the old one.
    aside = f"{root}.provender-root"
    os.rename(source, aside)
    shutil.rmtree(root)
    os.rename(aside, root)


def copy_ignored(existing: str, staged: str, patterns: tuple[str, ...]) -> None:
    """Copy the files of the `existing` destination that the patterns match over those in `staged`."""
    if not patterns:
        return
    for place, _, names in _walk(existing):
        prefix = _prefix(place, existing)
        for name in names:
            path = os.path.join(place, name)
            relative = prefix + name
            if matches_glob(relative, patterns) and os.path.isfile(path):
                _overwrite(path, os.path.join(staged, relative))


def link_tree(source: str, target: str) -> None:
    """Have everything of `source` in the new directory `target` too: files by a further name, directories alike."""
    os.mkdir(target, 0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            path = os.path.join(target, entry.name)
            if entry.is_dir(follow_symlinks=False):
                link_tree(entry.path, path)
                continue
            try:
                os.link(entry.path, path, follow_symlinks=False)
            except (OSError, NotImplementedError):
                shutil.copy2(entry.path, path, follow_symlinks=False)
    shutil.copystat(source, target, follow_symlinks=False)


def same_trees(one: str, other: str) -> bool:
    """True if two directories hold the same names, kinds, modes and bytes."""
    try:
        if not stat.S_ISDIR(os.lstat(other).st_mode) or os.lstat(one).st_mode != os.lstat(other).st_mode:
            return False
        names = sorted(os.listdir(one))
        return names == sorted(os.listdir(other)) and all(
            _is_same(os.path.join(one, name), os.path.join(other, name)) for name in names
        )
    except OSError:
        return False


def _is_same(one: str, other: str) -> bool:
    first, second = os.lstat(one), os.lstat(other)
    if first.st_mode != second.st_mode:
        return False
    if stat.S_ISDIR(first.st_mode):
        return same_trees(one, other)
    if stat.S_ISLNK(first.st_mode):
        return os.readlink(one) == os.readlink(other)
    return stat.S_ISREG(first.st_mode) and first.st_size == second.st_size and filecmp.cmp(one, other, shallow=False)


def _is_wanted(path: str, contents: Contents) -> bool:
    if matches_glob(path, contents.legal):
        return True
    if contents.include_paths and not matches_glob(path, contents.include_paths):
        return False
    return not matches_glob(path, contents.exclude_paths)


def _walk(root: str, *, top_down: bool = True) -> list[tuple[str, list[str], list[str]]]:
    """As `os.walk`, where a link to a directory is a file."""
    found: list[tuple[str, list[str], list[str]]] = []
    for place, directories, names in os.walk(root, topdown=top_down):
        links = [name for name in directories if os.path.islink(os.path.join(place, name))]
        found.append((place, [name for name in directories if name not in links], [*names, *links]))
    return found


def _prefix(place: str, root: str) -> str:
    """What the names in a directory that `os.walk` gave begin with, seen from `root`."""
    inside = place[len(root) :].strip("/")
    return f"{inside}/" if inside else ""


def _overwrite(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    if os.path.islink(target):
        os.unlink(target)
    mode = stat.S_IMODE(os.lstat(target).st_mode) if os.path.lexists(target) else None
    if mode is not None:
        os.unlink(target)  # not through another name of the same file
    shutil.copyfile(source, target)
    if mode is not None:
        os.chmod(target, mode)


def _is_directory_inside(root: str, relative: str) -> bool:
    """True if `relative` is a directory, with no link on the way to it."""
    path = root
    for part in relative.split("/"):
        path = os.path.join(path, part)
        if os.path.islink(path) or not os.path.isdir(path):
            return False
    return True


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
