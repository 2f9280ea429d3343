"""From a vendir configuration to `provender.yaml`: a dependency for each of the contents, and notes. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import Final

import msgspec

from provender.bundle.image_reference import ImageReference
from provender.dialects.vendir.config import Configuration, entire_path
from provender.dialects.vendir.glob import expand_glob
from provender.dialects.vendir.schema import Contents, Git, GithubRelease, HelmChart, OciArtifact
from provender.dialects.vendir.selection import VersionSelection
from provender.errors import ProvenderError
from provender.oci import Reference
from provender.project.dependency import check_destination, check_pattern

__all__ = ["Translation", "translated"]

_Value = str | bool | list[str] | dict[str, str] | dict[str, object]
_Fields = dict[str, _Value]

_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VERSION_LIKE: Final = re.compile(r"v?[0-9]+\.[0-9]+")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LEGAL: Final = ("LICEN[SC]E*", "Licen[sc]e*", "NOTICE*", "Notice*", "COPYRIGHT*", "Copyright*")


class Translation(msgspec.Struct, frozen=True):
    """The dependencies by name, in the order of the configuration, and what a person has to look at."""

    dependencies: dict[str, _Fields]
    notes: tuple[str, ...]


def translated(configuration: Configuration) -> Translation:
    """What the configuration is in provender's own words."""
    return _Translator(configuration).translate()


class _Translator:
    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._dependencies: dict[str, _Fields] = {}
        self._notes: list[str] = []
        self._is_lfs_noted = False

    def translate(self) -> Translation:
        for directory in self._configuration.config.directories:
            for contents in directory.contents:
                path = entire_path(directory, contents)
                if contents.permissions is not None or directory.permissions is not None:
                    self._note(path, "permissions are not taken over: provender gives directories those of your umask")
                self._add(path, contents)
        return Translation(self._dependencies, tuple(self._notes))

    def _note(self, path: str, text: str) -> None:
        place = self._configuration.places.get(path, path)
        self._notes.append(f"{place}: {path}: {text}")

    def _add(self, path: str, contents: Contents) -> None:
        try:
            destination = check_destination(path)
        except ProvenderError as error:
            self._note(path, f"left out: {error.message}")
            return
        fields = self._source(path, contents)
        if fields is None:
            return
        if destination != f"vendor/{self._name(path)}":
            fields["to"] = destination
        self._choose(path, contents, fields)
        if contents.lazy:
            self._note(path, "lazy is not needed: what is locked is never fetched twice")
        self._dependencies[self._name(path)] = fields

    def _name(self, path: str) -> str:
        """The last part of the path, or all of it where that is taken."""
        for text in (posixpath.basename(path), path.replace("/", "-")):
            name = _NOT_IN_NAMES.sub("-", text).strip("-._") or "contents"
            if name not in self._dependencies:
                return name[:120]
        number = 2
        while f"{name}-{number}" in self._dependencies:
            number += 1
        return f"{name}-{number}"[:120]

    # --- sources

    def _source(self, path: str, contents: Contents) -> _Fields | None:
        try:
            return self._translated_source(path, contents)
        except ProvenderError as error:
            self._note(path, f"left out: {error.message}")
            return None

    def _translated_source(self, path: str, contents: Contents) -> _Fields | None:
        if contents.git is not None:
            return self._git(path, contents.git)
        if contents.http is not None:
            self._secret(path, contents.http.secret_ref)
            fields: _Fields = {"http": contents.http.url}
            if contents.http.sha256:
                fields["sha256"] = contents.http.sha256.lower()
            return fields | ({"mode": "copy"} if contents.http.disable_unpack else {})
        if contents.image is not None:
            self._secret(path, contents.image.secret_ref)
            return self._image(path, contents.image.url, contents.image.tag_selection)
        if contents.imgpkg_bundle is not None:
            self._secret(path, contents.imgpkg_bundle.secret_ref)
            self._note(
                path, "the bundle's .imgpkg/images.yml is laid as it was pushed, not rewritten; nested bundles are not"
            )
            return self._image(path, contents.imgpkg_bundle.image, contents.imgpkg_bundle.tag_selection)
        if contents.oci_artifact is not None:
            return self._artifact(path, contents.oci_artifact)
        if contents.github_release is not None:
            return self._release(path, contents.github_release)
        if contents.helm_chart is not None:
            return self._chart(path, contents.helm_chart)
        if contents.directory is not None:
            return {"directory": contents.directory.path}
        if contents.inline is not None:
            if contents.inline.paths_from:
                self._note(path, "pathsFrom is left out: write the files of Secrets and ConfigMaps yourself")
            return {"inline": dict(contents.inline.paths)}
        if contents.manual is not None:
            return {"manual": True}
        self._note(path, "left out: Mercurial (hg) is not supported")
        return None

    def _git(self, path: str, git: Git) -> _Fields:
        self._secret(path, git.secret_ref)
        if git.verification is not None:
            self._note(path, "verification is left out")
        url = f"file://{git.url}" if git.url.startswith("/") else git.url
        fields: _Fields = {"git": url}
        if git.ref.startswith("origin/"):
            fields["branch"] = git.ref.removeprefix("origin/")
        elif _SHA.fullmatch(git.ref):
            fields["commit"] = git.ref
        elif git.ref:
            is_tag = _VERSION_LIKE.match(git.ref) is not None
            fields["tag" if is_tag else "branch"] = git.ref
            self._note(path, f"the ref {git.ref} was taken for a {'tag' if is_tag else 'branch'}")
        fields |= self._selection(path, git.ref_selection)
        if not git.skip_init_submodules:
            fields["submodules"] = True
        if not git.lfs_skip_smudge and not self._is_lfs_noted:
            self._is_lfs_noted = True
            self._note(path, "content of Git LFS is not fetched; add 'lfs: true' where a repository has some")
        return fields

    def _image(self, path: str, url: str, selection: VersionSelection | None) -> _Fields:
        reference = ImageReference.parse(url).reference
        fields: _Fields = {"image": reference.name} | self._selection(path, selection)
        if reference.digest is not None:
            fields["digest"] = str(reference.digest)
        if selection is None and reference.tag is not None:
            fields["tag"] = reference.tag
        return fields

    def _artifact(self, path: str, wish: OciArtifact) -> _Fields:
        self._secret(path, wish.secret_ref)
        reference = Reference.parse(wish.image)
        fields: _Fields = {"oci": reference.name} | self._selection(path, wish.tag_selection)
        tag, digest = wish.tag or reference.tag, wish.digest or reference.digest
        if tag and wish.tag_selection is None:
            fields["tag"] = tag
        if digest:
            fields["digest"] = str(digest)
        if wish.artifact_type:
            fields["artifactType"] = wish.artifact_type
        if wish.platform:
            fields["platform"] = wish.platform
        layers: dict[str, object] = {}
        if wish.media_types:
            layers["mediaTypes"] = list(wish.media_types)
        if wish.layers not in ("", "auto"):
            layers["mode"] = wish.layers
        if layers:
            fields["layers"] = layers
        if wish.tag_filter or wish.include_config or wish.cosign is not None:
            self._note(path, "tagFilter, includeConfig and cosign are left out")
        return fields

    def _release(self, path: str, release: GithubRelease) -> _Fields | None:
        self._secret(path, release.secret_ref)
        if release.http is not None or release.url:
            self._note(path, "left out: githubRelease with http or url has no counterpart; use http: with the address")
            return None
        fields: _Fields = {"githubRelease": release.slug} | self._selection(path, release.tag_selection)
        if release.tag:
            fields["tag"] = release.tag
        assets = [each for pattern in release.asset_names for each in self._patterns(path, (pattern,))]
        if release.unpack_archive is not None:
            fields["assets"] = [release.unpack_archive.path]
            fields["mode"] = "extract"
        elif assets:
            fields["assets"] = assets
            fields["mode"] = "copy"
        else:
            fields["mode"] = "copy"
        if release.checksums:
            fields["checksums"] = dict(release.checksums)
        return fields

    def _chart(self, path: str, chart: HelmChart) -> _Fields | None:
        repository = chart.repository
        if repository is None or not repository.url:
            self._note(path, "left out: the chart has no repository")
            return None
        self._secret(path, repository.secret_ref)
        fields: _Fields = {"helmChart": chart.name, "repository": repository.url}
        if chart.version:
            fields["version"] = chart.version
        return fields

    # --- parts

    def _secret(self, path: str, ref: object) -> None:
        if ref is not None:
            self._note(path, "the Secret is not taken over: log in with 'provender login', netrc or git's own settings")

    def _selection(self, path: str, selection: VersionSelection | None) -> _Fields:
        if selection is None or selection.semver is None:
            return {}
        if selection.semver.prereleases is not None:
            self._note(path, "prereleases take part in a range only if it names one, such as '>=1.0.0-0'")
        words = [re.sub(r"^==", "=", re.sub(r"^!(?!=)", "!=", word)) for word in selection.semver.constraints.split()]
        return {"version": " ".join(words) or "*"}

    def _choose(self, path: str, contents: Contents, fields: _Fields) -> None:
        if contents.manual is not None:
            return
        include = self._patterns(path, contents.include_paths)
        if include and contents.legal_paths is None and not contents.new_root_path:
            include += _LEGAL
        for name, patterns in (
            ("include", include),
            ("exclude", self._patterns(path, contents.exclude_paths)),
            ("keep", self._patterns(path, contents.ignore_paths)),
        ):
            if patterns:
                fields[name] = patterns
        if contents.new_root_path:
            fields["root"] = contents.new_root_path.strip("/")
        if contents.legal_paths:
            self._note(path, "legalPaths are left out; add what you need to include")

    def _patterns(self, path: str, globs: tuple[str, ...]) -> list[str]:
        found: list[str] = []
        for glob in globs:
            for pattern in expand_glob(glob):
                try:
                    found.append(check_pattern(pattern.replace("[^", "[!")))
                except ProvenderError as error:
                    self._note(path, f"the pattern {glob!r} is left out: {error.message}")
        return found
