"""A blob of 1 GiB pulled from a registry on this machine, side by side with `oras pull`."""

from __future__ import annotations

from bench.ground import Ground
from bench.material import big_file
from bench.measure import Claim, Outcome, compare
from bench.registry import registry

_FILE = "blob.bin:application/octet-stream"


def run(ground: Ground) -> Outcome | None:
    """`provender pull` against `oras pull`; None where registry or oras are missing."""
    size_mib = ground.scaled(1024)
    oras = ground.peer("oras")
    with registry(ground) as host:
        if host is None or oras is None:
            return None
        big_file(ground.root / "blob.bin", size_mib)
        ground.call(oras, "push", "--plain-http", "--no-tty", f"{host}/bench/blob:v1", _FILE)
        (ground.root / "blob.bin").unlink()
        out = ground.root / "out"
        fresh = [out, ground.root / "cache"]
        rows = compare(
            [
                ground.contender(
                    "oras pull",
                    [oras, "pull", "--plain-http", "--no-tty", f"{host}/bench/blob:v1", "-o", out],
                    fresh=fresh,
                ),
                ground.contender(
                    "provender pull", [ground.provender, "pull", f"{host}/bench/blob:v1", "-o", out], fresh=fresh
                ),
            ],
            runs=ground.runs,
        )
    reference, mine = rows
    return Outcome(
        f"Pull a blob of {size_mib} MiB from a registry on loopback",
        rows,
        (Claim("provender pull over oras pull", mine.ratio(reference), 1.0),),
    )
