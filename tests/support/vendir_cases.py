"""Wrong vendir configurations with what is said of them: what, where, and how to mend it."""

from __future__ import annotations

import base64

from support.vendir import HEAD

INLINE = "{paths: {a: b}}"


def _directory(contents: str, *, path: str = "vendor", more: str = "") -> str:
    return f"{HEAD}directories:\n- path: {path}\n{more}  contents:\n{contents}"


def one(source: str, more: str = "") -> str:
    return _directory(f"  - path: d\n    {source}\n{more}")


def _secret(fields: str, *, kind: str = "Opaque") -> str:
    return f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ntype: {kind}\ndata: {fields}\n"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# name -> (vendir.yml, what, where, how to mend it; words of each)
CONFIGURATIONS: dict[str, tuple[str, str, str, str]] = {
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
        _directory(f"  - path: d\n    inline: {INLINE}\n", path="x/../.."),
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
        one(f"inline: {INLINE}", "    manual: {}\n"),
        "(multiple found: manual, inline)",
        "vendir.yml:7:5",
        "contents of their own",
    ),
    "whole directory beside more": (
        _directory(f"  - path: .\n    inline: {INLINE}\n  - path: x\n    inline: {INLINE}\n"),
        "Expected only one directory contents if path is set to '.'",
        "vendir.yml:6:3",
        "a path of its own",
    ),
    "overlapping contents": (
        _directory(f"  - path: foo/bar\n    inline: {INLINE}\n  - path: foo\n    inline: {INLINE}\n"),
        "Expected to not manage overlapping paths: 'vendor/foo/bar' and 'vendor/foo'",
        "vendir.yml:6:11",
        "the other is at vendir.yml:8:11",
    ),
    "bad glob": (
        one(f"inline: {INLINE}", "    includePaths: ['[a']\n"),
        "not a glob: '[a': a '[' is not closed",
        "vendir.yml:8:20",
        "write for example",
    ),
    "permissions are text": (
        one(f"inline: {INLINE}", "    permissions: rwx\n"),
        "must be a whole number, not the text 'rwx'",
        "vendir.yml:8:18",
        "without quotes",
    ),
    "permissions are no mode": (
        one(f"inline: {INLINE}", "    permissions: 99999\n"),
        "no mode of a directory",
        "vendir.yml:8:18",
        "octal",
    ),
    "lazy is text": (
        one(f"inline: {INLINE}", "    lazy: maybe\n"),
        "must be true or false, not the text 'maybe'",
        "vendir.yml:8:11",
        "true or false",
    ),
    "secret twice": (
        one(f"inline: {INLINE}") + _secret("{a: YQ==}") + _secret("{a: Yg==}"),
        "Expected to find one secret 's', but found multiple",
        "vendir.yml:17:18",
        "a name of its own",
    ),
    "secret is not base64": (
        one(f"inline: {INLINE}") + _secret("{a: '?'}"),
        "the value of 'a' is not base64",
        "vendir.yml:13:11",
        "base64 -w0",
    ),
    "mercurial": (
        one("hg: {url: 'https://example.com/r', ref: tip}"),
        "hg (Mercurial)",
        "vendir.yml:6:5",
        "vendir sync -d vendor/d",
    ),
    "inline path climbs": (one("inline: {paths: {../x: b}}"), "Invalid path: ../x", "vendir.yml:6:5", "inside"),
    "inline without a source": (
        one("inline: {pathsFrom: [{}]}"),
        "Expected either secretRef or configMapRef as a source",
        "vendir.yml:6:5",
        "pathsFrom",
    ),
    "no such secret": (
        one("inline: {pathsFrom: [{secretRef: {name: x}}]}"),
        "Expected to find one secret 'x', but found none",
        "vendir.yml:6:5",
        "kind Secret",
    ),
    "no such config map": (
        one("inline: {pathsFrom: [{configMapRef: {name: x}}]}"),
        "Expected to find one config map 'x', but found none",
        "vendir.yml:6:5",
        "kind ConfigMap",
    ),
    "nothing is left": (
        one(f"inline: {INLINE}", "    includePaths: ['*.md']\n"),
        "Expected to find at least one file within directory",
        "vendir.yml:6:5",
        "it had a",
    ),
    "no such root": (
        one("inline: {paths: {x/a: b}}", "    newRootPath: z\n"),
        "Expected directory 'z' (subpath) to exist (found other directories: x)",
        "vendir.yml:6:5",
        "correct newRootPath",
    ),
    "root climbs": (
        one("inline: {paths: {x/a: b}}", "    newRootPath: ../y\n"),
        "Invalid path: ../y",
        "vendir.yml:6:5",
        "inside",
    ),
    "directory is missing": (
        one("directory: {path: nowhere}"),
        "no such file or directory",
        "vendir.yml:6:5",
        "working directory",
    ),
    "directory is a file": (
        one("directory: {path: vendir.yml}"),
        "is a file, no directory",
        "vendir.yml:6:5",
        "includePaths",
    ),
    "directory holds itself": (one("directory: {path: .}"), "holds the directory", "vendir.yml:6:5", "do not lie in"),
    "git without url": (one("git: {ref: main}"), "Expected non-empty URL", "vendir.yml:6:5", "git: {url"),
    "git without ref": (
        one("git: {url: 'https://127.0.0.1:1/r'}"),
        "Expected either ref or ref selection to be specified",
        "vendir.yml:6:5",
        "ref: origin/main",
    ),
    "git address is an option": (
        one("git: {url: --upload-pack=x, ref: main}"),
        "not an address",
        "vendir.yml:6:5",
        "https://host",
    ),
    "git address runs a program": (
        one("git: {url: 'ext::sh -c x', ref: main}"),
        "not an address",
        "vendir.yml:6:5",
        "https://host",
    ),
    "git login over http": (
        one("git: {url: 'http://127.0.0.1:1/r', ref: main, secretRef: {name: s}}")
        + _secret("{username: YQ==, password: Yg==}"),
        "Username/password authentication is only supported for https remotes",
        "vendir.yml:6:5",
        "https://",
    ),
    "git secret with another field": (
        one("git: {url: 'https://127.0.0.1:1/r', ref: main, secretRef: {name: s}}") + _secret("{tokem: YQ==}"),
        "Unknown secret field 'tokem' in secret 's'",
        "vendir.yml:6:5",
        "known here: password",
    ),
    "http without url": (one("http: {}"), "Expected non-empty URL", "vendir.yml:6:5", "http: {url"),
    "http of another scheme": (
        one("http: {url: 'ftp://example.com/a'}"),
        "not an http or https URL",
        "vendir.yml:6:5",
        "https://",
    ),
    "image without url": (one("image: {}"), "Expected non-empty URL", "vendir.yml:6:5", "image: {url"),
    "image is no reference": (
        one("image: {url: 'example.com/UPPER:1'}"),
        "could not parse reference",
        "vendir.yml:6:5",
        "lower-case",
    ),
    "image secret with another field": (
        one("image: {url: 'example.com/a:1', secretRef: {name: s}}") + _secret("{user: YQ==}"),
        "Unknown secret field 'user' in secret 's'",
        "vendir.yml:6:5",
        "username",
    ),
    "docker secret is no json": (
        one("image: {url: 'example.com/a:1', secretRef: {name: s}}")
        + _secret("{.dockerconfigjson: YQ==}", kind="kubernetes.io/dockerconfigjson"),
        "holds no JSON",
        "vendir.yml:6:5",
        "config.json",
    ),
    "docker secret without a colon": (
        one("image: {url: 'example.com/a:1', secretRef: {name: s}}")
        + _secret(
            "{.dockerconfigjson: " + _base64('{"auths":{"example.com":{"auth":"YQ=="}}}') + "}",
            kind="kubernetes.io/dockerconfigjson",
        ),
        "Expected auth field to have 'username:password' format, but did not",
        "vendir.yml:6:5",
        "example.com",
    ),
    "bundle without image": (
        one("imgpkgBundle: {}"),
        "Expected non-empty image",
        "vendir.yml:6:5",
        "imgpkgBundle: {image",
    ),
    "chart without name": (one("helmChart: {}"), "Expected non-empty name", "vendir.yml:6:5", "helmChart: {name"),
    "chart without repository": (
        one("helmChart: {name: a}"),
        "Expected non-empty repository URL",
        "vendir.yml:6:5",
        "https://",
    ),
    "oci chart without version": (
        one("helmChart: {name: a, repository: {url: 'oci://example.com/charts'}}"),
        "Expected non-empty version",
        "vendir.yml:6:5",
        "version: 1.2.3",
    ),
    "release without a target": (
        one("githubRelease: {slug: a/b}"),
        "Expected to have non-empty tag, tagSelection, latest or url",
        "vendir.yml:6:5",
        "tag: v1.2.3",
    ),
    "release with a bad slug": (
        one("githubRelease: {slug: a/b/c, tag: v1}"),
        "not a repository of GitHub: 'a/b/c'",
        "vendir.yml:6:5",
        "owner/repository",
    ),
    "artifact without image": (
        one("ociArtifact: {}"),
        "Expected non-empty image",
        "vendir.yml:6:5",
        "ociArtifact: {image",
    ),
    "artifact without registry": (
        one("ociArtifact: {image: nginx}"),
        "names no registry",
        "vendir.yml:6:5",
        "docker.io/library/nginx",
    ),
    "artifact with tag and selection": (
        one("ociArtifact: {image: example.com/a, tag: x, tagSelection: {semver: {}}}"),
        "tag and tagSelection exclude each other",
        "vendir.yml:6:5",
        "keep one",
    ),
    "artifact with two tags": (
        one("ociArtifact: {image: 'example.com/a:1', tag: '2'}"),
        "different tags",
        "vendir.yml:6:5",
        "once",
    ),
    "artifact with a bad digest": (
        one("ociArtifact: {image: example.com/a, digest: 'sha256:12'}"),
        "not a sha256 digest",
        "vendir.yml:6:5",
        "whole digest",
    ),
    "artifact with an unknown mode": (
        one("ociArtifact: {image: example.com/a, layers: untar}"),
        "layers must be auto, extract or copy, not 'untar'",
        "vendir.yml:6:5",
        "leave it out",
    ),
    "artifact with cosign": (
        one("ociArtifact: {image: example.com/a, cosign: {key: k.pub}}"),
        "cosign verification is not available",
        "vendir.yml:6:5",
        "remove cosign",
    ),
}

# Taken by vendir itself, or only refused there after a question to a host that is not there.
TAKEN_BY_VENDIR = frozenset(
    {
        "bad glob",
        "path climbs to the project",
        "permissions are no mode",
        "mercurial",
        "directory is a file",
        "directory holds itself",
    }
)
