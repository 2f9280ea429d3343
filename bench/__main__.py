"""`python -m bench [NAME...]`: runs scenarios, prints their tables, and keeps every figure in bench/results/.

Run from the root of the checkout with the environment that provender is installed in.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bench import blob, extract, many, memory, noop, relocation, serve, startup, tags, vendoring
from bench.ground import Ground
from bench.material import drop
from bench.measure import Outcome, as_json, show

SCENARIOS: dict[str, Callable[[Ground], Outcome | Iterator[Outcome] | None]] = {
    "extract": extract.run,  # first: before anything deletes files, see Ground.contender
    "startup": startup.run,
    "noop": noop.run,
    "blob": blob.run,
    "many": many.run,
    "tags": tags.run,
    "memory": memory.run,
    "vendoring": vendoring.run,
    "relocation": relocation.with_api,
    "relocation-tags": relocation.without_api,
    "serve-put": serve.put,
    "serve-get": serve.get,
    "serve-small": serve.small,
}
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every scenario ran; goals that were missed are printed, since the machine may be busy."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(SCENARIOS)}; all unless given")
    parser.add_argument("--runs", type=int, default=5, help="how often each contender is measured (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="a fraction of the material, to try the set-up")
    parser.add_argument("--work", type=Path, help="where to work; needs 10 GiB (the system's temporary directory)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to put the JSON (%(default)s)")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in SCENARIOS]:
        parser.error(f"no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    # As for Ctrl-C: registries are stopped and the work directory goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {chosen.runs} runs; medians, ratios by pairs")
    for name in chosen.names or SCENARIOS:
        work = Path(tempfile.mkdtemp(prefix="provender-bench-", dir=chosen.work))
        try:
            ground = Ground(work, runs=chosen.runs, scale=chosen.scale)
            found = SCENARIOS[name](ground)
            outcomes = [] if found is None else _shown([found] if isinstance(found, Outcome) else found, chosen.scale)
        finally:
            drop(work)
        if not outcomes:
            print(f"\n{name}: left out, a peer is missing")
            continue
        chosen.results.mkdir(parents=True, exist_ok=True)
        about = {"scenario": name, "python": platform.python_version(), "cores": os.cpu_count(), "scale": chosen.scale}
        text = json.dumps({**about, "outcomes": [as_json(outcome) for outcome in outcomes]}, indent=2)
        (chosen.results / f"{name}.json").write_text(f"{text}\n")
    return 0


def _shown(outcomes: Iterable[Outcome], scale: float) -> list[Outcome]:
    """The outcomes, each printed as soon as it is there."""
    found: list[Outcome] = []
    for outcome in outcomes:
        show(outcome, is_judged=scale == 1)
        sys.stdout.flush()
        found.append(outcome)
    return found


if __name__ == "__main__":
    sys.exit(main())
