"""tools/peers.py without network: the pins are sound, the cache is found, and every failure is one line."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"

PIN = """
[[peer]]
name = "tiny"
role = "client"
kind = "go"
module = "example.invalid/tiny"
package = "example.invalid/tiny/cmd/tiny"
version = "v1.0.0"
command = "tiny"
environment = { CGO_ENABLED = "0" }
needed_by = ["interop"]
timeout_s = 20
"""


@pytest.fixture(name="peers")
def _peers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("provender_peers_under_test", TOOLS / "peers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="tiny")
def _tiny(peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool with one pinned peer of its own in place of the project's."""
    pins = tmp_path / "peers.toml"
    pins.write_text(PIN)
    monkeypatch.setattr(peers, "PEERS_FILE", pins)
    monkeypatch.setattr(peers.load, "__defaults__", (pins,))
    return peers


def command(directory: Path, name: str, script: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def environment(tmp_path: Path) -> dict[str, str]:
    return {"PROVENDER_PEERS": str(tmp_path / "cache"), "PATH": f"{tmp_path / 'path'}:{os.defpath}"}


WRITES_PROGRAM = """
verb=$1
while [ "$1" != -o ]; do shift; done
mkdir -p "$(dirname "$2")"
printf '#!/bin/sh\\n' > "$2"
chmod +x "$2"
cp go.mod "$PROVENDER_PEERS/built-with"
printf '%s %s %s' "$verb" "$CGO_ENABLED" "$3" >> "$PROVENDER_PEERS/built-with"
"""


def test_every_pin_of_the_project_is_sound(peers: ModuleType) -> None:
    pinned = peers.load()
    tables = tomllib.loads((TOOLS / "peers.toml").read_text(encoding="utf-8"))["peer"]
    assert [peer.name for peer in pinned] == [table["name"] for table in tables]
    assert {"oras", "crane", "distribution"} <= {peer.name for peer in pinned}
    for peer in pinned:
        assert "latest" not in peer.version
        if peer.kind == "gosource":
            assert peer.source.is_file()
        elif peer.module:
            assert peer.package.startswith(peer.module)
        if peer.module:
            assert peer.version.startswith("v")


def test_one_use_has_a_registry_and_a_client(peers: ModuleType) -> None:
    for use in peers.USES:
        roles = {peer.role for peer in peers.load() if use in peer.needed_by}
        assert {"client", "registry"} <= roles


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[[peer]]", "[[peer"), "peers.toml: "),
        (("[[peer]]", "[other]\n[[peer]]"), "nothing else"),
        (('kind = "go"', 'kind = "brew"'), "kind = 'brew'"),
        (('role = "client"\n', ""), "lacks role"),
        (('module = "example.invalid/tiny"\n', ""), "lacks module"),
        (('command = "tiny"', 'command = "../tiny"'), "command = '../tiny'"),
        (('version = "v1.0.0"', 'version = "../v1"'), "version = '../v1'"),
        (('version = "v1.0.0"', "version = 1"), "version must be a text"),
        (('["interop"]', '["sport"]'), "needed_by"),
        (('["interop"]', "[]"), "needed_by"),
        (("timeout_s = 20", "timeout_s = 0"), "timeout_s"),
        (("timeout_s = 20", "timeout_s = 20\ncolour = 1"), "unknown key colour"),
        (('{ CGO_ENABLED = "0" }', "{ CGO_ENABLED = 0 }"), "environment"),
    ],
)
def test_a_malformed_file_is_named_with_its_fault(
    peers: ModuleType, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = tmp_path / "peers.toml"
    path.write_text(PIN.replace(*change))
    with pytest.raises(peers.PeersFileError, match=r"^peers\.toml: ") as caught:
        peers.load(path)
    assert message in str(caught.value)


def test_a_name_pinned_twice_is_refused(peers: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.write_text(PIN + PIN)
    with pytest.raises(peers.PeersFileError, match="pinned twice: tiny"):
        peers.load(path)


def test_the_cache_follows_the_environment(peers: ModuleType, tmp_path: Path) -> None:
    home = Path("~/.cache/provender/peers").expanduser()
    assert peers.cache_root({"PROVENDER_PEERS": "/a/b", "XDG_CACHE_HOME": "/c"}) == Path("/a/b")
    assert peers.cache_root({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "provender" / "peers"
    assert peers.cache_root({"XDG_CACHE_HOME": "not/absolute"}) == home
    assert peers.cache_root({}) == home


def test_find_knows_only_pinned_names(tiny: ModuleType, tmp_path: Path) -> None:
    assert tiny.find("tiny", environ=environment(tmp_path)) is None
    with pytest.raises(KeyError, match="huge is not pinned"):
        tiny.find("huge")


def test_an_installed_peer_is_found_in_its_cache_alone(tiny: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    assert tiny.install(environ=environ) == {}
    assert tiny.find("tiny", environ=environ) == tmp_path / "cache" / "tiny@v1.0.0" / "bin" / "tiny"
    assert tiny.missing(environ=environ) == {}
    assert tiny.find("tiny", environ={**environ, "PROVENDER_PEERS": str(tmp_path / "elsewhere")}) is None
    receipt = json.loads((tmp_path / "cache" / "tiny@v1.0.0" / "receipt.json").read_text())
    assert receipt["seconds"] >= 0


def test_the_build_gets_the_pin_and_the_environment(tiny: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    tiny.install(environ=environ)
    built = (tmp_path / "cache" / "built-with").read_text()
    assert "require example.invalid/tiny v1.0.0" in built
    assert built.endswith("build 0 example.invalid/tiny/cmd/tiny")


def test_the_tests_of_a_package_are_built_as_a_program(tiny: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    tiny.PEERS_FILE.write_text(PIN.replace('"go"', '"gotest"'))
    assert tiny.install(environ=environ) == {}
    built = (tmp_path / "cache" / "built-with").read_text()
    assert built.endswith("test 0 example.invalid/tiny/cmd/tiny")
    assert tiny.find("tiny", environ=environ) is not None


def test_a_program_of_ours_is_built_against_its_module_and_again_when_it_changes(
    tiny: ModuleType, tmp_path: Path
) -> None:
    environ = environment(tmp_path)
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    pins = PIN.replace('"go"', '"gosource"').replace("example.invalid/tiny/cmd/tiny", "main.go")
    tiny.PEERS_FILE.write_text(pins)
    source = tiny.PEERS_FILE.parent / "main.go"
    source.write_text("package main")
    assert tiny.install(environ=environ) == {}
    built = (tmp_path / "cache" / "built-with").read_text()
    assert built.endswith("build 0 .")
    assert tiny.find("tiny", environ=environ) is not None
    source.write_text("package main // changed")
    assert tiny.find("tiny", environ=environ) is None


def test_a_second_install_runs_nothing(tiny: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    go = command(tmp_path / "path", "go", WRITES_PROGRAM)
    tiny.install(environ=environ)
    go.unlink()
    assert tiny.install(environ=environ) == {}


def test_a_changed_pin_installs_again(tiny: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    tiny.install(environ=environ)
    pins = tmp_path / "peers.toml"
    for old, new in (("v1.0.0", "v1.0.1"), ('CGO_ENABLED = "0"', 'CGO_ENABLED = "1"')):
        pins.write_text(pins.read_text().replace(old, new))
        assert list(tiny.missing(environ=environ)) == ["tiny"]
        assert tiny.install(environ=environ) == {}
    assert tiny.find("tiny", environ=environ) == tmp_path / "cache" / "tiny@v1.0.1" / "bin" / "tiny"


def test_an_interrupted_build_is_not_found(tiny: ModuleType, tmp_path: Path) -> None:
    command(tmp_path / "cache" / "tiny@v1.0.0" / "bin", "tiny", "")
    assert tiny.find("tiny", environ=environment(tmp_path)) is None


def test_a_missing_peer_is_one_plain_line_with_the_reason(tiny: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    noise = "go: downloading example.invalid/tiny v1.0.0"
    refusal = "go: example.invalid/tiny@v1.0.0: reading it: 403 Forbidden"
    command(
        tmp_path / "path",
        "go",
        f"printf '%s\\n\\033[31m%s\\033[0m\\n\\tnot available\\n' '{noise}' '{refusal}'; exit 1",
    )
    reasons = tiny.install(environ=environ)
    assert tiny.missing_lines(reasons) == [f"missing tiny@v1.0.0: {refusal}"]
    assert tiny.missing(environ=environ) == reasons


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("go: downloading a v1\na@v1: 403 Forbidden\n\tserver response: no\n", "a@v1: 403 Forbidden"),
        ("Reading lists\nE: Unable to locate package a\nmore\n", "E: Unable to locate package a"),
        ("ERROR: no matching version\nERROR: nothing found\n", "ERROR: no matching version"),
        ("# a/b\na.go:1: undefined: c\n", "a.go:1: undefined: c"),
        ("x" * 1000, "x" * 219 + "…"),
        ("", "it failed and said nothing"),
    ],
)
def test_the_reason_is_the_line_that_says_why(peers: ModuleType, output: str, line: str) -> None:
    assert peers.failure_line(output) == line


def test_a_failed_attempt_is_tried_again(tiny: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    command(tmp_path / "path", "go", "exit 1")
    assert tiny.install(environ=environ) == {"tiny": "it failed and said nothing"}
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    assert tiny.install(environ=environ) == {}
    assert list((tmp_path / "cache").glob("*.failed")) == []


def test_a_build_that_brings_no_program_is_missing(tiny: ModuleType, tmp_path: Path) -> None:
    command(tmp_path / "path", "go", "exit 0")
    assert tiny.install(environ=environment(tmp_path)) == {"tiny": "the installation brought no program tiny"}


def test_a_build_without_the_go_command_names_it(tiny: ModuleType, tmp_path: Path) -> None:
    environ = {"PROVENDER_PEERS": str(tmp_path / "cache"), "PATH": str(tmp_path / "empty")}
    assert tiny.install(environ=environ) == {"tiny": "the command go is not installed"}


def test_a_build_past_its_time_is_ended_with_its_children(tiny: ModuleType, tmp_path: Path) -> None:
    pins = tmp_path / "peers.toml"
    pins.write_text(PIN.replace("timeout_s = 20", "timeout_s = 1"))
    command(tmp_path / "path", "go", 'sleep 600 & echo $! > "$PROVENDER_PEERS/child"; wait')
    assert tiny.install(environ=environment(tmp_path)) == {"tiny": "not done after 1 s"}
    child = (tmp_path / "cache" / "child").read_text().strip()
    for _ in range(200):
        # A killed child may stay as a zombie until its new parent has collected it.
        state = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True).stdout.strip()
        if state in {"", "Z"}:
            break
        time.sleep(0.05)
    assert state in {"", "Z"}


def test_no_time_left_in_the_budget_starts_nothing(tiny: ModuleType, tmp_path: Path) -> None:
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    installer = tiny.Installer(environment(tmp_path), budget_s=0)
    with pytest.raises(tiny.UnavailableError, match="no time left"):
        installer.install(tiny.load()[0])
    assert not (tmp_path / "cache" / "built-with").exists()


def test_a_distribution_package_is_found_on_the_path(tiny: ModuleType, tmp_path: Path) -> None:
    pins = tmp_path / "peers.toml"
    pins.write_text(PIN.replace('kind = "go"\nmodule = "example.invalid/tiny"', 'kind = "apt"'))
    environ = environment(tmp_path)
    assert list(tiny.missing(environ=environ)) == ["tiny"]
    program = command(tmp_path / "path", "tiny", "")
    assert tiny.find("tiny", environ=environ) == program


def test_uses_are_kept_apart(tiny: ModuleType, tmp_path: Path) -> None:
    assert list(tiny.missing("interop", environ=environment(tmp_path))) == ["tiny"]
    assert tiny.missing("bench", environ=environment(tmp_path)) == {}


def test_the_command_line_succeeds_though_every_peer_is_missing(tmp_path: Path) -> None:
    environ = {"PROVENDER_PEERS": str(tmp_path / "cache"), "PATH": str(tmp_path / "empty")}
    ran = subprocess.run(
        [sys.executable, str(TOOLS / "peers.py"), "install", "--for", "bench"],
        env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    assert ran.returncode == 0
    assert lines[-1] == "0 peers ready"
    assert all(line.startswith("missing ") and line.count(": ") >= 1 for line in lines[:-1])
    assert len(lines) > 3


def test_env_prints_paths_for_a_shell_and_as_json(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in environment(tmp_path).items():
        monkeypatch.setenv(key, value)
    command(tmp_path / "path", "go", WRITES_PROGRAM)
    tiny.install()
    program = str(tiny.find("tiny"))
    capsys.readouterr()
    assert tiny.main(["env"]) == 0
    assert capsys.readouterr().out == f"export PROVENDER_PEER_TINY={program}\n"
    assert tiny.main(["env", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)["tiny"]
    assert (row["path"], row["version"], row["role"]) == (program, "v1.0.0", "client")


def test_a_malformed_file_ends_the_command_with_2(
    tiny: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "peers.toml").write_text("[[peer]]\n")
    assert tiny.main(["install"]) == 2
    assert capsys.readouterr().err.startswith("error: peers.toml: peer 1: lacks ")


FOUND = """
[[peer]]
name = "tiny"
role = "registry"
kind = "found"
version = "distribution"
command = "tinyd"
needed_by = ["interop"]
"""


@pytest.fixture(name="found")
def _found(tiny: ModuleType) -> ModuleType:
    """The tool with one peer that is only found."""
    tiny.PEERS_FILE.write_text(FOUND)
    return tiny


def test_a_program_that_is_only_found_is_looked_for_in_three_places(found: ModuleType, tmp_path: Path) -> None:
    environ = environment(tmp_path)
    assert found.find("tiny", environ=environ) is None
    on_path = command(tmp_path / "path", "tinyd", "exit 0")
    assert found.find("tiny", environ=environ) == on_path
    in_cache = command(tmp_path / "cache" / "tiny" / "bin", "tinyd", "exit 0")
    assert found.find("tiny", environ=environ) == in_cache
    named = command(tmp_path / "elsewhere", "mine", "exit 0")
    assert found.find("tiny", environ={**environ, "PROVENDER_TINY": str(named)}) == named


def test_a_program_that_is_only_found_is_never_installed_and_missed_in_one_line(
    found: ModuleType, tmp_path: Path
) -> None:
    environ = environment(tmp_path)
    reasons = found.install("interop", environ=environ)
    assert found.missing_lines(reasons) == [
        "missing tiny@distribution: it is not installed for you; put it on the PATH or name it in PROVENDER_TINY"
    ]
    assert not (tmp_path / "cache").exists()
    command(tmp_path / "path", "tinyd", "exit 0")
    wrong = {**environ, "PROVENDER_TINY": str(tmp_path / "none")}
    assert found.missing("interop", environ=wrong) == {"tiny": f"PROVENDER_TINY names no program: {tmp_path / 'none'}"}
