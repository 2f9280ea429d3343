"""The fetchers of a vendir run, made from its configuration and the environment. Part of the composition root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from provender.cli.console import Console
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.dialects.vendir.fetch import Fetcher
    from provender.dialects.vendir.schema import Config
    from provender.dialects.vendir.secrets import Login, References
    from provender.storage.open import Storages

__all__ = ["fetchers"]


@contextmanager
def fetchers(console: Console, references: References, config: Config, *, jobs: int) -> Iterator[dict[str, Fetcher]]:
    """The fetchers by the source's name, of those that occur; what they keep open is closed at the end."""
    from provender.dialects.vendir.local import DirectoryFetcher, InlineFetcher

    wanted = {source for directory in config.directories for each in directory.contents for source in each.sources}
    found: dict[str, Fetcher] = {"inline": InlineFetcher(references), "directory": DirectoryFetcher()}
    with ExitStack() as stack:
        if not wanted.isdisjoint({"image", "imgpkgBundle", "ociArtifact", "helmChart", "http", "githubRelease"}):
            found |= _of_the_network(console, references, stack, jobs)
        if "git" in wanted:
            found["git"] = _of_git(references)
        yield found


def _of_git(references: References) -> Fetcher:
    from provender.dialects.vendir.git import GitFetcher
    from provender.dialects.vendir.git_mirror import GitMirrors
    from provender.storage.cache import default_cache_root

    return GitFetcher(GitMirrors(default_cache_root(os.environ) / "git-mirrors"), references)


def _of_the_network(console: Console, references: References, stack: ExitStack, jobs: int) -> dict[str, Fetcher]:
    from provender.dialects.vendir.artifact import ArtifactFetcher
    from provender.dialects.vendir.github_release import API_BASE, ReleaseFetcher
    from provender.dialects.vendir.helm_chart import ChartFetcher
    from provender.dialects.vendir.http import HttpFetcher
    from provender.dialects.vendir.image import BundleFetcher, ImageFetcher
    from provender.dialects.vendir.registries import Registries
    from provender.storage.registry import HttpTransport
    from provender.storage.web import WebClient

    services = Services(console, jobs=jobs)
    locations = services.locations(directory=Path.cwd())

    def make(logins: tuple[Login, ...]) -> Storages:
        from provender.dialects.vendir.credentials import ImgpkgCredentials
        from provender.storage.registry import CredentialStore

        credentials = ImgpkgCredentials(logins, os.environ, CredentialStore(os.environ))
        return stack.enter_context(services.storages(locations, credentials=credentials))

    registries = Registries(references, services.cache(), make)
    debug = console.trace if console.debug else None
    web = WebClient(stack.enter_context(HttpTransport(os.environ, concurrency=max(16, jobs), debug=debug)))
    release = ReleaseFetcher(
        web,
        references,
        api_base=os.environ.get("PROVENDER_GITHUB_API") or API_BASE,
        token=os.environ.get("VENDIR_GITHUB_API_TOKEN", ""),
    )
    return {
        "image": ImageFetcher(registries),
        "imgpkgBundle": BundleFetcher(registries),
        "ociArtifact": ArtifactFetcher(registries),
        "http": HttpFetcher(web, references),
        "githubRelease": release,
        "helmChart": ChartFetcher(registries, web, references),
    }
