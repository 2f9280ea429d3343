"""The edge: runs one command and turns whatever it raises into one message on stderr and an exit status.

The only place with a broad `except`, and the only one that knows the exit statuses of failures that are not ours.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Final, TextIO

import click

from provender.cli.console import STDOUT, Console
from provender.cli.group import root
from provender.cli.signals import Terminated, handle_signals
from provender.errors import IntegrityError, InvalidDocument, InvalidProject, InvalidReference, ProvenderError

__all__ = ["guarded"]

INTERRUPTED = 130
TERMINATED = 143
BROKEN_PIPE = 141
_COMPLETION: Final = "_PROVENDER_COMPLETE"


def guarded(
    arguments: list[str],
    *,
    command: click.Command = root,
    name: str = "provender",
    retell: Callable[[Console, BaseException], int | None] | None = None,
) -> int:
    """The exit status of the command line `arguments`, with everything said that there is to say.

    `retell` says some failures in the words of another tool, and gives their exit status.
    """
    _open_streams()
    console = Console.from_environment(os.environ)
    if _wants_json(arguments, name):  # known before the options are read, which may be what fails
        console.format = "json"
    handle_signals()
    try:
        status = _run(arguments, console, command, name)
        console.flush()
    except BaseException as error:
        told = None if retell is None else retell(console, error)
        status = _report(console, error) if told is None else told
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _silence(stream)
    return status


def _wants_json(arguments: list[str], name: str) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if (name == "vendir" or options[:1] == ["vendir"]) and not {"--json", "--json=true"}.isdisjoint(options):
        return True
    return "--format=json" in options or ("--format", "json") in pairwise(options)


def _run(arguments: list[str], console: Console, command: click.Command, name: str) -> int:
    if _COMPLETION in os.environ:
        command.main(args=arguments, prog_name=name, complete_var=_COMPLETION, standalone_mode=False, obj=console)
        return 0
    # Not `main`, which has its own mind on Ctrl-C, SIGTERM and broken pipes.
    with command.make_context(name, list(arguments), obj=console) as ctx:
        status = command.invoke(ctx)
    return status if isinstance(status, int) else 0


def _report(console: Console, error: BaseException) -> int:
    console.stop_progress()
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case click.exceptions.Abort() | KeyboardInterrupt():
            # A prompt makes an Abort of either.
            is_terminated = isinstance(error, Terminated) or isinstance(error.__context__, Terminated)
            status = TERMINATED if is_terminated else INTERRUPTED
            text = "interrupted; what was finished is kept, nothing is half done"
            console.failure(text, code="interrupted", exit_status=status, retryable=True)
            return status
        case BrokenPipeError():
            return BROKEN_PIPE
        case click.exceptions.NoArgsIsHelpError():
            console.help(error.format_message())
            return error.exit_code
        case click.UsageError():
            _usage(console, error)
            return error.exit_code
        case click.ClickException():
            console.failure(error.format_message(), code="usage", exit_status=error.exit_code)
            return error.exit_code
        case ProvenderError():
            error.where = error.where or console.subject or console.directory
            error.hint = error.hint or _general_hint(error)
            console.error(error)
            return error.exit_status
        case OSError():
            return _system_failure(console, error)
        case _:
            return _bug(console, error)


def _general_hint(error: ProvenderError) -> str | None:
    """What to do about a kind of error, where nothing better is known about this one."""
    match error:
        case InvalidDocument() | IntegrityError():
            return "nothing of it was kept; ask whoever published it, or take another version"
        case InvalidProject():
            return "correct it there; nothing was changed"
        case InvalidReference():
            return "write host/repository:tag, or alias/repository:tag"
        case _:
            return "try again" if error.retryable else None


def _usage(console: Console, error: click.UsageError) -> None:
    path = error.ctx.command_path if error.ctx is not None else "provender"
    console.failure(error.format_message(), code="usage", exit_status=2, hint=f"see {path} --help")


def _system_failure(console: Console, error: OSError) -> int:
    where = (
        os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else console.directory or console.subject
    )
    hints = {
        errno.ENOSPC: "free some space and run again; what was finished is kept, nothing is half done",
        errno.EDQUOT: "make room in the disk quota and run again; what was finished is kept, nothing is half done",
        errno.EFBIG: "the file system, or a limit on this process (ulimit -f), allows no file of that size",
        errno.EROFS: "mount it writable, or work on another file system",
    }
    denied = isinstance(error, PermissionError)
    if error.filename == STDOUT:
        hint = "the work was done, but what there is to say of it could not be written there"
    elif denied:
        hint = "the file system refuses it: check owner and mode"
    else:
        hint = hints.get(error.errno or 0, "look at this path and the disk below it")
    status = 77 if denied else 74
    text = (error.strerror or str(error) or type(error).__name__).lower()
    console.failure(text, code="local-io", exit_status=status, where=where, hint=hint)
    return status


def _bug(console: Console, error: BaseException) -> int:
    if console.debug:
        import traceback

        traceback.print_exception(error)
    text = f"{type(error).__name__}: {error}"
    hint = "this is a bug in provender; run again with --debug and report what it prints"
    console.failure(text, code="bug", exit_status=70, hint=hint)
    return 70


def _open_streams() -> None:
    """Give a process that was started with closed streams open ones, which no file that it opens can come to be."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(fd)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _silence(stream: TextIO) -> None:
    # The interpreter flushes at exit; with the reader gone that would print a second complaint and spoil the status.
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, stream.fileno())
    os.close(sink)
