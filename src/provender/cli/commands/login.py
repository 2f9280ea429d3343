"""`provender login`: credentials for a registry, checked and kept where other tools find them."""

from __future__ import annotations

import sys

import click

from provender.cli.options import console_of, output_options, plain_http_option
from provender.cli.services import Services


@click.command("login")
@click.argument("registry")
@click.option("-u", "--username", help="The user; asked for on a terminal.")
@click.option("--password-stdin", is_flag=True, help="Read the password or token from stdin.")
@plain_http_option
@output_options
@click.pass_context
def command(
    ctx: click.Context, registry: str, username: str | None, password_stdin: bool, plain_http: bool | None
) -> None:
    """Check credentials with REGISTRY (host or host:port) and keep them in Docker's config.json, or in its helper.

    \b
    Example:
      provender login ghcr.io -u octo --password-stdin < token
    """
    import os

    from provender.storage.registry import Credential, CredentialStore, FixedCredential

    console = console_of(ctx)
    host = _host(registry)
    user, password = _credentials(username, password_stdin=password_stdin)
    services = Services(console, plain_http=plain_http)
    credential = FixedCredential(host, Credential(username=user, secret=password))
    with services.storages(services.locations(), credentials=credential) as storages:
        is_checked = storages.client(host).ping()
    store = CredentialStore(os.environ)
    place = store.login(host, user, password)
    if not is_checked:
        console.warning(f"{host} asked for no credentials, so these were not checked")
    used = store.lookup(host)
    if used is not None and (used.username, used.secret) != (user, password):
        console.warning(f"{used.source} has other credentials for {host}, which count before these")
    if console.is_json:
        console.document("login", {"registry": host, "username": user, "kept": place})
        return
    console.result(f"logged in to {host} as {user}")
    console.note(f"kept in {place}")


def _host(text: str) -> str:
    from provender.errors import InvalidReference
    from provender.oci import Reference

    try:
        reference = Reference.parse(f"{text}/x")
    except InvalidReference as error:
        raise click.UsageError(f"not a registry: {text[:150]!r}; name a host, such as ghcr.io") from error
    if reference.kind != "registry":
        raise click.UsageError(f"{text[:150]!r} is no host; credentials belong to hosts, not to logical registries")
    return reference.registry


def _credentials(username: str | None, *, password_stdin: bool) -> tuple[str, str]:
    from provender.cli.password import check_credential, password_on_stdin

    if password_stdin:
        if username is None:
            raise click.UsageError("--password-stdin needs --username")
        password = password_on_stdin()
    elif not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on; give --username and --password-stdin")
    else:
        username = username or click.prompt("Username", err=True)
        password = click.prompt("Password", hide_input=True, err=True)
    check_credential(username, password)
    return username, password
