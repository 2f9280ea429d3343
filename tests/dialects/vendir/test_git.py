"""Contents from Git repositories: what a lock says, and signatures. Against vendir itself: tests/interop."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.git_repository import GitRepository
from support.vendir import VendirProject


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "repository")


def _config(repository: GitRepository, *lines: str) -> str:
    more = "".join(f"      {line}\n" for line in lines)
    return f"directories:\n- path: vendor\n  contents:\n  - path: app\n    git:\n      url: {repository.path}\n{more}"


def test_a_branch_is_laid_and_locked(project: VendirProject, repository: GitRepository) -> None:
    repository.commit("One", {"a.txt": "alpha"}, tag="v1.0.0")
    sha = repository.commit("Two\n\nAnd more.", {"a.txt": "beta"})
    project.write(_config(repository, "ref: origin/main"))
    project.sync()
    assert project.tree("vendor") == {"app/a.txt": "beta"}
    assert f"sha: {sha}\n" in project.lock
    assert "commitTitle: Two...\n" in project.lock
    assert f"- v1.0.0-1-g{sha[:7]}\n" in project.lock


def test_a_title_is_read_in_the_encoding_of_its_commit(project: VendirProject, repository: GitRepository) -> None:
    repository.commit("One", {"a.txt": "alpha"})
    (repository.path / "message").write_bytes(b"Caf\xe9\n\nmore\n")
    repository.git("-c", "i18n.commitEncoding=latin1", "commit", "-q", "--allow-empty", "-F", "message")
    project.write(_config(repository, "ref: origin/main"))
    project.sync()
    assert "commitTitle: Café...\n" in project.lock


def test_locked_stays_where_the_lock_says(project: VendirProject, repository: GitRepository) -> None:
    repository.commit("One", {"a.txt": "alpha"})
    project.write(_config(repository, "ref: origin/main"))
    project.sync()
    lock = project.lock
    repository.commit("Two", {"a.txt": "beta"})
    project.sync("--locked")
    assert project.tree("vendor") == {"app/a.txt": "alpha"}
    project.sync()
    assert project.tree("vendor") == {"app/a.txt": "beta"}
    assert project.lock != lock


def test_a_range_chooses_the_highest_tag(project: VendirProject, repository: GitRepository) -> None:
    for version in ("v1.0.0", "v1.1.0", "v1.2.0-rc.1", "v2.0.0"):
        repository.commit(version, {"v.txt": version}, tag=version)
    project.write(_config(repository, "refSelection: {semver: {constraints: '<2.0.0'}}"))
    project.sync()
    assert project.tree("vendor") == {"app/v.txt": "v1.1.0"}
    project.write(_config(repository, "refSelection: {semver: {constraints: '<2.0.0', prereleases: {}}}"))
    project.sync()
    assert project.tree("vendor") == {"app/v.txt": "v1.2.0-rc.1"}


def test_a_ref_that_is_not_there_is_named_with_those_that_are(
    project: VendirProject, repository: GitRepository
) -> None:
    repository.commit("One", {"a.txt": "alpha"}, tag="v1.0.0")
    project.write(_config(repository, "ref: v9"))
    result = project.run("sync")
    assert result.status == 1
    assert "'v9'" in result.stderr
    assert "v1.0.0" in result.stderr


class _Signer:
    """Keys of people, in a keyring of their own."""

    def __init__(self, home: str) -> None:
        self.env = {"GNUPGHOME": home}

    def key(self, who: str) -> str:
        """Make a key; its public half, armored."""
        self._gpg("--passphrase", "", "--quick-generate-key", who, "ed25519", "sign", "never")
        return self._gpg("--armor", "--export", who)

    def stop(self) -> None:
        subprocess.run(["gpgconf", "--kill", "all"], env={**os.environ, **self.env}, check=False, timeout=60)

    def _gpg(self, *arguments: str) -> str:
        return subprocess.run(
            ["gpg", "--batch", "--quiet", *arguments],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout


@pytest.fixture(scope="module")
def signer() -> Iterator[_Signer]:
    if shutil.which("gpg") is None:
        pytest.skip("there is no gpg")
    # A short path: the sockets of gpg's agent have to fit.
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp") as home:
        one = _Signer(home)
        yield one
        one.stop()


@pytest.fixture(scope="module")
def keys(signer: _Signer) -> dict[str, str]:
    return {who: signer.key(f"{who}@example.com") for who in ("ada", "eve")}


def _secret(*keys: str) -> str:
    data = "".join(f"  key-{n}: {b64encode(key.encode()).decode()}\n" for n, key in enumerate(keys))
    return f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\ndata:\n{data}"


_VERIFIED = "verification: {publicKeysSecretRef: {name: keys}}"


def test_a_signed_commit_is_verified(
    project: VendirProject, repository: GitRepository, signer: _Signer, keys: dict[str, str]
) -> None:
    repository.commit("One", {"a.txt": "alpha"})
    repository.git("commit", "-q", "--allow-empty", "-S", "-m", "Signed", "--author=x <x@x.x>", env=_as("ada", signer))
    project.write(_config(repository, "ref: origin/main", _VERIFIED) + _secret(keys["eve"], keys["ada"]))
    project.sync()
    assert project.tree("vendor") == {"app/a.txt": "alpha"}
    project.sync("--locked")


def test_a_signed_tag_is_verified_though_its_commit_is_not(
    project: VendirProject, repository: GitRepository, signer: _Signer, keys: dict[str, str]
) -> None:
    repository.commit("One", {"a.txt": "alpha"})
    repository.git("tag", "-s", "-m", "Release", "v1", env=_as("ada", signer))
    project.write(_config(repository, "ref: v1", _VERIFIED) + _secret(keys["ada"]))
    project.sync()
    assert project.tree("vendor") == {"app/a.txt": "alpha"}


@pytest.mark.parametrize("signed_by", ["eve", None])
@pytest.mark.parametrize("flags", [(), ("--locked",)])
def test_what_is_not_signed_by_a_known_key_is_never_laid(
    project: VendirProject,
    repository: GitRepository,
    signer: _Signer,
    keys: dict[str, str],
    signed_by: str | None,
    flags: tuple[str, ...],
) -> None:
    repository.commit("One", {"a.txt": "alpha"})
    if signed_by:
        repository.git("commit", "-q", "--allow-empty", "-S", "-m", "Signed", env=_as(signed_by, signer))
    else:
        repository.commit("Not signed", {"a.txt": "beta"})
    # The commit is in the cache already, by a run that asked for no signature.
    project.write(_config(repository, "ref: origin/main"))
    project.sync()
    lock = project.lock
    shutil.rmtree(project.directory / "vendor")
    project.write(_config(repository, "ref: origin/main", _VERIFIED) + _secret(keys["ada"]))
    result = project.run("sync", *flags)
    assert result.status == 1
    assert "Checking signature" in result.stderr
    assert not (project.directory / "vendor").exists()
    assert project.lock == lock


def test_keys_that_are_none_are_refused(project: VendirProject, repository: GitRepository, signer: _Signer) -> None:
    repository.commit("One", {"a.txt": "alpha"})
    project.write(_config(repository, "ref: origin/main", _VERIFIED) + _secret("no key at all"))
    result = project.run("sync")
    assert result.status == 1
    assert "Reading armored key ring" in result.stderr


def _as(who: str, signer: _Signer) -> dict[str, str]:
    return {
        **signer.env,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.signingkey",
        "GIT_CONFIG_VALUE_0": f"{who}@example.com",
    }
