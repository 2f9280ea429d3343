"""`provender logout`: forgets the credentials of a registry."""

from __future__ import annotations

import click

from provender.cli.options import console_of, output_options


@click.command("logout")
@click.argument("registry")
@output_options
@click.pass_context
def command(ctx: click.Context, registry: str) -> None:
    """Remove the credentials of REGISTRY from where `login` keeps them.

    \b
    Example:
      provender logout ghcr.io
    """
    import os

    from provender.storage.registry import CredentialStore

    console = console_of(ctx)
    store = CredentialStore(os.environ)
    was_there = store.logout(registry)
    if (left := store.lookup(registry)) is not None:
        console.warning(f"{left.source} has credentials for {registry} still")
    if console.is_json:
        console.document("logout", {"registry": registry, "removed": was_there})
        return
    console.result(f"logged out of {registry}" if was_there else f"there were no credentials for {registry}")
