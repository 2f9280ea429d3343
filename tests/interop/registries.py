"""Real registries as processes of their own on loopback: started when asked for, stopped at the end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from interop.programs import Program, lookup

USER = "ada"
PASSWORD = "correct horse"
# bcrypt of PASSWORD with the least cost: htpasswd is rarely installed.
HTPASSWD = f"{USER}:$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"

_START_S = 30.0
_STOP_S = 10.0
_ATTEMPTS = 5
_CONFIGURATION = """\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: "127.0.0.1:{port}"}}
validation: {{manifests: {{urls: {{allow: ["^https?://"]}}}}}}
{auth}
"""

_Command = Callable[[Program, Path, int, bool], list[str]]


def _distribution(program: Program, directory: Path, port: int, auth: bool) -> list[str]:
    passwords = directory / "htpasswd"
    passwords.write_text(HTPASSWD)
    clause = f"auth: {{htpasswd: {{realm: interop, path: {passwords}}}}}" if auth else ""
    config = directory / "config.yml"
    config.write_text(_CONFIGURATION.format(root=directory / "content", port=port, auth=clause))
    return [str(program.path), "serve", str(config)]


def _olareg(store: str) -> _Command:
    def command(program: Program, directory: Path, port: int, _auth: bool) -> list[str]:
        options = ["--store-type", store, "--dir", str(directory / "content"), "--api-delete", "--api-blob-delete"]
        (directory / "content").mkdir(exist_ok=True)
        return [str(program.path), "serve", "--addr", "127.0.0.1", "--port", str(port), "-v", "info", *options]

    return command


def _zot(program: Program, directory: Path, port: int, auth: bool) -> list[str]:
    config, passwords = directory / "config.json", directory / "htpasswd"
    passwords.write_text(HTPASSWD)
    guard = {"auth": {"htpasswd": {"path": str(passwords)}}} if auth else {}
    config.write_text(
        json.dumps(
            {
                "distSpecVersion": "1.1.1",
                "storage": {"rootDirectory": str(directory / "content")},
                # Without the last key zot refuses Docker's media types, which imgpkg writes.
                "http": {"address": "127.0.0.1", "port": str(port), "compat": ["docker2s2"], **guard},
                "log": {"level": "info"},
            }
        )
    )
    return [str(program.path), "serve", str(config)]


# name -> (the peer that it is, its command line)
_KINDS: dict[str, tuple[str, _Command]] = {
    "docker-registry": ("docker-registry", _distribution),
    "distribution": ("distribution", _distribution),
    "olareg-mem": ("olareg", _olareg("mem")),
    "olareg-dir": ("olareg", _olareg("dir")),
    "zot": ("zot", _zot),
}
# What is only found is used where it is; its absence is one line of the summary, no skips.
ABSENT = {kind: reason for kind in ("zot",) if isinstance(reason := lookup(_KINDS[kind][0]), str)}
KINDS = tuple(kind for kind in _KINDS if kind not in ABSENT)
WITH_PASSWORDS = tuple(kind for kind in ("docker-registry", "distribution", "zot") if kind in KINDS)
"""The kinds that can be started with Basic authentication."""


class Registry(NamedTuple):
    """A registry that runs."""

    kind: str
    program: Program
    host: str
    log: Path
    process: subprocess.Popen[bytes]

    def log_size(self) -> int:
        return self.log.stat().st_size

    def log_since(self, offset: int, *, limit: int = 4000) -> str:
        """The end of what it wrote from `offset` on."""
        with self.log.open("rb") as file:
            file.seek(max(offset, self.log_size() - limit))
            return file.read(limit).decode("utf-8", "replace")


class Registries:
    """The registries of a session: one process for each kind, with and without passwords."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[tuple[str, bool], Registry] = {}

    def get(self, kind: str, *, auth: bool = False) -> Registry:
        """The running registry of that kind; the test is skipped where its program is missing."""
        registry = self._running.get((kind, auth))
        if registry is None:
            found = lookup(_KINDS[kind][0])
            if isinstance(found, str):
                pytest.skip(found)
            registry = self._running[kind, auth] = self._start(kind, found, auth)
        assert registry.process.poll() is None, f"{kind} died:\n{registry.log_since(0)}"
        return registry

    def available(self) -> list[Registry]:
        """Every kind whose program is here, running."""
        return [self.get(kind) for kind, (peer, _) in _KINDS.items() if isinstance(lookup(peer), Program)]

    def stop(self) -> None:
        """End every process and remove its content."""
        running = list(self._running.values())
        self._running.clear()
        for registry in running:
            registry.process.terminate()
        for registry in running:
            _end(registry.process)
            shutil.rmtree(registry.log.parent / "content", ignore_errors=True)

    def _start(self, kind: str, program: Program, auth: bool) -> Registry:
        said = ""
        for attempt in range(_ATTEMPTS):
            directory = self._directory / f"{kind}{'-auth' if auth else ''}-{attempt}"
            directory.mkdir(parents=True)
            port = _free_port()
            log = directory / "log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    _KINDS[kind][1](program, directory, port, auth),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    # distribution 3 sends traces to a collector unless told not to.
                    env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
                )
            registry = Registry(kind, program, f"127.0.0.1:{port}", log, process)
            if _answers(registry, 401 if auth else 200):
                return registry
            _end(process)
            said = registry.log_since(0)
        raise AssertionError(f"{program.title} does not start ({_ATTEMPTS} attempts); its last words:\n{said}")


def _free_port() -> int:
    """A port that is free now; another process may take it before the registry does, hence the attempts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(registry: Registry, status: int) -> bool:
    """True once `/v2/` answers with that status while the process lives: another's port would answer after it died."""
    ends = time.monotonic() + _START_S
    while time.monotonic() < ends and registry.process.poll() is None:
        connection = http.client.HTTPConnection(registry.host, timeout=2)
        try:
            connection.request("GET", "/v2/")
            if connection.getresponse().status == status and registry.process.poll() is None:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)
