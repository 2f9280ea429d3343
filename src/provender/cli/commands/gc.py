"""`provender gc`: removes what no manifest of a store needs."""

from __future__ import annotations

import re
from pathlib import Path

import click

from provender.cli.console import counted, human_bytes
from provender.cli.options import console_of, output_options

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command("gc")
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--older-than",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="Leave what was pushed or asked for more lately: 90s, 30m, 1h, 7d.",
)
@click.option("--untagged", is_flag=True, help="Remove manifests, too, that nothing tagged holds.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@output_options
@click.pass_context
def command(ctx: click.Context, store: Path, older_than: str, untagged: bool, dry_run: bool) -> None:
    """Remove blobs of STORE, a directory of layouts or one layout, which no manifest in it needs.

    It may run while the store is served and written: what an upload in flight needs is younger than --older-than.

    \b
    Example:
      provender gc ./store --dry-run
      provender gc ./store --untagged --older-than 7d
    """
    from provender.server.garbage import collect

    console = console_of(ctx)
    found = list(collect(store, grace_s=_seconds(older_than), untagged=untagged, dry_run=dry_run))
    if console.is_json:
        rows = [
            {
                "repository": item.repository or None,
                "manifests": item.manifests,
                "blobs": item.blobs,
                "freedBytes": item.freed_bytes,
                "keptBlobs": item.kept_blobs,
            }
            for item in found
        ]
        console.document("gc", {"store": str(store), "dryRun": dry_run, "repositories": rows})
        return
    for item in found:
        if item.blobs or item.manifests:
            what = _said(item.manifests, item.blobs, item.freed_bytes)
            console.note(f"{item.repository or store}: {what}", level=1)
    total = _said(*(sum(values) for values in _columns([(i.manifests, i.blobs, i.freed_bytes) for i in found])))
    console.result(f"{'would remove' if dry_run else 'removed'} {total}")


def _columns(rows: list[tuple[int, int, int]]) -> list[tuple[int, ...]]:
    return list(zip(*rows, strict=True)) or [(), (), ()]


def _said(manifests: int, blobs: int, size: int) -> str:
    parts = [counted(blobs, "blob", "blobs")]
    if manifests:
        parts.insert(0, counted(manifests, "manifest", "manifests"))
    return f"{' and '.join(parts)}, {human_bytes(size)}"


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise click.UsageError(f"--older-than {text}: write a number and a unit, such as 30m or 7d")
    return int(match[1]) * _UNITS[match[2]]
