"""The source `git`: commits found, trees laid from their objects, and nothing else that a repository could want."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import IntegrityError, InvalidProject, NotFound, ProvenderError, Unavailable
from provender.project.addresses import check_git_url, git_transport
from support.files_server import FilesServer
from support.git_http import GitHttpServer
from support.local_project import LocalProject
from support.repository import Repository


@pytest.fixture
def project(tmp_path: Path) -> Iterator[LocalProject]:
    made = LocalProject(tmp_path)
    yield made
    made.close()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "remote")
    made.commit({"README.md": "one\n", "policies/a.rego": "package a\n", "bin/run": "#!/bin/sh\n"})
    (made.directory / "bin/run").chmod(0o755)
    (made.directory / "link").symlink_to("policies/a.rego")
    made.commit(message="second")
    made.git("tag", "v0.4.0")
    return made


def refused(project: LocalProject, kind: type[ProvenderError], code: str, **options: bool) -> ProvenderError:
    """The error of a sync, which changes nothing."""
    before = project.look()
    with pytest.raises(kind) as caught:
        project.sync(**options)
    assert caught.value.code == code, caught.value
    assert caught.value.where
    assert project.look() == before
    assert project.leftovers() == []
    return caught.value


def test_a_tag_is_locked_by_its_commit_and_laid_from_its_objects(project: LocalProject, repository: Repository) -> None:
    project.depend(rules={"git": repository.url, "tag": "v0.4.0"})
    assert project.actions() == {"vendor/rules": "installed"}
    laid = project.path("vendor/rules")
    assert project.files("vendor/rules") == {
        "README.md": "one\n",
        "policies/a.rego": "package a\n",
        "bin/run": "#!/bin/sh\n",
    }
    assert (laid / "bin/run").stat().st_mode & 0o777 == 0o755
    assert os.readlink(laid / "link") == "policies/a.rego"
    assert not (laid / ".git").exists()
    entry = project.lock["rules"]
    assert list(entry) == ["source", "url", "requested", "commit", "tag", "tree", "to"]
    assert (entry["commit"], entry["tag"]) == (repository.git("rev-parse", "v0.4.0"), "v0.4.0")
    assert project.actions() == {"vendor/rules": "unchanged"}


def test_annotated_tags_lead_to_their_commit(project: LocalProject, repository: Repository) -> None:
    repository.git("tag", "-a", "v1.0.0", "-m", "release")
    project.depend(rules={"git": repository.url, "tag": "v1.0.0"})
    project.sync()
    assert project.lock["rules"]["commit"] == repository.git("rev-parse", "v1.0.0^{commit}")


def test_branch_default_branch_version_and_commit_are_found(project: LocalProject, repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD~1")
    for tag in ("v0.5.0", "v1.0.0-rc.1", "v0.10.0", "other"):
        repository.git("tag", tag)
    repository.git("checkout", "--quiet", "-b", "feature/x")
    branch = repository.commit({"new": "new"})
    repository.git("checkout", "--quiet", "main")
    main = repository.git("rev-parse", "main")
    project.depend(
        branch={"git": repository.url, "branch": "feature/x"},
        head={"git": repository.url},
        pinned={"git": repository.url, "commit": first, "branch": "main"},
        version={"git": repository.url, "version": "<1"},
    )
    report = project.sync()
    found = {name: entry["commit"] for name, entry in project.lock.items()}
    assert found == {"branch": branch, "head": main, "pinned": first, "version": main}
    assert project.lock["version"]["tag"] == "v0.10.0"
    assert [note for note in report.notes if "default branch" in note]
    assert len(list((project.cache.root / "git").glob("*.git"))) == 1


def test_a_branch_that_moved_stays_locked(project: LocalProject, repository: Repository) -> None:
    project.depend(rules={"git": repository.url, "branch": "main"})
    project.sync()
    repository.commit({"README.md": "two\n"})
    assert project.actions() == {"vendor/rules": "unchanged"}
    assert project.actions(updating=True) == {"vendor/rules": "updated"}
    assert project.files("vendor/rules")["README.md"] == "two\n"


def test_a_part_of_a_tree_is_fetched_alone(project: LocalProject, repository: Repository) -> None:
    large = os.urandom(300_000)
    repository.commit({"large.bin": large})
    project.depend(rules={"git": repository.url, "branch": "main", "root": "policies", "include": ["**/*.rego"]})
    project.sync()
    assert project.files("vendor/rules") == {"a.rego": "package a\n"}
    size = sum(path.stat().st_size for path in (project.cache.root / "git").rglob("*") if path.is_file())
    assert size < 100_000
    project.depend(rules={"git": repository.url, "branch": "main"})
    project.sync()
    assert (project.path("vendor/rules") / "large.bin").read_bytes() == large


def test_a_partial_clone_stays_one_when_a_branch_moves(project: LocalProject, repository: Repository) -> None:
    project.depend(rules={"git": repository.url, "branch": "main", "root": "policies"})
    project.sync()
    (clone,) = (project.cache.root / "git").glob("*.git")
    for number in range(3):
        commit = repository.commit({"large.bin": os.urandom(100_000), "policies/a.rego": f"package a{number}\n"})
    project.sync(updating=True)
    assert project.files("vendor/rules") == {"a.rego": "package a2\n"}
    assert repository.git("rev-list", "--count", commit, directory=clone) == "1"
    assert sum(path.stat().st_size for path in clone.rglob("*") if path.is_file()) < 100_000


def test_what_is_cloned_is_laid_offline_and_with_the_repository_gone(
    project: LocalProject, repository: Repository, tmp_path: Path
) -> None:
    project.depend(rules={"git": repository.url, "tag": "v0.4.0"})
    project.sync()
    os.rename(repository.directory, tmp_path / "away")
    (project.path("vendor/rules") / "README.md").unlink()
    assert project.actions() == {"vendor/rules": "repaired"}
    (project.path("vendor/rules") / "README.md").unlink()
    project.is_offline = True
    assert project.actions(locked=True) == {"vendor/rules": "repaired"}
    project.depend(rules={"git": repository.url, "branch": "main"})
    refused(project, Unavailable, "offline")


def test_attributes_and_configuration_change_nothing_of_the_tree(
    project: LocalProject, repository: Repository, tmp_path: Path
) -> None:
    repository.commit(
        {
            ".gitattributes": "* text=auto eol=crlf\n*.id ident\nsecret export-ignore\nf filter=evil\n",
            "x.id": "$Id$\n",
            "secret": "s\n",
            "f": "raw\n",
            "unix": "a\nb\n",
        }
    )
    marker = tmp_path / "ran"
    (tmp_path / ".gitconfig").write_text(
        f'[core]\n\tautocrlf = true\n[filter "evil"]\n\tsmudge = touch {marker}\n\trequired = true\n'
    )
    project.depend(rules={"git": repository.url, "branch": "main"})
    project.sync()
    files = project.files("vendor/rules")
    assert (files["x.id"], files["secret"], files["f"], files["unix"]) == ("$Id$\n", "s\n", "raw\n", "a\nb\n")
    assert not marker.exists()


def test_the_users_own_configuration_finds_the_repository(
    project: LocalProject, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / ".gitconfig").write_text(f'[url "{repository.url}"]\n\tinsteadOf = https://git.example.com/x\n')
    project.depend(rules={"git": "https://git.example.com/x", "tag": "v0.4.0"})
    # The transport was not asked for: what the manifest calls https is not read from a disk.
    error = refused(project, ProvenderError, "git-failed")
    assert "file" in error.message
    (tmp_path / ".gitconfig").write_text(f'[url "{repository.url}"]\n\tinsteadOf = file:///srv/x\n')
    project.depend(rules={"git": "file:///srv/x", "tag": "v0.4.0"})
    project.sync()
    assert project.lock["rules"]["url"] == "file:///srv/x"


@pytest.mark.parametrize("where", ["core.sshCommand", "GIT_SSH_COMMAND"])
@pytest.mark.parametrize(("name", "is_ssh"), [("ssh", True), ("tunnel", False)])
def test_the_users_own_ssh_is_used_and_told_not_to_ask(
    project: LocalProject, repository: Repository, tmp_path: Path, where: str, name: str, is_ssh: bool
) -> None:
    log, program = tmp_path / "log", tmp_path / name
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nfor last; do :; done\neval "$last"\n')
    program.chmod(0o755)
    command = f"{program} -o LogLevel=QUIET" if is_ssh else str(program)
    if where == "core.sshCommand":
        (tmp_path / ".gitconfig").write_text(f"[core]\n\tsshCommand = {command}\n")
    else:
        project.environ = {where: command}
    project.depend(rules={"git": f"ssh://ssh.example.com{repository.directory}", "tag": "v0.4.0"})
    project.sync()
    asked = [line for line in log.read_text().splitlines() if "git-upload-pack" in line]
    assert asked
    quiet = [line.startswith("-o LogLevel=QUIET -o BatchMode=yes ") for line in asked]
    assert all(quiet) if is_ssh else not any(quiet)


# --- submodules


@pytest.fixture
def nested(repository: Repository, tmp_path: Path) -> Repository:
    """A repository that has `repository` as its submodule `sub/inner`."""
    outer = Repository(tmp_path / "outer")
    outer.commit({"top": "top"})
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "--", "../remote", "sub/inner")
    outer.commit(message="with a submodule")
    return outer


def test_submodules_are_laid_only_where_they_are_asked_for(project: LocalProject, nested: Repository) -> None:
    project.depend(outer={"git": nested.url})
    project.sync()
    assert set(project.files("vendor/outer")) == {"top", ".gitmodules"}
    project.depend(outer={"git": nested.url, "submodules": True})
    assert project.actions() == {"vendor/outer": "updated"}
    assert project.files("vendor/outer")["sub/inner/README.md"] == "one\n"
    project.depend(outer={"git": nested.url, "submodules": True, "root": "sub/inner/policies"})
    project.sync()
    assert project.files("vendor/outer") == {"a.rego": "package a\n"}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ext::sh -c 'touch /tmp/x'", "invalid-git-url"),
        ("-uploadpack=x", "invalid-git-url"),
        ("http://127.0.0.1:1/x", "submodule-transport"),
        ("git://127.0.0.1/x", "submodule-transport"),
    ],
)
def test_hostile_addresses_of_submodules_are_refused(
    project: LocalProject, nested: Repository, url: str, code: str
) -> None:
    nested.git("config", "--file", ".gitmodules", "submodule.sub/inner.url", url)
    nested.commit(message="hostile")
    project.depend(outer={"git": nested.url, "submodules": True})
    refused(project, InvalidProject, code)


def test_a_submodule_without_an_address_is_told(project: LocalProject, nested: Repository) -> None:
    (nested.directory / ".gitmodules").unlink()
    nested.commit(message="no addresses")
    project.depend(outer={"git": nested.url, "submodules": True})
    assert "sub/inner" in refused(project, InvalidProject, "no-submodule-url").message


# --- hostile trees


@pytest.mark.parametrize(
    ("mode", "name", "code"),
    [
        ("100644", "..", "bad-name"),
        ("100644", "a\\b", "bad-name"),
        ("100644", "nul.txt", "bad-name"),
        ("100644", "c:x", "bad-name"),
        ("100644", "x" * 300, "bad-name"),
        ("100644", "README.md.", "bad-name"),
        ("120000", "out", "bad-link"),
    ],
)
def test_trees_that_would_leave_their_place_are_refused(
    project: LocalProject, repository: Repository, mode: str, name: str, code: str
) -> None:
    blob = repository.blob(b"../../../../etc/passwd")
    repository.tree_of([(mode, blob, name)])
    project.depend(odd={"git": repository.url, "branch": "odd"})
    refused(project, IntegrityError, code)


def test_names_that_collide_elsewhere_are_refused(project: LocalProject, repository: Repository) -> None:
    blob = repository.blob(b"x")
    repository.tree_of([("100644", blob, "FILE"), ("100644", blob, "file")])
    project.depend(odd={"git": repository.url, "branch": "odd"})
    refused(project, IntegrityError, "case-collision")


def test_a_directory_through_a_link_is_refused(project: LocalProject, repository: Repository) -> None:
    blob = repository.blob(b".git/hooks")
    inner = repository.git("mktree", given=f"100755 blob {blob}\tpost-checkout\n".encode())
    repository.tree_of([("120000", blob, "a"), ("40000", inner, "A")])
    project.depend(odd={"git": repository.url, "branch": "odd"})
    refused(project, IntegrityError, "case-collision")


# --- addresses and wishes


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("https://example.com/a/b.git", "https"),
        ("http://127.0.0.1:8080/x", "http"),
        ("ssh://git@example.com:22/x.git", "ssh"),
        ("git@example.com:a/b.git", "ssh"),
        ("example.com:a/b.git", "ssh"),
        ("git+ssh://git@example.com/x", "ssh"),
        ("git://example.com/x", "git"),
        ("file:///srv/x.git", "file"),
        ("https://user@example.com/x", "https"),
    ],
)
def test_addresses_that_git_may_be_given(url: str, transport: str) -> None:
    assert git_transport(url) == transport


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ext::sh -c id",
        "ext::sh%20-c%20id",
        "fd::17",
        "-uhelp",
        "--upload-pack=touch /tmp/x",
        "ssh://-oProxyCommand=id/x",
        "ssh://-oProxyCommand=id@host/x",
        "-oProxyCommand=id:x",
        "host:-x",
        "user@-host:x",
        "/srv/repo",
        "../repo",
        "repo",
        "file://host/x",
        "file://-x",
        "file:///-x",
        "ftp://example.com/x",
        "https://",
        "https:///x",
        "https://example.com",
        "https://example.com/-x",
        "https://exa mple.com/x",
        "https://example.com:port/x",
        "https://user:secret@example.com/x",
        "https://example.com/x\n",
        "https://example.com\\x/y",
        "git://user@example.com/x",
        "transport::https://example.com/x",
        "https://example.com/" + "x" * 3000,
    ],
)
def test_addresses_that_git_may_not_be_given(project: LocalProject, url: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        check_git_url(url)
    assert caught.value.code in ("invalid-git-url", "secret-in-url")
    assert caught.value.hint
    assert "secret" not in caught.value.message
    project.depend(rules={"git": url})
    assert "provender.yaml:" in (refused(project, InvalidProject, caught.value.code).where or "")


@pytest.mark.parametrize(
    ("wish", "code", "hint"),
    [
        ({"tag": "v0.4"}, "no-such-ref", "did you mean v0.4.0?"),
        ({"tag": "main"}, "no-such-ref", "write 'branch: main'"),
        ({"branch": "v0.4.0"}, "no-such-ref", "write 'tag: v0.4.0'"),
        ({"branch": "mian"}, "no-such-ref", "did you mean main?"),
        ({"version": ">=2"}, "no-version-matched", "v0.4.0"),
        ({"commit": "0" * 40}, "no-such-commit", "rewritten"),
        ({"tag": "v0.4.0", "root": "polices"}, "no-such-root", "policies"),
        ({"tag": "v0.4.0", "include": ["*.json"]}, "nothing-selected", "README.md"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    project: LocalProject, repository: Repository, wish: dict[str, str], code: str, hint: str
) -> None:
    project.depend(rules={"git": repository.url, **wish})
    error = refused(project, NotFound, code)
    assert hint in (error.hint or "")
    assert "provender.yaml" in (error.where or "")


def test_a_repository_that_is_not_there_is_told(project: LocalProject, tmp_path: Path) -> None:
    project.depend(rules={"git": f"file://{tmp_path}/none", "tag": "v1"})
    assert "none" in refused(project, ProvenderError, "git-failed").message


def test_lfs_pointers_stay_pointers_unless_asked_and_then_need_git_lfs(
    project: LocalProject, repository: Repository
) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    repository.commit({"big.bin": pointer})
    project.depend(rules={"git": repository.url})
    project.sync()
    assert project.files("vendor/rules")["big.bin"] == pointer
    project.depend(rules={"git": repository.url, "lfs": True})
    project.environ = {"GIT_EXEC_PATH": repository.git("--exec-path")}
    assert "big.bin" in refused(project, ProvenderError, "no-lfs").message


def test_a_failure_of_the_last_dependency_changes_nothing(project: LocalProject, repository: Repository) -> None:
    project.publish("x", "1.0.0", {"a.txt": "one"})
    project.depend(a={"git": repository.url, "tag": "v0.4.0"}, x="acme/x:1.0.0", z={"git": repository.url, "tag": "no"})
    refused(project, NotFound, "no-such-ref")
    assert not project.path("vendor").exists()


# --- over HTTP


def test_a_repository_behind_a_login_is_reached_by_the_users_own_helper_and_never_by_a_prompt(
    project: LocalProject, repository: Repository, tmp_path: Path
) -> None:
    project.publish("x", "1.0.0", {"a.txt": "one"})
    with GitHttpServer(tmp_path, login=("me", "secret")) as server:
        project.depend(rules={"git": f"{server.url}/remote/.git", "tag": "v0.4.0"}, x="acme/x:1.0.0")
        error = refused(project, ProvenderError, "git-failed")
        assert "credential" in (error.hint or "")
        assert "secret" not in str(error)
        helper = tmp_path / "helper.sh"
        helper.write_text("#!/bin/sh\necho username=me\necho password=secret\n")
        helper.chmod(0o755)
        (tmp_path / ".gitconfig").write_text(f"[credential]\n\thelper = {helper}\n")
        assert project.actions() == {"vendor/rules": "installed", "vendor/x": "installed"}
        assert project.files("vendor/rules")["README.md"] == "one\n"
        assert "secret" not in (project.directory / "provender.lock").read_text()
        asked = len(server.asked)
        assert set(project.actions().values()) == {"unchanged"}
        assert len(server.asked) == asked


def test_a_tag_over_http_costs_few_requests_and_a_locked_commit_fewer(
    project: LocalProject, repository: Repository, tmp_path: Path
) -> None:
    with GitHttpServer(tmp_path) as server:
        wish = {"git": f"{server.url}/remote/.git", "tag": "v0.4.0"}
        project.depend(a={**wish, "root": "policies"}, b={**wish, "root": "bin"})
        project.sync()
        # Two questions for the tags, at most three for the commit, at most two for the files of each part.
        assert len(server.asked) <= 2 + 3 + 4
        del server.asked[:]
        for name in ("a", "b"):
            for path in project.path(f"vendor/{name}").iterdir():
                path.unlink()
        project.sync(locked=True)
        assert server.asked == []


def test_a_server_without_single_commits_gives_all_of_them(
    project: LocalProject, repository: Repository, tmp_path: Path
) -> None:
    """The dumb protocol: files of a bare repository behind any web server."""
    first = repository.git("rev-parse", "HEAD~1")
    bare = tmp_path / "bare"
    repository.git("clone", "--quiet", "--bare", str(repository.directory), str(bare))
    repository.git("--git-dir=.", "update-server-info", directory=bare)
    with FilesServer() as server:
        for path in bare.rglob("*"):
            if path.is_file():
                server.files[f"/x.git/{path.relative_to(bare)}"] = path.read_bytes()
                server.files[f"/x.git/{path.relative_to(bare)}?service=git-upload-pack"] = path.read_bytes()
        project.depend(rules={"git": f"{server.url}/x.git", "commit": first, "exclude": ["bin"]})
        project.sync()
    assert project.files("vendor/rules")["README.md"] == "one\n"
