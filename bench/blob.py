"""A blob of 1 GiB pulled from, and pushed to, a registry on this machine, side by side with all peers.

crane pushes a layout, whose digests are known, and hashes nothing; so layouts are copied side by side as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.clients import clients, contest
from bench.ground import Ground
from bench.material import big_file, drop
from bench.measure import Outcome
from bench.registry import registry


def run(ground: Ground) -> Iterator[Outcome]:
    """Pull, push, then copy a layout; nothing where no registry is here."""
    size_mib = ground.scaled(1024)
    with registry(ground) as host:
        if host is None:
            return
        competing = clients(ground, host)
        source = ground.root / "source"
        source.mkdir()
        big_file(source / "blob.bin", size_mib)
        ground.call(*competing[-1].push("bench/blob:v1", source), cwd=source)
        drop(source)
        out, cache = ground.root / "out", ground.root / "cache"
        yield contest(
            ground,
            f"Pull a blob of {size_mib} MiB from a registry on loopback",
            [ground.contender(one.name, one.pull("bench/blob:v1", out), fresh=[out, cache]) for one in competing],
        )
        drop(out)
        for one in competing:
            (folder := ground.root / one.name).mkdir()
            ground.call(*one.pull("bench/blob:v1", folder))
        content = ground.root / "registry" / "content"
        yield contest(
            ground,
            f"Push a blob of {size_mib} MiB to an empty registry on loopback",
            [
                ground.contender(
                    one.name,
                    one.push("bench/blob:v1", ground.root / one.name),
                    cwd=ground.root / one.name,
                    fresh=[content, cache],
                )
                for one in competing
            ],
        )
        layout = ground.root / "crane" / "layout"
        if layout.is_dir():
            yield contest(
                ground,
                f"Copy a layout with a blob of {size_mib} MiB to an empty registry on loopback",
                [
                    ground.contender(name, command, fresh=[content, cache])
                    for name, command in _copies(ground, layout, host, "bench/blob:v1")
                ],
            )


def _copies(ground: Ground, layout: Path, host: str, ref: str) -> Iterator[tuple[str, Sequence[str | Path]]]:
    """How each client copies the one manifest of a layout, ours last."""
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    if crane := ground.peer("crane"):
        yield "crane", [crane, "push", "--insecure", layout, f"{host}/{ref}"]
    if regctl := ground.peer("regctl"):
        plain = f"--host=reg={host},tls=disabled"
        yield "regctl", [regctl, "image", "copy", plain, f"ocidir://{layout}@{digest}", f"{host}/{ref}"]
    yield "provender", [ground.provender, "copy", f"layout:{layout}@{digest}", f"{host}/{ref}"]
