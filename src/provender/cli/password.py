"""The user and password that a command was given: on stdin, by options, at a prompt."""

from __future__ import annotations

import sys

import click

__all__ = ["check_credential", "password_on_stdin"]


def password_on_stdin() -> str:
    """One line, as `docker login` reads it; a token file ends in a newline that is not part of the token."""
    try:
        return sys.stdin.read(1 << 20).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.UsageError("the password is not UTF-8") from error


def check_credential(username: str, password: str) -> None:
    """A usage error for what is no credential (RFC 7617), or could not be kept as one."""
    if not password:
        raise click.UsageError("the password is empty")
    for what, text in (("user name", username), ("password", password)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise click.UsageError(f"the {what} is not UTF-8") from error
