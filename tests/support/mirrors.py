"""A location with mirrors, each a test registry of its own, and what reads from them without waiting."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from provender.locations import Locations
from provender.oci import Descriptor, Reference
from provender.storage.open import Opened, Storages
from provender.storage.registry import HttpTransport, RetryPolicy, Timing
from support.registry import TestRegistry

__all__ = ["Mirrors", "closed_port", "secrets_in"]


@contextmanager
def closed_port() -> Iterator[str]:
    """A host and port where nobody listens, and nobody else will while the test runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


def secrets_in(registry: TestRegistry, others: Sequence[TestRegistry]) -> list[str]:
    """What of the credentials of `others` arrived at `registry`, in any header, path or body."""
    secrets = [
        form
        for other in others
        for form in (other.password, base64.b64encode(f"{other.username}:{other.password}".encode()).decode())
    ]
    return [
        secret
        for request in registry.requests
        for secret in secrets
        if secret in f"{request.target} {dict(request.headers)} {request.body!r}"
    ]


class Mirrors:
    """The alias `acme` at `location`, with `mirrors` (host, or host and resolve); `text` is more of the file."""

    def __init__(
        self,
        directory: Path,
        location: str,
        *mirrors: str | tuple[str, bool],
        fallback: str = "location",
        text: str = "",
        read_timeout_s: float = 5,
    ) -> None:
        self.directory = directory
        self.slept: list[float] = []
        self.time = 1_000_000.0
        self.warnings: list[str] = []
        listed = [
            {"location": each, "resolve": False} if isinstance(each, str) else {"location": each[0], "resolve": each[1]}
            for each in mirrors
        ]
        binding = {"location": location, "mirrors": listed, "fallback": fallback}
        path = directory / ".provender" / "registries.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"version: 1\nregistries: {json.dumps({'acme': binding})}\n{text}\n")
        environ = {"HOME": str(directory), "DOCKER_CONFIG": str(directory)}
        self.transport = HttpTransport({}, read_timeout_s=read_timeout_s)
        locations = Locations.gather(
            environ=environ, cwd=directory, project_dir=directory, system_dir=directory / "etc"
        )
        self.storages = Storages(
            locations,
            environ=environ,
            transport=self.transport,
            policy=RetryPolicy(tries=3, first_tries=2),
            timing=Timing(
                sleep=self._sleep, monotonic=lambda: self.time, now=lambda: self.time, jitter=lambda most: most
            ),
            warn=self.warnings.append,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.storages.close()
        self.transport.close()

    def know(self, *registries: TestRegistry) -> None:
        """Let the user have credentials for these registries; before anything is asked."""
        auths = {each.host: {"username": each.username, "password": each.password} for each in registries}
        (self.directory / "config.json").write_text(json.dumps({"auths": auths}))

    def open(self, reference: str = "acme/tool") -> Opened:
        return self.storages.open(Reference.parse(reference))

    def read(self, content: bytes, reference: str = "acme/tool") -> bytes:
        """A blob, read to its end, from wherever it comes."""
        descriptor = Descriptor.of(content, "application/octet-stream")
        with self.open(reference).storage.fetch(descriptor) as reader:
            return b"".join(iter(reader.read, b""))

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
