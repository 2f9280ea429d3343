"""A real registry as a process of its own on loopback, for as long as a scenario needs it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.ground import Ground

_START_S = 30.0
_STOP_S = 10.0
_ATTEMPTS = 5
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


_Command = Callable[[str, Path, int], list[str]]


def _distribution(program: str, folder: Path, port: int) -> list[str]:
    config = folder / "config.yml"
    config.write_text(_CONFIGURATION.format(root=folder / "content", port=port))
    return [program, "serve", str(config)]


def _zot(program: str, folder: Path, port: int) -> list[str]:
    config = folder / "config.json"
    storage = {"rootDirectory": str(folder / "content"), "gc": False, "dedupe": False}
    http = {"address": "127.0.0.1", "port": str(port)}
    settings = {"distSpecVersion": "1.1.1", "storage": storage, "http": http, "log": {"level": "error"}}
    config.write_text(json.dumps(settings))
    return [program, "serve", str(config)]


def _olareg(program: str, _folder: Path, port: int) -> list[str]:
    return [program, "serve", "--addr", "127.0.0.1", "--port", str(port), "-v", "error", "--store-type", "mem"]


def _provender(program: str, folder: Path, port: int) -> list[str]:
    return [program, "serve", str(folder / "content"), "--listen", f"127.0.0.1:{port}", "--no-access-log"]


SERVERS: Final[dict[str, _Command]] = {"provender": _provender, "distribution": _distribution, "zot": _zot}
"""The servers that are measured beside each other, ours first."""

_COMMANDS: Final[dict[str, _Command]] = {**SERVERS, "olareg": _olareg}


@contextmanager
def registry(ground: Ground) -> Iterator[str | None]:
    """The host and port of a running registry (distribution 3, else docker-registry 2); None where neither is here."""
    program = ground.peer("distribution") or ground.peer("docker-registry")
    with _running(program, _distribution, ground.root / "registry") as host:
        yield host


@contextmanager
def server(ground: Ground, name: str, *, folder: str | None = None) -> Iterator[str | None]:
    """The host and port of one of `SERVERS` or olareg, running; None where it is not installed.

    A second one needs a `folder` of its own.
    """
    program = ground.provender if name == "provender" else ground.peer(name)
    with _running(program, _COMMANDS[name], ground.root / (folder or f"server-{name}")) as host:
        yield host


@contextmanager
def _running(program: str | None, command: _Command, folder: Path) -> Iterator[str | None]:
    if program is None:
        yield None
        return
    process, host = _start(program, command, folder)
    try:
        yield host
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def put_tags(host: str, repository: str, tag: str, tags: Sequence[str]) -> None:
    """Point further tags at what a tag names."""
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": _MANIFEST})
        answer = connection.getresponse()
        content = answer.read()
        for name in tags:
            headers = {"Content-Type": _MANIFEST}
            connection.request("PUT", f"/v2/{repository}/manifests/{name}", body=content, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                raise SystemExit(f"the registry does not take the tag {name}: {answer.status}")
    finally:
        connection.close()


def _start(program: str, command: _Command, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    folder.mkdir()
    log = folder / "log"
    for _ in range(_ATTEMPTS):
        port = _free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(program, folder, port),
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
