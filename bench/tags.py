"""A repository of 1,000 tags, listed: one answer of a few kilobytes, so mostly what it takes to start a program."""

from __future__ import annotations

from collections.abc import Iterator

from bench.clients import claims, clients
from bench.ground import Ground
from bench.measure import Outcome, compare
from bench.registry import put_tags, registry


def run(ground: Ground) -> Iterator[Outcome]:
    """Every client, and a bare interpreter to compare with; nothing where no registry is here."""
    count = ground.scaled(1000)
    with registry(ground) as host:
        if host is None:
            return
        competing = clients(ground, host)
        source = ground.root / "source"
        source.mkdir()
        (source / "file.txt").write_text("content\n")
        ground.call(*competing[-1].push("bench/tags:latest", source), cwd=source)
        put_tags(host, "bench/tags", "latest", [f"1.{number}.0" for number in range(count)])
        bare = ground.contender("a bare interpreter", [ground.python, "-c", "pass"])
        contenders = [ground.contender(one.name, one.tags("bench/tags")) for one in competing]
        rows = compare([bare, *contenders], runs=3 * ground.runs)
        judged = claims(Outcome(f"List {count} tags", rows[1:]))
        yield judged._replace(rows=(*judged.rows, rows[0]))
