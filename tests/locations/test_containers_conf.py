"""`registries.conf` of the containers tools: what it says of concrete references, and what is refused in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.errors import Denied, InvalidProject
from provender.locations import HostTarget, Locations, Place, Rewrite, Site
from provender.locations.registries_conf import RegistriesConf
from provender.oci import Reference


class Machine:
    """A made-up machine with a system directory and a home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"HOME": str(root / "home")}
        self.system = root / "etc" / "containers"
        self.user = root / "home" / ".config" / "containers"

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def locations(self, *flags: str, text: str | None = None) -> Locations:
        if text is not None:
            self.write(self.system / "registries.conf", text)
        return Locations.gather(
            environ=self.environ, cwd=self.root, flags=flags, project_dir=self.root, system_dir=self.root / "etc"
        )

    def sites(self, reference: str, text: str | None = None) -> tuple[Site, ...]:
        return self.locations(text=text).route(Reference.parse(reference)).sites

    def read(self, reference: str, text: str | None = None) -> list[tuple[str, str]]:
        return [(str(site.place), site.role) for site in self.sites(reference, text)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


EVERYTHING = """\
unqualified-search-registries = ["docker.io", "quay.io"]
short-name-mode = "enforcing"
credential-helpers = ["containers-auth.json"]

[[registry]]
prefix = "ghcr.io/acme"
location = "corp.example/ghcr-acme"
[[registry.mirror]]
location = "first.example/m"
[[registry.mirror]]
location = "second.example"
insecure = true
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "third.example"
pull-from-mirror = "tag-only"

[[registry]]
location = "plain.example"
insecure = true

[[registry]]
prefix = "evil.example"
blocked = true

[[registry]]
prefix = "*.wild.example"
location = "corp.example/wild"

[[registry]]
prefix = "*.kept.example"
[[registry.mirror]]
location = "first.example/kept"

[aliases]
"fedora" = "registry.fedoraproject.org/fedora"
"""


@pytest.mark.parametrize(
    ("reference", "read"),
    [
        (
            "ghcr.io/acme/tool:1",
            [
                ("first.example/m/tool", "tags and digests"),
                ("second.example/tool", "digests"),
                ("third.example/tool", "tags"),
                ("corp.example/ghcr-acme/tool", "tags and digests"),
            ],
        ),
        ("ghcr.io/acme-2/tool:1", [("ghcr.io/acme-2/tool", "tags and digests")]),
        ("plain.example/a/b", [("plain.example/a/b", "tags and digests")]),
        ("a.wild.example/x/y", [("corp.example/wild/x/y", "tags and digests")]),
        ("a.b.wild.example:5000/x", [("corp.example/wild/x", "tags and digests")]),
        ("wild.example/x", [("wild.example/x", "tags and digests")]),
        ("notwild.example/x", [("notwild.example/x", "tags and digests")]),
        (
            "a.kept.example/x",
            [("first.example/kept/x", "tags and digests"), ("a.kept.example/x", "tags and digests")],
        ),
    ],
)
def test_what_a_reference_is_read_from(machine: Machine, reference: str, read: list[tuple[str, str]]) -> None:
    assert machine.read(reference, EVERYTHING) == read


def test_insecure_means_plain_http_for_that_place_alone(machine: Machine) -> None:
    plain = [site.place.connection.plain_http for site in machine.sites("ghcr.io/acme/tool", EVERYTHING)]
    assert plain == [None, True, None, None]
    assert machine.sites("plain.example/a")[0].place.connection.plain_http is True


def test_mirrors_name_the_host_that_they_stand_in_for_and_places_do_not(machine: Machine) -> None:
    names = [site.place.namespace for site in machine.sites("ghcr.io/acme/tool", EVERYTHING)]
    assert names == ["ghcr.io", "ghcr.io", "ghcr.io", None]


def test_a_blocked_prefix_is_denied_with_the_file(machine: Machine) -> None:
    with pytest.raises(Denied) as caught:
        machine.sites("evil.example/a/b:1", EVERYTHING)
    assert (caught.value.code, caught.value.where) == ("blocked-registry", "evil.example/a/b:1")
    assert f"{machine.system / 'registries.conf'}: registry 3" in (caught.value.hint or "")


def test_mirror_by_digest_only_holds_for_every_mirror(machine: Machine) -> None:
    text = '[[registry]]\nlocation = "a.example"\nmirror-by-digest-only = true\n'
    text += '[[registry.mirror]]\nlocation = "m.example"'
    assert machine.read("a.example/x", text)[0] == ("m.example/x", "digests")
    with pytest.raises(InvalidProject, match="exclude each other"):
        machine.read("a.example/x", text + '\npull-from-mirror = "all"')


def test_our_own_rules_are_stronger_and_longer_prefixes_are_stronger_still(machine: Machine) -> None:
    machine.write(
        machine.root / ".provender" / "registries.yaml",
        "version: 1\nrewrites:\n  - {prefix: ghcr.io/acme, location: own.example}\n"
        "  - {prefix: evil.example, location: own.example/evil}\n",
    )
    text = EVERYTHING + '\n[[registry]]\nprefix = "ghcr.io/acme/secret"\nblocked = true\n'
    assert machine.read("ghcr.io/acme/tool", text) == [("own.example/tool", "tags and digests")]
    assert machine.read("evil.example/x") == [("own.example/evil/x", "tags and digests")]
    with pytest.raises(Denied):
        machine.read("ghcr.io/acme/secret/x")


def test_a_block_holds_for_an_alias_and_a_rewrite_does_not(machine: Machine) -> None:
    locations = machine.locations("e=evil.example/team", "g=ghcr.io/acme", text=EVERYTHING)
    with pytest.raises(Denied):
        locations.route(Reference.parse("e/tool:1"))
    route = locations.route(Reference.parse("g/tool:1"))
    assert [str(site.place) for site in route.sites] == ["ghcr.io/acme/tool"]


def test_a_block_holds_for_the_mirrors_and_the_place_of_a_rule(machine: Machine) -> None:
    mirror = '[[registry]]\nprefix = "src.example"\n[[registry.mirror]]\nlocation = "evil.example/m"\n'
    moved = '[[registry]]\nprefix = "src.example"\nlocation = "evil.example/m"\n'
    for text in (mirror, moved):
        with pytest.raises(Denied) as caught:
            machine.read("src.example/tool:1", f"{EVERYTHING}\n{text}")
        assert (caught.value.code, caught.value.where) == ("blocked-registry", "src.example/tool:1")


def test_docker_hub_is_one_host_with_several_names(machine: Machine) -> None:
    text = '[[registry]]\nprefix = "docker.io"\nlocation = "corp.example/hub"\n'
    for reference in ("docker.io/nginx", "docker.io/library/nginx", "index.docker.io/nginx", "docker.io:443/nginx"):
        assert machine.read(reference, text) == [("corp.example/hub/library/nginx", "tags and digests")]
    assert machine.read("docker.io/acme/tool", text) == [("corp.example/hub/acme/tool", "tags and digests")]


def test_drop_ins_of_system_and_user_replace_by_prefix_in_order(machine: Machine) -> None:
    def entry(location: str, prefix: str = "a.example") -> str:
        return f'[[registry]]\nprefix = "{prefix}"\nlocation = "{location}"\n'

    machine.write(machine.system / "registries.conf", entry("main.example") + entry("b-main.example", "b.example"))
    machine.write(machine.system / "registries.conf.d" / "20.conf", entry("later.example"))
    machine.write(machine.system / "registries.conf.d" / "10.conf", entry("earlier.example"))
    machine.write(machine.system / "registries.conf.d" / "30.conf.off", entry("off.example"))
    assert machine.read("a.example/x")[0][0] == "later.example/x"
    assert machine.read("b.example/x")[0][0] == "b-main.example/x"
    machine.write(machine.user / "registries.conf.d" / "01.conf", entry("users.example"))
    assert machine.read("a.example/x")[0][0] == "users.example/x"
    machine.write(machine.user / "registries.conf", entry("own.example", "c.example"))
    assert machine.read("c.example/x")[0][0] == "own.example/x"
    assert machine.read("b.example/x")[0][0] == "b.example/x", "a user's file replaces the system's"


def test_the_variable_names_the_one_file_that_is_read(machine: Machine) -> None:
    machine.write(machine.root / "own.conf", '[[registry]]\nprefix = "a.example"\nlocation = "own.example"\n')
    machine.environ["CONTAINERS_REGISTRIES_CONF"] = "own.conf"
    text = EVERYTHING + '\n[[registry]]\nprefix = "a.example"\nlocation = "system.example"\n'
    assert machine.read("a.example/x", text)[0][0] == "own.example/x"
    assert machine.read("evil.example/x") == [("evil.example/x", "tags and digests")]
    machine.environ["CONTAINERS_REGISTRIES_CONF"] = "absent.conf"
    with pytest.raises(InvalidProject) as caught:
        machine.read("a.example/x")
    assert (caught.value.code, caught.value.where) == ("registries-file-missing", "CONTAINERS_REGISTRIES_CONF")
    machine.environ["CONTAINERS_REGISTRIES_CONF"] = "/dev/null"
    assert machine.read("a.example/x") == [("a.example/x", "tags and digests")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[registry]\n", "line 1"),
        ('\n\n[[registry]]\nprefix = "a\n', "line 4"),
        ("[[registry]]\n", "neither prefix nor location"),
        ('[[registry]]\nprefix = "a.example"\nblocked = "yes"\n', r"\$\.registry\[0\]\.blocked"),
        ('registry = "a.example"\n', r"\$\.registry"),
        ('[[registry]]\nprefix = "*.a.example/x"\n', "more than a host"),
        ('[[registry]]\nprefix = "a.example"\n[[registry.mirror]]\n', "not a location"),
        ('[[registry]]\nprefix = "a.example"\nlocation = "https://b.example"\n', "no scheme"),
        ('[[registry]]\nprefix = "a.example/x:1"\n', "not a host with an optional prefix"),
        (
            '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "m.io"\npull-from-mirror = "no"\n',
            "pull-from-mirror",
        ),
        ('[registries.block]\nregistries = ["a.example"]\n', "version 1"),
        ("a = " + "[" * 5000, "nested too deeply|not TOML"),
        ("# " + "x" * (1 << 20), "longer than"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(machine: Machine, text: str, said: str) -> None:
    with pytest.raises(InvalidProject, match=said) as caught:
        machine.read("a.example/x", text)
    assert str(machine.system / "registries.conf") in (caught.value.where or "")
    assert caught.value.hint


def test_version_1_without_blocks_is_left_alone(machine: Machine) -> None:
    text = '[registries.search]\nregistries = ["docker.io"]\n[registries.insecure]\nregistries = []\n'
    assert machine.read("a.example/x", text) == [("a.example/x", "tags and digests")]


def test_a_file_that_is_not_text_or_no_file_is_an_error(machine: Machine) -> None:
    path = machine.write(machine.system / "registries.conf", "")
    path.write_bytes(b'a = "\xff"')
    with pytest.raises(InvalidProject, match="UTF-8"):
        machine.read("a.example/x")
    path.unlink()
    path.mkdir()
    with pytest.raises(InvalidProject, match="cannot be read"):
        machine.read("a.example/x")


def test_a_pipe_in_place_of_the_file_does_not_block(machine: Machine) -> None:
    machine.system.mkdir(parents=True)
    os.mkfifo(machine.system / "registries.conf")
    assert machine.read("a.example/x") == [("a.example/x", "tags and digests")]


def test_layouts_and_stores_never_read_the_file(machine: Machine) -> None:
    locations = machine.locations("s=layout:store", text="not toml [")
    assert locations.route(Reference.parse("layout:./x:1")).location == Place(layout=machine.root / "x")
    assert locations.route(Reference.parse("s/tool")).is_direct
    with pytest.raises(InvalidProject):
        locations.route(Reference.parse("a.example/x"))


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "prefix": st.sampled_from(["a.example", "a.example/x", "*.example", "b.example:5000", "A.example/y/"]),
                "location": st.sampled_from(["m.example", "m.example/p", "a.example"]),
                "blocked": st.booleans(),
            }
        ),
        max_size=5,
    ),
    st.sampled_from(["a.example", "b.example:5000", "c.example"]),
)
def test_every_rule_is_about_the_host_that_was_asked_for(entries: list[dict[str, object]], host: str) -> None:
    def written(value: object) -> str:
        return str(value).lower() if isinstance(value, bool) else f'"{value}"'

    text = "".join(
        "[[registry]]\n" + "".join(f"{key} = {written(value)}\n" for key, value in entry.items()) for entry in entries
    )
    conf = _conf(text)
    for rule in conf.rules(host):
        assert rule.prefix.host == host
        assert isinstance(rule.target, HostTarget | None)


def _conf(text: str) -> RegistriesConf:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "registries.conf"
        path.write_text(text)
        conf = RegistriesConf(
            {"CONTAINERS_REGISTRIES_CONF": str(path)}, system_dir=Path(directory), cwd=Path(directory)
        )
        _all(conf.rules("read.example"))
        return conf


def _all(rules: Iterator[Rewrite]) -> list[Rewrite]:
    return list(rules)
