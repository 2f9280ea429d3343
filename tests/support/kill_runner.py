"""Runs `provender` in a process that kills itself: at the Nth call of a function of the system, before or after it.

Its arguments:

    FUNCTION PATTERN N before|after ARGUMENTS...

PATTERN is searched in the call's path arguments. What is patched is this process alone; the package knows nothing of
it. The `renameat2` of an exchange goes by ctypes, and is met as `exchange`. With `!` behind FUNCTION the kernel cannot
exchange two names. A kill that never happens shows in the exit status.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

ENTRY: Final = (__name__, "main")
"""For `support.forked`."""


def main() -> None:
    function, pattern, number, when, *arguments = sys.argv[1:]
    left = int(number)
    wanted = re.compile(pattern)

    def deadly(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal left
            is_it = wanted.search(" ".join(str(each) for each in args if isinstance(each, str | bytes | os.PathLike)))
            if is_it:
                left -= 1
            if is_it and left == 0 and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **options)
            if is_it and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    from provender.project import swap

    if function.endswith("!"):
        swap._exchange = lambda *_: False
    if function == "exchange":
        swap._exchange = deadly(swap._exchange)
    else:
        setattr(os, function.rstrip("!"), deadly(getattr(os, function.rstrip("!"))))
    from provender.cli.main import run

    sys.argv = ["provender", *arguments]
    run()
