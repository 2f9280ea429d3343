"""An artifact of one tar+gzip layer with 20,000 small files, laid on disk; GNU tar unpacks the same blob."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.ground import Ground
from bench.layouts import Layer, write_layout
from bench.material import archive, small_files
from bench.measure import Claim, Outcome, Row, compare

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def run(ground: Ground) -> Outcome:
    """`provender pull` of a layout against `tar -xzf`, with and without what each takes for a single file."""
    count = ground.scaled(20_000)
    out, aside = ground.root / "out", ground.root / "aside"
    contenders = []
    for text, files in ((f"{count} files", count), ("one file", 1)):
        layout = ground.root / f"layout-{files}"
        blob = _store(ground, layout, files)
        contenders += [
            ground.contender(f"GNU tar -xzf, {text}", ["tar", "-xzf", blob, "-C", out], fresh=[out], aside=aside),
            ground.contender(
                f"provender pull, {text}",
                [ground.provender, "pull", f"layout:{layout}:v1", "-o", out],
                fresh=[out],
                aside=aside,
            ),
        ]
    rows = compare(contenders, runs=ground.runs)
    tar, pull, tar_one, pull_one = rows
    return Outcome(
        f"Extract a tar+gzip layer of {count} files of 4 KiB",
        rows,
        (
            Claim("provender pull over GNU tar, whole processes", pull.ratio(tar), 1.0),
            Claim("the same without what one file takes", _net_ratio(pull, pull_one, tar, tar_one), 1.0),
        ),
    )


def _store(ground: Ground, layout: Path, files: int) -> Path:
    """A layout with one artifact of so many files; where the blob of its archive is."""
    tree, packed = ground.root / f"tree-{files}", ground.root / "packed.tar.gz"
    small_files(tree, count=files)
    archive(tree, packed)
    return write_layout(layout, [Layer(packed, _LAYER)], tag="v1")[0]


def _net_ratio(mine: Row, mine_one: Row, other: Row, other_one: Row) -> float:
    pairs = zip(mine.runs, mine_one.runs, other.runs, other_one.runs, strict=True)
    return statistics.median((a.wall_s - b.wall_s) / (c.wall_s - d.wall_s) for a, b, c, d in pairs)
