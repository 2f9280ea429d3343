"""`provender serve` beside distribution 3 and zot: large uploads and downloads, and many small downloads."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.ground import Ground
from bench.material import big_file
from bench.measure import Claim, Outcome, Row, compare
from bench.registry import SERVERS, server

_CLIENT = Path(__file__).with_name("plain_client.py")
_REPOSITORY = "bench/blob"
_SMALL_BLOBS = 50


def put(ground: Ground) -> Outcome | None:
    """A blob of 1 GiB pushed to each."""
    size_mib = ground.scaled(1024)
    blob = ground.root / "blob.bin"
    big_file(blob, size_mib)
    rows = _rows(ground, "put", lambda _host: [str(blob)])
    return _judged(f"Push a blob of {size_mib} MiB to a server on loopback", rows, is_large=True)


def get(ground: Ground) -> Outcome | None:
    """The same blob read from each."""
    size_mib = ground.scaled(1024)
    blob = ground.root / "blob.bin"
    big_file(blob, size_mib)
    rows = _rows(ground, "get", lambda host: [_pushed(ground, host, blob)])
    return _judged(f"Read a blob of {size_mib} MiB from a server on loopback", rows, is_large=True)


def small(ground: Ground) -> Outcome | None:
    """5,000 small blobs read from each."""
    count = ground.scaled(5000)
    paths = [ground.root / f"small-{number}.bin" for number in range(_SMALL_BLOBS)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d\n" % number * 500)
    rows = _rows(ground, "small", lambda host: [str(count), *(_pushed(ground, host, path) for path in paths)])
    return _judged(f"Read {count} small blobs from a server on loopback", rows, is_large=False)


def _rows(ground: Ground, what: str, prepared: Callable[[str], Sequence[str]]) -> tuple[Row, ...]:
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(server(ground, name)) for name in SERVERS}
        contenders = [
            ground.contender(
                f"{what} {name}",
                [ground.python, "-I", _CLIENT, what, host, _REPOSITORY, *prepared(host)],
                fresh=[ground.root / "nothing"],  # whose making waits until the disk is idle
            )
            for name, host in hosts.items()
            if host is not None
        ]
        return compare(contenders, runs=ground.runs)


def _pushed(ground: Ground, host: str, path: Path) -> str:
    command: Sequence[str | Path] = [ground.python, "-I", _CLIENT, "put", host, _REPOSITORY, path]
    done = subprocess.run(command, env=dict(ground.env), capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.strip()


def _judged(title: str, rows: tuple[Row, ...], *, is_large: bool) -> Outcome | None:
    """Large: within 20 % of the faster of the others; small: not slower than the slower of them."""
    mine, *others = rows
    if not others:
        return None
    ratios = [mine.ratio(other) for other in others]
    names = " and ".join(row.name.partition(" ")[2] for row in others)
    if is_large:
        claim = Claim(f"wall time over the faster of {names}", max(ratios), 1.2)
    else:
        claim = Claim(f"wall time over the slower of {names}", min(ratios), 1.0)
    return Outcome(title, rows, (claim,))
