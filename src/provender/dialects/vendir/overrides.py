"""`--directory DIR/PATH[=LOCALDIR]`: a part of a configuration, with local directories in place of sources. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from provender.dialects.vendir.config import Configuration, entire_path, within
from provender.dialects.vendir.schema import Config, Contents, Directory, DirectoryCopy
from provender.errors import InvalidProject

__all__ = ["Override", "overridden"]


class Override(msgspec.Struct, frozen=True):
    """One `-d`: where contents lie, and the local directory that is copied there instead, if one is given."""

    path: str
    local: str | None = None

    @classmethod
    def parse(cls, text: str, *, home: str) -> Override:
        """The override that a command line spells; a leading `~` of the local directory is the user's home."""
        path, equals, local = text.partition("=")
        if local.startswith("~"):
            local = f"{home}/{local[1:].lstrip('/')}"
        return cls(path, local if equals and local else None)


def overridden(configuration: Configuration, overrides: Sequence[Override]) -> Configuration:
    """The configuration with just these contents. Raises InvalidProject for a path that there is none of."""
    config = configuration.config
    for override in overrides:
        if override.local is not None:
            try:
                config = _with_local(config, override.path, override.local)
            except InvalidProject as error:
                raise within(error, f"Overriding '{override.path}' with local directory") from error
    if overrides:
        config = _subset(config, [override.path for override in overrides])
    return msgspec.structs.replace(configuration, config=config)


def _with_local(config: Config, path: str, local: str) -> Config:
    found = [
        (number, index)
        for number, directory in enumerate(config.directories)
        for index, contents in enumerate(directory.contents)
        if entire_path(directory, contents) == path
    ]
    if len(found) != 1:
        count = "multiple" if found else "any"
        raise InvalidProject(
            f"Expected to match exactly one directory, but {'matched' if found else 'did not match'} {count}",
            code="no-such-directory",
            where=f"--directory {path}={local}",
            hint=_known(config),
        )
    number, index = found[0]
    directory = config.directories[number]
    old = directory.contents[index]
    # Other than in vendir newRootPath and permissions stay: they say where files go, not where they are from.
    new = Contents(
        path=old.path,
        lazy=old.lazy,
        directory=DirectoryCopy(path=local),
        include_paths=old.include_paths,
        exclude_paths=old.exclude_paths,
        ignore_paths=old.ignore_paths,
        legal_paths=old.legal_paths,
        new_root_path=old.new_root_path,
        permissions=old.permissions,
    )
    contents = (*directory.contents[:index], new, *directory.contents[index + 1 :])
    directories = (
        *config.directories[:number],
        msgspec.structs.replace(directory, contents=contents),
        *config.directories[number + 1 :],
    )
    return msgspec.structs.replace(config, directories=directories)


def _subset(config: Config, paths: Sequence[str]) -> Config:
    counts = dict.fromkeys(paths, 0)
    directories: list[Directory] = []
    for directory in config.directories:
        kept: list[Contents] = []
        for contents in directory.contents:
            path = entire_path(directory, contents)
            if path not in counts:
                continue
            counts[path] += 1
            if counts[path] > 1:
                raise InvalidProject(
                    f"Expected to match path '{path}' once, but matched multiple",
                    code="no-such-directory",
                    where=f"--directory {path}",
                )
            kept.append(contents)
        if kept:
            directories.append(msgspec.structs.replace(directory, contents=tuple(kept)))
    for path, count in counts.items():
        if not count:
            raise InvalidProject(
                f"Expected to match path '{path}' once, but did not match any",
                code="no-such-directory",
                where=f"--directory {path}",
                hint=_known(config),
            )
    return Config(api_version=config.api_version, kind=config.kind, directories=tuple(directories))


def _known(config: Config) -> str:
    known = [entire_path(directory, contents) for directory in config.directories for contents in directory.contents]
    return f"there are: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}" if known else "there are none"
