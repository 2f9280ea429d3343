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
        if not wanted.isdisjoint({"image", "imgpkgBundle", "ociArtifact", "helmChart"}):
            found |= _of_registries(console, references, stack, jobs)
        yield found


def _of_registries(console: Console, references: References, stack: ExitStack, jobs: int) -> dict[str, Fetcher]:
    from provender.dialects.vendir.artifact import ArtifactFetcher
    from provender.dialects.vendir.credentials import ImgpkgCredentials
    from provender.dialects.vendir.image import BundleFetcher, ImageFetcher
    from provender.dialects.vendir.registries import Registries
    from provender.storage.registry import CredentialStore

    services = Services(console, jobs=jobs)
    locations = services.locations(directory=Path.cwd())

    def make(logins: tuple[Login, ...]) -> Storages:
        credentials = ImgpkgCredentials(logins, os.environ, CredentialStore(os.environ))
        return stack.enter_context(services.storages(locations, credentials=credentials))

    registries = Registries(references, services.cache(), make)
    return {
        "image": ImageFetcher(registries),
        "imgpkgBundle": BundleFetcher(registries),
        "ociArtifact": ArtifactFetcher(registries),
    }
