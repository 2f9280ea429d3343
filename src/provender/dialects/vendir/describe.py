"""Where contents come from, in vendir's words. Pure."""

from __future__ import annotations

import json

import msgspec

from provender.dialects.vendir.schema import Contents, Git, GithubRelease, HelmChart
from provender.dialects.vendir.selection import VersionSelection

__all__ = ["described"]


def described(contents: Contents) -> str:
    """For example `git from URL@REF`."""
    match contents.sources:
        case ("git",) if contents.git is not None:
            return f"git from {_git(contents.git)}"
        case ("http",) if contents.http is not None:
            return f"http from {contents.http.url}"
        case ("image",) if contents.image is not None:
            return f"image from {_tagged(contents.image.url, contents.image.tag_selection)}"
        case ("imgpkgBundle",) if contents.imgpkg_bundle is not None:
            bundle = contents.imgpkg_bundle
            return f"imgpkgBundle from {_tagged(bundle.image, bundle.tag_selection)}"
        case ("ociArtifact",) if contents.oci_artifact is not None:
            artifact = contents.oci_artifact
            target = f"@{artifact.digest}" if artifact.digest else f":{artifact.tag}" if artifact.tag else ""
            return f"ociArtifact from {_tagged(artifact.image, artifact.tag_selection)}{target}"
        case ("githubRelease",) if contents.github_release is not None:
            return f"github release {_release(contents.github_release)}"
        case ("helmChart",) if contents.helm_chart is not None:
            return f"helm chart from {_chart(contents.helm_chart)}"
        case (name,):
            return name
        case _:
            return "?"


def _git(git: Git) -> str:
    ref = git.ref or ("?" if git.ref_selection is None else f"ref={_selection(git.ref_selection)}")
    return f"{git.url}@{ref}"


def _tagged(reference: str, selection: VersionSelection | None) -> str:
    return (reference or "?") + ("" if selection is None or not reference else f":tag={_selection(selection)}")


def _release(release: GithubRelease) -> str:
    if release.url:
        return release.url
    if release.tag:
        return f"{release.slug}@{release.tag}"
    if release.tag_selection is not None:
        semver = release.tag_selection.semver
        return f"{release.slug}@" + (f"[{semver.constraints}]" if semver is not None else "")
    return f"{release.slug}@latest" if release.latest else ""


def _chart(chart: HelmChart) -> str:
    repository = chart.repository.url if chart.repository is not None else ""
    return (
        f"{repository}@{chart.name}:{chart.version or 'latest'}"
        if repository
        else (f"{chart.name}:{chart.version or 'latest'}")
    )


def _selection(selection: VersionSelection) -> str:
    return json.dumps(msgspec.to_builtins(selection), separators=(",", ":"), ensure_ascii=False)
