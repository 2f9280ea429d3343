"""What a user asks of a project that is there: what could move, what it is made of, who laid a file, what differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.repository import Repository
from support.workspace import Workspace, publish, refused


@pytest.fixture
def newer(synced: Workspace) -> Workspace:
    """A project that has 1.0.0 by a range, where there is more."""
    synced.depend(good={"oci": "acme/good", "version": "^1"})
    synced.prepare("sync")
    files = {"a.txt": b"alpha two\n", "new.txt": b"new\n"}
    publish(synced.registry, "acme/good", "1.1.0", files)
    publish(synced.registry, "acme/good", "2.0.0", {"a.txt": b"three\n"})
    synced.registry.requests.clear()
    return synced


# --- update and outdated


def test_outdated_lists_what_could_move_and_exits_with_1(newer: Workspace) -> None:
    result = newer.answer("outdated")
    assert result.status == 1
    header, row = result.stdout.splitlines()
    assert header.split() == ["NAME", "FROM", "LOCKED", "UPDATE", "LATEST"]
    digest = newer.lock["good"]["digest"].removeprefix("sha256:")[:12]
    assert row.split()[:4] == ["good", "acme/good", "1.0.0", digest]
    assert row.split()[4] == "1.1.0"
    assert row.split()[-1] == "2.0.0"
    assert result.stderr == "1 of 1 dependency to look at\n"
    newer.prepare("update")
    result = newer.answer("outdated")
    assert (result.status, result.stdout) == (0, "")
    assert result.stderr == "1 dependency, none outdated; 1 with a newer version out of range (-v lists them)\n"
    assert "2.0.0" in newer.answer("outdated", "-v").stdout


def test_outdated_tells_a_moved_tag(newer: Workspace) -> None:
    publish(newer.registry, "acme/good", "1.0.0", {"evil.txt": b"evil\n"})
    result = newer.answer("outdated", "--format", "json")
    assert result.status == 1
    (row,) = result.json["dependencies"]
    assert row["movedTo"].startswith("sha256:")
    assert (row["wanted"], row["latest"], row["update"], row["current"]) == ("1.1.0", "2.0.0", True, False)
    assert "the tag 1.0.0 was moved to " in newer.answer("outdated").stdout


def test_outdated_says_that_it_could_not_ask(newer: Workspace) -> None:
    newer.env["PROVENDER_REGISTRY_ACME"] = "127.0.0.1:1/acme"
    result = newer.answer("outdated")
    assert result.status == 75
    assert result.stdout == ""


def test_update_says_from_what_to_what(newer: Workspace) -> None:
    before = newer.look()
    result = newer.answer("update", "--dry-run")
    assert "1.0.0 -> 1.1.0" in result.stdout
    assert newer.look() == before
    result = newer.answer("update")
    (line,) = result.stdout.splitlines()
    assert line.startswith("~ good  1.0.0 -> 1.1.0  (")
    assert line.endswith("updated: vendor/good  2 files, 14 B  1 added, 1 removed, 1 changed")
    assert result.stderr == "1 dependency: 1 updated; 14 B on disk; the lock was written\n"
    assert newer.answer("update").stderr == "1 dependency, nothing to do\n"


def test_json_tells_every_file_count_byte_and_digest(newer: Workspace) -> None:
    lock = newer.lock["good"]
    (change,) = newer.answer("sync", "--format", "json").json["changes"]
    assert (change["action"], change["files"], change["sizeBytes"]) == ("unchanged", 2, 11)
    assert (change["digest"], change["tree"]) == (lock["digest"], lock["tree"])
    (change,) = newer.answer("update", "good", "--format", "json").json["changes"]
    assert (change["files"], change["sizeBytes"], change["before"]) == (2, 14, lock["digest"])
    assert change["difference"] == {"added": 1, "removed": 1, "modified": 1}
    assert change["tree"] == newer.lock["good"]["tree"]


def test_sync_of_a_name_touches_no_other(newer: Workspace) -> None:
    publish(newer.registry, "acme/other", "1", {"o.txt": b"o"})
    newer.depend(good="acme/good:2.0.0", other="acme/other:1")
    result = newer.answer("sync", "other")
    assert result.stdout.startswith("+ other  1  (")
    assert newer.lock["good"]["tag"] == "1.0.0"
    assert sorted(path.name for path in (newer.directory / "vendor").iterdir()) == ["good", "other"]
    assert newer.answer("sync", "othr", "--format", "json").error["hint"] == "did you mean other?"


# --- tree, why


def test_tree_shows_manifest_layers_and_files_and_asks_nobody(synced: Workspace) -> None:
    text = synced.answer("tree", "--files").stdout
    short = synced.lock["good"]["digest"].removeprefix("sha256:")[:12]
    lines = text.splitlines()
    assert lines[0] == "project"
    assert lines[1] == f"└── good  1.0.0 {short}"
    assert lines[2] == f"    ├── from oci acme/good ({synced.registry.host}/acme/good)"
    assert lines[3] == "    ├── to vendor/good: as locked, 2 files, 11 B, by digest"
    assert lines[4:6] == ["    │   ├── a.txt  6 B", "    │   └── sub/b.txt  5 B"]
    assert lines[6] == f"    └── manifest {short}  application/vnd.test.thing"
    assert lines[7].startswith("        ├── application/octet-stream  ")
    (row,) = synced.answer("tree", "good", "--format", "json").json["dependencies"]
    assert [part["sizeBytes"] for part in row["layers"]] == [6, 5]
    assert synced.registry.requests == []


@pytest.mark.parametrize(
    ("spoil", "status"),
    [("change", "changed"), ("remove", "missing"), ("forget", "unchecked"), ("unlock", "not locked")],
)
def test_the_status_says_how_a_dependency_stands(synced: Workspace, spoil: str, status: str) -> None:
    import shutil

    match spoil:
        case "change":
            (synced.directory / "vendor/good/a.txt").write_text("mine, and longer\n")
        case "remove":
            shutil.rmtree(synced.directory / "vendor")
        case "forget":
            shutil.rmtree(synced.directory / ".provender")
        case _:
            (synced.directory / "provender.lock").unlink()
    (row,) = synced.answer("list", "--format", "json").json["dependencies"]
    assert row["status"] == status


def test_why_names_who_laid_a_file(synced: Workspace) -> None:
    text = synced.answer("why", "vendor/good/sub/b.txt").stdout
    assert text.splitlines()[0].startswith("vendor/good/sub/b.txt  good  1.0.0 ")
    assert "sub/b.txt of it: sha256:" in text
    told = synced.answer("why", synced.directory / "vendor/good/a.txt", "--format", "json").json
    assert (told["dependency"], told["pathInside"], told["sizeBytes"], told["now"]) == ("good", "a.txt", 6, "as laid")
    (synced.directory / "vendor/good/a.txt").write_text("mine")
    assert "changed since" in synced.answer("why", "vendor/good/a.txt").stdout
    (synced.directory / "vendor/good/a.txt").unlink()
    assert "missing now" in synced.answer("why", "vendor/good/a.txt").stdout
    assert "1 of its files lie here" in synced.answer("why", "vendor/good/sub").stdout
    assert synced.answer("why", "vendor").stdout.startswith("vendor/good  good  1.0.0")
    assert synced.registry.requests == []


def test_why_without_state_looks_into_the_content(synced: Workspace) -> None:
    import shutil

    shutil.rmtree(synced.directory / ".provender")
    assert "as laid" in synced.answer("why", "vendor/good/a.txt", "--format", "json").stdout


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("provender.yaml", "no dependency laid provender.yaml", "dependencies lie in vendor/good"),
        ("vendor/good/mine", "was not laid by it", "it is yours"),
        ("vendor/good/my.env", "was not laid by it", "it is kept"),
        ("../elsewhere", "lies outside of the project", "name the project with -C"),
    ],
)
def test_why_of_what_nobody_laid_is_not_found(synced: Workspace, path: str, message: str, hint: str) -> None:
    synced.depend(good={"oci": "acme/good", "tag": "1.0.0", "keep": ["*.env"]})
    synced.prepare("sync")
    result = synced.answer("why", path, "--format", "json")
    error = refused(result, 66, "outside-project" if path.startswith("..") else "not-laid")
    assert message in error["message"]
    assert hint in error["hint"]


# --- diff


def test_diff_of_two_versions_lists_files_and_patches(newer: Workspace) -> None:
    result = newer.answer("diff", "good", "1.0.0", "1.1.0", "--patch", "--exit-code")
    assert result.status == 1
    assert result.stdout.splitlines() == [
        "~ a.txt  6 B -> 10 B",
        "  --- a/a.txt",
        "  +++ b/a.txt",
        "  @@ -1 +1 @@",
        "  -alpha",
        "  +alpha two",
        "+ new.txt  4 B",
        "  --- /dev/null",
        "  +++ b/new.txt",
        "  @@ -0,0 +1 @@",
        "  +new",
        "- sub/b.txt  5 B",
        "  --- a/sub/b.txt",
        "  +++ /dev/null",
        "  @@ -1 +0,0 @@",
        "  -beta",
    ]
    assert result.stderr.endswith(": 1 added, 1 removed, 1 changed; 3 B more\n")


def test_diff_without_versions_shows_what_was_changed_here(newer: Workspace) -> None:
    assert newer.answer("diff", "good", "--exit-code").status == 0
    (newer.directory / "vendor/good/a.txt").chmod(0o755)
    (newer.directory / "vendor/good/sub/b.txt").unlink()
    (newer.directory / "vendor/good/sub/b.txt").symlink_to("../a.txt")
    assert newer.answer("diff", "good").stdout.splitlines() == [
        "~ a.txt  became executable",
        "~ sub/b.txt  file -> link to ../a.txt",
    ]


def test_diff_as_json_has_sizes_and_digests(newer: Workspace) -> None:
    told = newer.answer("diff", "good", "@update", "--format", "json").json
    assert (told["added"], told["removed"], told["changed"]) == (1, 1, 1)
    assert (told["bytesBefore"], told["bytesAfter"]) == (11, 14)
    assert [(row["path"], row["change"]) for row in told["changes"]] == [
        ("a.txt", "changed"),
        ("new.txt", "added"),
        ("sub/b.txt", "removed"),
    ]
    assert told["changes"][0]["before"]["sizeBytes"] == 6
    assert "patch" not in told["changes"][0]


def test_diff_of_what_is_no_text_gives_no_patch(newer: Workspace) -> None:
    publish(newer.registry, "acme/good", "3.0.0", {"a.txt": b"\0\1\2"})
    publish(newer.registry, "acme/good", "4.0.0", {"a.txt": b"\xff\xfe"})
    assert newer.answer("diff", "good", "3.0.0", "4.0.0", "-p").stdout == "~ a.txt  3 B -> 2 B\n"


def test_diff_by_digest_and_of_the_same(newer: Workspace) -> None:
    digest = newer.lock["good"]["digest"]
    result = newer.answer("diff", "good", digest, "1.0.0", "--exit-code")
    assert (result.status, result.stdout) == (0, "")
    assert result.stderr.endswith(": the same files\n")


# --- what came from elsewhere


def test_the_name_of_a_tag_cannot_drive_the_terminal(project: Workspace, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "remote")
    repository.commit({"a.txt": "a"})
    tag = "v1.0.0-\u202eevil"
    repository.git("tag", tag)
    project.depend(rules={"git": repository.url, "tag": tag})
    texts = [project.answer("sync").stdout]
    repository.commit({"a.txt": "b"})
    repository.git("tag", "--force", tag)
    texts += [
        project.answer(*words).stdout for words in (["list"], ["tree"], ["outdated"], ["why", "vendor/rules/a.txt"])
    ]
    for text in texts:
        assert "v1.0.0-" in text
        assert "\u202e" not in text
