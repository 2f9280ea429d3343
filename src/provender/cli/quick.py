"""The quick answer to `sync` in a project where nothing changed, before the command line itself is imported.

That is what `sync` finds most of the time, and then click and the model would take longer than looking at 20,000 files.
"""

from __future__ import annotations

import os
import sys

from provender.cli.saying import said
from provender.project.stat_index import unchanged_count

__all__ = ["is_sync_done"]

# Options that change nothing about a sync that has nothing to do, nor what it says.
_OPTIONS = frozenset({"--locked", "--frozen", "--offline"})
_INTERRUPTED = 130


def is_sync_done(options: list[str]) -> bool:
    """True if the project in the working directory was found unchanged, and that was said; else nothing was."""
    # Click takes options from such variables as well.
    if not _OPTIONS.issuperset(options) or any(name.startswith("PROVENDER_SYNC_") for name in os.environ):
        return False
    try:
        count = unchanged_count("")
        if count is not None:
            # If nobody listens: the answer is in the exit status.
            said(sys.stderr, f"{count} {'dependency' if count == 1 else 'dependencies'}, nothing to do\n")
        return count is not None
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
