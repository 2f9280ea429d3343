"""A repository of 1,000 tags, listed: one answer of a few kilobytes, so mostly what it takes to start a program."""

from __future__ import annotations

from collections.abc import Iterator

from bench.clients import claims, clients
from bench.ground import Ground
from bench.measure import Outcome, compare
from bench.registry import put_tags, registry

# The least that Python can do: no site, no module that is not in C, and the answer printed as it comes.
_LEAST = """\
import sys, _socket
host, port, repository = sys.argv[1:]
source = _socket.socket()
source.connect((host, int(port)))
source.send(f"GET /v2/{repository}/tags/list HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n".encode())
while piece := source.recv(65536):
    sys.stdout.buffer.write(piece)
"""


def run(ground: Ground) -> Iterator[Outcome]:
    """Every client, and what Python itself takes to compare with; nothing where no registry is here."""
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
        least = ground.contender(
            "the least program in Python",
            [ground.python, "-I", "-S", "-c", _LEAST, *host.split(":"), "bench/tags"],
        )
        contenders = [ground.contender(one.name, one.tags("bench/tags")) for one in competing]
        rows = compare([bare, least, *contenders], runs=3 * ground.runs)
        judged = claims(Outcome(f"List {count} tags", rows[2:]))
        yield judged._replace(rows=(*judged.rows, *rows[:2]))
