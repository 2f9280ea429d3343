"""A disk that is full, as a limit on the size of every file of a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.workspace import Workspace


def limited(*arguments: str | Path, workspace: Workspace, size: int) -> subprocess.CompletedProcess[str]:
    """A run of the command line in which no file may grow over `size`, as on a full disk."""
    code = (
        "import resource, signal, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from provender.cli.main import run\n"
        "sys.exit(run())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=workspace.directory,
        env={**os.environ, **workspace.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
