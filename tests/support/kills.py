"""kill -9 of pulls and pushes: the artifact that moves, the process that dies, and what has to hold afterwards."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from provender.artifact.pack import Source
from provender.artifact.publish import PublishOptions, publish
from provender.storage.registry import HttpTransport, NoCredentials, RegistryClient
from support import kill_runner
from support.command import succeed_here
from support.forked import FORKS, Child

__all__ = ["ATTACH", "Killable", "PullScene", "PushScene", "RandomKills"]

FILES = {f"file-{number}": hashlib.shake_256(b"%d" % number).digest(50 + 2000 * number) for number in range(6)}
BIG = hashlib.shake_256(b"big").digest((9 << 20) + 11)
OLD = {"file-3": b"the old three", "other": b"not the artifact's"}


class Registry(Protocol):
    """What a scene asks of a registry, whatever it is."""

    @property
    def host(self) -> str: ...
    def manifest(self, repository: str, target: str) -> bytes | None: ...
    def blob(self, repository: str, digest: str) -> bytes | None: ...


class Killable:
    """One command that may be killed and run again; `env` is its environment besides the test's."""

    def __init__(self, directory: Path, arguments: list[str]) -> None:
        self.directory = directory
        self.arguments = arguments
        self.temporary = directory / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.env = {"PROVENDER_CACHE_DIR": str(directory / "cache"), "TMPDIR": str(self.temporary)}

    def start(self, *point: str) -> Child:
        """The command in a process of its own, which dies at the point (see `kill_runner`) if one is given."""
        if not point:
            return FORKS.start(*self.arguments, cwd=self.directory, env=self.env)
        # With one job the calls come one after the other, so that their numbers mean something.
        arguments = [*point, *self.arguments, "--concurrency", "1"]
        return FORKS.start(*arguments, cwd=self.directory, env=self.env, entry=kill_runner.ENTRY)

    def run_again(self) -> None:
        """The command to its end."""
        # The module remembers where temporary files go.
        before, tempfile.tempdir = tempfile.tempdir, None
        try:
            succeed_here(*self.arguments, cwd=self.directory, env=self.env)
        finally:
            tempfile.tempdir = before

    def left_over(self) -> list[str]:
        """Working directories and temporary files of the command."""
        kinds = (".provender-", "tmp")
        below = [path for place in ("out", "cache/tmp") for path in (self.directory / place).rglob("*")]
        found = [path for path in below if any(kind in str(path.relative_to(self.directory)) for kind in kinds)]
        found += [path for path in self.temporary.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.directory)) for path in found)


class PullScene(Killable):
    """A pull with --force over a directory that has an older file and one of somebody else's."""

    def __init__(self, directory: Path, reference: str, files: Mapping[str, bytes]) -> None:
        super().__init__(directory, ["pull", reference, "-o", "out", "--force", "--no-progress"])
        self.files = files
        self.reset()

    @property
    def out(self) -> Path:
        return self.directory / "out"

    def reset(self) -> None:
        """As before the first pull, with an empty cache."""
        for name in ("out", "cache"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        self.out.mkdir()
        for name, content in OLD.items():
            (self.out / name).write_bytes(content)

    def check_after_kill(self, what: object) -> None:
        """Each file is the old one, the new one, or not there yet; every entry of the cache has its digest."""
        for path in self.out.rglob("*"):
            if path.is_file() and not str(path.relative_to(self.out)).startswith(".provender-pull-"):
                found = path.read_bytes()
                assert found in (OLD.get(path.name), self.files.get(path.name)), (what, path.name, len(found))
        assert (self.out / "other").read_bytes() == OLD["other"]
        assert (self.out / "file-3").exists(), what
        for path in (self.directory / "cache" / "blobs").rglob("*"):
            if path.is_file():
                assert hashlib.new(path.parent.name, path.read_bytes()).hexdigest() == path.name, what

    def check_done(self, what: object) -> None:
        """Everything is there, and nothing lies about."""
        expected = {**OLD, **self.files}
        assert {path.name: path.read_bytes() for path in self.out.iterdir()} == expected, what
        assert self.left_over() == [], what


class PushScene(Killable):
    """A push of files, and a directory as an archive, over an older artifact under the same tag."""

    def __init__(self, directory: Path, registry: Registry, repository: str, files: Mapping[str, bytes]) -> None:
        names = sorted(files)
        arguments = ["push", f"{registry.host}/{repository}:1.0", *names, "packed", "--tag", "latest", "--no-progress"]
        super().__init__(directory, [*arguments, "--artifact-type", "application/vnd.test.kills"])
        self._registry = registry
        self._repository = repository
        for name in names:
            (directory / name).write_bytes(files[name])
        (directory / "packed").mkdir(exist_ok=True)
        (directory / "packed" / "inner").write_bytes(b"inner" * 1000)

    def tagged(self, tag: str) -> bytes | None:
        """The manifest that a tag names."""
        return self._registry.manifest(self._repository, tag)

    def check_after_kill(self, what: object, old: bytes | None, new: bytes) -> None:
        """Each tag names the old artifact or the new one, and what it names is there, whole."""
        for tag in ("1.0", "latest"):
            raw = self.tagged(tag)
            assert raw in (old, new), (what, tag)
            if raw is not None:
                view = json.loads(raw)
                for item in (view["config"], *view["layers"]):
                    content = self._registry.blob(self._repository, item["digest"])
                    assert content is not None, (what, tag)
                    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == item["digest"], (what, tag)

    def check_done(self, what: object, new: bytes) -> None:
        """Both tags name the new artifact, and nothing lies about here."""
        assert (self.tagged("1.0"), self.tagged("latest")) == (new, new), what
        self.check_after_kill(what, new, new)
        assert self.left_over() == [], what


class RandomKills:
    """Starts commands and kills them at random times; the times follow how long one takes that nobody kills."""

    def __init__(self, command: Killable, seed: int) -> None:
        self._chance = random.Random(seed)
        began = time.monotonic()
        process = command.start()
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        self._whole_s = time.monotonic() - began
        self.killed = 0

    def kill(self, command: Killable) -> None:
        """One run, killed at some time, or done before."""
        began = time.monotonic()
        process = command.start()
        with suppress(subprocess.TimeoutExpired):
            process.wait(self._whole_s * self._chance.uniform(0.2, 1.0))
        took_s = time.monotonic() - began
        process.kill()
        _, said = process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL), said
        self.killed += process.returncode != 0
        # A machine is busy at times: one that was done before tells how long it takes now.
        self._whole_s = self._whole_s * 1.05 if process.returncode else took_s


ATTACH: Final = (__name__, "attach")


def attach() -> None:
    """Publish a file that refers to acme/app:1.0 at a registry, by the arguments HOST FILE TYPE."""
    host, path, kind = sys.argv[1:]
    with HttpTransport({}) as transport:
        repository = RegistryClient(host, transport=transport, credentials=NoCredentials()).repository("acme/app")
        subject = repository.resolve("1.0").descriptor
        publish(repository, [Source.parse(path)], options=PublishOptions(artifact_type=kind, subject=subject, jobs=1))
