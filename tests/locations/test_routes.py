"""Where references are read: mirrors of aliases, fallback, and rules that reach the location of an alias."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import Denied, InvalidProject
from provender.locations import Connection, HostTarget, Locations, Mirror, Route
from provender.oci import Reference


class Project:
    """A project directory with its own `registries.yaml`, and a system's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / ".provender" / "registries.yaml"
        self.system = root / "etc" / "provender" / "registries.yaml"
        self.manifest: dict[str, str | None] = {}

    def write(self, text: str, *, system: bool = False) -> None:
        path = self.system if system else self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"version: 1\n{text}\n")

    def locations(self, *flags: str) -> Locations:
        return Locations.gather(
            environ={},
            cwd=self.root,
            flags=flags,
            project_dir=self.root,
            manifest=self.manifest,
            system_dir=self.root / "etc",
        )

    def route(self, reference: str, *flags: str) -> Route:
        return self.locations(*flags).route(Reference.parse(reference))

    def read(self, reference: str, *flags: str) -> list[tuple[str, str]]:
        return [(str(site.place), site.role) for site in self.route(reference, *flags).sites]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


MIRRORS = "mirrors: [{location: m1.example/apm}, {location: m2.example, resolve: true}]"


def test_mirrors_come_in_their_order_and_the_location_last(project: Project) -> None:
    project.write(f"registries: {{acme: {{location: home.example/team, {MIRRORS}}}}}")
    assert project.read("acme/a/tool:1") == [
        ("m1.example/apm/a/tool", "digests"),
        ("m2.example/a/tool", "tags and digests"),
        ("home.example/team/a/tool", "tags and digests"),
    ]
    assert [site.is_location for site in project.route("acme/a/tool:1").sites] == [False, False, True]
    assert str(project.route("acme/a/tool:1").location) == "home.example/team/a/tool"
    assert str(project.locations().place(Reference.parse("acme/a/tool"))) == "home.example/team/a/tool"


def test_without_fallback_the_location_is_not_read(project: Project) -> None:
    project.write(f"registries: {{acme: {{location: home.example/team, fallback: none, {MIRRORS}}}}}")
    assert [place for place, _ in project.read("acme/tool")] == ["m1.example/apm/tool", "m2.example/tool"]
    assert str(project.route("acme/tool").location) == "home.example/team/tool"


def test_mirrors_only_without_mirrors_is_an_error_that_names_the_setting(project: Project) -> None:
    project.write("registries: {acme: {location: home.example, fallback: none}}")
    with pytest.raises(InvalidProject) as caught:
        project.route("acme/tool")
    assert (caught.value.code, caught.value.where) == ("no-source", ".provender/registries.yaml:2:45")


def test_mirrors_stay_when_a_stronger_source_moves_the_location(project: Project) -> None:
    project.write(f"registries: {{acme: {{location: home.example, {MIRRORS}}}}}", system=True)
    places = [place for place, _ in project.read("acme/tool", "acme=moved.example")]
    assert places == ["m1.example/apm/tool", "m2.example/tool", "moved.example/tool"]
    project.write("registries: {acme: {mirrors: []}}")
    assert [place for place, _ in project.read("acme/tool")] == ["home.example/tool"]


def test_a_store_may_have_mirrors(project: Project) -> None:
    project.write("registries: {acme: {location: 'layout:../store', mirrors: [{location: m.example}]}}")
    store = f"layout:{project.file.parent / '../store' / 'tool'}"
    assert project.read("acme/tool") == [("m.example/tool", "digests"), (store, "tags and digests")]


def test_a_mirror_has_its_own_connection_but_trusts_the_ca_of_the_alias(project: Project) -> None:
    project.write(
        "registries: {acme: {location: home.example, plainHttp: true, ca: corp.pem, mirrors: ["
        "{location: m1.example}, {location: m2.example, plainHttp: true, ca: m2.pem}]}}"
    )
    folder = project.file.parent
    assert [site.place.connection for site in project.route("acme/tool").sites] == [
        Connection(ca=folder / "corp.pem"),
        Connection(plain_http=True, ca=folder / "m2.pem"),
        Connection(plain_http=True, ca=folder / "corp.pem"),
    ]


def test_mirrors_of_an_alias_stand_in_for_no_host(project: Project) -> None:
    project.write(f"registries: {{acme: {{location: home.example, {MIRRORS}}}}}")
    assert {site.place.namespace for site in project.route("acme/tool").sites} == {None}


@pytest.mark.parametrize("text", ["{location: m.example, resolv: true}", "{resolve: true}", "{location: 'layout:x'}"])
def test_a_wrong_mirror_is_refused(project: Project, text: str) -> None:
    project.write(f"registries: {{acme: {{location: home.example, mirrors: [{text}]}}}}")
    with pytest.raises(InvalidProject) as caught:
        project.route("acme/tool")
    assert (caught.value.where or "").startswith(".provender/registries.yaml:2:")


def test_a_block_holds_for_the_location_of_an_alias(project: Project) -> None:
    project.write("rewrites: [{prefix: docker.io, blocked: true}]", system=True)
    for location in ("docker.io/acme", "index.docker.io/acme", "registry-1.docker.io", "docker.io:443/x"):
        locations = project.locations(f"acme={location}")
        for ask in (locations.route, locations.place):
            with pytest.raises(Denied) as caught:
                ask(Reference.parse("acme/tool:1"))
            assert (caught.value.code, caught.value.where) == ("blocked-registry", "acme/tool:1")
            assert str(project.system) in (caught.value.hint or "")


def test_a_block_holds_for_mirrors_but_not_for_a_location_that_is_not_read(project: Project) -> None:
    rule = "rewrites: [{prefix: docker.io, blocked: true}]"
    project.write(f"{rule}\nregistries: {{acme: {{location: home.example, mirrors: [{{location: docker.io/x}}]}}}}")
    with pytest.raises(Denied):
        project.route("acme/tool")
    project.write(
        f"{rule}\nregistries: {{acme: {{location: docker.io, fallback: none, mirrors: [{{location: m.example}}]}}}}"
    )
    assert project.read("acme/tool") == [("m.example/tool", "digests")]
    with pytest.raises(Denied):
        project.locations().place(Reference.parse("acme/tool"))


def test_a_block_holds_for_where_a_rewrite_leads(project: Project) -> None:
    project.write("rewrites: [{prefix: evil.example, blocked: true}]", system=True)
    project.write("rewrites: [{prefix: ghcr.io/acme, location: evil.example/x}]")
    # As written, and through an alias whose location the rewrite moves.
    project.manifest = {"acme": "ghcr.io/acme"}
    locations = project.locations()
    for reference in ("ghcr.io/acme/tool:1", "acme/tool:1"):
        for ask in (locations.route, locations.place):
            with pytest.raises(Denied) as caught:
                ask(Reference.parse(reference))
            assert (caught.value.code, caught.value.where) == ("blocked-registry", reference)
            assert str(project.system) in (caught.value.hint or "")


def test_a_longer_rewrite_is_an_exception_to_a_block(project: Project) -> None:
    project.write(
        "rewrites: [{prefix: docker.io, blocked: true}, {prefix: docker.io/acme, location: corp.example/acme}]"
    )
    project.manifest["acme"] = "docker.io/acme"
    assert project.read("acme/tool") == [("corp.example/acme/tool", "tags and digests")]
    assert project.read("docker.io/acme/tool") == [("corp.example/acme/tool", "tags and digests")]


def test_a_rewrite_moves_an_alias_whose_location_a_weaker_source_set(project: Project) -> None:
    project.write("rewrites: [{prefix: ghcr.io/acme, location: corp.example/ghcr}]", system=True)
    project.manifest["acme"] = "ghcr.io/acme"
    assert project.read("acme/tool") == [("corp.example/ghcr/tool", "tags and digests")]
    assert str(project.locations().place(Reference.parse("acme/tool"))) == "corp.example/ghcr/tool"
    assert project.locations().find("acme").target == HostTarget("ghcr.io", "acme")
    origin = project.route("acme/tool").location.origin
    assert origin is not None
    assert origin.source == "system-file"


@pytest.mark.parametrize("strength", ["flag", "project", "same"])
def test_a_rewrite_does_not_move_an_alias_that_somebody_as_strong_bound(project: Project, strength: str) -> None:
    rule = "rewrites: [{prefix: ghcr.io/acme, location: corp.example/ghcr}]"
    binding = "registries: {acme: {location: ghcr.io/acme}}"
    project.write(f"{rule}\n{binding}" if strength == "same" else rule, system=True)
    if strength == "project":
        project.write(binding)
    flags = ["acme=ghcr.io/acme"] if strength == "flag" else []
    assert project.read("acme/tool", *flags) == [("ghcr.io/acme/tool", "tags and digests")]


def test_a_rewrite_is_taken_once(project: Project) -> None:
    project.write("rewrites: [{prefix: a.example, location: b.example}, {prefix: b.example, location: c.example}]")
    assert project.read("a.example/tool") == [("b.example/tool", "tags and digests")]


def test_official_images_of_docker_hub_keep_their_full_name_elsewhere(project: Project) -> None:
    project.write("rewrites: [{prefix: docker.io, location: corp.example/hub}]")
    assert project.read("docker.io/nginx:1") == [("corp.example/hub/library/nginx", "tags and digests")]
    project.write("rewrites: [{prefix: docker.io/library, blocked: true}]")
    with pytest.raises(Denied):
        project.route("docker.io/nginx:1")
    assert project.read("docker.io/acme/tool") == [("docker.io/acme/tool", "tags and digests")]


def test_the_reason_stands_beside_every_setting(project: Project) -> None:
    project.write("registries: {acme: {location: user.example}}")
    project.manifest["acme"] = "manifest.example"
    rows = [(row.key, row.wins, row.reason) for row in project.locations("acme=flag.example").explain("acme")]
    assert rows[:3] == [
        ("location", True, "it is the strongest source"),
        ("location", False, "--registry acme is stronger"),
        ("location", False, "--registry acme is stronger"),
    ]
    assert rows[3:] == [(key, True, "nobody sets it") for key in ("mirrors", "fallback", "plainHttp")]


def test_the_reason_stands_beside_every_rule(project: Project) -> None:
    project.write("rewrites: [{prefix: ghcr.io, location: p.example}]")
    project.write(
        "rewrites: [{prefix: ghcr.io, blocked: true}, {prefix: ghcr.io/acme, location: s.example}]", system=True
    )
    rows = project.locations().explain_rules(Reference.parse("ghcr.io/acme/x"))
    assert [(str(row.rule), row.wins, row.reason) for row in rows] == [
        ("s.example", True, "it has the longest prefix"),
        ("p.example", False, "the prefix ghcr.io/acme is longer"),
        ("blocked", False, "the prefix ghcr.io/acme is longer"),
    ]
    rows = project.locations().explain_rules(Reference.parse("ghcr.io/other"))
    assert rows[1].reason == ".provender/registries.yaml:2:12 is stronger"
    assert project.locations().explain_rules(Reference.parse("quay.io/x")) == []


def test_a_mirror_says_what_it_is_asked() -> None:
    target = HostTarget("m.example", "p")
    assert str(Mirror(target)) == "m.example/p"
    assert str(Mirror(target, resolve=True)) == "m.example/p (resolves tags)"
    assert str(Mirror(target, resolve=True, digests=False)) == "m.example/p (resolves tags only)"
