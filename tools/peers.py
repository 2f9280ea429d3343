"""The foreign registries and clients that `make interop` and `make bench` run against: installs and finds them.

`tools/peers.toml` pins them; this file puts them into a cache outside the tree, `$PROVENDER_PEERS` or
`${XDG_CACHE_HOME:-~/.cache}/provender/peers`, one directory `<name>@<version>` each. A peer that cannot be had is one
line of output and never a failed build. Standard library only: it runs before anything else is set up.

A peer of kind found is never installed, only used where somebody put it: the program that `$PROVENDER_<NAME>` names,
`<name>/bin/<command>` in the cache, or the one on the PATH.

    python tools/peers.py install [--for interop|bench]
    python tools/peers.py env [--for interop|bench] [--format shell|json]
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PEERS_FILE = Path(__file__).with_name("peers.toml")
USES = ("interop", "bench")
BUDGET_S = 1800.0
"""The longest one `install` may take, all peers together."""

_LOCK_WAIT_S = 900.0
_REASON_CHARS = 220
_KINDS = ("go", "gotest", "gosource", "apt", "pip", "found")
_FROM_MODULES = ("go", "gotest", "gosource")
_ROLES = ("client", "registry", "library")
_REQUIRED = frozenset({"name", "role", "kind", "package", "version", "command", "needed_by", "timeout_s"})
_REQUIRED_OF_FOUND = _REQUIRED - {"package", "timeout_s"}
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f-\x9f]+")


class PeersFileError(ValueError):
    """`peers.toml` says something that this tool cannot act on."""


class UnavailableError(Exception):
    """One peer could not be had; the message is the one line that says why."""


class Peer(NamedTuple):
    """One pinned program; `module` is empty but for what is built from a Go module, `package` for kind found."""

    name: str
    role: str
    kind: str
    module: str
    package: str
    version: str
    command: str
    environment: dict[str, str]
    needed_by: tuple[str, ...]
    timeout_s: float

    @property
    def title(self) -> str:
        """The name and version, as the cache and every message write them."""
        return f"{self.name}@{self.version}"

    def receipt(self) -> dict[str, object]:
        """What decides the installed bytes: an installation whose receipt differs is made again."""
        receipt: dict[str, object] = {
            "kind": self.kind,
            "module": self.module,
            "package": self.package,
            "version": self.version,
            "environment": self.environment,
        }
        if self.kind == "gosource":
            receipt["source"] = hashlib.sha256(self.source.read_bytes()).hexdigest()
        return receipt

    @property
    def source(self) -> Path:
        """The file of ours that a peer of kind gosource is built from."""
        return PEERS_FILE.parent / self.package


def load(path: Path = PEERS_FILE) -> tuple[Peer, ...]:
    """Every pinned peer in the file's order. Raises PeersFileError for a malformed file."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise PeersFileError(f"{path.name}: {error}") from error
    tables = document.get("peer")
    if set(document) != {"peer"} or not isinstance(tables, list):
        raise PeersFileError(f"{path.name}: expected [[peer]] tables and nothing else")
    peers = tuple(_peer(table, f"{path.name}: peer {number}") for number, table in enumerate(tables, 1))
    names = [peer.name for peer in peers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PeersFileError(f"{path.name}: pinned twice: {', '.join(twice)}")
    return peers


def _peer(table: object, where: str) -> Peer:
    if not isinstance(table, dict):
        raise PeersFileError(f"{where}: not a table")
    if "kind" in table and table["kind"] not in _KINDS:
        raise PeersFileError(f"{where}: kind = {table['kind']!r} is not one of {', '.join(_KINDS)}")
    required = _REQUIRED_OF_FOUND if table.get("kind") == "found" else _REQUIRED
    required |= {"module"} if table.get("kind") in _FROM_MODULES else frozenset()
    if lacking := sorted(required - set(table)):
        raise PeersFileError(f"{where}: lacks {', '.join(lacking)}")
    if unknown := sorted(set(table) - required - {"environment"}):
        raise PeersFileError(f"{where}: unknown key {', '.join(unknown)}")
    texts = {key: table[key] for key in sorted(required - {"needed_by", "timeout_s"})}
    for key, value in texts.items():
        if not isinstance(value, str) or not value:
            raise PeersFileError(f"{where}: {key} must be a text, not {value!r}")
    timeout_s, needed_by, environment = table.get("timeout_s", 1), table["needed_by"], table.get("environment", {})
    checks = {
        "name": _NAME.fullmatch(texts["name"]),
        "version": _SAFE.fullmatch(texts["version"]),
        "command": _SAFE.fullmatch(texts["command"]),
        "role": texts["role"] in _ROLES,
        "timeout_s": type(timeout_s) is int and timeout_s > 0,
        "needed_by": isinstance(needed_by, list) and needed_by and all(use in USES for use in needed_by),
        "environment": isinstance(environment, dict) and all(isinstance(text, str) for text in environment.values()),
        "package": not texts.get("package", "").startswith("-"),
    }
    if wrong := [key for key, holds in checks.items() if not holds]:
        raise PeersFileError(f"{where}: {wrong[0]} = {table.get(wrong[0])!r} is not allowed")
    return Peer(
        name=texts["name"],
        role=texts["role"],
        kind=texts["kind"],
        module=texts.get("module", ""),
        package=texts.get("package", ""),
        version=texts["version"],
        command=texts["command"],
        environment=dict(environment),
        needed_by=tuple(needed_by),
        timeout_s=float(timeout_s),
    )


def cache_root(environ: Mapping[str, str] | None = None) -> Path:
    """The directory that holds the installed peers; it need not exist."""
    environ = os.environ if environ is None else environ
    if chosen := environ.get("PROVENDER_PEERS"):
        return Path(chosen).expanduser().absolute()
    caches = environ.get("XDG_CACHE_HOME", "")
    # The base directory specification says that a relative value is to be ignored.
    base = Path(caches) if os.path.isabs(caches) else Path(environ.get("HOME") or Path.home()) / ".cache"
    return base / "provender" / "peers"


def find(name: str, *, environ: Mapping[str, str] | None = None) -> Path | None:
    """The program of an installed peer, or None when it is not installed as pinned. KeyError for an unknown name."""
    environ = os.environ if environ is None else environ
    return _located(_named(name), environ)


def version(name: str) -> str:
    """The pinned version of a peer. KeyError for an unknown name."""
    return _named(name).version


def missing(use: str | None = None, *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name -> reason for every peer (of one use, or of all) that is not installed as pinned."""
    environ = os.environ if environ is None else environ
    return {peer.name: _reason(peer, environ) for peer in _needed(use) if _located(peer, environ) is None}


def _named(name: str) -> Peer:
    for peer in load():
        if peer.name == name:
            return peer
    raise KeyError(f"{name} is not pinned in {PEERS_FILE.name}")


def _needed(use: str | None) -> tuple[Peer, ...]:
    return tuple(peer for peer in load() if use is None or use in peer.needed_by)


def _home(peer: Peer, environ: Mapping[str, str]) -> Path:
    return cache_root(environ) / peer.title


def _located(peer: Peer, environ: Mapping[str, str]) -> Path | None:
    if peer.kind == "found":
        named = environ.get(variable(peer.name))
        places = [Path(named)] if named else [cache_root(environ) / peer.name / "bin" / peer.command]
        if program := next((path for path in places if path.is_file() and os.access(path, os.X_OK)), None):
            return program.absolute()
        if named:
            return None  # a wrong name is told, not made up for
    if peer.kind in ("apt", "found"):
        found = shutil.which(peer.command, path=environ.get("PATH", os.defpath))
        return Path(found) if found else None
    program = _home(peer, environ) / "bin" / peer.command
    receipt = _receipt(peer, environ)
    current = all(receipt.get(key) == value for key, value in peer.receipt().items())
    return program if current and os.access(program, os.X_OK) else None


def _receipt(peer: Peer, environ: Mapping[str, str]) -> dict[str, object]:
    try:
        document = json.loads((_home(peer, environ) / "receipt.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def variable(name: str) -> str:
    """The variable that names the program of a peer of kind found."""
    return "PROVENDER_" + name.upper().replace("-", "_")


def _reason(peer: Peer, environ: Mapping[str, str]) -> str:
    """Why the last attempt failed. It is kept to be read, never to skip the next attempt."""
    if peer.kind == "found":
        if named := environ.get(variable(peer.name)):
            return f"{variable(peer.name)} names no program: {named}"
        return f"it is not installed for you; put it on the PATH or name it in {variable(peer.name)}"
    try:
        return (cache_root(environ) / f"{peer.title}.failed").read_text(encoding="utf-8").strip()
    except OSError:
        return "not installed; run `python tools/peers.py install`"


class Installer:
    """Installs peers one after the other within one budget of time."""

    def __init__(self, environ: Mapping[str, str], *, budget_s: float = BUDGET_S) -> None:
        self._environ = dict(environ)
        self._ends = time.monotonic() + budget_s
        self._lists_fresh = False
        self._make: dict[str, Callable[[Peer, Path, float], None]] = {
            "go": self._install_go,
            "gotest": self._install_go,
            "gosource": self._install_go,
            "apt": self._install_apt,
            "pip": self._install_pip,
        }

    def install(self, peer: Peer) -> float:
        """Installs one peer; the seconds it took. Raises UnavailableError with the one line that says why not."""
        started = time.monotonic()
        failed = cache_root(self._environ) / f"{peer.title}.failed"
        try:
            self._attempt(peer, started)
        except (UnavailableError, OSError) as error:
            reason = _one_line(str(error))
            _write(failed, reason)
            raise UnavailableError(reason) from error
        failed.unlink(missing_ok=True)
        return time.monotonic() - started

    def _attempt(self, peer: Peer, started: float) -> None:
        home = _home(peer, self._environ)
        self._make[peer.kind](peer, home, min(self._ends, started + peer.timeout_s))
        if peer.kind != "apt":
            seconds = round(time.monotonic() - started, 1)
            _write(home / "receipt.json", json.dumps({**peer.receipt(), "seconds": seconds}, indent=2))
        if _located(peer, self._environ) is None:
            raise UnavailableError(f"the installation brought no program {peer.command}")

    def _install_go(self, peer: Peer, home: Path, deadline: float) -> None:
        go = self._tool("go")
        shutil.rmtree(home, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="provender-peer-") as work:
            # Not `go install module@version`: since Go 1.23 that also asks the proxy for the list of all versions, to
            # warn of deprecation (golang/go#71414), and fails where only the list is withheld.
            lines = (f"module peer.invalid/{peer.name}", "go 1.24", f"require {peer.module} {peer.version}")
            _write(Path(work) / "go.mod", "\n\n".join(lines))
            verb = ["test", "-c"] if peer.kind == "gotest" else ["build", "-buildvcs=false"]
            package = peer.package
            if peer.kind == "gosource":
                shutil.copyfile(peer.source, Path(work) / "main.go")
                package = "."
            argv = [go, *verb, "-mod=mod", "-p", "2", "-trimpath"]
            argv += ["-o", str(home / "bin" / peer.command), package]
            self._run(argv, deadline, cwd=work, environ={"GOWORK": "off", "GO111MODULE": "on", **peer.environment})

    def _install_pip(self, peer: Peer, home: Path, deadline: float) -> None:
        shutil.rmtree(home, ignore_errors=True)
        self._run([sys.executable, "-m", "venv", str(home)], deadline)
        argv = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:"]
        self._run([*argv, f"{peer.package}=={peer.version}"], deadline, environ=peer.environment)

    def _install_apt(self, peer: Peer, _home: Path, deadline: float) -> None:
        apt = self._tool("apt-get")
        if os.geteuid() != 0:
            raise UnavailableError(f"needs root: apt-get install {peer.package}")
        argv = [apt, "-y", "-q", "-o", "DPkg::Lock::Timeout=60", "install", "--no-install-recommends", peer.package]
        quiet = {"DEBIAN_FRONTEND": "noninteractive", **peer.environment}
        try:
            self._run(argv, deadline, environ=quiet)
        except UnavailableError:
            if self._lists_fresh:
                raise
            self._lists_fresh = True
            self._run([apt, "-q", "update"], deadline, environ=quiet)
            self._run(argv, deadline, environ=quiet)

    def _tool(self, name: str) -> str:
        found = shutil.which(name, path=self._environ.get("PATH", os.defpath))
        if found is None:
            raise UnavailableError(f"the command {name} is not installed")
        return found

    def _run(
        self, argv: list[str], deadline: float, *, cwd: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        """Runs to the end or raises UnavailableError; at the deadline the command and its children are ended."""
        limit_s = deadline - time.monotonic()
        if limit_s <= 0:
            raise UnavailableError("no time left for it")
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**self._environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"not done after {limit_s:.0f} s") from error
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode != 0:
            raise UnavailableError(failure_line(output.decode("utf-8", "replace")))


def failure_line(output: str) -> str:
    """The line of a failed command's output that says why: an error if one is marked, else the last one."""
    # An indented line continues the one above it.
    lines = [_plain(line) for line in output.splitlines() if not line[:1].isspace()]
    lines = [line for line in lines if line and not line.startswith("go: downloading ")]
    marked = [line for line in lines if re.match(r"(go|E|ERROR|error)\b ?:", line)]
    return _one_line((marked or lines[-1:] or ["it failed and said nothing"])[0])


def _plain(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def _one_line(text: str) -> str:
    plain = _plain(text)
    return plain if len(plain) <= _REASON_CHARS else plain[: _REASON_CHARS - 1] + "…"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.{os.getpid()}")
    staged.write_text(text + "\n", encoding="utf-8")
    staged.replace(path)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Holds the cache's lock, so that two runs do not build the same peer at once."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as file:
        ends = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > ends:
                    raise UnavailableError(f"another run holds {root / 'lock'}") from error
                time.sleep(0.5)
        yield


def install(use: str | None = None, *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Installs what is missing, without network when nothing is; name -> reason for what could not be had."""
    environ = os.environ if environ is None else environ
    wanted = tuple(peer for peer in _needed(use) if peer.kind != "found")
    if any(_located(peer, environ) is None for peer in wanted):
        try:
            with _alone(cache_root(environ)):
                _install_all(wanted, environ)
        except (UnavailableError, OSError) as error:
            return dict.fromkeys(missing(use, environ=environ), _one_line(str(error)))
    return missing(use, environ=environ)


def _install_all(wanted: tuple[Peer, ...], environ: Mapping[str, str]) -> None:
    installer = Installer(environ)
    for peer in wanted:
        if _located(peer, environ) is not None:
            continue
        print(f"installing {peer.title} …", file=sys.stderr, flush=True)
        try:
            seconds = installer.install(peer)
        except UnavailableError:
            continue
        print(f"installed {peer.title} in {seconds:.0f} s", file=sys.stderr, flush=True)


def missing_lines(reasons: Mapping[str, str]) -> list[str]:
    """One line for each missing peer: what could not be had and why."""
    return [f"missing {_named(name).title}: {_one_line(reason)}" for name, reason in reasons.items()]


def _print_env(use: str | None, form: str) -> None:
    found = [(peer, _located(peer, os.environ)) for peer in _needed(use)]
    if form == "json":
        rows = {
            peer.name: {
                "role": peer.role,
                "version": peer.version,
                "path": str(path) if path else None,
                "seconds": _receipt(peer, os.environ).get("seconds"),
            }
            for peer, path in found
        }
        print(json.dumps(rows, indent=2))
        return
    for peer, path in found:
        if path is not None:
            variable = "PROVENDER_PEER_" + peer.name.upper().replace("-", "_")
            print(f"export {variable}={shlex.quote(str(path))}")


def main(argv: list[str] | None = None) -> int:
    """The exit status: 0 also when peers are missing, 2 for a malformed peers.toml."""
    parser = argparse.ArgumentParser(
        prog="peers.py", description="Installs and finds the peers of tests and benchmarks."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("install", "install what is missing"), ("env", "print where the installed programs are")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--for", dest="use", choices=USES, help="only the peers of this use")
        if name == "env":
            command.add_argument("--format", choices=("shell", "json"), default="shell")
    chosen = parser.parse_args(argv)
    try:
        if chosen.command == "env":
            _print_env(chosen.use, chosen.format)
            return 0
        reasons = install(chosen.use)
        print("\n".join([*missing_lines(reasons), f"{len(_needed(chosen.use)) - len(reasons)} peers ready"]))
    except PeersFileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
