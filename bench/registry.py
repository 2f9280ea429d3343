"""A real registry as a process of its own on loopback, for as long as a scenario needs it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.ground import Ground

_START_S = 30.0
_STOP_S = 10.0
_ATTEMPTS = 5
_CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@contextmanager
def registry(ground: Ground) -> Iterator[str | None]:
    """The host and port of a running registry (distribution 3, else docker-registry 2); None where neither is here."""
    program = ground.peer("distribution") or ground.peer("docker-registry")
    if program is None:
        yield None
        return
    process, host = _start(program, ground.root / "registry")
    try:
        yield host
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(program: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    folder.mkdir()
    config, log = folder / "config.yml", folder / "log"
    for _ in range(_ATTEMPTS):
        port = _free_port()
        config.write_text(_CONFIGURATION.format(root=folder / "content", port=port))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # distribution 3 sends traces to a collector unless told not to.
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )
        if _answers(process, port):
            return process, f"127.0.0.1:{port}"
        process.kill()
        process.wait()
    raise SystemExit(f"the registry does not start; its last words:\n{log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    """A port that is free now; another process may take it before the registry does, hence the attempts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    ends = time.monotonic() + _START_S
    while time.monotonic() < ends and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/v2/")
            if connection.getresponse().status == 200 and process.poll() is None:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return False
