"""`registries.conf`, version 2, of the containers tools, as rules for concrete references.

Format: containers-registries.conf(5). Read, never written; weaker than everything that provender's own configuration
says. Short names and their search list are not taken over: provender has no implicit registry.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from provender.errors import InvalidProject
from provender.locations.model import Connection, HostTarget, Mirror, Origin, Rewrite, parse_host_target, rule_host
from provender.locations.toml_file import read_toml

__all__ = ["RegistriesConf"]

_MAX_DROP_INS: Final = 256
_VARIABLE: Final = "CONTAINERS_REGISTRIES_CONF"


class _MirrorEntry(msgspec.Struct, frozen=True, rename="kebab"):
    location: str = ""
    insecure: bool = False
    pull_from_mirror: Literal["", "all", "digest-only", "tag-only"] = ""


class _Entry(msgspec.Struct, frozen=True, rename="kebab"):
    prefix: str = ""
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirror_by_digest_only: bool = False
    mirror: list[_MirrorEntry] = []


class _OldList(msgspec.Struct, frozen=True):
    registries: list[str] = []


class _OldTables(msgspec.Struct, frozen=True):
    block: _OldList = _OldList()


class _File(msgspec.Struct, frozen=True):
    registry: list[_Entry] = []
    registries: _OldTables = _OldTables()  # version 1


class _Rule(msgspec.Struct, frozen=True):
    """One `[[registry]]`, and where it is written."""

    prefix: str
    entry: _Entry
    where: str


class RegistriesConf:
    """The user's or the system's `registries.conf` with its drop-ins, read when a registry is first looked up.

    `CONTAINERS_REGISTRIES_CONF` names one file that is read instead of all others.
    """

    def __init__(self, environ: Mapping[str, str], *, system_dir: Path, cwd: Path) -> None:
        self._environ = environ
        self._system_dir = system_dir
        self._cwd = cwd
        self._rules: dict[str, _Rule] | None = None
        self._reading = threading.Lock()

    def rules(self, host: str) -> Iterator[Rewrite]:
        """The rules for references of `host`; of two with the same prefix the one that was read last."""
        rules = self._read_once().values()
        exact = [rule for rule in rules if not rule.prefix.startswith("*.")]
        wild = [rule for rule in rules if rule.prefix.startswith("*.")]
        # Where two match the same length, the first counts: a host by its name, then the longest wildcard.
        for rule in (*exact, *sorted(wild, key=lambda item: -len(item.prefix))):
            if (prefix := _matched(rule, host)) is not None:
                yield _rewrite(rule, prefix)

    def _read_once(self) -> dict[str, _Rule]:
        with self._reading:  # everyone who opens a repository asks at the same moment
            if self._rules is None:
                rules: dict[str, _Rule] = {}
                for path in self._files():
                    rules.update(_read(path))
                self._rules = rules
            return self._rules

    def _files(self) -> Iterator[Path]:
        if named := self._environ.get(_VARIABLE):
            path = self._cwd / named
            if not path.exists():
                raise InvalidProject(
                    f"there is no file {named[:300]}",
                    code="registries-file-missing",
                    where=_VARIABLE,
                    hint="correct the variable, or unset it",
                )
            yield path
            return
        system = self._system_dir / "containers"
        user = self._user_dir()
        if user is not None and (user / "registries.conf").exists():
            # As the containers tools do: a user's own file replaces the system's with its drop-ins.
            yield user / "registries.conf"
        else:
            yield system / "registries.conf"
            yield from _drop_ins(system / "registries.conf.d")
        if user is not None:
            yield from _drop_ins(user / "registries.conf.d")

    def _user_dir(self) -> Path | None:
        home = self._environ.get("HOME", "")
        return Path(home) / ".config" / "containers" if home else None


def _drop_ins(directory: Path) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InvalidProject(
            f"{directory.name} cannot be read: {error.strerror}",
            code="invalid-container-settings",
            where=str(directory),
            hint="let it be readable, or name one file in CONTAINERS_REGISTRIES_CONF",
        ) from error
    if len(names) > _MAX_DROP_INS:
        raise InvalidProject(
            f"{directory.name} has more than {_MAX_DROP_INS} files",
            code="invalid-container-settings",
            where=str(directory),
            hint="join them",
        )
    return [directory / name for name in names]


def _read(path: Path) -> dict[str, _Rule]:
    file = read_toml(path, _File, otherwise=f"name another one in {_VARIABLE}")
    if file is None:
        return {}
    if file.registries.block.registries:
        raise _invalid(
            "it blocks registries in the format of version 1, which is not read",
            f"{path}: registries.block",
            hint='write [[registry]] with prefix = "…" and blocked = true',
        )
    rules: dict[str, _Rule] = {}
    for number, entry in enumerate(file.registry, start=1):
        where = f"{path}: registry {number}"
        prefix = (entry.prefix or entry.location).lower().rstrip("/")
        if not prefix:
            raise _invalid("an entry has neither prefix nor location", where)
        if prefix.startswith("*.") and any(char in prefix for char in "/:@"):
            raise _invalid(f"the prefix {prefix[:150]!r} has more than a host after '*.'", where)
        rules[prefix] = _Rule(prefix, entry, where)
    return rules


def _matched(rule: _Rule, host: str) -> HostTarget | None:
    """The rule's prefix for this host; None if it is about another."""
    name, _, path = rule.prefix.partition("/")
    if name.startswith("*."):
        return HostTarget(host) if host.partition(":")[0].endswith(name[1:]) else None
    if rule_host(name) != host:
        return None
    return parse_host_target(rule.prefix, rule.where) if path else HostTarget(name)


def _rewrite(rule: _Rule, prefix: HostTarget) -> Rewrite:
    entry = rule.entry
    origin = Origin("registries-conf", rule.where)
    if entry.blocked:
        return Rewrite(prefix, None, origin)
    target = parse_host_target(entry.location, rule.where) if entry.location else prefix
    return Rewrite(
        prefix,
        target,
        origin,
        mirrors=tuple(_mirror(rule, mirror) for mirror in entry.mirror),
        connection=_connection(entry.insecure),
    )


def _mirror(rule: _Rule, mirror: _MirrorEntry) -> Mirror:
    if rule.entry.mirror_by_digest_only and mirror.pull_from_mirror:
        raise _invalid("mirror-by-digest-only and pull-from-mirror exclude each other", rule.where)
    use = "digest-only" if rule.entry.mirror_by_digest_only else mirror.pull_from_mirror or "all"
    return Mirror(
        parse_host_target(mirror.location, rule.where),
        resolve=use != "digest-only",
        digests=use != "tag-only",
        connection=_connection(mirror.insecure),
    )


def _connection(is_insecure: bool) -> Connection:
    # Of what `insecure` allows we do the one half: plain HTTP. TLS is never spoken without checking the certificate.
    return Connection(plain_http=True) if is_insecure else Connection()


def _invalid(why: str, where: str, *, hint: str = "correct the file; other tools read it as well") -> InvalidProject:
    return InvalidProject(f"registries.conf: {why}", code="invalid-container-settings", where=where, hint=hint)
