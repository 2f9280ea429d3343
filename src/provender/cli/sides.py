"""The two sides of a copy: options for each, and their storages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from provender.cli.console import Console
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.locations import Locations
    from provender.oci import Reference
    from provender.storage.open import Storages
    from provender.storage.registry import CredentialSource, UploadSettings

__all__ = ["Side", "side_options", "sides_of", "two_sides"]

_SMALL_BYTES = 64 << 10

_F = TypeVar("_F", bound=Callable[..., object])


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """How one side is spoken to, where that differs from the other."""

    plain_http: bool | None = None
    authfile: str | None = None
    username: str | None = None
    password_stdin: bool = False


def side_options(function: _F) -> _F:
    """`--from-…` and `--to-…`, for every command that reads from one place and writes to another."""
    for side, what in (("to", "the destination"), ("from", "the source")):
        for option in reversed(
            (
                click.option(
                    f"--{side}-plain-http/--no-{side}-plain-http",
                    f"{side}_plain_http",
                    default=None,
                    help=f"No TLS to {what}; or TLS.",
                ),
                click.option(
                    f"--{side}-authfile",
                    f"{side}_authfile",
                    type=click.Path(dir_okay=False),
                    help=f"The file with the credentials for {what}.",
                ),
                click.option(f"--{side}-username", f"{side}_username", metavar="NAME", help=f"The user at {what}."),
                click.option(
                    f"--{side}-password-stdin",
                    f"{side}_password_stdin",
                    is_flag=True,
                    help="Read that user's password or token from stdin.",
                ),
            )
        ):
            function = option(function)
    return function


def sides_of(options: dict[str, object]) -> tuple[Side, Side]:
    """The source's and the destination's side from the parsed options."""
    sides = tuple(
        msgspec.convert(
            {name: options[f"{side}_{name}"] for name in ("plain_http", "authfile", "username", "password_stdin")},
            Side,
        )
        for side in ("from", "to")
    )
    for side, name in zip(sides, ("from", "to"), strict=True):
        if (side.username is None) == side.password_stdin:
            raise click.UsageError(f"--{name}-username and --{name}-password-stdin belong together")
        if side.username is not None and side.authfile is not None:
            raise click.UsageError(f"--{name}-username and --{name}-authfile exclude each other")
    if sides[0].password_stdin and sides[1].password_stdin:
        raise click.UsageError("only one password can come from stdin; log in to the other registry")
    return sides[0], sides[1]


@contextmanager
def two_sides(
    console: Console,
    sides: tuple[tuple[Side, Reference], tuple[Side, Reference]],
    *,
    registries: tuple[str, ...],
    plain_http: bool | None,
    jobs: int,
) -> Iterator[tuple[Storages, Storages]]:
    """The storages of the source and of the destination: the same where both are spoken to in the same way.

    Only then can a registry take blobs over from one repository into another.
    """
    with ExitStack() as stack:
        found: dict[Side, Storages] = {}
        for side, reference in sides:
            if side not in found:
                said = plain_http if side.plain_http is None else side.plain_http
                services = Services(console, registries=registries, plain_http=said, jobs=jobs)
                locations = services.nearby_locations()
                credentials = _credentials(side, locations, reference)
                opening = services.storages(locations, credentials=credentials, upload=_many_small_blobs())
                found[side] = stack.enter_context(opening)
        yield found[sides[0][0]], found[sides[1][0]]


def _many_small_blobs() -> UploadSettings:
    """Configs, signatures and SBOMs: what a missing manifest needs is missing, so most of them are simply sent."""
    from provender.storage.registry import UploadSettings

    return UploadSettings(small_bytes=_SMALL_BYTES)


def _credentials(side: Side, locations: Locations, reference: Reference) -> CredentialSource | None:
    if side.authfile is None and side.username is None:
        return None
    import os

    from provender.cli.password import check_credential, password_on_stdin
    from provender.storage.registry import Credential, CredentialStore, FixedCredential

    if side.username is None:
        return CredentialStore(os.environ, authfile=side.authfile)
    host = None if reference.kind == "layout" else locations.place(reference).host
    if host is None:
        raise click.UsageError(f"{reference} is no registry, so it takes no user")
    password = password_on_stdin()
    check_credential(side.username, password)
    return FixedCredential(host.lower(), Credential(username=side.username, secret=password))
