"""The entry point: the table of commands, imported lazily, and the edge where errors become exit statuses.

The help texts of the table stand here so that `--help` imports no command.
"""

from __future__ import annotations

import os
import sys

from provender import __version__
from provender.cli.saying import said

TYPE_CHECKING = False  # as mypy knows it; importing `typing` would double the time of `--version`
if TYPE_CHECKING:
    from typing import Final

# name -> (module under cli.commands, one-line help); the order is the order of `--help`.
PROJECT: Final[dict[str, tuple[str, str]]] = {
    "init": ("init", "Write a provender.yaml to start from."),
    "add": ("add", "Add a dependency to provender.yaml and sync it."),
    "remove": ("remove", "Remove a dependency and its files."),
    "lock": ("lock", "Resolve provender.yaml into provender.lock."),
    "sync": ("sync", "Make the project's directories equal to the lock."),
    "update": ("update", "Move locked versions as far as provender.yaml allows."),
    "outdated": ("outdated", "List what could move, and tags that were moved."),
    "check": ("check", "Report missing, changed and extra files."),
    "list": ("list", "Show the dependencies and what is locked."),
    "tree": ("tree", "Show what each dependency is made of."),
    "why": ("why", "Name the dependency that laid a file."),
    "diff": ("diff", "Compare the files of two versions."),
    "export": ("export", "Write everything that the lock needs into one archive."),
    "import": ("import_", "Read such an archive into the cache or a store."),
}
ARTIFACT: Final[dict[str, tuple[str, str]]] = {
    "push": ("push", "Publish files as an artifact."),
    "pull": ("pull", "Lay an artifact's files on disk."),
    "resolve": ("resolve", "Print the digest that a reference names."),
    "tags": ("tags", "List the tags of a repository."),
    "tag": ("tag", "Point further tags at an artifact."),
    "attach": ("attach", "Publish files that refer to an artifact."),
    "discover": ("discover", "Show what refers to an artifact."),
    "copy": ("copy", "Copy an artifact with what belongs to it."),
    "show": ("show", "Show what an artifact is made of."),
    "untag": ("untag", "Remove tags, not what they name."),
    "delete": ("delete", "Delete an artifact with its tags."),
    "index": ("index", "Indexes: create, update."),
    "manifest": ("manifest", "Manifests: fetch, push, delete, fetch-config."),
    "blob": ("blob", "Blobs: fetch, push, delete."),
    "bundle": ("bundle", "Files with the images that they need: push, pull, copy, describe, list."),
    "relocate": ("relocate", "Move many artifacts: plan, apply, verify."),
}
REGISTRY: Final[dict[str, tuple[str, str]]] = {
    "login": ("login", "Keep credentials for a registry."),
    "logout": ("logout", "Forget the credentials of a registry."),
    "serve": ("serve", "Serve a store, a layout or memory as a registry."),
    "gc": ("gc", "Remove what no manifest of a store needs."),
    "registry": ("registry", "Logical registries: list, explain."),
    "vendir": ("vendir", "Sync an existing vendir.yml."),
    "completion": ("completion", "Print a completion script for a shell."),
}
SECTIONS: Final = {"Project": PROJECT, "Artifacts": ARTIFACT, "Registries and set-up": REGISTRY}

_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000


def run() -> None:
    """Run the command line of this process, and exit with its status."""
    arguments = sys.argv[1:]
    if arguments == ["--version"] and said(sys.stdout, f"provender {__version__}\n"):
        return  # without click, for scripts ask for it often
    if arguments[:1] == ["sync"]:
        from provender.cli.quick import is_sync_done

        if is_sync_done(arguments[1:]):
            return
    if arguments[:2] == ["vendir", "sync"]:
        from provender.cli.vendir_quick import is_vendir_sync_done

        if is_vendir_sync_done(arguments[1:]):
            return
    import gc

    # What is imported stays, and next to nothing that a command makes is circular: looking through all of it after
    # every 700 new objects takes as long as importing a tenth of them (measured).
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    from provender.cli.edge import guarded

    status = guarded(arguments)
    # All is said and flushed, and no thread but daemons runs: taking the interpreter apart would only take time.
    os._exit(status)


def load(name: str) -> object:
    """The click command of that name, imported now; None if there is none."""
    from importlib import import_module

    for table in SECTIONS.values():
        if name in table:
            return import_module(f"provender.cli.commands.{table[name][0]}").command
    return None
