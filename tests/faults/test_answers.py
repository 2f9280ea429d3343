"""F11, F12, F16, F22, F24, F25: answers that are wrong, lead elsewhere, or change."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from provender.artifact.pull import pull
from provender.errors import Denied, IntegrityError, ProvenderError, Unavailable
from provender.oci import Descriptor, Digest
from provender.storage.cache import BlobCache
from provender.storage.cached_source import CachedSource
from provender.storage.registry import RegistryRepository
from support.certificates import Certificates, make_certificates
from support.registry import Redirect, Reply, Request, SetHeader, Status, TestRegistry
from support.registry_client import Connector

BLOB = Descriptor.of(b"content", "application/octet-stream")
PAGE = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def thief() -> Iterator[TestRegistry]:
    with TestRegistry() as running:
        yield running


def test_f11_a_manifest_with_another_digest_is_refused_and_nothing_is_kept(
    registry: TestRegistry, repository: RegistryRepository, cache: BlobCache
) -> None:
    wanted = Digest(registry.push_artifact("acme/app", None, [b"wanted"]))
    other = registry.push_artifact("acme/app", None, [b"other"])
    stored = registry.content.repository("acme/app")
    stored.manifests[wanted] = stored.manifests[other]
    registry.fault(("GET", "/manifests/"), action=SetHeader("Docker-Content-Digest", wanted), times=9)
    with pytest.raises(IntegrityError) as caught:
        CachedSource(repository, cache).resolve(wanted)
    assert caught.value.exit_status == 65
    assert registry.count() == 1
    assert cache.document(wanted) is None


def test_f11_a_lying_header_does_not_count(registry: TestRegistry, repository: RegistryRepository) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/manifests/"), action=SetHeader("Docker-Content-Digest", f"sha256:{'0' * 64}"), times=2)
    assert repository.resolve("1.0").digest == digest
    assert repository.resolve(digest).digest == digest


@pytest.mark.parametrize("what", ["manifest", "blob", "tags", "referrers"])
def test_f12_a_web_page_is_no_registry_response(
    registry: TestRegistry, repository: RegistryRepository, what: str
) -> None:
    registry.fault(("*", ""), action=Status(200, PAGE, b"<html>Please \x1b[31m sign in</html>"), times=9)
    asking: dict[str, Callable[[], object]] = {
        "manifest": lambda: repository.resolve("1.0"),
        "blob": lambda: repository.fetch(BLOB),
        "tags": lambda: list(repository.tags()),
        "referrers": lambda: list(repository.referrers(BLOB.digest)),
    }
    with pytest.raises(Unavailable) as caught:
        asking[what]()
    assert caught.value.exit_status == 69
    assert "text/html" in caught.value.message
    assert "sign in" in caught.value.message
    assert "\x1b" not in caught.value.message
    assert registry.count() == 1


def test_f12_a_web_page_in_place_of_a_token_names_the_service(connect: Connector) -> None:
    with TestRegistry(auth="token") as registry:
        registry.fault(("GET", "/token"), action=Status(200, PAGE, b"<html>portal</html>"), times=9)
        with pytest.raises(Unavailable) as caught:
            connect(registry).repository("acme/app").resolve("1.0")
        assert caught.value.exit_status == 69
        assert registry.host in caught.value.message
        assert "portal" in caught.value.message


def test_f16_one_503_is_tried_again(registry: TestRegistry, repository: RegistryRepository, connect: Connector) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/manifests/"), action=Status(503))
    assert repository.resolve("1.0").digest == digest
    assert connect.sleeps == [0.5]


def test_f16_a_503_for_ever_is_blamed_on_what_was_asked_for(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    registry.fault(("GET", "/manifests/"), action=Status(503), times=99)
    with pytest.raises(Unavailable) as caught:
        repository.resolve("1.0")
    assert caught.value.exit_status == 75
    assert caught.value.where == f"{registry.host}/acme/app:1.0"


def test_f22_a_redirect_to_another_host_carries_no_credentials(connect: Connector, thief: TestRegistry) -> None:
    with TestRegistry(auth="basic") as registry:
        thief.push_blob("bucket", b"content")
        registry.fault(("GET", "/blobs/"), action=Redirect(f"{thief.url}/v2/bucket/blobs/{BLOB.digest}"), skip=1)
        with connect(registry, connect.user(registry)).repository("acme/app").fetch(BLOB) as reader:
            assert reader.read() == b"content"
        assert registry.requests[-1].headers["authorization"].startswith("Basic ")
    assert [set(item.headers) & {"authorization", "cookie"} for item in thief.requests] == [set()]


def test_f22_a_downgrade_is_refused(connect: Connector, thief: TestRegistry, certificates: Certificates) -> None:
    with TestRegistry(tls=certificates.server) as registry:
        registry.fault(("GET", "/blobs/"), action=Redirect(f"{thief.url}/v2/bucket/blobs/{BLOB.digest}"))
        with pytest.raises(Denied) as caught:
            connect(registry, ca=certificates.ca).repository("acme/app").fetch(BLOB)
    assert caught.value.code == "insecure-redirect"
    assert thief.requests == []


def test_f22_a_loop_ends_after_five_hops(registry: TestRegistry, repository: RegistryRepository) -> None:
    url = f"{registry.url}/v2/acme/app/blobs/{BLOB.digest}"
    registry.fault(("GET", "/blobs/"), action=Redirect(url), times=99)
    with pytest.raises(Unavailable) as caught:
        repository.fetch(BLOB)
    assert caught.value.code == "too-many-redirects"
    assert registry.count() == 6


def test_f24_a_link_to_another_host_is_refused(
    registry: TestRegistry, repository: RegistryRepository, thief: TestRegistry
) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/tags/"), action=SetHeader("Link", f'<{thief.url}/v2/acme/app/tags/list>; rel="next"'))
    with pytest.raises(Denied):
        list(repository.tags())
    assert thief.requests == []


def test_f24_a_link_to_itself_stops(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    registry.fault(("GET", "/tags/"), action=SetHeader("Link", '</v2/acme/app/tags/list?n=1000>; rel="next"'), times=99)
    assert list(repository.tags()) == ["1.0"]
    assert registry.count() <= 2


def test_f24_an_empty_page_with_a_link_is_followed(registry: TestRegistry, repository: RegistryRepository) -> None:
    registry.push_artifact("acme/app", "1.0", [b"x"])
    headers = {"Content-Type": "application/json", "Link": '</v2/acme/app/tags/list?last=0>; rel="next"'}
    registry.fault(("GET", "/tags/"), action=Status(200, headers, b'{"name":"acme/app","tags":[]}'))
    assert list(repository.tags()) == ["1.0"]


class MovingRegistry(TestRegistry):
    """Moves the tag as soon as somebody has asked what it names."""

    __test__ = False

    def answer(self, request: Request, fault: object) -> Reply:
        reply = super().answer(request, None)
        if request.path.endswith("/manifests/1.0") and reply.status == 200:
            self.push_artifact("acme/app", "1.0", [b"another"])
        return reply


def test_f25_a_tag_that_moves_meanwhile_is_asked_for_once(
    connect: Connector, cache: BlobCache, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with MovingRegistry() as registry:
        first = registry.push_artifact("acme/app", "1.0", [b"first"])
        out = tmp_path_factory.mktemp("out")
        pulled = pull(CachedSource(connect(registry).repository("acme/app"), cache), "1.0", str(out))
        assert pulled.manifest.digest == first != registry.tags("acme/app")["1.0"]
        assert [path.read_bytes() for path in out.iterdir()] == [b"first"]
        assert registry.count("*", "/manifests/1.0") == 1
        assert [item.path for item in registry.requests if "/manifests/" in item.path][1:] == []


def test_f25_a_tag_that_moves_under_a_digest_is_an_error(
    registry: TestRegistry, repository: RegistryRepository
) -> None:
    digest = registry.push_artifact("acme/app", "1.0", [b"first"])
    registry.content.repository("acme/app").manifests.pop(digest)
    registry.push_artifact("acme/app", "1.0", [b"second"])
    with pytest.raises(ProvenderError) as caught:
        repository.resolve(digest)
    assert caught.value.exit_status == 66
