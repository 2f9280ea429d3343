"""Run the unit tests on every other Python >= 3.11 of this machine, each in its own environment."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv" / "bin" / "uv"
ASK = """
import sys
free_threaded = hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled()
print(sys.implementation.name, *sys.version_info[:3], free_threaded)
"""


def candidates() -> Iterator[Path]:
    """Files that may be interpreters: `python3.N` on PATH, and those that pyenv keeps off it."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield from sorted(Path(folder).glob("python3.[0-9][0-9]")) if folder else ()
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((pyenv / "versions").glob("3.*/bin/python3"))


def interpreters() -> dict[str, Path]:
    """The newest patch release of each CPython >= 3.11 found, without the one of `.venv`, by `major.minor`."""
    found: dict[str, tuple[tuple[int, ...], Path]] = {}
    for path in candidates():
        answer = subprocess.run([str(path), "-c", ASK], capture_output=True, text=True, check=False)
        if answer.returncode:
            continue
        name, *numbers, free_threaded = answer.stdout.split()
        version = tuple(int(number) for number in numbers)
        key = f"{version[0]}.{version[1]}"
        usable = name == "cpython" and free_threaded == "False" and version >= (3, 11)
        if usable and version[:2] != sys.version_info[:2] and (key not in found or version > found[key][0]):
            found[key] = (version, path)
    return {key: path for key, (_, path) in sorted(found.items())}


def passes(name: str, path: Path, workers: int) -> bool:
    """True if the unit tests pass on the interpreter at `path`."""
    print(f"--- Python {name}", flush=True)
    folder = ROOT / ".venvs" / name
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)}
    sync = [str(UV), "sync", "--quiet", "--frozen", "--inexact", "--python", str(path)]
    tests = [str(folder / "bin" / "pytest"), "-n", str(workers), "--dist", "worksteal", "-m", "not interop"]
    return all(subprocess.run(step, cwd=ROOT, env=environment, check=False).returncode == 0 for step in (sync, tests))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    others = interpreters()
    if not others:
        print("no other Python >= 3.11 on this machine")
    failed = [name for name, path in others.items() if not passes(name, path, workers)]
    if failed:
        print(f"failed on Python {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
