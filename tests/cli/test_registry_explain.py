"""`provender registry explain`: where a name is read, who said so, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Result, provender_forked, provender_here

FILE = """\
version: 1
registries:
  acme:
    location: artifactory.example/apm-remote
    mirrors:
      - {location: mirror.example/apm}
      - {location: trusted.example, resolve: true}
  hub: {location: docker.io/acme}
rewrites:
  - {prefix: ghcr.io/acme-oss, location: artifactory.example/ghcr-acme}
  - {prefix: ghcr.io, location: artifactory.example/ghcr}
  - {prefix: docker.io, blocked: true}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".provender").mkdir()
    (tmp_path / ".provender" / "registries.yaml").write_text(FILE)
    (tmp_path / "provender.yaml").write_text("version: 1\nregistries: {acme: {}, g: {location: ghcr.io/team}}\n")
    return tmp_path


def explain(project: Path, *arguments: str) -> Result:
    return provender_forked(
        "registry", "explain", *arguments, cwd=project, env={"CONTAINERS_REGISTRIES_CONF": "/dev/null"}
    )


def test_an_alias_is_explained_key_by_key_with_the_reason(project: Path) -> None:
    result = explain(project, "acme", "--registry", "acme=other.example/x", "--format", "json")
    assert result.status == 0, result.stderr
    document = result.json
    assert (document["alias"], document["location"]) == ("acme", "other.example/x")
    locations = [row for row in document["settings"] if row["key"] == "location"]
    assert [(row["value"], row["setBy"], row["wins"], row["reason"]) for row in locations] == [
        ("other.example/x", "--registry acme", True, "it is the strongest source"),
        (
            "artifactory.example/apm-remote",
            ".provender/registries.yaml:4:5",
            False,
            "--registry acme is stronger",
        ),
    ]
    assert [(each["place"], each["kind"], each["asked"]) for each in document["sources"]] == [
        ("mirror.example/apm", "mirror", ["digests"]),
        ("trusted.example", "mirror", ["tags", "digests"]),
        ("other.example/x", "location", ["tags", "digests"]),
    ]
    assert document["problem"] is None


def test_the_order_of_asking_is_printed_for_people(project: Path) -> None:
    result = explain(project, "acme/team/tool")
    assert result.status == 0, result.stderr
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert rows[0] == "acme is artifactory.example/apm-remote"
    assert "1 mirror.example/apm/team/tool digests a mirror" in rows
    assert "3 artifactory.example/apm-remote/team/tool tags and digests the location" in rows


def test_a_concrete_reference_is_explained_rule_by_rule(project: Path) -> None:
    result = explain(project, "ghcr.io/acme-oss/x:1.0", "--format", "json")
    assert result.status == 0, result.stderr
    document = result.json
    assert (document["reference"], document["location"]) == ("ghcr.io/acme-oss/x", "artifactory.example/ghcr-acme/x")
    assert [(row["prefix"], row["wins"], row["reason"]) for row in document["rules"]] == [
        ("ghcr.io/acme-oss", True, "it has the longest prefix"),
        ("ghcr.io", False, "the prefix ghcr.io/acme-oss is longer"),
    ]
    text = explain(project, "ghcr.io/acme-oss/x")
    assert text.stdout.splitlines()[0] == "ghcr.io/acme-oss/x is artifactory.example/ghcr-acme/x"


def test_a_block_is_explained_and_not_an_error(project: Path) -> None:
    result = explain(project, "docker.io/nginx", "--format", "json")
    assert result.status == 0, result.stderr
    assert result.json["location"] is None
    assert result.json["rules"][0]["value"] == "blocked"
    assert ".provender/registries.yaml:12:5" in result.json["problem"]
    assert explain(project, "docker.io/nginx").stdout.splitlines()[0] == "docker.io/nginx is blocked"
    hub = explain(project, "hub", "--format", "json")
    assert hub.status == 0, hub.stderr
    assert "docker.io is blocked" in hub.json["problem"]


def test_a_rule_that_moves_an_alias_is_told(project: Path) -> None:
    result = explain(project, "g")
    assert result.status == 0, result.stderr
    assert result.stdout.splitlines()[0] == "g is ghcr.io/team"
    assert "a stronger rule, at .provender/registries.yaml:11:5, sends it to artifactory.example/ghcr/team" in (
        result.stderr
    )


def test_a_name_without_rules_is_where_it_says(project: Path) -> None:
    result = explain(project, "quay.io/x/y")
    assert result.stdout.splitlines()[0] == "quay.io/x/y is quay.io/x/y"
    assert "no rule" in result.stderr


@pytest.mark.parametrize(("name", "status"), [("nobody", 78), ("nobody/x", 78), ("ghcr.io", 2), ("ghcr.io:5000", 2)])
def test_what_cannot_be_explained_says_what_to_write(project: Path, name: str, status: int) -> None:
    result = explain(project, name)
    assert result.status == status
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "any-repository" not in result.stderr


def connection(project: Path, *arguments: str, **env: str) -> dict[str, object]:
    """How the host of the only source is spoken to."""
    cleared = ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    told = {"CONTAINERS_REGISTRIES_CONF": "/dev/null", **dict.fromkeys(cleared, ""), **env}
    result = provender_here("registry", "explain", *arguments, "--format", "json", cwd=project, env=told)
    assert result.status == 0, result.stderr
    (source,) = result.json["sources"]
    assert isinstance(source["connection"], dict)
    return source["connection"]


def test_the_system_is_trusted_where_nothing_else_is_said(project: Path) -> None:
    said = connection(project, "quay.io/x/y")
    assert (said["address"], said["proxy"], said["certificates"]) == ("https://quay.io", None, None)
    assert said["tls"] == [{"kind": "authorities", "value": "the system's", "setBy": "default"}]


def test_variables_and_certs_d_and_the_location_are_told(project: Path, tmp_path: Path) -> None:
    certificates = tmp_path / "home" / ".config" / "containers" / "certs.d" / "own.example:5000"
    certificates.mkdir(parents=True)
    for name in ("a.crt", "me.cert", "me.key"):
        (certificates / name).touch()
    (project / ".provender" / "ca.pem").touch()
    (project / ".provender" / "registries.yaml").write_text(
        "version: 1\nregistries:\n  acme: {location: own.example:5000/apm, ca: ca.pem}\n"
    )
    env = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": "", "SSL_CERT_FILE": "/trusted.pem"}
    env["HTTPS_PROXY"] = "http://user:secret@proxy.example:3128"
    said = connection(project, "acme", **env)
    assert (said["address"], said["certificates"]) == ("https://own.example:5000", str(certificates))
    assert "secret" not in str(said["proxy"])
    assert "proxy.example:3128" in str(said["proxy"])
    assert said["tls"] == [
        {"kind": "authorities", "value": "/trusted.pem", "setBy": "SSL_CERT_FILE"},
        {"kind": "authorities", "value": str(project / ".provender" / "ca.pem"), "setBy": "ca"},
        {"kind": "authorities", "value": str(certificates / "a.crt"), "setBy": "certs.d"},
        {"kind": "client certificate", "value": str(certificates / "me.cert"), "setBy": "certs.d"},
        {"kind": "client key", "value": str(certificates / "me.key"), "setBy": "certs.d"},
    ]
    text = provender_here("registry", "explain", "acme", cwd=project, env=env).stdout
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert f"https://own.example:5000 client certificate {certificates / 'me.cert'} certs.d" in rows


def test_a_certificate_without_its_key_is_told(project: Path, tmp_path: Path) -> None:
    certificates = tmp_path / "certs" / "docker" / "certs.d" / "quay.io"
    certificates.mkdir(parents=True)
    (certificates / "me.cert").touch()
    said = connection(project, "quay.io/x/y", XDG_CONFIG_HOME=str(tmp_path / "certs"))
    assert "me.key" in str(said["problem"])


def test_plain_http_has_no_tls(project: Path) -> None:
    assert connection(project, "quay.io/x/y", "--plain-http")["address"] == "http://quay.io"
    local = connection(project, "localhost:5000/x/y")
    assert (local["address"], local["tls"]) == ("http://localhost:5000", [])
