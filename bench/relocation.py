"""500 tags with signatures, SBOMs and signatures of SBOMs, from one registry to another, by each client in its way.

Cold: nothing is there. Repeated: nothing is new. Five new: five tags more at the source. Within: to another repository
of the same registry. Requests and the bytes of blobs are counted in runs of their own, through relays.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.ground import Ground
from bench.measure import Claim, Contender, Outcome, Row, compare
from bench.registry import server
from bench.requests import Counts, counted

_TAGS = 500
_NEW = 5
_LAYER_BYTES = 16 << 10
_SHARED_BYTES = 1 << 20
_AT_ONCE = 4
_LISTS = 4  # of tags, which a repeat needs once on each side, by the page
_SOURCE = "bench/app"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_SBOM = "application/spdx+json"
_SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"


def with_api(ground: Ground) -> Iterator[Outcome]:
    """Between two olaregs, which list referrers. (zot takes longer for each request the more a repository holds.)"""
    yield from _run(ground, "olareg")


def without_api(ground: Ground) -> Iterator[Outcome]:
    """Between two distributions, where each list of referrers is kept under a tag by whoever writes it."""
    yield from _run(ground, "distribution")


class _Client(NamedTuple):
    """One way to relocate: a script over $FROM and $TO, `host/repository` without a tag."""

    name: str
    script: str
    is_whole: bool = True
    """False for one that leaves the related content behind."""
    nth: int = 1
    """It gets only every so many-th tag."""


def _run(ground: Ground, kind: str) -> Iterator[Outcome]:
    with ExitStack() as stack:
        source = stack.enter_context(server(ground, kind, folder="source"))
        target = stack.enter_context(server(ground, kind, folder="target"))
        if source is None or target is None:
            return
        bench = _Bench(ground, source, target)
        title = f"Relocate {bench.count} tags with signatures, SBOMs and their signatures, {kind} to {kind}"
        yield from bench.outcomes(title)


class _Bench:
    def __init__(self, ground: Ground, source: str, target: str) -> None:
        self._ground = ground
        self._source = source
        self._target = target
        self._clients = _clients(ground)
        self.count = ground.scaled(_TAGS)
        self._tags = 0
        self._places = 0
        self._to: dict[str, str] = {}
        self._publish(self.count)

    def outcomes(self, title: str) -> Iterator[Outcome]:
        """Times, then counts as goals of the last outcome; without another client there is nothing to compare."""
        if len(self._clients) < 2:
            return
        runs = self._ground.runs
        cold = self._compare(runs, self._target, fresh=True)
        yield Outcome(f"{title}: cold", cold, self._claims(cold, "cold"))
        repeated = self._compare(runs, self._target)
        yield Outcome(f"{title}: repeated", repeated, self._claims(repeated, "repeated"))
        rounds: list[tuple[Row, ...]] = []
        for _ in range(runs):
            self._publish(_NEW)
            rounds.append(self._compare(1, self._target))
        new = tuple(Row(row.name, tuple(each[n].runs[0] for each in rounds)) for n, row in enumerate(rounds[0]))
        yield Outcome(f"{title}: {_NEW} new", new, self._claims(new, f"{_NEW} new"))
        within = self._compare(runs, self._source, fresh=True)
        yield Outcome(f"{title}: within one registry", within, (*self._claims(within, "within"), *self._counts()))

    def _claims(self, rows: Sequence[Row], what: str) -> tuple[Claim, ...]:
        whole = {client.name for client in self._clients if client.is_whole}
        *others, mine = rows
        return tuple(
            Claim(f"{what}, provender over {other.name}", mine.ratio(other), 1.0)
            for other in others
            if other.name in whole
        )

    def _counts(self) -> tuple[Claim, ...]:
        """Goals for requests and bytes of blobs, of one run of each client in each state; those of all are printed."""
        cold: dict[str, Counts] = {}
        for client in self._clients:
            first = cold[client.name] = self._counted(client, self._target, fresh=True)
            again = self._counted(client, self._target, fresh=False)
            within = self._counted(client, self._source, fresh=True)
            tags = self._tags / client.nth
            shown = ", ".join(f"{each.requests / tags:.1f}" for each in (first, again, within))
            print(
                f"  {client.name:44} requests a tag, cold, repeated, within: {shown}; within {within.blob_bytes} bytes"
            )
        # The last client is provender.
        least = min(cold[each.name].requests for each in self._clients[:-1] if each.is_whole)
        return (
            Claim("cold, requests of provender over the fewest of the others", first.requests / least, 1.0),
            Claim("repeated, requests of provender beyond two a tag", again.requests - 2 * self._tags, _LISTS, ""),
            Claim("within, bytes of blobs that provender sends", within.blob_bytes, 0, ""),
        )

    def _counted(self, client: _Client, to: str, *, fresh: bool) -> Counts:
        with counted(self._source) as source, ExitStack() as stack:
            other = source if to == self._source else stack.enter_context(counted(to))
            contender = self._contender(client, source.host, other.host, fresh=fresh)
            relays = {source.host: source, other.host: other}.values()
            compare([contender], runs=1, warm_up=False)
            each = [relay.counts() for relay in relays]
        return Counts(sum(one.requests for one in each), sum(one.blob_bytes for one in each))

    def _compare(self, runs: int, to: str, *, fresh: bool = False) -> tuple[Row, ...]:
        contenders = [self._contender(client, self._source, to, fresh=fresh) for client in self._clients]
        return compare(contenders, runs=runs, warm_up=False)

    def _contender(self, client: _Client, source: str, to: str, *, fresh: bool) -> Contender:
        """The client, from the source to a repository that is its own; `fresh`: to a new one in each run."""
        place = self._ground.root / f"work-{client.name.replace(' ', '-')}"
        place.mkdir(exist_ok=True)
        env = {**self._ground.env, "FROM": f"{source}/{_SOURCE}", "SOURCE": source, "TARGET": to}

        def prepare() -> None:
            if fresh:
                self._places += 1
                self._to[client.name] = f"bench{self._places}"
            (place / "to").write_text(f"{to}/{self._to[client.name]}")

        return Contender(
            client.name, ["sh", "-ec", f"PARENT=$(cat to); TO=$PARENT/app; {client.script}"], place, prepare, env
        )

    def _publish(self, count: int) -> None:
        """So many tags more at the source."""
        numbers = range(self._tags, self._tags + count)
        self._tags += count
        folder = self._ground.root / f"material-{self._tags}"
        _write_layout(folder, numbers)
        words = [self._ground.provender, "relocate"]
        place = f"layout:{folder}"
        plan = folder / "plan.json"
        self._ground.call(*words, "plan", f"{place}:*", "--map", f"{place}={self._source}/{_SOURCE}", "-o", plan)
        self._ground.call(*words, "apply", plan)


def _clients(ground: Ground) -> list[_Client]:
    found: list[_Client] = []
    each = f"xargs -P {_AT_ONCE} -I {{}}"
    if regctl := ground.peer("regctl"):
        program = f"{shlex.quote(regctl)} --host reg=$SOURCE,tls=disabled --host reg=$TARGET,tls=disabled"
        copy = f"{program} image copy --referrers --digest-tags $FROM:{{}} $TO:{{}}"
        versions = "tag ls --include '1[.].*' $FROM"
        found.append(_Client("regctl image copy", f"{program} {versions} | {each} {copy}"))
        found.append(_Client("regctl repo copy", f"{program} repo copy --referrers --concurrent {_AT_ONCE} $FROM $TO"))
    if oras := ground.peer("oras"):
        program = shlex.quote(oras)
        tags = f"{program} repo tags --plain-http --exclude-digest-tags $FROM"
        copy = f"{program} cp -r --no-tty --from-plain-http --to-plain-http $FROM:{{}} $TO:{{}}"
        found.append(_Client("oras cp -r", f"{tags} | {each} {copy}"))
    if skopeo := ground.peer("skopeo"):
        # By a pattern: it cannot copy lists of referrers under tags without changing them. Every tenth tag, for it
        # takes them one after the other, and waits for most of the time.
        pattern = "^1[.][0-9]*0[.]"
        listed = (
            rf"printf '%s:\n  tls-verify: false\n  images-by-tag-regex:\n    %s: {pattern}\n' "
            "$SOURCE ${FROM#*/} > sync.yaml"
        )
        words = "--insecure-policy sync --all --preserve-digests --src yaml --dest docker --dest-tls-verify=false"
        script = f"{listed}; {shlex.quote(skopeo)} {words} sync.yaml $PARENT"
        found.append(_Client("skopeo sync, a tenth, images alone", script, is_whole=False, nth=10))
    program = f"{shlex.quote(ground.provender)} relocate"
    plan = f'{program} plan "$FROM:1.*" --map $FROM=$TO -o plan.json'
    found.append(_Client("provender", f"rm -f plan.json.journal; {plan}; {program} apply plan.json"))
    return found


def _write_layout(folder: Path, numbers: Sequence[int]) -> None:
    """A layout with an image for each number, its signature, its SBOM, and the SBOM's signature."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(**fields: object) -> dict[str, object]:
        content = {"schemaVersion": 2, "mediaType": _MANIFEST, **fields}
        return blob(json.dumps(content, separators=(",", ":")).encode(), _MANIFEST)

    entries: list[dict[str, object]] = []
    empty = blob(b"{}", "application/vnd.oci.empty.v1+json")

    def referrer(subject: dict[str, object], kind: str, content: bytes) -> dict[str, object]:
        layers = [blob(content, kind)]
        made = document(artifactType=kind, config=empty, layers=layers, subject=subject)
        entries.append({**made, "artifactType": kind})
        return made

    tar = "application/vnd.oci.image.layer.v1.tar+gzip"
    shared = random.Random(11).randbytes(_SHARED_BYTES)
    for number in numbers:
        own = random.Random(number).randbytes(_LAYER_BYTES)
        ids = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in (shared, own)]
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}}
        image = document(
            config=blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            layers=[blob(gzip.compress(each, 1, mtime=0), tar) for each in (shared, own)],
        )
        entries.append({**image, "annotations": {"org.opencontainers.image.ref.name": f"1.{number}.0"}})
        referrer(image, _SIGNATURE, f"signature of {number}".encode() * 20)
        sbom = referrer(image, _SBOM, json.dumps({"SPDXID": f"SPDXRef-{number}", "packages": ["p"] * 200}).encode())
        referrer(sbom, _SIGNATURE, f"signature of the SBOM of {number}".encode() * 20)
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
