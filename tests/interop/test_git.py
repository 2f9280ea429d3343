"""Git as its users have it set up: a real sshd, reached by the user's own configuration, and a real git-lfs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interop.programs import program
from interop.projects import Project
from support.git_repository import GitRepository
from support.lfs import LfsRepository
from support.ssh_server import SshServer

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("how", ["core.sshCommand", "GIT_SSH_COMMAND", "a host of ~/.ssh/config"])
def test_a_repository_over_ssh_is_reached_as_git_reaches_it(tmp_path: Path, home: Path, how: str) -> None:
    repository = GitRepository(tmp_path / "remote")
    repository.commit("first", {"a.txt": "alpha"}, tag="v1.0.0")
    with SshServer(tmp_path / "ssh", program("openssh").path) as server:
        known = tmp_path / "known"
        known.write_text(server.known_hosts_of(server.port))
        options = f"-o IdentitiesOnly=yes -o IdentityFile={server.key} -o UserKnownHostsFile={known}"
        url, env = server.url(repository.path), {}
        if how == "GIT_SSH_COMMAND":
            env = {how: f"ssh {options}"}
        elif how == "core.sshCommand":
            (home / ".gitconfig").write_text(f"[core]\n\tsshCommand = ssh {options}\n")
        else:  # ssh asks the system for the home directory, not the environment, so the file is named
            (tmp_path / "config").write_text(
                f"Host code.example.com\n HostName 127.0.0.1\n Port {server.port}\n IdentityFile {server.key}\n"
                f" IdentitiesOnly yes\n UserKnownHostsFile {known}\n HostKeyAlias [127.0.0.1]:{server.port}\n"
            )
            (home / ".gitconfig").write_text(f"[core]\n\tsshCommand = ssh -F {tmp_path}/config\n")
            url = f"code.example.com:{repository.path}"
        project = Project(tmp_path / "project", {"rules": {"git": url, "tag": "v1.0.0"}}, env=env)
        project.succeed("sync")
        assert (project.vendor("rules") / "a.txt").read_text() == "alpha"
        assert server.connections == 2  # the list of refs, and the commit
        project.succeed("sync", "--locked")
        assert server.connections == 2


def test_a_server_that_nobody_knows_is_told_and_nothing_is_asked(tmp_path: Path, home: Path) -> None:
    repository = GitRepository(tmp_path / "remote")
    repository.commit("first", {"a.txt": "alpha"}, tag="v1.0.0")
    with SshServer(tmp_path / "ssh", program("openssh").path) as server:
        options = f"-o IdentitiesOnly=yes -o IdentityFile={server.key} -o UserKnownHostsFile={os.devnull}"
        (home / ".gitconfig").write_text(f"[core]\n\tsshCommand = ssh {options}\n")
        result = Project(tmp_path / "project", {"rules": {"git": server.url(repository.path), "tag": "v1.0.0"}}).run(
            "sync"
        )
    assert result.status == 69
    assert "Host key verification failed" in result.stderr


@pytest.mark.parametrize("lfs", [False, True])
def test_files_in_lfs_come_where_they_are_asked_for(tmp_path: Path, lfs: bool) -> None:
    content = bytes(range(256)) * 99
    remote = LfsRepository(tmp_path / "lfs", program("git-lfs").path, {"big.bin": content, "a.txt": b"a"})
    project = Project(tmp_path / "project", {"data": {"git": remote.url, "branch": "main", "lfs": lfs}})
    project.succeed("sync")
    laid = (project.vendor("data") / "big.bin").read_bytes()
    assert laid == content if lfs else laid.startswith(b"version https://git-lfs.github.com/spec/v1\n")
    assert (project.vendor("data") / "a.txt").read_bytes() == b"a"
