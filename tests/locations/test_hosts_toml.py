"""containerd's `hosts.toml`: what it says of concrete references, and what is refused in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.errors import InvalidProject
from provender.locations import Connection, Locations, Place, Site
from provender.oci import Reference


class Machine:
    """A made-up machine with a `certs.d` of the system, and one of the user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"HOME": str(root / "home")}
        self.system = root / "etc" / "containerd" / "certs.d"
        self.user = root / "home" / ".config" / "containerd" / "certs.d"

    def write(self, host: str, text: str, *, root: Path | None = None) -> Path:
        path = (root or self.system) / host / "hosts.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def locations(self, *flags: str) -> Locations:
        return Locations.gather(
            environ=self.environ, cwd=self.root, flags=flags, project_dir=self.root, system_dir=self.root / "etc"
        )

    def sites(self, reference: str) -> tuple[Site, ...]:
        return self.locations().route(Reference.parse(reference)).sites

    def read(self, reference: str) -> list[tuple[str, str]]:
        return [(str(site.place), site.role) for site in self.sites(reference)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_hosts_come_in_their_order_with_their_capabilities_and_the_server_last(machine: Machine) -> None:
    machine.write(
        "ghcr.io",
        """
server = "https://ghcr.io"
[host."https://z.example"]
capabilities = ["pull"]
[host."http://a.example:5000"]
capabilities = ["pull", "resolve", "push"]
dial_timeout = "3s"
[host."b.example"]
capabilities = ["resolve"]
[host."https://pushed.example"]
capabilities = ["push"]
[host."https://all.example/v2"]
""",
    )
    assert machine.read("ghcr.io/acme/tool:1") == [
        ("z.example/acme/tool", "digests"),
        ("a.example:5000/acme/tool", "tags and digests"),
        ("b.example/acme/tool", "tags"),
        ("all.example/acme/tool", "tags and digests"),
        ("ghcr.io/acme/tool", "tags and digests"),
    ]
    sites = machine.sites("ghcr.io/acme/tool:1")
    assert [site.place.connection.plain_http for site in sites] == [None, True, None, None, None]
    assert [site.place.namespace for site in sites] == ["ghcr.io"] * 4 + [None]


def test_override_path_below_v2_is_a_prefix(machine: Machine) -> None:
    machine.write("ghcr.io", '[host."https://harbor.example/v2/proxy-ghcr/"]\noverride_path = true\n')
    assert machine.read("ghcr.io/acme/tool")[0] == ("harbor.example/proxy-ghcr/acme/tool", "tags and digests")


@pytest.mark.parametrize(
    ("url", "extra"),
    [("https://h.example/proxy", ""), ("https://h.example", "override_path = true"), ("https://h.example/v2/x", "")],
)
def test_an_api_elsewhere_than_below_v2_is_refused(machine: Machine, url: str, extra: str) -> None:
    path = machine.write("ghcr.io", f'[host."{url}"]\n{extra}\n')
    with pytest.raises(InvalidProject, match="below /v2/") as caught:
        machine.read("ghcr.io/acme/tool")
    assert caught.value.where == f"{path}: {url}"


def test_skip_verify_is_refused_and_not_ignored(machine: Machine) -> None:
    path = machine.write("ghcr.io", '[host."https://m.example"]\nskip_verify = true\n')
    with pytest.raises(InvalidProject, match="without checking the certificate") as caught:
        machine.read("ghcr.io/acme/tool")
    assert (caught.value.code, caught.value.where) == ("insecure-setting", f"{path}: https://m.example")
    machine.write("ghcr.io", "skip_verify = true\n")
    with pytest.raises(InvalidProject) as caught:
        machine.read("ghcr.io/acme/tool")
    assert caught.value.code == "insecure-setting"
    machine.write("ghcr.io", '[host."https://m.example"]\nskip_verify = false\n')
    assert len(machine.read("ghcr.io/acme/tool")) == 2


def test_a_rule_of_ours_stands_in_for_a_file_that_is_refused(machine: Machine) -> None:
    machine.write("_default", "skip_verify = true\n")
    config = machine.root / ".provender" / "registries.yaml"
    config.parent.mkdir()
    config.write_text("version: 1\nrewrites: [{prefix: ghcr.io, location: corp.example/ghcr}]\n")
    with pytest.raises(InvalidProject):
        machine.read("quay.io/a/b")
    assert machine.read("ghcr.io/a/b") == [("corp.example/ghcr/a/b", "tags and digests")]


def test_headers_are_refused(machine: Machine) -> None:
    machine.write("ghcr.io", '[host."https://m.example"]\n[host."https://m.example".header]\nx-token = ["secret"]\n')
    with pytest.raises(InvalidProject) as caught:
        machine.read("ghcr.io/acme/tool")
    assert caught.value.code == "unsupported-setting"
    assert "secret" not in f"{caught.value.message}{caught.value.where}{caught.value.hint}"


def test_certificates_are_relative_to_the_file_and_belong_to_their_host(machine: Machine) -> None:
    path = machine.write(
        "ghcr.io",
        'ca = "server.pem"\n[host."https://m.example"]\nca = ["/abs/m.pem"]\nclient = [["m.cert", "m.key"]]\n'
        '[host."https://n.example"]\nclient = "both.pem"\n',
    )
    folder = path.parent
    assert [site.place.connection for site in machine.sites("ghcr.io/acme/tool")] == [
        Connection(ca=Path("/abs/m.pem"), client_certificate=folder / "m.cert", client_key=folder / "m.key"),
        Connection(client_certificate=folder / "both.pem"),
        Connection(ca=folder / "server.pem"),
    ]


def test_the_server_may_be_another_host_and_lack_capabilities(machine: Machine) -> None:
    machine.write("quay.io", 'server = "https://corp.example"\ncapabilities = ["pull"]\n')
    assert machine.read("quay.io/a/b") == [("corp.example/a/b", "digests")]
    machine.write("quay.io", 'capabilities = ["push"]\n[host."https://m.example"]\n')
    assert machine.read("quay.io/a/b") == [("m.example/a/b", "tags and digests")]
    machine.write("quay.io", 'capabilities = ["push"]\n')
    with pytest.raises(InvalidProject) as caught:
        machine.read("quay.io/a/b")
    assert caught.value.code == "no-source"


def test_the_api_host_of_docker_hub_is_docker_hub(machine: Machine) -> None:
    machine.write("docker.io", 'server = "https://registry-1.docker.io"\n[host."https://m.example"]\n')
    for reference in ("docker.io/nginx", "index.docker.io/nginx"):
        assert machine.read(reference)[0] == ("m.example/library/nginx", "tags and digests")
        site = machine.sites(reference)[0]
        assert site.place.namespace == "docker.io"
    assert machine.sites("docker.io/nginx")[1].place.host == "docker.io"


def test_a_host_among_its_own_mirrors_is_no_mirror_of_itself(machine: Machine) -> None:
    machine.write("ghcr.io", '[host."https://ghcr.io"]\n')
    assert [site.place.namespace for site in machine.sites("ghcr.io/acme/tool")] == [None, None]


def test_directories_are_looked_for_as_containerd_does(machine: Machine) -> None:
    def mirror(name: str) -> str:
        return f'[host."https://{name}.example"]\n'

    docker = machine.root / "etc" / "docker" / "certs.d"
    machine.write("_default", mirror("default"))
    assert machine.read("a.example:5000/x")[0][0] == "default.example/x"
    machine.write("a.example:5000", mirror("colon"))
    assert machine.read("a.example:5000/x")[0][0] == "colon.example/x"
    machine.write("a.example_5000_", mirror("underscore"))
    assert machine.read("a.example:5000/x")[0][0] == "underscore.example/x"
    assert machine.read("a.example/x")[0][0] == "default.example/x"
    machine.write("b.example", mirror("docker"), root=docker)
    assert machine.read("b.example/x")[0][0] == "default.example/x", "the first root with a directory counts"
    machine.write("b.example", mirror("user"), root=machine.user)
    assert machine.read("b.example/x")[0][0] == "user.example/x"
    (machine.system / "c.example").mkdir()
    assert machine.read("c.example/x") == [("c.example/x", "tags and digests")], "certificates alone name no mirror"


def test_registries_conf_is_stronger_for_the_same_host(machine: Machine) -> None:
    machine.write("a.example", '[host."https://containerd.example"]\n')
    conf = machine.root / "etc" / "containers" / "registries.conf"
    conf.parent.mkdir()
    conf.write_text('[[registry]]\nprefix = "a.example"\nlocation = "containers.example"\n')
    assert machine.read("a.example/x") == [("containers.example/x", "tags and digests")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n[host]]", "line 2"),
        ("server = 1\n", r"\$\.server"),
        ('[host."https://m.example"]\ncapabilities = ["sing"]\n', "capabilities"),
        ('[host."ftp://m.example"]\n', "no http or https URL"),
        ('[host."https://user:s3cret@m.example"]\n', "no http or https URL"),
        ('[host."https://[m.example"]\n', "no URL"),
        ('[host."https://"]\n', "not a location"),
        ('server = "https://m.example?x=1"\n', "no http or https URL"),
        ('[host."https://m.example"]\nca = ["a", "b"]\n', "several files"),
        ('[host."https://m.example"]\nclient = [["a", "b", "c"]]\n', "too many"),
        ('[host."https://m.example"]\nca = ""\n', "no file"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(machine: Machine, text: str, said: str) -> None:
    path = machine.write("a.example", text)
    with pytest.raises(InvalidProject, match=said) as caught:
        machine.read("a.example/x")
    assert str(path) in (caught.value.where or "")
    assert "s3cret" not in f"{caught.value.message}{caught.value.where}{caught.value.hint}"


def test_an_alias_never_takes_anything_from_here(machine: Machine) -> None:
    machine.write("ghcr.io", '[host."https://m.example"]\nskip_verify = true\n')
    assert machine.locations("g=ghcr.io/acme").route(Reference.parse("g/tool")).is_direct


def test_layouts_never_read_the_file(machine: Machine) -> None:
    machine.write("_default", "not toml [")
    route = machine.locations("s=layout:store").route(Reference.parse("s/tool"))
    assert route.location == Place(store=machine.root / "store", repository="tool", origin=route.location.origin)
