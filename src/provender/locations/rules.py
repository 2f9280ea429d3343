"""The rules for hosts from every source, and which one counts: the longest prefix, then the strongest source.

Rules are rewrites and blocks of `registries.yaml`, and what `registries.conf` and `hosts.toml` say. The files of other
tools are read when a host is first asked about, so that a project of layouts never reads them; containerd's, which
blocks nothing and is about one whole host, only where nobody else has a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from provender.errors import Denied
from provender.locations.model import Rewrite, Source, is_stronger, rule_host
from provender.locations.sources import Layer

__all__ = ["HostRules", "RuleReason", "Rules"]


class HostRules(Protocol):
    """Rules that are looked up by host: the files of other tools."""

    def rules(self, host: str) -> Iterable[Rewrite]:
        """The rules for a host, named as `rule_host` names it; of equal prefixes the first counts."""
        ...


class RuleReason(msgspec.Struct, frozen=True):
    """One rule that matches a reference, whether it counts, and why."""

    rule: Rewrite
    wins: bool
    reason: str


class Rules:
    """The rules of the layers, the strongest first, then those of `conf`, and of `hosts` where there are no others."""

    def __init__(self, layers: Sequence[Layer], conf: HostRules, hosts: HostRules) -> None:
        self._layers = layers
        self._conf = conf
        self._hosts = hosts

    def best(self, host: str, repository: str) -> Rewrite | None:
        """The rule that counts for a repository of a host."""
        return _longest(self._matching(host, repository)) or _longest(self._last_resort(host, repository))

    def above(self, source: Source, host: str, repository: str) -> Rewrite | None:
        """As `best`, among the rules that are stronger than `source`, which sets the location of an alias."""
        return _longest(rule for rule in self._own(host, repository) if is_stronger(rule.origin.source, source))

    def explain(self, host: str, repository: str) -> list[RuleReason]:
        """Every rule that matches, the one that counts first."""
        matching = sorted(self._matching(host, repository), key=lambda rule: -len(str(rule.prefix)))
        matching = matching or list(self._last_resort(host, repository))
        reasons = []
        for number, rule in enumerate(matching):
            reason = "it has the longest prefix" if len(matching) > 1 else "it is the only rule for this"
            if number and len(str(rule.prefix)) < len(str(matching[0].prefix)):
                reason = f"the prefix {matching[0].prefix} is longer"
            elif number:
                reason = f"{matching[0].origin} is stronger"
            reasons.append(RuleReason(rule, not number, reason))
        return reasons

    def refuse_blocked(self, host: str, repository: str, where: str) -> None:
        """Nothing, or Denied (`blocked-registry`) if the rule that counts is a block."""
        rule = _longest(self._matching(host, repository))
        if rule is not None and rule.is_blocked:
            raise Denied(
                f"{rule.prefix} is blocked by the configuration",
                code="blocked-registry",
                where=where,
                hint=f"the rule is at {rule.origin.where}; use a registry that is allowed, or change the rule",
            )

    def _own(self, host: str, repository: str) -> Iterator[Rewrite]:
        for layer in self._layers:
            yield from (rule for rule in layer.rewrites() if rule.rest(host, repository) is not None)

    def _matching(self, host: str, repository: str) -> Iterator[Rewrite]:
        yield from self._own(host, repository)
        yield from (rule for rule in self._conf.rules(rule_host(host)) if rule.rest(host, repository) is not None)

    def _last_resort(self, host: str, repository: str) -> Iterator[Rewrite]:
        return (rule for rule in self._hosts.rules(rule_host(host)) if rule.rest(host, repository) is not None)


def _longest(rules: Iterable[Rewrite]) -> Rewrite | None:
    """The first of those with the longest prefix."""
    return max(rules, key=lambda rule: len(str(rule.prefix)), default=None)
