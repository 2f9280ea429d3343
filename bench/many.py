"""An artifact of 1,000 blobs of 10 kB, pulled and pushed, with the concurrency that each client has and with 8 each.

crane and skopeo are left out: they take time by the square of the number of layers (over ten and a hundred seconds).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.clients import clients, contest
from bench.ground import Ground
from bench.measure import Outcome
from bench.registry import registry

_BYTES = 10_000
_LEFT_OUT = ("crane", "skopeo")
_EQUAL_JOBS = 8


def run(ground: Ground) -> Iterator[Outcome]:
    """Pull, then push, by default and at equal concurrency; nothing where no registry is here."""
    count = ground.scaled(1000)
    with registry(ground) as host:
        if host is None:
            return
        source = ground.root / "source"
        source.mkdir()
        pick = random.Random(13)
        for number in range(count):
            (source / f"f{number:04d}.bin").write_bytes(pick.randbytes(_BYTES))
        competing = clients(ground, host, without=_LEFT_OUT)
        ground.call(*competing[-1].push("bench/many:v1", source), cwd=source)
        out, cache, aside = ground.root / "out", ground.root / "cache", ground.root / "aside"
        for jobs in (None, _EQUAL_JOBS):
            competing = clients(ground, host, jobs=jobs, without=_LEFT_OUT)
            how = "" if jobs is None else f", {jobs} at once where that can be said"
            yield contest(
                ground,
                f"Pull {count} blobs of 10 kB{how}",
                [
                    ground.contender(one.name, one.pull("bench/many:v1", out), fresh=[out, cache], aside=aside)
                    for one in competing
                ],
            )
        content = ground.root / "registry" / "content"
        for jobs in (None, _EQUAL_JOBS):
            competing = clients(ground, host, jobs=jobs, without=_LEFT_OUT)
            how = "" if jobs is None else f", {jobs} at once where that can be said"
            yield contest(
                ground,
                f"Push {count} blobs of 10 kB to an empty registry{how}",
                [
                    ground.contender(
                        one.name, one.push("bench/many:v1", source), cwd=source, fresh=[content, cache], aside=aside
                    )
                    for one in competing
                ],
            )
