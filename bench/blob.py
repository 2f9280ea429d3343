"""A blob of 1 GiB pulled from, and pushed to, a registry on this machine, side by side with all peers."""

from __future__ import annotations

from collections.abc import Iterator

from bench.clients import clients, contest
from bench.ground import Ground
from bench.material import big_file, drop
from bench.measure import Outcome
from bench.registry import registry


def run(ground: Ground) -> Iterator[Outcome]:
    """Pull, then push; nothing where no registry is here."""
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
