"""`provender serve`: a registry over a store, a layout, an archive or memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from provender.cli.console import Console, clean
from provender.cli.options import console_of, output_options

if TYPE_CHECKING:
    from provender.server.access import Access
    from provender.server.hosts import HostRule
    from provender.server.run import Listening

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("serve")
@click.argument("store", required=False, type=click.Path(path_type=Path))
@click.option(
    "--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Where; port 0 takes a free one."
)
@click.option("--name", metavar="REPOSITORY", help="What a single layout is called (its file name).")
@click.option("--read-only", is_flag=True, help="Take nothing.")
@click.option("--allow-sparse", is_flag=True, help="Take manifests whose blobs are elsewhere.")
@click.option("--htpasswd", type=_FILE, metavar="FILE", help="Users with bcrypt passwords, from 'htpasswd -B'.")
@click.option(
    "--auth",
    type=click.Choice(["htpasswd", "token"]),
    default=None,
    help="How users of --htpasswd log in: Basic (htpasswd), or the token flow of Docker.",
)
@click.option("--anonymous-pull", is_flag=True, help="With --htpasswd: everybody may read.")
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="PEM certificate chain.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="PEM key of --tls-cert.")
@click.option("--allow-remote", is_flag=True, help="Serve other machines although nobody has to log in.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="Answer to this host name on loopback too.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Lines on stderr."
)
@click.option("--no-access-log", is_flag=True, help="No line for each request.")
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    store: Path | None,
    listen: str,
    name: str | None,
    read_only: bool,
    allow_sparse: bool,
    htpasswd: Path | None,
    auth: Literal["htpasswd", "token"] | None,
    anonymous_pull: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    allow_remote: bool,
    hosts: tuple[str, ...],
    log_format: Literal["text", "json"],
    no_access_log: bool,
) -> None:
    """Serve STORE as a registry: a directory of layouts, one layout, an archive (read-only), or memory without it.

    It speaks the whole of distribution-spec 1.1. Stop it with Ctrl-C. It is meant for one machine, a laboratory or an
    air gap; run zot or Harbor where many people depend on it. An archive of several repositories has all of them,
    unless it gets one --name.

    \b
    Example:
      provender serve ./store
      provender serve bundle.tar --listen 127.0.0.1:0
      provender serve /srv/oci --listen 0.0.0.0:5000 --htpasswd users --tls-cert c.pem --tls-key k.pem
    """
    from provender.server.log import Log
    from provender.server.run import bind, require_extra, serve
    from provender.server.stores import open_store

    require_extra()
    from provender.server.app import create_app

    console = console_of(ctx)
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    if htpasswd is None and (auth or anonymous_pull):
        raise click.UsageError("--auth and --anonymous-pull need --htpasswd with the users")
    host, port = _address(listen)
    rule = _host_rule(console, host, hosts, allow_remote=allow_remote, has_users=htpasswd is not None)
    access = None if htpasswd is None else _access(htpasswd, auth or "htpasswd", anonymous_pull=anonymous_pull)
    if access is not None and tls_cert is None and not _is_local(host):
        console.warning("passwords pass over the network in the clear; give --tls-cert and --tls-key")
    opened = open_store(store, name=name)
    log = Log(_line, style=log_format, with_requests=not (no_access_log or console.quiet))

    def ready(place: Listening) -> None:
        _announce(console, place, opened.title, is_writable=opened.is_writable and not read_only)

    tls = (tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    app = create_app(opened, log=log, access=access, hosts=rule, read_only=read_only, allow_sparse=allow_sparse)
    serve(app, bind(host, port), log=log, tls=tls, ready=ready)
    console.note("stopped")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.UsageError(f"--listen {clean(text)}: write HOST:PORT, such as 127.0.0.1:5000 or [::1]:0")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_local(host: str) -> bool:
    from provender.server.hosts import is_loopback

    return is_loopback(host)


def _host_rule(console: Console, host: str, hosts: tuple[str, ...], *, allow_remote: bool, has_users: bool) -> HostRule:
    from provender.server.hosts import HostRule

    if _is_local(host):
        return HostRule(hosts)
    if not has_users:
        if not allow_remote:
            raise click.UsageError(
                f"--listen {host} is open to other machines, and nobody would have to log in: "
                "give --htpasswd, or --allow-remote if that is meant"
            )
        console.warning("every machine that reaches this one may read and write here, without logging in")
    return HostRule(check_host=False)


def _access(path: Path, scheme: Literal["htpasswd", "token"], *, anonymous_pull: bool) -> Access:
    from provender.server.access import Access, Passwords

    return Access(Passwords.read(path), scheme=scheme, anonymous_pull=anonymous_pull)


def _announce(console: Console, place: Listening, title: str, *, is_writable: bool) -> None:
    url = f"{'https' if place.is_tls else 'http'}://{place.address}"
    if console.is_json:
        console.document("serve", {"url": url, "registry": place.address, "store": title, "writable": is_writable})
    else:
        console.result(f"serving {clean(title)} at {url}" + ("" if is_writable else ", read-only"))
    sys.stdout.flush()


def _line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
