"""Wrong inputs: each is told with what is wrong, where it stands and how to mend it, and changes nothing.

Where vendir's own suite asserts a text, it is here to the letter. The other half of the table, for provender.yaml, is
in `tests/project`.
"""

from __future__ import annotations

import pytest

from support.vendir import HEAD, VendirProject
from support.vendir_cases import CONFIGURATIONS, INLINE, one


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_wrong_configuration_is_told_with_what_where_and_how(project: VendirProject, name: str) -> None:
    text, what, where, how = CONFIGURATIONS[name]
    (project.directory / "vendir.yml").write_text(text)
    result = project.run("sync")
    assert result.status == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith("vendir: Error: ")
    message = " ".join(line.strip() for line in lines if not line.startswith(("  at ", "  fix ", "warning")))
    assert what in message, result.stderr
    places = [line for line in lines if line.startswith("  at ")]
    assert len(places) == 1, result.stderr
    assert where in places[0], result.stderr
    hints = [line for line in lines if line.startswith("  fix ")]
    assert len(hints) == 1, result.stderr
    assert how in hints[0], result.stderr
    assert sorted(path.name for path in project.directory.iterdir() if path.name != ".provender") == ["vendir.yml"]


_COMMAND_LINES: dict[str, tuple[list[str], str]] = {
    "unknown flag": (["sync", "--bogus"], "unknown flag: --bogus"),
    "unknown short flag": (["sync", "-z"], "unknown shorthand flag: 'z' in -z"),
    "extra argument": (["sync", "more"], "command 'vendir sync' does not accept extra arguments 'more'"),
    "no command": ([], "Use one of available subcommands"),
    "flag without value": (["sync", "-f"], "flag needs an argument"),
    "truth value": (["sync", "--lazy=perhaps"], "'perhaps' is not a valid boolean"),
    "file that is not there": (
        ["sync", "-f", "no.yml"],
        "Reading config 'no.yml': open no.yml: no such file or directory",
    ),
    "file that is a directory": (["sync", "-f", "."], "Reading config '.'"),
    "chdir": (["sync", "--chdir", "nowhere"], "Running chdir: chdir nowhere: no such file or directory"),
    "directory that is not there": (
        ["sync", "-d", "vendor/x"],
        "Expected to match path 'vendor/x' once, but did not match any",
    ),
    "override that is not there": (
        ["sync", "-d", "vendor/x=y"],
        "Overriding 'vendor/x' with local directory: Expected to match exactly one directory, but did not match any",
    ),
    "range": (["tools", "sort-semver", "-v", "1.0.0", "-c", "~1.0"], "Parsing version constraint '~1.0'"),
}


@pytest.mark.parametrize("name", _COMMAND_LINES)
def test_a_wrong_command_line_is_told_in_the_words_of_vendir(project: VendirProject, name: str) -> None:
    arguments, what = _COMMAND_LINES[name]
    project.write(f"directories:\n- path: vendor\n  contents:\n  - path: d\n    inline: {INLINE}\n")
    result = project.run(*arguments)
    assert result.status == 1
    assert what in " ".join(result.stderr.split()), result.stderr
    assert not (project.directory / "vendor").exists()


def test_a_missing_default_file_has_the_hint_of_vendir(project: VendirProject) -> None:
    result = project.run("sync")
    assert result.status == 1
    assert "(hint: Did you name your configuration file something different than 'vendir.yml'" in result.stderr


# As in vendir's test/e2e/overlapping_dir_err_test.go.
_OVERLAPS = {
    "contents": (
        (
            "- path: vendor\n  contents:\n  - path: foo/bar/baz\n    inline:\n      paths:\n        test.txt: love\n"
            "  - path: foo\n    inline:\n      paths:\n        test.txt: peace\n"
        ),
        "'vendor/foo/bar/baz' and 'vendor/foo'",
    ),
    "directories": (
        (
            "- path: vendor\n  contents:\n  - path: foo/bar/baz\n    inline:\n      paths:\n        test.txt: love\n"
            "- path: vendor/foo\n  contents:\n  - path: bar\n    inline:\n      paths:\n        test.txt: peace\n"
        ),
        "'vendor/foo' and 'vendor'",
    ),
    "same directories": (
        (
            "- path: vendor\n  contents:\n  - path: foo\n    inline:\n      paths:\n        test.txt: love\n"
            "- path: vendor\n  contents:\n  - path: bar\n    inline:\n      paths:\n        test.txt: peace\n"
        ),
        "'vendor' and 'vendor'",
    ),
}


@pytest.mark.parametrize("name", _OVERLAPS)
def test_overlaps_are_told_to_the_letter(project: VendirProject, name: str) -> None:
    directories, paths = _OVERLAPS[name]
    result = project.run("sync", "-f", "-", stdin=f"\n{HEAD}directories:\n{directories}")
    assert result.status == 1
    assert (
        "vendir: Error: Parsing resource config '-':\n  Unmarshaling config:\n    Validating config:\n"
        f"      Expected to not manage overlapping paths: {paths}\n"
    ) in result.stderr


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Unmarshaling lock config: the file is empty"),
        ("a: b\n", "Validating apiVersion: Unknown version (known: vendir.k14s.io/v1alpha1)"),
        (HEAD, "Validating kind: Unknown kind (known: LockConfig)"),
        ("<<<<<<< mine\n", "the lock has merge conflict markers"),
        (
            "apiVersion: vendir.k14s.io/v1alpha1\nkind: LockConfig\n",
            "Expected to find directory 'vendor' within lock config",
        ),
        (
            (
                "apiVersion: vendir.k14s.io/v1alpha1\nkind: LockConfig\n"
                "directories: [{path: vendor, contents: [{path: d}]}]\n"
            ),
            "Expected git lock configuration to be non-empty",
        ),
        (
            (
                "apiVersion: vendir.k14s.io/v1alpha1\nkind: LockConfig\n"
                "directories: [{path: vendor, contents: [{path: d, git: {sha: ''}}]}]\n"
            ),
            "Expected git SHA to be non-empty",
        ),
    ],
)
def test_a_wrong_lock_is_told(project: VendirProject, text: str, what: str) -> None:
    (project.directory / "vendir.yml").write_text(one("git: {url: 'https://127.0.0.1:1/r', ref: main}"))
    (project.directory / "vendir.lock.yml").write_text(text)
    result = project.run("sync", "--locked")
    assert result.status == 1
    assert what in " ".join(result.stderr.split())
    assert "vendir.lock.yml" in result.stderr
    assert "  fix " in result.stderr
    assert (project.directory / "vendir.lock.yml").read_text() == text
