"""What a sync lays, keeps, removes and locks; the network has its own tests."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from support.archives import archive, file, member
from support.registry import TestRegistry
from support.vendir import HEAD, VendirProject

_TWO = """\
directories:
- path: vendor
  contents:
  - path: one
    inline: {paths: {a.txt: alpha}}
  - path: deep/two
    inline: {paths: {sub/b.txt: beta}}
"""
_LOCK = """\
apiVersion: vendir.k14s.io/v1alpha1
directories:
- contents:
  - inline: {}
    path: one
  - inline: {}
    path: deep/two
  path: vendor
kind: LockConfig
"""


def test_contents_are_laid_and_locked(project: VendirProject) -> None:
    project.write(_TWO)
    result = project.sync()
    assert result.stdout == _LOCK
    assert project.lock == _LOCK
    assert project.tree("vendor") == {"deep/two/sub/b.txt": "beta", "one/a.txt": "alpha"}
    assert set(project.modes("vendor").values()) == {0o700, 0o600}
    assert stat.S_IMODE((project.directory / "vendir.lock.yml").stat().st_mode) == 0o600


def test_everything_else_in_a_managed_directory_is_removed(project: VendirProject) -> None:
    project.write(_TWO)
    project.sync()
    (project.directory / "vendor/one/more.txt").write_text("mine")
    (project.directory / "vendor/more").mkdir()
    (project.directory / "vendor/one/a.txt").write_text("changed")
    project.sync()
    assert project.tree("vendor") == {"deep/two/sub/b.txt": "beta", "one/a.txt": "alpha"}
    assert not (project.directory / "vendor/more").exists()


def test_a_run_without_changes_touches_nothing(project: VendirProject) -> None:
    project.write(_TWO + "  - path: copy\n    directory: {path: src}\n")
    (project.directory / "src").mkdir()
    (project.directory / "src/c.txt").write_text("gamma")
    project.sync()
    before = {
        path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in (project.directory / "vendor").rglob("*")
    }
    lock = (project.directory / "vendir.lock.yml").stat()
    project.sync()
    project.sync("--locked")
    after = {
        path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in (project.directory / "vendor").rglob("*")
    }
    now = (project.directory / "vendir.lock.yml").stat()
    assert after == before
    assert (now.st_ino, now.st_mtime_ns) == (lock.st_ino, lock.st_mtime_ns)


def test_unchanged_contents_are_carried_over_beside_changed_ones(project: VendirProject) -> None:
    project.write(_TWO)
    project.sync()
    kept = (project.directory / "vendor/one/a.txt").stat().st_ino
    project.write(_TWO.replace("beta", "other"))
    project.sync()
    assert (project.directory / "vendor/one/a.txt").stat().st_ino == kept
    assert project.tree("vendor")["deep/two/sub/b.txt"] == "other"


def test_a_failure_in_the_last_directory_changes_nothing(project: VendirProject) -> None:
    project.write(_TWO)
    project.sync()
    (project.directory / "vendor/one/local.txt").write_text("mine")
    before = project.tree()
    text = _TWO.replace("alpha", "new") + "- path: other\n  contents:\n  - path: x\n    directory: {path: missing}\n"
    project.write(text)
    result = project.run("sync")
    assert result.status == 1
    assert result.stderr.startswith(
        "vendir: Error: Syncing directory 'other':\n  Copying another directory contents into directory 'x': "
        "lstat missing: no such file or directory\n"
    )
    assert project.tree() == {**before, "vendir.yml": HEAD + text}
    assert [name for name in os.listdir(project.directory) if name.startswith(".")] == [".provender"]


def test_deleting_the_state_is_safe(project: VendirProject) -> None:
    project.write(_TWO)
    project.sync()
    for path in (project.directory / ".provender").iterdir():
        path.unlink()
    project.sync("--locked")
    assert project.tree("vendor") == {"deep/two/sub/b.txt": "beta", "one/a.txt": "alpha"}
    assert project.lock == _LOCK


def test_manual_contents_stay_and_are_never_lost(project: VendirProject) -> None:
    text = "directories:\n- path: vendor\n  contents:\n  - {path: mine, manual: {}}\n"
    project.write(text + "  - path: x\n    directory: {path: src}\n")
    (project.directory / "vendor/mine/deep").mkdir(parents=True)
    (project.directory / "vendor/mine/deep/a.txt").write_text("kept")
    (project.directory / "vendor/extra").write_text("gone")
    failed = project.run("sync")
    assert failed.status == 1
    assert project.tree("vendor") == {"extra": "gone", "mine/deep/a.txt": "kept"}
    (project.directory / "src").mkdir()
    (project.directory / "src/b.txt").write_text("b")
    project.sync()
    assert project.tree("vendor") == {"mine/deep/a.txt": "kept", "x/b.txt": "b"}
    assert "manual: {}" in project.lock


def test_manual_contents_have_to_be_there(project: VendirProject) -> None:
    project.write("directories:\n- path: vendor\n  contents:\n  - {path: mine, manual: {}}\n")
    result = project.run("sync")
    assert result.status == 1
    assert "Moving directory 'vendor/mine' to staging dir" in result.stderr


def test_inline_files_come_from_secrets_and_config_maps(project: VendirProject) -> None:
    project.write(
        "directories:\n- path: vendor\n  contents:\n  - path: .\n    inline:\n      paths: {a: x}\n      pathsFrom:\n"
        "      - secretRef: {name: s, directoryPath: secret}\n      - configMapRef: {name: c}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {m.txt: plain}\n---\n"
    )
    (project.directory / "more.yml").write_text(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {p: c2VjcmV0}\n"
    )
    result = project.sync("-f", "vendir.yml", "-f", "more.yml")
    assert project.tree("vendor") == {"a": "x", "m.txt": "plain", "secret/p": "secret"}
    assert "secret" not in result.stderr


def test_the_configuration_may_come_from_standard_input(project: VendirProject) -> None:
    result = project.run("sync", "-f", "-", stdin=HEAD + _TWO)
    assert result.status == 0, result.stderr
    assert project.tree("vendor")["one/a.txt"] == "alpha"


def test_anchors_and_merge_keys_are_read(project: VendirProject) -> None:
    project.write(
        "x-common: &common {excludePaths: ['*.md']}\ndirectories:\n- path: vendor\n  contents:\n"
        "  - path: a\n    <<: *common\n    inline: {paths: {a.md: x, b.txt: text}}\n"
    )
    result = project.sync()
    assert project.tree("vendor") == {"a/b.txt": "text"}
    assert "unknown key 'x-common'" in result.stderr


def test_files_are_chosen_before_the_new_root(project: VendirProject) -> None:
    source = project.directory / "src"
    for name in ("LICENSE", "docs/a.md", "docs/b.txt", "docs/deep/c.md", "x/d.md"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    head = "directories:\n- path: vendor\n  contents:\n  - path: .\n    directory: {path: src}\n"
    project.write(head + "    includePaths: ['**/*.md']\n    excludePaths: ['x/**']\n")
    project.sync()
    assert sorted(project.tree("vendor")) == ["LICENSE", "docs/a.md", "docs/deep/c.md"]
    project.write(head + "    includePaths: ['**/*.md']\n    legalPaths: []\n    newRootPath: docs\n")
    project.sync()
    assert sorted(project.tree("vendor")) == ["a.md", "deep/c.md"]


def test_ignored_files_of_the_destination_win(project: VendirProject) -> None:
    project.write(
        _TWO.replace(
            "    inline: {paths: {a.txt: alpha}}",
            "    inline: {paths: {a.txt: alpha}}\n    ignorePaths: ['*.txt', 'cache/**']",
        )
    )
    project.sync()
    (project.directory / "vendor/one/a.txt").write_text("mine")
    (project.directory / "vendor/one/cache").mkdir()
    (project.directory / "vendor/one/cache/x").write_text("cached")
    (project.directory / "vendor/one/other").write_text("gone")
    project.sync()
    assert project.tree("vendor/one") == {"a.txt": "mine", "cache/x": "cached"}


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("", "", (0o700, 0o700)),
        ("  permissions: 0744\n", "", (0o744, 0o744)),
        ("", "    permissions: 0755\n", (0o700, 0o755)),
        ("  permissions: 0100\n", "    permissions: 0004\n", (0o100, 0o004)),
    ],
)
def test_permissions_are_those_asked_for(
    project: VendirProject, outer: str, inner: str, expected: tuple[int, int]
) -> None:
    project.write(
        f"directories:\n- path: dir\n{outer}  contents:\n  - path: sub\n    inline: {{paths: {{a: b}}}}\n{inner}"
    )
    project.sync()
    top = project.directory / "dir"
    assert stat.S_IMODE(top.stat().st_mode) == expected[0]
    top.chmod(0o700)
    assert stat.S_IMODE((top / "sub").stat().st_mode) == expected[1]
    (top / "sub").chmod(0o700)


def test_lazy_contents_are_fetched_again_when_their_configuration_changes(project: VendirProject) -> None:
    (project.directory / "src").mkdir()
    (project.directory / "src/f.txt").write_text("file")
    text = "directories:\n- path: vendor\n  contents:\n  - path: dir\n    lazy: true\n    directory: {path: src}\n"
    project.write(text)
    project.sync()
    lock = project.lock
    assert "  - configDigest: " in lock
    (project.directory / "vendor/dir/f.txt").unlink()
    project.sync()
    assert not (project.directory / "vendor/dir/f.txt").exists()
    project.sync("--lazy=false")
    assert (project.directory / "vendor/dir/f.txt").exists()
    assert project.lock == lock
    project.write(text.replace("    lazy: true\n", ""))
    project.sync()
    assert "configDigest" not in project.lock


def test_lazy_contents_that_vanished_are_told(project: VendirProject) -> None:
    project.write("directories:\n- path: v\n  contents:\n  - {path: d, lazy: true, inline: {paths: {a: b}}}\n")
    project.sync()
    (project.directory / "v/d/a").unlink()
    (project.directory / "v/d").rmdir()
    result = project.run("sync")
    assert result.status == 1
    assert "Lazy content missing. Run sync with --lazy=false to fix. 'v'" in result.stderr


def test_a_part_can_be_synced_alone(project: VendirProject) -> None:
    project.write(_TWO)
    project.sync()
    (project.directory / "vendor/one/extra").write_text("stays")
    project.write(_TWO.replace("beta", "new").replace("alpha", "newer"))
    result = project.sync("-d", "vendor/deep/two")
    assert result.stdout.startswith(HEAD.replace("kind: Config\n", "directories:\n"))
    assert project.tree("vendor") == {"deep/two/sub/b.txt": "new", "one/a.txt": "alpha", "one/extra": "stays"}
    assert project.lock == _LOCK


def test_a_local_directory_can_stand_in(project: VendirProject) -> None:
    project.write(_TWO)
    project.sync()
    before = project.lock
    (project.directory / "dev").mkdir()
    (project.directory / "dev/z.txt").write_text("dev")
    project.sync("--directory", "vendor/one=dev")
    assert project.tree("vendor/one") == {"z.txt": "dev"}
    assert project.lock == before


def test_a_locked_run_needs_an_entry_for_everything(project: VendirProject) -> None:
    project.write(_TWO)
    missing = project.run("sync", "--locked")
    assert missing.status == 1
    assert "Reading lock config 'vendir.lock.yml': open vendir.lock.yml: no such file or directory" in " ".join(
        missing.stderr.split()
    )
    project.sync()
    project.write(_TWO + "  - path: three\n    inline: {paths: {a: b}}\n")
    stale = project.run("sync", "-l")
    assert stale.status == 1
    assert "Expected to find contents 'three' within directory 'vendor' in lock config, but did not" in stale.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("a.txt", None),
        ("../../outside", "Invalid symlink found to outside parent directory"),
        ("nowhere", "Unable to resolve symlink"),
    ],
)
def test_links_have_to_stay_inside(project: VendirProject, target: str, message: str | None) -> None:
    (project.directory / "outside").write_text("x")
    (project.directory / "src").mkdir()
    (project.directory / "src/a.txt").write_text("a")
    (project.directory / "src/link").symlink_to(target)
    project.write("directories:\n- path: vendor\n  contents:\n  - path: d\n    directory: {path: src}\n")
    result = project.run("sync")
    assert result.status == (0 if message is None else 1)
    assert message is None or message in result.stderr
    assert (project.directory / "vendor").exists() is (message is None)
    allowed = project.run("sync", "--dangerous-allow-all-symlink-destinations")
    assert allowed.status == 0
    assert os.readlink(project.directory / "vendor/d/link") == target


def test_an_absolute_link_to_the_place_where_it_will_be_is_inside(project: VendirProject) -> None:
    (project.directory / "src").mkdir()
    (project.directory / "src/a.txt").write_text("a")
    (project.directory / "src/link").symlink_to(project.directory / "vendor/d/a.txt")
    project.write("directories:\n- path: vendor\n  contents:\n  - path: d\n    directory: {path: src}\n")
    project.sync()
    assert (project.directory / "vendor/d/link").read_text() == "a"


@pytest.mark.parametrize("path", ["../project", ".git", ".git/x", ".provender"])
def test_a_managed_directory_that_would_take_the_project_with_it_is_refused(project: VendirProject, path: str) -> None:
    project.write(f"directories:\n- path: {path}\n  contents:\n  - path: d\n    inline: {{paths: {{a: b}}}}\n")
    result = project.run("sync")
    assert result.status == 1
    assert "holds the working directory" in result.stderr
    assert (project.directory / "vendir.yml").exists()


def test_a_managed_directory_may_lie_elsewhere(project: VendirProject, tmp_path: Path) -> None:
    project.write("directories:\n- path: ../beside\n  contents:\n  - path: d\n    inline: {paths: {a: b}}\n")
    project.sync()
    assert (tmp_path / "beside/d/a").read_text() == "b"


def test_what_a_killed_run_left_is_cleared_away(project: VendirProject) -> None:
    project.write(_TWO)
    project.sync()
    left = project.directory / ".vendor.provender-new-0123abcd"
    left.mkdir()
    (left / "half").write_text("x")
    project.write(_TWO.replace("alpha", "new"))
    project.sync()
    assert not left.exists()


def test_unknown_keys_do_nothing_but_are_told(project: VendirProject) -> None:
    project.write(
        "directories:\n- path: v\n  contents:\n  - path: d\n    inline:\n      paths: {a.md: b, c.txt: d}\n"
        "      includePaths: ['*.md']\n    includepaths: ['*.txt']\n"
    )
    result = project.sync()
    assert project.tree("v") == {"d/c.txt": "d"}
    assert "warning: vendir.yml:9:7: unknown key 'includePaths' in directories[0].contents[0].inline" in result.stderr


def test_a_number_where_text_is_wanted_is_told(project: VendirProject) -> None:
    project.write("directories:\n- path: v\n  contents:\n  - path: 1.10\n    inline: {paths: {a: b}}\n")
    result = project.sync()
    assert project.tree("v") == {"1.1/a": "b"}
    assert "1.10 is read as 1.1" in result.stderr


def test_mercurial_is_named_as_unsupported_and_the_rest_can_be_synced(project: VendirProject) -> None:
    project.write(_TWO + "  - path: hg\n    hg: {url: https://example.com/r, ref: tip}\n")
    result = project.run("sync")
    assert result.status == 1
    assert "the source hg (Mercurial) is not supported" in result.stderr
    assert "vendir sync -d vendor/hg" in result.stderr
    project.sync("-d", "vendor/one", "-d", "vendor/deep/two")


def test_two_runs_at_once_wait_for_each_other(project: VendirProject) -> None:
    import threading

    project.write(_TWO)
    project.sync()
    from provender.storage.files import FileLock

    lock = FileLock(project.directory / ".provender/lock", timeout_s=5, what="test")
    lock.acquire()
    release = threading.Timer(0.3, lock.release)
    release.start()
    project.write(_TWO.replace("alpha", "later"))
    result = project.sync()
    release.join()
    assert project.tree("vendor")["one/a.txt"] == "later"
    assert "waiting for another provender" in result.stderr


@pytest.mark.parametrize("source", ["image: {url: '%s/team/app:%s'}", "ociArtifact: {image: '%s/team/app', tag: %s}"])
def test_a_lock_tells_the_tag_that_is_asked_for_now(project: VendirProject, source: str) -> None:
    with TestRegistry() as registry:
        for tag in ("v1", "stable"):  # of one image
            registry.push_artifact("team/app", tag, [archive(file("a.txt", b"alpha"))])
            contents = source % (registry.host, tag)
            project.write(f"directories: [{{path: vendor, contents: [{{path: app, {contents}}}]}}]\n")
            project.sync()
            assert f"tag: {tag}\n" in project.lock.replace('"', "")


def test_an_image_may_have_devices_and_names_that_are_fine_here(project: VendirProject) -> None:
    with TestRegistry() as registry:
        names = ("man/A::B.3pm", "aux", "back\\slash", "dots...")
        layer = archive((member("dev/null", tarfile.CHRTYPE), b""), *(file(name, b"x") for name in names))
        registry.push_artifact("team/app", "v1", [layer])
        url = f"{registry.host}/team/app:v1"
        project.write(f"directories: [{{path: v, contents: [{{path: app, image: {{url: '{url}'}}}}]}}]\n")
        project.sync()
    assert sorted(project.tree("v/app")) == sorted(names)
