"""All sources of a project, by kind: which collaborators each has. Project layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provender.project.sources import Portable, Source
from provender.project.sources.carried import CarriedSource
from provender.project.sources.directory import DirectorySource
from provender.project.sources.downloads import Downloads
from provender.project.sources.git import GitSource
from provender.project.sources.github import GithubSource
from provender.project.sources.helm import HelmSource
from provender.project.sources.http import HttpSource
from provender.project.sources.image import ImageSource
from provender.project.sources.inline import InlineSource
from provender.project.sources.logins import Logins
from provender.project.sources.manual import ManualSource
from provender.project.sources.oci import OciSource
from provender.project.sources.repositories import Repositories
from provender.storage.cache import BlobCache
from provender.storage.git.clones import GitClones
from provender.storage.open import Storages

__all__ = ["sources_of"]


def sources_of(
    project: Path,
    storages: Storages,
    cache: BlobCache,
    *,
    environ: Mapping[str, str],
    is_offline: bool = False,
) -> dict[str, Source]:
    """The sources of the project in the directory `project`. Nothing is asked of anybody until one is used."""
    repositories = Repositories(storages, cache)
    downloads = Downloads(storages.web, cache, Logins(environ), is_offline=is_offline)
    found: dict[str, Source] = {
        "oci": OciSource(repositories),
        "image": ImageSource(repositories),
        "git": GitSource(GitClones(cache.root / "git"), environ, is_offline=is_offline),
        "http": HttpSource(downloads),
        "githubRelease": GithubSource(downloads),
        "helmChart": HelmSource(downloads, repositories),
        "directory": DirectorySource(project),
        "inline": InlineSource(),
        "manual": ManualSource(),
    }
    return {kind: _carried(kind, source, cache) for kind, source in found.items()}


def _carried(kind: str, source: Source, cache: BlobCache) -> Source:
    """The source, which lays what `import` brought before it asks anybody."""
    is_at_hand = kind in ("inline", "manual") or isinstance(source, Portable)
    return source if is_at_hand else CarriedSource(source, cache)
