"""Signals: Ctrl-C and SIGTERM become exceptions, raised where those meet them who have something to take back.

CLI layer, below `edge`.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

__all__ = ["Terminated", "handle_signals"]

_DELAY_S: Final = 0.001
# A loop that calls nothing could put it off for ever.
_MOST_DELAYS: Final = 100


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C but for its exit status."""


def handle_signals() -> None:
    """Have SIGTERM and Ctrl-C raised in the main thread; a Ctrl-C that the parent ignores stays ignored.

    A shell ignores it for background jobs (`sh -c 'cmd &'`) and hands that down.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None, *, delays: int = _MOST_DELAYS) -> None:
    """Raise, but a moment later if the code is just jumping back to the start of a loop.

    CPython 3.13 leaves many such jumps out of its exception tables (python/cpython#130279): `with` blocks, `finally`
    and `except` around the loop would not be met.
    """
    if delays and frame is not None and hasattr(signal, "setitimer") and _is_jumping_back(frame):
        signal.signal(signal.SIGALRM, lambda _, later: _interrupt(number, later, delays=delays - 1))
        signal.setitimer(signal.ITIMER_REAL, _DELAY_S)
        return
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _is_jumping_back(frame: FrameType) -> bool:
    from opcode import opname

    return opname[frame.f_code.co_code[frame.f_lasti]].startswith("JUMP_BACKWARD")
