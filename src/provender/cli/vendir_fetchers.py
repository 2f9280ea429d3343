"""The fetchers of a vendir run, made from its configuration and the environment. Part of the composition root.

Only what a configuration names is made, and imported: a run that has nothing to do is over in the time that takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from provender.cli.console import Console
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.dialects.vendir.fetch import Fetcher
    from provender.dialects.vendir.registries import Registries
    from provender.dialects.vendir.schema import Config
    from provender.dialects.vendir.secrets import Login, References
    from provender.storage.cache import BlobCache
    from provender.storage.open import Storages
    from provender.storage.web import WebClient

__all__ = ["fetchers"]


@contextmanager
def fetchers(console: Console, references: References, config: Config, *, jobs: int) -> Iterator[dict[str, Fetcher]]:
    """The fetchers by the source's name, of those that occur; what they keep open is closed at the end."""
    wanted = {source for directory in config.directories for each in directory.contents for source in each.sources}
    with ExitStack() as stack:
        workshop = _Workshop(console, references, stack, jobs)
        makers: dict[str, Callable[[], Fetcher]] = {
            "inline": workshop.inline,
            "directory": workshop.directory,
            "git": workshop.git,
            "http": workshop.http,
            "image": workshop.image,
            "imgpkgBundle": workshop.bundle,
            "ociArtifact": workshop.artifact,
            "githubRelease": workshop.release,
            "helmChart": workshop.chart,
        }
        yield {name: make() for name, make in makers.items() if name in wanted}


class _Workshop:
    """Makes fetchers; what they share is made once, when the first of them asks."""

    def __init__(self, console: Console, references: References, stack: ExitStack, jobs: int) -> None:
        self._console = console
        self._references = references
        self._stack = stack
        self._jobs = jobs
        self._services = Services(console, jobs=jobs)
        self._known_registries: Registries | None = None
        self._known_web: WebClient | None = None

    def inline(self) -> Fetcher:
        from provender.dialects.vendir.local import InlineFetcher

        return InlineFetcher(self._references)

    def directory(self) -> Fetcher:
        from provender.dialects.vendir.local import DirectoryFetcher

        return DirectoryFetcher()

    def git(self) -> Fetcher:
        from provender.dialects.vendir.git import GitFetcher

        return GitFetcher(_cache_root(os.environ), self._references)

    def http(self) -> Fetcher:
        from provender.dialects.vendir.http import HttpFetcher

        return HttpFetcher(self._web(), self._references)

    def image(self) -> Fetcher:
        from provender.dialects.vendir.image import ImageFetcher

        return ImageFetcher(self._registries())

    def bundle(self) -> Fetcher:
        from provender.dialects.vendir.image import BundleFetcher

        return BundleFetcher(self._registries())

    def artifact(self) -> Fetcher:
        from provender.dialects.vendir.artifact import ArtifactFetcher

        return ArtifactFetcher(self._registries())

    def release(self) -> Fetcher:
        from provender.dialects.vendir.github_release import API_BASE, ReleaseFetcher

        return ReleaseFetcher(
            self._web(),
            self._references,
            api_base=os.environ.get("PROVENDER_GITHUB_API") or API_BASE,
            token=os.environ.get("VENDIR_GITHUB_API_TOKEN", ""),
        )

    def chart(self) -> Fetcher:
        from provender.dialects.vendir.helm_chart import ChartFetcher

        return ChartFetcher(self._registries(), self._web(), self._references)

    def _web(self) -> WebClient:
        if self._known_web is None:
            from provender.storage.registry import HttpTransport
            from provender.storage.web import WebClient

            debug = self._console.trace if self._console.debug else None
            transport = HttpTransport(os.environ, concurrency=max(16, self._jobs), debug=debug)
            self._known_web = WebClient(self._stack.enter_context(transport))
        return self._known_web

    def _registries(self) -> Registries:
        if self._known_registries is None:
            from provender.dialects.vendir.registries import Registries

            def cache() -> BlobCache:
                return self._services.cache(_cache_root(os.environ))

            self._known_registries = Registries(self._references, cache, self._storages)
        return self._known_registries

    def _storages(self, logins: tuple[Login, ...]) -> Storages:
        from provender.dialects.vendir.credentials import ImgpkgCredentials
        from provender.storage.registry import CredentialStore

        credentials = ImgpkgCredentials(logins, os.environ, CredentialStore(os.environ))
        locations = self._services.locations(directory=Path.cwd())
        return self._stack.enter_context(self._services.storages(locations, credentials=credentials))


def _cache_root(environ: Mapping[str, str]) -> Path:
    """Where the cache is: provender's own variable counts, then vendir's, in a directory that vendir leaves alone."""
    from provender.storage.cache import default_cache_root

    theirs = environ.get("VENDIR_CACHE_DIR")
    if theirs and not environ.get("PROVENDER_CACHE_DIR"):
        return Path(os.path.abspath(theirs), "provender")
    return default_cache_root(environ)
