"""Where a logical registry is: precedence by alias and key, who said so, rewrites, and the text for the unknown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from provender.errors import Denied, InvalidProject
from provender.locations import HostTarget, LayoutTarget, Locations, Place
from provender.locations.sources import environment_name
from provender.oci import Reference

SOURCES = ("flag", "environment", "named-file", "project-file", "user-file", "system-file", "manifest")


class Machine:
    """A made-up machine: a project, a home and a system directory, with their configuration."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        self.project.mkdir()
        self.environ = {"HOME": str(root / "home")}
        self.flags: list[str] = []
        self.manifest: dict[str, str | None] = {}
        self.files = {
            "named-file": root / "named" / "own.yaml",
            "project-file": self.project / ".provender" / "registries.yaml",
            "user-file": root / "home" / ".config" / "provender" / "registries.yaml",
            "system-file": root / "etc" / "registries.yaml",
        }

    def write(self, source: str, text: str) -> None:
        path = self.files[source]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"version: 1\n{text}\n")
        if source == "named-file":
            self.environ["PROVENDER_REGISTRIES"] = str(path)

    def bind(self, source: str, location: str, alias: str = "acme") -> None:
        if source == "flag":
            self.flags.append(f"{alias}={location}")
        elif source == "environment":
            self.environ[environment_name(alias)] = location
        elif source == "manifest":
            self.manifest[alias] = location
        else:
            self.write(source, f"registries: {{{alias}: {{location: '{location}'}}}}")

    def locations(self, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Locations:
        return Locations.gather(
            environ=self.environ if environ is None else environ,
            cwd=cwd or self.project,
            flags=self.flags,
            project_dir=self.project,
            manifest=self.manifest,
            system_file=self.files["system-file"],
            system_dir=self.root / "etc",
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.combinations(SOURCES, 2)))
def test_of_two_sources_the_stronger_wins(machine: Machine, stronger: str, weaker: str) -> None:
    machine.bind(weaker, "weaker.example")
    machine.bind(stronger, "stronger.example")
    location = machine.locations().find("acme")
    assert location.target == HostTarget("stronger.example")
    assert location.origins["location"].source == stronger


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_binds_alone(machine: Machine, source: str) -> None:
    machine.bind(source, "registry.example/team")
    location = machine.locations().find("acme")
    assert location.target == HostTarget("registry.example", "team")
    assert location.origins["location"].source == source
    assert (location.mirrors, location.fallback, location.plain_http, location.ca) == ((), "location", None, None)


def test_keys_come_from_the_strongest_source_that_sets_each(machine: Machine) -> None:
    machine.bind("flag", "flag.example")
    machine.write("user-file", "registries: {acme: {location: user.example, plainHttp: true, mirrors: []}}")
    machine.write(
        "system-file",
        "registries: {acme: {plainHttp: false, ca: ca.pem, fallback: none, mirrors: [{location: m.example}]}}",
    )
    location = machine.locations().find("acme")
    assert location.target == HostTarget("flag.example")
    assert location.plain_http is True
    assert location.mirrors == ()
    assert location.fallback == "none"
    assert location.ca == machine.root / "etc" / "ca.pem"
    assert {key: origin.source for key, origin in location.origins.items()} == {
        "location": "flag",
        "mirrors": "user-file",
        "plainHttp": "user-file",
        "fallback": "system-file",
        "ca": "system-file",
    }


def test_aliases_do_not_touch_each_other(machine: Machine) -> None:
    machine.bind("flag", "flag.example", alias="other")
    machine.bind("manifest", "manifest.example")
    assert machine.locations().find("acme").target == HostTarget("manifest.example")


def test_origins_name_flag_variable_and_line(machine: Machine) -> None:
    for source in SOURCES:
        machine.bind(source, f"{source}.example")
    wheres = [row.origin.where for row in machine.locations().explain("acme") if row.key == "location"]
    assert wheres == [
        "--registry acme",
        "PROVENDER_REGISTRY_ACME",
        f"{machine.files['named-file']}:2:21",
        ".provender/registries.yaml:2:21",
        f"{machine.files['user-file']}:2:21",
        f"{machine.files['system-file']}:2:21",
        "provender.yaml: registries.acme",
    ]


def test_explain_shows_every_value_the_winner_and_the_defaults(machine: Machine) -> None:
    machine.bind("environment", "env.example")
    machine.write(
        "user-file", "registries: {acme: {location: user.example, mirrors: [{location: m.example, resolve: true}]}}"
    )
    rows = [(row.key, row.value, row.origin.source, row.wins) for row in machine.locations().explain("acme")]
    assert rows == [
        ("location", "env.example", "environment", True),
        ("location", "user.example", "user-file", False),
        ("mirrors", "m.example (resolves tags)", "user-file", True),
        ("fallback", "location", "default", True),
        ("plainHttp", "only for loopback hosts", "default", True),
    ]


def test_explain_of_an_unknown_alias_is_empty(machine: Machine) -> None:
    assert machine.locations().explain("acme") == []


def test_aliases_of_every_source_are_listed_once(machine: Machine) -> None:
    machine.bind("flag", "a.example", alias="from-flag")
    machine.bind("environment", "a.example", alias="from-environment")
    machine.bind("environment", "a.example", alias="in_manifest")
    machine.bind("user-file", "a.example", alias="from-user")
    machine.manifest |= {"in_manifest": None, "acme": None}
    expected = ["acme", "from-environment", "from-flag", "from-user", "in_manifest"]
    assert machine.locations().aliases() == expected


@pytest.mark.parametrize(
    ("alias", "name"),
    [("acme", "PROVENDER_REGISTRY_ACME"), ("my-team", "PROVENDER_REGISTRY_MY_TEAM"), ("a_b", "PROVENDER_REGISTRY_A_B")],
)
def test_variables_are_named_after_the_alias(machine: Machine, alias: str, name: str) -> None:
    machine.environ[name] = "env.example"
    assert machine.locations().find(alias).target == HostTarget("env.example")


def test_an_empty_variable_counts_as_unset(machine: Machine) -> None:
    machine.environ |= {"PROVENDER_REGISTRY_ACME": "", "PROVENDER_REGISTRIES": ""}
    machine.bind("manifest", "manifest.example")
    assert machine.locations().find("acme").target == HostTarget("manifest.example")


def test_the_last_of_two_flags_counts(machine: Machine) -> None:
    machine.flags = ["acme=first.example", "acme=last.example"]
    assert machine.locations().find("acme").target == HostTarget("last.example")


@pytest.mark.parametrize(
    ("flag", "code", "exit_status"),
    [("acme", "invalid-location", 2), ("Acme=h.example", "invalid-alias", 78), ("acme=", "invalid-location", 78)],
)
def test_a_bad_flag_is_named_without_its_value(machine: Machine, flag: str, code: str, exit_status: int) -> None:
    machine.flags = [flag]
    with pytest.raises(InvalidProject) as caught:
        machine.locations()
    assert (caught.value.code, caught.value.exit_status) == (code, exit_status)
    assert caught.value.where == f"--registry {flag.partition('=')[0]}"


def test_paths_are_relative_to_who_names_them(machine: Machine) -> None:
    cwd = machine.project / "sub"
    for source in SOURCES:
        machine.bind(source, "layout:./store")
    rows = machine.locations(cwd=cwd).explain("acme")
    assert [row.value for row in rows if row.key == "location"] == [
        f"layout:{cwd / 'store'}",
        f"layout:{cwd / 'store'}",
        f"layout:{machine.root / 'named' / 'store'}",
        f"layout:{machine.project / '.provender' / 'store'}",
        f"layout:{machine.root / 'home' / '.config' / 'provender' / 'store'}",
        f"layout:{machine.root / 'etc' / 'store'}",
        f"layout:{machine.project / 'store'}",
    ]


def test_a_path_may_begin_at_home(machine: Machine) -> None:
    machine.bind("user-file", "layout:~/store")
    assert machine.locations().find("acme").target == LayoutTarget(machine.root / "home" / "store")


def test_the_named_file_is_relative_to_the_current_directory(machine: Machine) -> None:
    machine.bind("named-file", "named.example")
    machine.environ["PROVENDER_REGISTRIES"] = "own.yaml"
    assert machine.locations(cwd=machine.root / "named").find("acme").target == HostTarget("named.example")


def test_a_named_file_that_is_absent_is_an_error(machine: Machine) -> None:
    machine.environ["PROVENDER_REGISTRIES"] = "absent.yaml"
    with pytest.raises(InvalidProject, match=r"absent\.yaml") as caught:
        machine.locations().find("acme")
    assert (caught.value.code, caught.value.where) == ("registries-file-missing", "PROVENDER_REGISTRIES")


def test_the_users_file_follows_xdg(machine: Machine) -> None:
    machine.files["user-file"] = machine.root / "xdg" / "provender" / "registries.yaml"
    machine.bind("user-file", "xdg.example")
    environ = machine.environ | {"XDG_CONFIG_HOME": str(machine.root / "xdg")}
    assert machine.locations(environ=environ).find("acme").target == HostTarget("xdg.example")
    relative = machine.environ | {"XDG_CONFIG_HOME": "xdg"}
    with pytest.raises(InvalidProject):
        machine.locations(cwd=machine.root, environ=relative).find("acme")


def test_a_broken_file_does_not_stop_what_needs_no_location(machine: Machine) -> None:
    machine.write("user-file", "registries: [")
    locations = machine.locations()
    assert locations.place(Reference.parse("layout:./x:1")) == Place(layout=machine.project / "x")
    with pytest.raises(InvalidProject) as caught:
        locations.find("acme")
    assert (caught.value.where or "").startswith(f"{machine.files['user-file']}:")


def test_an_unknown_alias_is_told_with_where_it_looked_and_how_to_bind_it(machine: Machine) -> None:
    machine.write("user-file", "registries: {}")
    with pytest.raises(InvalidProject) as caught:
        machine.locations().place(Reference.parse("acme/tool:1"))
    error = caught.value
    assert (error.code, error.exit_status, error.where) == ("unbound-registry", 78, "acme/tool:1")
    assert "'acme'" in error.message
    hint = error.hint or ""
    for looked in (
        "--registry acme=",
        "PROVENDER_REGISTRY_ACME",
        ".provender/registries.yaml (absent)",
        f"{machine.files['user-file']},",
        f"{machine.files['system-file']} (absent)",
        "provender.yaml",
        "registries: {acme: {location: registry.example.com/team}}",
        "docker.io/acme/",
    ):
        assert looked in hint


def test_the_example_in_the_hint_is_a_file_that_works(machine: Machine) -> None:
    with pytest.raises(InvalidProject) as caught:
        machine.locations().find("acme")
    example = (caught.value.hint or "").partition("registries.yaml: ")[2].partition(";")[0]
    path = machine.files["project-file"]
    path.parent.mkdir()
    path.write_text(example)
    assert machine.locations().find("acme").target == HostTarget("registry.example.com", "team")


def test_a_near_miss_of_an_alias_is_named(machine: Machine) -> None:
    machine.bind("user-file", "acme.example")
    with pytest.raises(InvalidProject) as caught:
        machine.locations().find("acne")
    assert (caught.value.hint or "").startswith("did you mean acme?")


def test_a_declared_alias_without_location_is_unbound_but_not_taken_for_docker_hub(machine: Machine) -> None:
    machine.manifest["acme"] = None
    with pytest.raises(InvalidProject) as caught:
        machine.locations().find("acme")
    assert "provender.yaml (no default)" in (caught.value.hint or "")
    assert "docker.io" not in (caught.value.hint or "")


REWRITES = """\
rewrites:
  - {prefix: ghcr.io, location: all.example/ghcr}
  - {prefix: ghcr.io/acme-oss, location: some.example}
  - {prefix: ghcr.io/acme-oss/secret, blocked: true}
  - {prefix: quay.io, location: 'layout:quay'}
  - {prefix: docker.io, blocked: true}
"""


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("ghcr.io/other/tool:1", "all.example/ghcr/other/tool"),
        ("ghcr.io/acme-oss/tool:1", "some.example/tool"),
        ("ghcr.io/acme-oss-2/tool", "all.example/ghcr/acme-oss-2/tool"),
        ("ghcr.io/acme-oss/secrets", "some.example/secrets"),
        ("registry.example/tool", "registry.example/tool"),
    ],
)
def test_the_longest_prefix_rewrites(machine: Machine, reference: str, place: str) -> None:
    machine.write("user-file", REWRITES)
    assert str(machine.locations().place(Reference.parse(reference))) == place


def test_a_rewrite_may_lead_to_a_store(machine: Machine) -> None:
    machine.write("user-file", REWRITES)
    place = machine.locations().place(Reference.parse("quay.io/a/b:1"))
    assert (place.store, place.repository) == (machine.files["user-file"].parent / "quay", "a/b")
    assert place.origin is not None
    assert place.origin.source == "user-file"


@pytest.mark.parametrize("reference", ["docker.io/library/nginx", "docker.io:443/a/b", "ghcr.io/acme-oss/secret/x"])
def test_blocked_prefixes_are_denied(machine: Machine, reference: str) -> None:
    machine.write("user-file", REWRITES)
    with pytest.raises(Denied) as caught:
        machine.locations().place(Reference.parse(reference))
    assert (caught.value.code, caught.value.where) == ("blocked-registry", reference)
    assert str(machine.files["user-file"]) in (caught.value.hint or "")


def test_of_equal_prefixes_the_stronger_source_wins(machine: Machine) -> None:
    machine.write(
        "system-file", "rewrites: [{prefix: ghcr.io, blocked: true}, {prefix: ghcr.io/a, location: sys.example}]"
    )
    machine.write("user-file", "rewrites: [{prefix: ghcr.io, location: user.example}]")
    locations = machine.locations()
    assert str(locations.place(Reference.parse("ghcr.io/b/c"))) == "user.example/b/c"
    assert str(locations.place(Reference.parse("ghcr.io/a/c"))) == "sys.example/c"


def test_a_rewrite_that_leaves_no_repository_is_refused(machine: Machine) -> None:
    machine.write(
        "user-file", "rewrites: [{prefix: ghcr.io/a, location: b.example}, {prefix: h.io/a, location: 'layout:s'}]"
    )
    for reference in ("ghcr.io/a:1", "h.io/a:1"):
        with pytest.raises(InvalidProject) as caught:
            machine.locations().place(Reference.parse(reference))
        assert (caught.value.code, caught.value.where) == ("invalid-location", reference)


def test_a_logical_reference_lands_below_its_location(machine: Machine) -> None:
    machine.write(
        "user-file",
        "registries: {acme: {location: h.example/p, plainHttp: true, ca: c.pem}, s: {location: 'layout:/s'}}",
    )
    locations = machine.locations()
    place = locations.place(Reference.parse("acme/a/b:1"))
    assert (place.host, place.repository, place.connection.plain_http) == ("h.example", "p/a/b", True)
    assert place.connection.ca == machine.files["user-file"].parent / "c.pem"
    store = locations.place(Reference.parse("s/a/b:1"))
    assert (store.host, store.store, store.repository) == (None, Path("/s"), "a/b")


def test_a_name_that_grows_too_long_is_refused(machine: Machine) -> None:
    machine.bind("flag", "h.example/" + "p" * 150)
    with pytest.raises(InvalidProject, match="which is no repository name"):
        machine.locations().place(Reference.parse("acme/" + "a" * 150))
