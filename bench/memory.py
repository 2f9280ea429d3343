"""The peak resident size of `pull` and `sync` of a blob of 2 GiB, from a registry and from a layout."""

from __future__ import annotations

from bench.ground import Ground
from bench.layouts import Layer, write_layout
from bench.material import big_file
from bench.measure import Claim, Outcome, compare
from bench.registry import registry

_TITLE = {"org.opencontainers.image.title": "blob.bin"}
_LIMIT_MIB = 100.0


def run(ground: Ground) -> Outcome | None:
    """Each command once: memory does not depend on how busy the machine is. None where no registry is here."""
    size_mib = ground.scaled(2048)
    layout, out, cache, project = (ground.root / name for name in ("layout", "out", "cache", "project"))
    with registry(ground) as host:
        if host is None:
            return None
        big_file(ground.root / "blob.bin", size_mib)
        ground.call(ground.provender, "push", f"{host}/bench/blob:v1", "blob.bin:application/octet-stream")
        write_layout(layout, [Layer(ground.root / "blob.bin", "application/octet-stream", _TITLE)], tag="v1")
        project.mkdir()
        (project / "provender.yaml").write_text(f"version: 1\ndependencies:\n  blob: {host}/bench/blob:v1\n")
        fresh = [cache, out]
        sync = ground.contender("provender sync, from a registry", [ground.provender, "sync"], cwd=project, fresh=fresh)
        rows = compare(
            [
                ground.contender(
                    "provender pull, from a registry",
                    [ground.provender, "pull", f"{host}/bench/blob:v1", "-o", out],
                    fresh=fresh,
                ),
                ground.contender(
                    "provender pull, from a layout",
                    [ground.provender, "pull", f"layout:{layout}:v1", "-o", out],
                    fresh=fresh,
                ),
                sync,
            ],
            runs=1,
            warm_up=False,
        )
    return Outcome(
        f"Peak memory with a blob of {size_mib} MiB",
        rows,
        tuple(Claim(f"peak of {row.name}", row.peak_mib, _LIMIT_MIB, " MiB") for row in rows),
    )
