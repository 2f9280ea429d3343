"""push, pull, resolve, tags, tag, login, logout, registry and completion: results on stdout, documents in JSON."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.command import Result, provender_forked
from support.registry import TestRegistry, digest_of
from support.workspace import ARCHIVE, Workspace, everything, layer, packed, publish, refused

DIGEST_KEYS = {"kind", "version", "reference", "digest", "mediaType", "artifactType", "size"}


def document(result: Result, kind: str) -> dict[str, Any]:
    """The document of a run that succeeded."""
    assert result.status == 0, result.stderr
    found = dict(result.json)
    assert (found["kind"], found["version"]) == (kind, 1)
    return found


@pytest.fixture
def files(project: Workspace) -> Path:
    """Files to publish: one by itself, and a tree."""
    (project.directory / "README.md").write_text("# read\n")
    (project.directory / "rules/deep").mkdir(parents=True)
    (project.directory / "rules/a.rego").write_text("package a\n")
    (project.directory / "rules/deep/run.sh").write_text("#!/bin/sh\n")
    (project.directory / "rules/deep/run.sh").chmod(0o755)
    (project.directory / "rules/link").symlink_to("a.rego")
    return project.directory


# --- push


def test_push_and_pull_give_the_same_tree(project: Workspace, files: Path) -> None:
    pushed = project.succeed("push", "acme/rules:1.0", "rules/", "README.md:text/markdown", "--tag", "latest")
    digest = project.registry.tags("acme/rules")["1.0"]
    assert pushed.stdout == f"acme/rules@{digest}\n"
    assert project.registry.tags("acme/rules") == {"1.0": digest, "latest": digest}
    pulled = project.succeed("pull", "acme/rules:1.0", "-o", "out")
    assert pulled.stdout == f"acme/rules@{digest}\n"
    out = everything(files / "out")
    assert {name: seen for name, seen in out.items() if name.startswith("rules/")} == {
        f"rules/{name}": seen for name, seen in everything(files / "rules").items()
    }
    assert out["README.md"] == ("file", 0o644, b"# read\n")


def test_push_as_json_says_what_was_pushed(project: Workspace, files: Path) -> None:
    arguments = ["--artifact-type", "application/vnd.acme.rules", "-a", "org.example.note=x", "--tag", "b"]
    found = document(project.json("push", "acme/rules:a", "README.md", *arguments), "push")
    assert set(found) >= DIGEST_KEYS
    assert found["reference"] == f"acme/rules@{found['digest']}"
    assert found["artifactType"] == "application/vnd.acme.rules"
    assert found["tags"] == ["a", "b"]
    raw = project.registry.manifest("acme/rules", "a")
    assert raw is not None
    assert digest_of(raw) == found["digest"]
    assert json.loads(raw)["annotations"]["org.example.note"] == "x"


def test_the_same_files_give_the_same_digest_anywhere(project: Workspace, files: Path, tmp_path: Path) -> None:
    first = document(project.json("push", "layout:./store:1", "rules/", "README.md"), "push")
    for path in files.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
    second = document(project.json("push", "acme/rules:1", "rules/", "README.md"), "push")
    assert first["digest"] == second["digest"]
    # What is there already is asked for, not sent.
    before = project.registry.count("PUT", "/blobs/")
    document(project.json("push", "acme/rules:2", "rules/", "README.md"), "push")
    assert project.registry.count("PUT", "/blobs/") == before


def test_source_date_epoch_is_the_only_clock(project: Workspace, files: Path) -> None:
    timed = project.run("push", "acme/rules:1", "README.md", "--format", "json", env={"SOURCE_DATE_EPOCH": "86400"})
    raw = project.registry.manifest("acme/rules", document(timed, "push")["digest"])
    assert raw is not None
    assert json.loads(raw)["annotations"]["org.opencontainers.image.created"] == "1970-01-02T00:00:00Z"
    bad = project.run("push", "acme/rules:1", "README.md", env={"SOURCE_DATE_EPOCH": "yesterday"})
    assert bad.status == 2
    assert "SOURCE_DATE_EPOCH" in bad.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["acme/rules:1", "missing.txt"], 66, "no-such-file"),
        (["acme/rules:1", "../outside.txt"], None, None),
        (["acme/rules:1", "README.md", "README.md"], None, None),
        (["acme/rules:1", "README.md", "-a", "novalue"], 2, None),
        (["acme/rules:bad tag", "README.md"], 2, "invalid-reference"),
        (["acme/rules:1", "README.md", "--tag", "-x"], 2, "invalid-tag"),
        (["acme/Rules:1", "README.md"], 2, "invalid-repository"),
        ([f"acme/rules@{digest_of(b'')}", "README.md"], 2, "digest-given"),
        (["rules:1", "README.md"], 2, "short-name"),
        (["acme/rules:1", "README.md", "--artifact-type", "nonsense"], None, None),
    ],
)
def test_a_push_that_cannot_be_made_pushes_nothing(
    project: Workspace, files: Path, arguments: list[str], status: int | None, code: str | None
) -> None:
    (project.directory.parent / "outside.txt").write_text("out")
    result = project.json("push", *arguments)
    assert result.status in ((status,) if status else (1, 2, 65, 66)), result.stderr
    error = result.error
    assert error["exit"] == result.status
    assert code in (None, error["code"])
    assert error["message"]
    assert error["hint"], error
    assert project.registry.tags("acme/rules") == {}
    assert project.registry.count("PUT", "/manifests/") == 0


def test_a_push_that_fails_leaves_a_store_as_it_was(project: Workspace, files: Path) -> None:
    project.prepare("push", "layout:./store:1", "README.md")
    before = everything(files / "store")
    assert project.run("push", "layout:./store:1", "README.md", "missing.txt").status == 66
    assert everything(files / "store") == before


def test_a_push_without_permission_says_so_before_it_reads_everything(project: Workspace, files: Path) -> None:
    project.registry.auth = "token"
    project.registry.anonymous_pull = True
    error = refused(project.json("push", "acme/rules:1", "README.md"), 77, "no-credentials")
    assert "provender login" in error["hint"]
    assert project.registry.tags("acme/rules") == {}


# --- pull


def test_pull_as_json_lists_the_files(project: Workspace) -> None:
    content = layer(project.registry, "acme/packed", packed({"a.txt": b"a", "d/b.txt": b"bb"}), media_type=ARCHIVE)
    digest = publish(project.registry, "acme/packed", "1", layers=[content])
    found = document(project.json("pull", "acme/packed:1", "-o", "out"), "pull")
    assert (found["digest"], found["manifest"], found["reference"]) == (digest, digest, f"acme/packed@{digest}")
    assert [(file["path"], file["kind"], file["size"]) for file in found["files"]] == [
        ("a.txt", "f", 1),
        ("d/b.txt", "f", 2),
    ]
    assert found["changed"] == ["a.txt", "d/b.txt"]
    assert document(project.json("pull", "acme/packed:1", "-o", "out"), "pull")["changed"] == []


def test_pull_leaves_other_files_and_refuses_to_overwrite(project: Workspace) -> None:
    publish(project.registry, "acme/good", "1", {"a.txt": b"new", "b.txt": b"b"})
    out = project.directory / "out"
    out.mkdir()
    (out / "a.txt").write_text("mine")
    (out / "other.txt").write_text("other")
    before = project.look()
    error = refused(project.json("pull", "acme/good:1", "-o", "out"), 1, "files-differ")
    assert "a.txt" in error["message"]
    assert project.look() == before
    project.prepare("pull", "acme/good:1", "-o", "out", "--force")
    assert (out / "a.txt").read_text() == "new"
    assert (out / "other.txt").read_text() == "other"


def test_pull_through_a_link_writes_nothing_outside(project: Workspace, tmp_path: Path) -> None:
    publish(project.registry, "acme/good", "1", {"sub/a.txt": b"new"})
    (tmp_path / "elsewhere").mkdir()
    out = project.directory / "out"
    out.mkdir()
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    result = project.json("pull", "acme/good:1", "-o", "out")
    assert result.status == 1, result
    assert result.error["message"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_pull_without_a_tag_takes_latest_and_says_so(project: Workspace) -> None:
    publish(project.registry, "acme/good", "latest", {"a.txt": b"a"})
    result = project.succeed("pull", "acme/good", "-o", "out")
    assert "the tag latest is taken" in result.stderr


def test_pull_by_mode_and_media_type(project: Workspace) -> None:
    tar = layer(project.registry, "acme/mixed", packed({"in.txt": b"in"}), media_type=ARCHIVE, title="in.tar.gz")
    text = layer(project.registry, "acme/mixed", b"text", media_type="text/plain", title="t.txt")
    publish(project.registry, "acme/mixed", "1", layers=[tar, text])
    project.prepare("pull", "acme/mixed:1", "-o", "copied", "--mode", "copy")
    assert sorted(everything(project.directory / "copied")) == ["in.tar.gz", "t.txt"]
    project.prepare("pull", "acme/mixed:1", "-o", "out", "--mode", "extract", "--media-type", ARCHIVE)
    assert sorted(everything(project.directory / "out")) == ["in.txt"]
    refused(project.json("pull", "acme/mixed:1", "-o", "x", "--media-type", "image/*"), 66, "no-layer-matched")


def test_pull_from_a_layout_and_from_its_archive(project: Workspace, files: Path) -> None:
    import tarfile

    project.prepare("push", "layout:./store:1", "README.md")
    with tarfile.open(files / "store.tar", "w") as tar:
        for path in sorted((files / "store").rglob("*")):
            if path.is_file():
                tar.add(path, arcname=path.relative_to(files / "store"))
    for name in ("store", "store.tar"):
        project.prepare("pull", f"layout:./{name}:1", "-o", f"out-{name}")
        assert (files / f"out-{name}/README.md").read_text() == "# read\n"
    refused(project.json("push", "layout:./store.tar:2", "README.md"), 69, "read-only")
    refused(project.json("pull", "layout:./nothing:1"), 66, "layout-not-found")


# --- resolve, tags, tag


def test_resolve_prints_the_digest_alone(project: Workspace) -> None:
    digest = publish(project.registry, "acme/good", "1.0", {"a": b"a"})
    result = project.succeed("resolve", "acme/good:1.0")
    assert (result.stdout, result.stderr) == (f"{digest}\n", "")
    found = document(project.json("resolve", "acme/good:1.0"), "resolve")
    assert set(found) == DIGEST_KEYS | {"location"}
    assert (found["digest"], found["location"]) == (digest, f"{project.registry.host}/acme/good")
    assert project.registry.count() == 2


def test_tags_are_listed_in_the_registrys_order_page_by_page(project: Workspace) -> None:
    for tag in ("b", "1.10.0", "a", "1.9.0", "1.2.0-rc.1"):
        publish(project.registry, "acme/good", tag, {"a": b"a"})
    project.registry.content.page_size = 2
    result = project.succeed("tags", "acme/good")
    assert result.stdout.split() == ["1.10.0", "1.2.0-rc.1", "1.9.0", "a", "b"]
    assert project.registry.count("GET", "/tags/list") == 3
    found = document(project.json("tags", "acme/good", "--version", "^1"), "tags")
    assert found == {"kind": "tags", "version": 1, "repository": "acme/good", "tags": ["1.9.0", "1.10.0"]}
    assert project.run("tags", "acme/good:1").status == 2
    refused(project.json("tags", "acme/nothing"), 66, "repository-not-found")


def test_tag_adds_names_and_needs_no_blob(project: Workspace) -> None:
    digest = publish(project.registry, "acme/good", "1.0", {"a": b"a"})
    found = document(project.json("tag", "acme/good:1.0", "stable", "latest"), "tag")
    assert (found["digest"], found["tags"]) == (digest, ["stable", "latest"])
    assert project.registry.tags("acme/good") == {"1.0": digest, "stable": digest, "latest": digest}
    assert project.registry.count("*", "/blobs/") == 0
    assert project.succeed("tag", "acme/good:1.0", "again").stdout == f"acme/good:again@{digest}\n"
    refused(project.json("tag", "acme/good:1.0", "bad/tag"), 2, "invalid-tag")
    refused(project.json("tag", "acme/good:9", "x"), 66, "manifest-not-found")
    assert sorted(project.registry.tags("acme/good")) == ["1.0", "again", "latest", "stable"]


# --- login, logout


def login(registry: TestRegistry, password: str, *arguments: str) -> Result:
    return provender_forked(
        "login", registry.host, "-u", registry.username, "--password-stdin", *arguments, stdin=password
    )


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_login_is_checked_kept_used_and_forgotten(project: Workspace, home: Path, auth: str) -> None:
    registry = project.registry
    registry.auth = "basic" if auth == "basic" else "token"
    publish(registry, "acme/good", "1", {"a": b"a"})
    config = home / ".docker/config.json"
    result = login(registry, "wrong")
    assert result.status == 77
    assert not config.exists()
    assert "wrong" not in result.stdout + result.stderr
    found = document(login(registry, registry.password + "\n", "--format", "json"), "login")
    assert found == {
        "kind": "login",
        "version": 1,
        "registry": registry.host,
        "username": registry.username,
        "kept": found["kept"],
    }
    assert str(config) in found["kept"]
    assert config.stat().st_mode & 0o077 == 0
    entry = json.loads(config.read_text())["auths"][registry.host]
    assert base64.b64decode(entry["auth"]).decode() == f"{registry.username}:{registry.password}"
    project.prepare("pull", "acme/good:1", "-o", "out")
    assert document(provender_forked("logout", registry.host, "--format", "json"), "logout")["removed"] is True
    assert registry.host not in json.loads(config.read_text()).get("auths", {})
    assert document(provender_forked("logout", registry.host, "--format", "json"), "logout")["removed"] is False
    refused(project.json("pull", "acme/good:1", "-o", "again"), 77, "no-credentials")


def test_login_keeps_everything_else_in_the_file(project: Workspace, home: Path) -> None:
    project.registry.auth = "basic"
    config = home / ".docker/config.json"
    config.parent.mkdir()
    config.write_text('{"auths": {"other.example": {"auth": "eDp5"}}, "psFormat": "x"}')
    assert login(project.registry, project.registry.password).status == 0
    kept = json.loads(config.read_text())
    assert kept["psFormat"] == "x"
    assert kept["auths"]["other.example"] == {"auth": "eDp5"}


def test_login_says_what_it_could_not_check_and_what_counts_before(project: Workspace, home: Path) -> None:
    registry = project.registry
    result = login(registry, "anything")
    assert result.status == 0
    assert "asked for no credentials, so these were not checked" in result.stderr
    registry.auth = "basic"
    other = json.dumps({"auths": {registry.host: {"auth": base64.b64encode(b"other:x").decode()}}})
    env = {"DOCKER_AUTH_CONFIG": other}
    command = ["login", registry.host, "-u", registry.username, "--password-stdin"]
    result = provender_forked(*command, stdin=registry.password, env=env)
    assert result.status == 0
    assert "DOCKER_AUTH_CONFIG" in result.stderr
    assert "count before these" in result.stderr
    result = provender_forked("logout", registry.host, env=env)
    assert result.status == 0
    assert "DOCKER_AUTH_CONFIG" in result.stderr
    assert registry.host not in json.loads((home / ".docker/config.json").read_text())["auths"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["login", "acme"],
        ["login", "https://ghcr.io"],
        ["login", "127.0.0.1:1"],
        ["login", "127.0.0.1:1", "--password-stdin"],
        ["login", "127.0.0.1:1", "-u", "x"],
    ],
)
def test_login_never_asks_without_a_terminal(arguments: list[str]) -> None:
    result = provender_forked(*arguments, "--format", "json", stdin="")
    assert result.status == 2, result
    assert result.error["hint"]
    assert result.stdout == ""


def test_a_password_is_never_an_argument() -> None:
    result = provender_forked("login", "127.0.0.1:1", "-u", "x", "--password", "s3cret")
    assert result.status == 2
    assert "s3cret" not in result.stderr


# --- registry


def test_registry_list_and_explain_name_the_winner(project: Workspace, tmp_path: Path) -> None:
    project.write(
        "version: 1\nregistries:\n  acme: {location: ghcr.io/acme}\n  free: {}\n  store: {location: 'layout:./store'}\n"
        "dependencies: {}\n"
    )
    found = document(project.json("registry", "list"), "registry-list")
    rows = {row["alias"]: row for row in found["registries"]}
    assert set(rows) == {"acme", "free", "store"}
    assert rows["acme"]["location"] == f"{project.registry.host}/acme"
    assert "PROVENDER_REGISTRY_ACME" in rows["acme"]["setBy"]
    assert rows["free"] == {"alias": "free", "location": None, "setBy": None}
    assert rows["store"]["location"] == f"layout:{project.directory / 'store'}"
    table = project.succeed("registry", "list").stdout.splitlines()
    assert table[0].split() == ["ALIAS", "LOCATION", "SET", "BY"]
    explained = document(project.json("registry", "explain", "acme"), "registry-explain")
    settings = [(row["key"], row["value"], row["wins"]) for row in explained["settings"] if row["key"] == "location"]
    assert settings == [("location", f"{project.registry.host}/acme", True), ("location", "ghcr.io/acme", False)]
    flagged = project.json("registry", "explain", "acme", "--registry", "acme=mirror.example/acme")
    assert document(flagged, "registry-explain")["location"] == "mirror.example/acme"
    assert project.registry.requests == []


def test_registry_explain_of_what_is_unbound_says_where_it_looked(project: Workspace) -> None:
    project.write("version: 1\nregistries: {free: {}}\ndependencies: {}\n")
    for alias in ("free", "unheard-of"):
        error = refused(project.json("registry", "explain", alias), 78, "unbound-registry")
        assert "PROVENDER_REGISTRY_" in error["hint"]
        assert "registries.yaml" in error["hint"]


def test_a_flag_binds_a_registry_for_one_run(project: Workspace, files: Path) -> None:
    flag = ["--registry", f"other={project.registry.host}/acme"]
    project.prepare("push", "other/good:1", "README.md", *flag)
    assert list(project.registry.tags("acme/good")) == ["1"]
    project.prepare("resolve", "other/good:1", *flag)
    refused(project.json("resolve", "other/good:1"), 78, "unbound-registry")
    assert project.run("resolve", "other/good:1", "--registry", "nonsense").status in (2, 78)


# --- references


@pytest.mark.parametrize(
    ("reference", "status", "code"),
    [
        ("nginx", 2, "short-name"),
        ("", 2, "short-name"),
        ("acme/UPPER:1", 2, "invalid-repository"),
        ("acme/good@sha256:12", 2, "invalid-digest"),
        ("acme/good:1@sha256:12", 2, "invalid-digest"),
        ("acme/good:+", 2, "invalid-tag"),
        ("host:99999/good:1", 2, "invalid-reference"),
        ("layout:", 2, "invalid-reference"),
        ("acme/good:\x1b[31m", 2, "invalid-reference"),
        ("a" * 5000 + "/x:1", 2, "invalid-reference"),
    ],
)
def test_a_bad_reference_is_a_usage_error_and_asks_nobody(
    project: Workspace, reference: str, status: int, code: str
) -> None:
    result = project.json("resolve", reference)
    assert result.status == status, result
    error = result.error
    assert (error["code"], error["exit"]) == (code, status)
    assert error["hint"]
    assert "\x1b" not in result.stderr
    assert len(result.stderr) < 3000
    assert project.registry.requests == []
