"""The archive of a relocation: written from all legs of a plan, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.archiving import check_name, compression_of, opened_archive, refuse_existing, there
from provender.cli.console import Console, counted, human_bytes

if TYPE_CHECKING:
    from provender.relocate.apply import Applied, ApplyChoices
    from provender.relocate.plan import RelocationPlan
    from provender.storage.open import Storages

__all__ = ["write_relocated"]


def write_relocated(
    console: Console,
    plan: RelocationPlan,
    path: Path,
    sides: tuple[Storages, Storages],
    *,
    choices: ApplyChoices,
    since: str | None,
    split: int | None,
) -> tuple[Applied, ...]:
    """Write the archive that the plan goes to, and give what was done for each of its legs."""
    from provender.relocate.gates import refuse_unfit
    from provender.relocate.to_archive import applied, packing
    from provender.transfer.archive_out import archive

    if choices.shard.count > 1:
        raise click.UsageError("an archive is written at once: leave out --shard, or make one plan for each part")
    check_name(path)
    refuse_existing(path, is_split=split is not None, is_forced=choices.is_forced)
    refuse_unfit(plan.legs, sides[0], requirement=choices.requirement, verifier=choices.verifier)
    packed = packing(plan, sides[0], jobs=choices.jobs)
    without = frozenset() if since is None else there(console, packed.graph, sides[1], since, jobs=choices.jobs)
    with opened_archive(path, split) as file:
        written = archive(
            packed.graph,
            packed.source,
            file,
            without=without,
            compression=compression_of(path),
            names=packed.names,
            progress=console.progress(),
        )
        parts = file.commit() or ()
    console.stop_progress()
    what = f"{counted(len(plan.legs), 'repository', 'repositories')} in {path.name}"
    lacks = (
        f"; it lacks {counted(len(written.left_out), 'blob', 'blobs')} of the other side" if written.left_out else ""
    )
    in_parts = f" in {counted(len(parts), 'part', 'parts')}" if parts else ""
    console.note(f"{what}, {human_bytes(written.content_bytes)}{in_parts}{lacks}")
    return applied(plan, without)
