"""Wrong inputs: each is told with what is wrong, where it stands and how to mend it, and changes nothing.

Where vendir's own suite asserts a text, it is here to the letter. The other half of the table, for provender.yaml, is
in `tests/project`.
"""

from __future__ import annotations

import base64

import pytest

from support.vendir import HEAD, VendirProject

_INLINE = "{paths: {a: b}}"


def _directory(contents: str, *, path: str = "vendor", more: str = "") -> str:
    return f"{HEAD}directories:\n- path: {path}\n{more}  contents:\n{contents}"


def _one(source: str, more: str = "") -> str:
    return _directory(f"  - path: d\n    {source}\n{more}")


def _secret(fields: str, *, kind: str = "Opaque") -> str:
    return f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ntype: {kind}\ndata: {fields}\n"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# name -> (vendir.yml, what, where, how to mend it; words of each)
_CONFIGURATIONS: dict[str, tuple[str, str, str, str]] = {
    "empty": ("", "Expected to find at least one config, but found none", "vendir.yml", "exactly one document"),
    "two configs": (
        f"{HEAD}---\n{HEAD}",
        "exactly one config, but found multiple",
        "vendir.yml",
        "exactly one document",
    ),
    "no yaml": ("a: [b\n", "not YAML", "vendir.yml:2:1", "indentation"),
    "unknown anchor": (f"{HEAD}directories: *x\n", "unknown anchor 'x'", "vendir.yml:3:14", "before it"),
    "unknown kind": (
        "apiVersion: vendir.k14s.io/v1alpha1\nkind: Konfig\n",
        "Unknown apiVersion 'vendir.k14s.io/v1alpha1' or kind 'Konfig' for resource",
        "vendir.yml:2:7",
        "known: vendir.k14s.io/v1alpha1 Config",
    ),
    "a lock": (
        "apiVersion: vendir.k14s.io/v1alpha1\nkind: LockConfig\n",
        "or kind 'LockConfig' for resource",
        "vendir.yml:2:7",
        "--lock-file",
    ),
    "minimum with v": (
        f"{HEAD}minimumRequiredVersion: v0.10.0\n",
        "Validating minimum version: Must not have prefix 'v' (e.g. '0.8.0')",
        "vendir.yml:3:25",
        "write 0.10.0",
    ),
    "minimum too high": (
        f"{HEAD}minimumRequiredVersion: 100.0.0\n",
        "does not meet the minimum required version '100.0.0'",
        "vendir.yml:3:25",
        "a newer provender",
    ),
    "minimum is no version": (
        f"{HEAD}minimumRequiredVersion: new\n",
        "Malformed constraint",
        "vendir.yml:3:25",
        "write for example",
    ),
    "directories is a mapping": (
        f"{HEAD}directories: {{a: b}}\n",
        "must be a list, not a mapping",
        "vendir.yml:3:14",
        "'- '",
    ),
    "path is a list": (f"{HEAD}directories:\n- path: [a]\n", "must be text, not a list", "vendir.yml:4:9", "one value"),
    "no path": (
        f"{HEAD}directories:\n- contents: []\n",
        "Expected path to not be one of '/', '.', '..', ''",
        "vendir.yml:4:3",
        "relative path",
    ),
    "path is the working directory": (_directory("", path="."), "not be one of", "vendir.yml:4:9", "vendor/charts"),
    "path climbs to the project": (
        _directory(f"  - path: d\n    inline: {_INLINE}\n", path="x/../.."),
        "not be one of",
        "vendir.yml:4:9",
        "vendor/charts",
    ),
    "no source": (
        _directory("  - path: d\n"),
        "Expected directory contents type to be specified (one of git, manual, etc.)",
        "vendir.yml:6:5",
        "ociArtifact",
    ),
    "two sources": (
        _one(f"inline: {_INLINE}", "    manual: {}\n"),
        "(multiple found: manual, inline)",
        "vendir.yml:7:5",
        "contents of their own",
    ),
    "whole directory beside more": (
        _directory(f"  - path: .\n    inline: {_INLINE}\n  - path: x\n    inline: {_INLINE}\n"),
        "Expected only one directory contents if path is set to '.'",
        "vendir.yml:6:3",
        "a path of its own",
    ),
    "overlapping contents": (
        _directory(f"  - path: foo/bar\n    inline: {_INLINE}\n  - path: foo\n    inline: {_INLINE}\n"),
        "Expected to not manage overlapping paths: 'vendor/foo/bar' and 'vendor/foo'",
        "vendir.yml:6:11",
        "the other is at vendir.yml:8:11",
    ),
    "bad glob": (
        _one(f"inline: {_INLINE}", "    includePaths: ['[a']\n"),
        "not a glob: '[a': a '[' is not closed",
        "vendir.yml:8:20",
        "write for example",
    ),
    "permissions are text": (
        _one(f"inline: {_INLINE}", "    permissions: rwx\n"),
        "must be a whole number, not the text 'rwx'",
        "vendir.yml:8:18",
        "without quotes",
    ),
    "permissions are no mode": (
        _one(f"inline: {_INLINE}", "    permissions: 99999\n"),
        "no mode of a directory",
        "vendir.yml:8:18",
        "octal",
    ),
    "lazy is text": (
        _one(f"inline: {_INLINE}", "    lazy: maybe\n"),
        "must be true or false, not the text 'maybe'",
        "vendir.yml:8:11",
        "true or false",
    ),
    "secret twice": (
        _one(f"inline: {_INLINE}") + _secret("{a: YQ==}") + _secret("{a: Yg==}"),
        "Expected to find one secret 's', but found multiple",
        "vendir.yml:17:18",
        "a name of its own",
    ),
    "secret is not base64": (
        _one(f"inline: {_INLINE}") + _secret("{a: '?'}"),
        "the value of 'a' is not base64",
        "vendir.yml:13:11",
        "base64 -w0",
    ),
    "mercurial": (
        _one("hg: {url: 'https://example.com/r', ref: tip}"),
        "hg (Mercurial)",
        "vendir.yml:6:5",
        "vendir sync -d vendor/d",
    ),
    "inline path climbs": (_one("inline: {paths: {../x: b}}"), "Invalid path: ../x", "vendir.yml:6:5", "inside"),
    "inline without a source": (
        _one("inline: {pathsFrom: [{}]}"),
        "Expected either secretRef or configMapRef as a source",
        "vendir.yml:6:5",
        "pathsFrom",
    ),
    "no such secret": (
        _one("inline: {pathsFrom: [{secretRef: {name: x}}]}"),
        "Expected to find one secret 'x', but found none",
        "vendir.yml:6:5",
        "kind Secret",
    ),
    "no such config map": (
        _one("inline: {pathsFrom: [{configMapRef: {name: x}}]}"),
        "Expected to find one config map 'x', but found none",
        "vendir.yml:6:5",
        "kind ConfigMap",
    ),
    "nothing is left": (
        _one(f"inline: {_INLINE}", "    includePaths: ['*.md']\n"),
        "Expected to find at least one file within directory",
        "vendir.yml:6:5",
        "it had a",
    ),
    "no such root": (
        _one("inline: {paths: {x/a: b}}", "    newRootPath: z\n"),
        "Expected directory 'z' (subpath) to exist (found other directories: x)",
        "vendir.yml:6:5",
        "correct newRootPath",
    ),
    "root climbs": (
        _one("inline: {paths: {x/a: b}}", "    newRootPath: ../y\n"),
        "Invalid path: ../y",
        "vendir.yml:6:5",
        "inside",
    ),
    "directory is missing": (
        _one("directory: {path: nowhere}"),
        "no such file or directory",
        "vendir.yml:6:5",
        "working directory",
    ),
    "directory is a file": (
        _one("directory: {path: vendir.yml}"),
        "is a file, no directory",
        "vendir.yml:6:5",
        "includePaths",
    ),
    "directory holds itself": (_one("directory: {path: .}"), "holds the directory", "vendir.yml:6:5", "do not lie in"),
    "git without url": (_one("git: {ref: main}"), "Expected non-empty URL", "vendir.yml:6:5", "git: {url"),
    "git without ref": (
        _one("git: {url: 'https://127.0.0.1:1/r'}"),
        "Expected either ref or ref selection to be specified",
        "vendir.yml:6:5",
        "ref: origin/main",
    ),
    "git address is an option": (
        _one("git: {url: --upload-pack=x, ref: main}"),
        "not an address",
        "vendir.yml:6:5",
        "https://host",
    ),
    "git address runs a program": (
        _one("git: {url: 'ext::sh -c x', ref: main}"),
        "not an address",
        "vendir.yml:6:5",
        "https://host",
    ),
    "git login over http": (
        _one("git: {url: 'http://127.0.0.1:1/r', ref: main, secretRef: {name: s}}")
        + _secret("{username: YQ==, password: Yg==}"),
        "Username/password authentication is only supported for https remotes",
        "vendir.yml:6:5",
        "https://",
    ),
    "git secret with another field": (
        _one("git: {url: 'https://127.0.0.1:1/r', ref: main, secretRef: {name: s}}") + _secret("{tokem: YQ==}"),
        "Unknown secret field 'tokem' in secret 's'",
        "vendir.yml:6:5",
        "known here: password",
    ),
    "http without url": (_one("http: {}"), "Expected non-empty URL", "vendir.yml:6:5", "http: {url"),
    "http of another scheme": (
        _one("http: {url: 'ftp://example.com/a'}"),
        "not an http or https URL",
        "vendir.yml:6:5",
        "https://",
    ),
    "image without url": (_one("image: {}"), "Expected non-empty URL", "vendir.yml:6:5", "image: {url"),
    "image is no reference": (
        _one("image: {url: 'example.com/UPPER:1'}"),
        "could not parse reference",
        "vendir.yml:6:5",
        "lower-case",
    ),
    "image secret with another field": (
        _one("image: {url: 'example.com/a:1', secretRef: {name: s}}") + _secret("{user: YQ==}"),
        "Unknown secret field 'user' in secret 's'",
        "vendir.yml:6:5",
        "username",
    ),
    "docker secret is no json": (
        _one("image: {url: 'example.com/a:1', secretRef: {name: s}}")
        + _secret("{.dockerconfigjson: YQ==}", kind="kubernetes.io/dockerconfigjson"),
        "holds no JSON",
        "vendir.yml:6:5",
        "config.json",
    ),
    "docker secret without a colon": (
        _one("image: {url: 'example.com/a:1', secretRef: {name: s}}")
        + _secret(
            "{.dockerconfigjson: " + _base64('{"auths":{"example.com":{"auth":"YQ=="}}}') + "}",
            kind="kubernetes.io/dockerconfigjson",
        ),
        "Expected auth field to have 'username:password' format, but did not",
        "vendir.yml:6:5",
        "example.com",
    ),
    "bundle without image": (
        _one("imgpkgBundle: {}"),
        "Expected non-empty image",
        "vendir.yml:6:5",
        "imgpkgBundle: {image",
    ),
    "chart without name": (_one("helmChart: {}"), "Expected non-empty name", "vendir.yml:6:5", "helmChart: {name"),
    "chart without repository": (
        _one("helmChart: {name: a}"),
        "Expected non-empty repository URL",
        "vendir.yml:6:5",
        "https://",
    ),
    "oci chart without version": (
        _one("helmChart: {name: a, repository: {url: 'oci://example.com/charts'}}"),
        "Expected non-empty version",
        "vendir.yml:6:5",
        "version: 1.2.3",
    ),
    "release without a target": (
        _one("githubRelease: {slug: a/b}"),
        "Expected to have non-empty tag, tagSelection, latest or url",
        "vendir.yml:6:5",
        "tag: v1.2.3",
    ),
    "release with a bad slug": (
        _one("githubRelease: {slug: a/b/c, tag: v1}"),
        "not a repository of GitHub: 'a/b/c'",
        "vendir.yml:6:5",
        "owner/repository",
    ),
    "artifact without image": (
        _one("ociArtifact: {}"),
        "Expected non-empty image",
        "vendir.yml:6:5",
        "ociArtifact: {image",
    ),
    "artifact without registry": (
        _one("ociArtifact: {image: nginx}"),
        "names no registry",
        "vendir.yml:6:5",
        "docker.io/library/nginx",
    ),
    "artifact with tag and selection": (
        _one("ociArtifact: {image: example.com/a, tag: x, tagSelection: {semver: {}}}"),
        "tag and tagSelection exclude each other",
        "vendir.yml:6:5",
        "keep one",
    ),
    "artifact with two tags": (
        _one("ociArtifact: {image: 'example.com/a:1', tag: '2'}"),
        "different tags",
        "vendir.yml:6:5",
        "once",
    ),
    "artifact with a bad digest": (
        _one("ociArtifact: {image: example.com/a, digest: 'sha256:12'}"),
        "not a sha256 digest",
        "vendir.yml:6:5",
        "whole digest",
    ),
    "artifact with an unknown mode": (
        _one("ociArtifact: {image: example.com/a, layers: untar}"),
        "layers must be auto, extract or copy, not 'untar'",
        "vendir.yml:6:5",
        "leave it out",
    ),
    "artifact with cosign": (
        _one("ociArtifact: {image: example.com/a, cosign: {key: k.pub}}"),
        "cosign verification is not available",
        "vendir.yml:6:5",
        "remove cosign",
    ),
}


@pytest.mark.parametrize("name", _CONFIGURATIONS)
def test_a_wrong_configuration_is_told_with_what_where_and_how(project: VendirProject, name: str) -> None:
    text, what, where, how = _CONFIGURATIONS[name]
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
    project.write(f"directories:\n- path: vendor\n  contents:\n  - path: d\n    inline: {_INLINE}\n")
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
    (project.directory / "vendir.yml").write_text(_one("git: {url: 'https://127.0.0.1:1/r', ref: main}"))
    (project.directory / "vendir.lock.yml").write_text(text)
    result = project.run("sync", "--locked")
    assert result.status == 1
    assert what in " ".join(result.stderr.split())
    assert "vendir.lock.yml" in result.stderr
    assert "  fix " in result.stderr
    assert (project.directory / "vendir.lock.yml").read_text() == text
