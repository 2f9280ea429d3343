"""How each client does the same job: an artifact's files to disk, files to an artifact, the tags of a repository.

Each with its own way to have the content in files: oras, regctl and provender as named files, crane in an OCI layout,
skopeo in a directory of its form. `run` pairs them up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.ground import Ground
from bench.measure import Claim, Contender, Outcome, compare

CLIENTS = ("oras", "crane", "regctl", "skopeo")
_WITHIN = 1.05


class Client(NamedTuple):
    """The commands of one client. `pull` gets a reference and an empty directory, `push` what `pull` left in it."""

    name: str
    pull: Callable[[str, Path], Sequence[str | Path]]
    push: Callable[[str, Path], Sequence[str | Path]]
    tags: Callable[[str], Sequence[str | Path]]


def clients(ground: Ground, host: str, *, jobs: int | None = None, without: Sequence[str] = ()) -> list[Client]:
    """The clients that are installed, provender last; `jobs` is the concurrency of those that can be told one."""
    found = [
        _client(name, program, host, jobs)
        for name in CLIENTS
        if name not in without and (program := ground.peer(name)) is not None
    ]
    return [*found, _client("provender", ground.provender, host, jobs)]


def claims(rows_of: Outcome) -> Outcome:
    """The outcome with the goal: provender, the last row, against each of the others."""
    *others, mine = rows_of.rows
    return rows_of._replace(
        claims=tuple(Claim(f"{mine.name} over {other.name}", mine.ratio(other), _WITHIN) for other in others)
    )


def contest(ground: Ground, title: str, contenders: Sequence[Contender], *, runs: int | None = None) -> Outcome:
    """All contenders in turn."""
    return claims(Outcome(title, compare(contenders, runs=runs or ground.runs)))


def names(folder: Path) -> list[str]:
    """The files of a directory, as they are named to a client that works in it."""
    return sorted(path.name for path in folder.iterdir())


def _client(name: str, program: str, host: str, jobs: int | None) -> Client:
    flag = _concurrency(jobs)
    plain = [f"--host=reg={host},tls=disabled"]
    trusting = ["--insecure-policy"]
    match name:
        case "oras":
            words = ["--plain-http", "--no-tty", *flag]
            return Client(
                name,
                lambda ref, out: [program, "pull", *words, f"{host}/{ref}", "-o", out],
                lambda ref, out: [program, "push", *words, f"{host}/{ref}", *names(out)],
                lambda repository: [program, "repo", "tags", "--plain-http", f"{host}/{repository}"],
            )
        case "crane":
            return Client(
                name,
                lambda ref, out: [program, "pull", "--insecure", "--format=oci", f"{host}/{ref}", out / "layout"],
                lambda ref, out: [program, "push", "--insecure", out / "layout", f"{host}/{ref}"],
                lambda repository: [program, "ls", "--insecure", f"{host}/{repository}"],
            )
        case "regctl":
            return Client(
                name,
                lambda ref, out: [program, "artifact", "get", *plain, f"{host}/{ref}", "-o", out],
                lambda ref, out: [
                    *(program, "artifact", "put", *plain, "--artifact-type=application/vnd.example.bench.v1"),
                    *("--file-title", *(word for file in names(out) for word in ("-f", file, "-m", _TYPE))),
                    f"{host}/{ref}",
                ],
                lambda repository: [program, "tag", "ls", *plain, f"{host}/{repository}"],
            )
        case "skopeo":
            return Client(
                name,
                lambda ref, out: [
                    *(program, "copy", *trusting, "--src-tls-verify=false"),
                    *(f"docker://{host}/{ref}", f"dir:{out}"),
                ],
                lambda ref, out: [
                    *(program, "copy", *trusting, "--dest-tls-verify=false"),
                    *(f"dir:{out}", f"docker://{host}/{ref}"),
                ],
                lambda repository: [program, "list-tags", "--tls-verify=false", f"docker://{host}/{repository}"],
            )
        case _:
            quarter = _concurrency(None if jobs is None else jobs // 4)  # of small blobs four count as one
            return Client(
                name,
                lambda ref, out: [program, "pull", *quarter, f"{host}/{ref}", "-o", out],
                lambda ref, out: [program, "push", *flag, f"{host}/{ref}", *names(out)],
                lambda repository: [program, "tags", f"{host}/{repository}"],
            )


def _concurrency(jobs: int | None) -> list[str]:
    return [] if jobs is None else ["--concurrency", str(jobs)]


_TYPE = "application/octet-stream"
