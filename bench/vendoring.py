"""The same vendir.yml by vendir and by provender: 12 images in a registry and 8 Git repositories, 20 ms away.

Cold: nothing is cached. Warm: it was synced once, tags and branches are asked for again. Locked: `--locked` in a fresh
checkout with a warm cache. No-op: `--locked` again, nothing changed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.ground import Ground
from bench.latency import delayed
from bench.material import drop, small_files
from bench.measure import Claim, Contender, Outcome, compare
from bench.registry import registry

_ROUND_TRIP_S = 0.020
_IMAGES = 12
_REPOSITORIES = 8
_FILES = 60
_COMMITS = 30
_GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@example.invalid", "-c", "init.defaultBranch=main")
_START_S = 20.0


def run(ground: Ground) -> Outcome | None:
    """Four states of the project, each measured for both, in pairs."""
    vendir, imgpkg = ground.peer("vendir"), ground.peer("imgpkg")
    if vendir is None or imgpkg is None or shutil.which("git") is None:
        return None
    provender = str(Path(ground.provender).with_name("provender-vendir"))
    images, repositories = ground.scaled(_IMAGES), ground.scaled(_REPOSITORIES)
    with registry(ground) as host, _git_daemon(ground.root / "repositories") as git_host:
        if host is None:
            return None
        _publish(ground, imgpkg, host, images)
        _commit(ground, repositories)
        with (
            delayed(host, round_trip_s=_ROUND_TRIP_S) as (near_registry, registry_relay),
            delayed(git_host, round_trip_s=_ROUND_TRIP_S) as (near_git, git_relay),
        ):
            config = _config(near_registry, near_git, images, repositories)
            theirs, ours = ground.root / "theirs", ground.root / "ours"
            for place in (theirs, ours):
                place.mkdir()
                (place / "vendir.yml").write_text(config)
            cache = Path(ground.env["XDG_CACHE_HOME"])

            def contender(name: str, program: str, place: Path, *options: str, before: Callable[[], None]) -> Contender:
                return Contender(name, [program, "sync", *options], place, before, ground.env)

            aside = ground.root / "aside"
            aside.mkdir()

            def cold(place: Path) -> Callable[[], None]:
                return lambda: _forget(place, [cache] if place == ours else [], aside)

            def checkout(place: Path) -> Callable[[], None]:
                return lambda: _forget(place, [], aside, keeps_lock=True)

            def nothing() -> None:
                pass

            rows = [
                *compare(
                    [
                        contender("vendir, cold", vendir, theirs, before=cold(theirs)),
                        contender("provender, cold", provender, ours, before=cold(ours)),
                    ],
                    runs=ground.runs,
                    warm_up=False,
                ),
                *compare(
                    [
                        contender("vendir, warm", vendir, theirs, before=nothing),
                        contender("provender, warm", provender, ours, before=nothing),
                    ],
                    runs=ground.runs,
                ),
                *compare(
                    [
                        contender(
                            "vendir, locked, fresh checkout", vendir, theirs, "--locked", before=checkout(theirs)
                        ),
                        contender(
                            "provender, locked, fresh checkout", provender, ours, "--locked", before=checkout(ours)
                        ),
                    ],
                    runs=ground.runs,
                    warm_up=False,
                ),
            ]
            before = _counted(registry_relay), _counted(git_relay)
            ours_alone = compare(
                [contender("provender, no-op", provender, ours, "--locked", before=nothing)], runs=ground.runs
            )
            asked = sum(
                now[0] - was[0]
                for now, was in zip((_counted(registry_relay), _counted(git_relay)), before, strict=True)
            )
            theirs_alone = compare(
                [contender("vendir, no-op", vendir, theirs, "--locked", before=nothing)],
                runs=ground.runs,
                warm_up=False,
            )
            rows += [*theirs_alone, *ours_alone]
            _check_same(theirs, ours)
    pairs = {
        name: rows[2 * number + 1].ratio(rows[2 * number])
        for number, name in enumerate(("cold", "warm", "locked", "no-op"))
    }
    return Outcome(
        f"vendir.yml: {images} images and {repositories} Git repositories, {_ROUND_TRIP_S * 1000:.0f} ms away",
        tuple(rows),
        (
            Claim("cold, provender over vendir", pairs["cold"], 1 / 5),
            Claim("no-op, provender over vendir", pairs["no-op"], 1 / 20),
            Claim("no-op, connections of provender", asked, 0, ""),
        ),
    )


def _config(registry_host: str, git_host: str, images: int, repositories: int) -> str:
    lines = ["apiVersion: vendir.k14s.io/v1alpha1", "kind: Config", "directories:", "- path: vendor", "  contents:"]
    for number in range(images):
        lines += [f"  - path: image{number:02d}", f"    image: {{url: '{registry_host}/bench/app{number:02d}:1.0.0'}}"]
    for number in range(repositories):
        url = f"git://{git_host}/r{number:02d}.git"
        # vendir keeps the repository's own directory, which is no content and never the same twice.
        lines += [f"  - path: git{number:02d}", f"    git: {{url: '{url}', ref: origin/main}}"]
        lines += ["    excludePaths: ['.git/**/*']"]
    return "\n".join([*lines, ""])


def _publish(ground: Ground, imgpkg: str, host: str, images: int) -> None:
    tree = ground.root / "content"
    small_files(tree, count=images * _FILES, size=2048, per_folder=_FILES)
    for number, folder in enumerate(sorted(tree.iterdir())[:images]):
        ground.call(imgpkg, "push", "-i", f"{host}/bench/app{number:02d}:1.0.0", "-f", folder)
    drop(tree)


def _commit(ground: Ground, repositories: int) -> None:
    for number in range(repositories):
        source = ground.root / "source"
        source.mkdir()
        ground.call(*_GIT, "init", "--quiet", cwd=source)
        for commit in range(_COMMITS):
            for name in range(_FILES // 4):
                (source / f"f{name:02d}.txt").write_text(f"{number} {commit if name % 5 == 0 else 0} {name}\n" * 40)
            ground.call(*_GIT, "add", "--all", cwd=source)
            ground.call(*_GIT, "commit", "--quiet", "-m", f"Change {commit}", cwd=source)
        target = ground.root / "repositories" / f"r{number:02d}.git"
        ground.call("git", "clone", "--quiet", "--bare", source, target)
        ground.call("git", "config", "uploadpack.allowFilter", "true", cwd=target)
        ground.call("git", "config", "uploadpack.allowAnySHA1InWant", "true", cwd=target)
        drop(source)


def _forget(place: Path, more: list[Path], aside: Path, *, keeps_lock: bool = False) -> None:
    """Have nothing there. It is moved aside: whoever creates files next is not to pay for deleting (see `Ground`)."""
    for path in (place / "vendor", place / ".provender", *more):
        if path.exists():
            path.rename(aside / str(len(os.listdir(aside))))
    if not keeps_lock:
        (place / "vendir.lock.yml").unlink(missing_ok=True)
    os.sync()


def _counted(relay: subprocess.Popen[str]) -> tuple[int, int]:
    """Connections and bytes so far."""
    if relay.stdin is None or relay.stdout is None:
        raise SystemExit("the relay has no pipes")
    relay.stdin.write("\n")
    relay.stdin.flush()
    connections, size = relay.stdout.readline().split()
    return int(connections), int(size)


def _check_same(theirs: Path, ours: Path) -> None:
    """Both have to have laid and locked the same."""
    if (theirs / "vendir.lock.yml").read_bytes() != (ours / "vendir.lock.yml").read_bytes():
        raise SystemExit("the locks differ")
    listed = [
        {
            str(path.relative_to(place)): path.read_bytes()
            for path in (place / "vendor").rglob("*")
            if path.is_file() and ".git" not in path.parts
        }
        for place in (theirs, ours)
    ]
    if listed[0] != listed[1]:
        raise SystemExit("the files differ")


@contextmanager
def _git_daemon(root: Path) -> Iterator[str]:
    """`host:port` of git's own daemon over the repositories below `root`."""
    root.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [
            "git",
            "daemon",
            "--reuseaddr",
            "--export-all",
            f"--base-path={root}",
            "--listen=127.0.0.1",
            f"--port={port}",
            str(root),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
