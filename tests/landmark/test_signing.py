"""Signing at read time: one token per container, renewed in time, dropped when refused."""

from __future__ import annotations

import base64
import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from landmark.errors import InputError, LandmarkError
from landmark.requesting import Requester, Retrying
from landmark.signing import NO_ACCESS, PC_TOKEN_URL_VARIABLE, Access, Signer, signer
from landmark.throttle import Throttle
from tests.loopback import Asked, Loopback, Reply, serving

BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/35/M/NM/B02.tif"
START = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC).timestamp()


class Service:
    """A token service: SAS tokens by container, and an OpenID Connect endpoint."""

    def __init__(self) -> None:
        self.clock = START
        self.lifetime = 2700.0
        self.faults: list[Reply] = []
        self.server: Loopback

    def answer(self, asked: Asked) -> Reply:
        if self.faults:
            return self.faults.pop(0)
        number = len(self.server.asked)
        if asked.path == "/openid":
            return Reply({"access_token": f"access-{number}", "expires_in": self.lifetime})
        expires = dt.datetime.fromtimestamp(self.clock + self.lifetime, dt.UTC)
        stamp = expires.isoformat().replace("+00:00", "Z")
        return Reply({"msft:expiry": stamp, "token": f"sv=1&sig=secret{number}"})

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.server.asked]

    def signer(self, access: Access, **environment: str) -> Signer:
        known = {
            PC_TOKEN_URL_VARIABLE: self.server.url,
            "LANDMARK_CDSE_TOKEN_URL": f"{self.server.url}/openid",
        }
        requester = Requester(Retrying(3, 0.01), Throttle({}))
        return Signer(
            access,
            requester=requester,
            environment=known | environment,
            clock=lambda: self.clock,
        )


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    with serving(made.answer) as server:
        made.server = server
        yield made


PC = Access("planetary-computer")


def test_one_token_per_container(service: Service) -> None:
    signs = service.signer(PC)
    first = signs.sign(BLOB)
    assert first.url == f"{BLOB}?sv=1&sig=secret1"
    assert signs.sign(BLOB.replace("B02", "B03")).url.endswith("B03.tif?sv=1&sig=secret1")
    rtc = "https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/GRD/vv.tiff"
    assert signs.sign(rtc).url == f"{rtc}?sv=1&sig=secret2"
    assert service.paths == [
        "/sentinel2l2a01/sentinel2-l2",
        "/sentinel1euwestrtc/sentinel1-grd-rtc",
    ]


def test_threads_wait_for_one_token(service: Service) -> None:
    signs = service.signer(PC)
    urls: list[str] = []
    threads = [
        threading.Thread(target=lambda: urls.append(signs.sign(BLOB).url)) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(urls)) == 1
    assert len(service.paths) == 1


def test_a_token_is_renewed_before_it_expires(service: Service) -> None:
    signs = service.signer(PC)
    signs.sign(BLOB)
    service.clock += 2700 - 61
    assert signs.sign(BLOB).url.endswith("secret1")
    service.clock += 2
    assert signs.sign(BLOB).url.endswith("secret2")


def test_a_refused_token_is_dropped_once(service: Service) -> None:
    """Two threads that both met a 403 ask for one new token between them."""
    signs = service.signer(PC)
    refused = signs.sign(BLOB)
    one, other = signs.renew(BLOB, refused), signs.renew(BLOB, refused)
    assert one is not None
    assert other is not None
    assert one.url == other.url == f"{BLOB}?sv=1&sig=secret2"
    assert len(service.paths) == 2


@pytest.mark.parametrize(
    "href",
    [
        "https://example.invalid/sentinel2-l2/B02.tif",
        "https://blob.core.windows.net.example.invalid/c/B02.tif",
        "http://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/B02.tif",
        "https://sentinel2l2a01.blob.core.windows.net/",
    ],
)
def test_strangers_get_no_token(service: Service, href: str) -> None:
    assert service.signer(PC).sign(href).url == href
    assert service.paths == []


def test_the_subscription_key_goes_to_its_service_alone(service: Service) -> None:
    service.signer(PC, PC_SDK_SUBSCRIPTION_KEY="key-1").sign(BLOB)
    assert service.server.asked[0].headers["Ocp-Apim-Subscription-Key"] == "key-1"
    other = Access("sas", hosts=("h.invalid",), token_url=service.server.url)
    service.signer(other, PC_SDK_SUBSCRIPTION_KEY="key-1").sign("https://h.invalid/c/x.tif")
    assert "Ocp-Apim-Subscription-Key" not in service.server.asked[1].headers


def test_a_token_service_of_another_catalog(service: Service) -> None:
    access = Access("sas", hosts=("h.invalid:81",), token_url=f"{service.server.url}/t")
    signs = service.signer(access)
    assert signs.sign("http://h.invalid:81/cogs/a/x.tif").url.endswith("x.tif?sv=1&sig=secret1")
    assert signs.sign("http://h.invalid/cogs/a/x.tif").url == "http://h.invalid/cogs/a/x.tif"
    assert service.paths == ["/t/cogs"]


def test_outages_of_the_token_service_heal(service: Service) -> None:
    service.faults = [Reply({}, 503), Reply(how="reset")]
    assert service.signer(PC).sign(BLOB).url.endswith("secret3")


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_wrong_input(service: Service, status: int) -> None:
    service.faults = [Reply({}, status)]
    with pytest.raises(InputError, match="refuses the credentials"):
        service.signer(PC).sign(BLOB)


def test_an_answer_that_is_no_token(service: Service) -> None:
    service.faults = [Reply({"hello": "world"})]
    with pytest.raises(LandmarkError, match="is no SAS token"):
        service.signer(PC).sign(BLOB)


def test_bearer_and_query_tokens_come_from_the_environment(service: Service) -> None:
    href = "https://h.invalid/x.tif"
    bearer = Access("bearer", "MY_TOKEN", ("h.invalid",))
    signed = service.signer(bearer, MY_TOKEN="abc").sign(href)
    assert (signed.url, signed.headers) == (href, {"Authorization": "Bearer abc"})
    query = Access("query", "MY_TOKEN", ("h.invalid",))
    assert service.signer(query, MY_TOKEN="?sig=abc").sign(href).url == f"{href}?sig=abc"
    with pytest.raises(InputError, match="set the variable MY_TOKEN"):
        service.signer(bearer).sign(href)
    other = "https://elsewhere.invalid/x.tif"
    assert service.signer(bearer, MY_TOKEN="abc").sign(other).headers == {}
    assert service.signer(bearer, MY_TOKEN="abc").renew(href, signed) is None


def test_logins_come_from_netrc(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine h.invalid login me password word\n")
    path.chmod(0o600)
    access = Access("netrc", hosts=("h.invalid",))
    signed = service.signer(access, NETRC=str(path)).sign("https://h.invalid/x.tif")
    kind, text = signed.headers["Authorization"].split()
    assert (kind, base64.b64decode(text)) == ("Basic", b"me:word")
    with pytest.raises(InputError, match=r"give \.netrc an entry"):
        service.signer(access, NETRC=str(tmp_path / "none")).sign("https://h.invalid/x.tif")


CDSE = Access("cdse")
CDSE_HTTPS = "https://zipper.dataspace.copernicus.eu/odata/v1/Products(1)/$value"


def test_cdse_token_for_https(service: Service) -> None:
    signs = service.signer(CDSE, CDSE_USERNAME="me", CDSE_PASSWORD="word")
    service.lifetime = 600.0
    signed = signs.sign(CDSE_HTTPS)
    assert signed.headers == {"Authorization": "Bearer access-1"}
    form = service.server.asked[0].body.decode()
    assert "grant_type=password" in form
    assert "client_id=cdse-public" in form
    service.clock += 545
    assert signs.sign(CDSE_HTTPS).headers == {"Authorization": "Bearer access-2"}
    assert signs.sign("https://example.invalid/x").headers == {}
    assert signs.sign(CDSE_HTTPS.replace("https:", "http:")).headers == {}
    with pytest.raises(InputError, match="CDSE_USERNAME and CDSE_PASSWORD"):
        service.signer(CDSE, NETRC="/nowhere").sign(CDSE_HTTPS)


def test_cdse_s3_is_presigned(service: Service) -> None:
    href = "s3://eodata/Sentinel-2/MSI/L2A/a b/B02_10m.jp2"
    keys = {"CDSE_S3_ACCESS_KEY": "AKEY", "CDSE_S3_SECRET_KEY": "SECRET"}
    url = service.signer(CDSE, **keys).sign(href).url
    assert url.startswith("https://eodata.dataspace.copernicus.eu/eodata/Sentinel-2/MSI/L2A/a%20b/")
    assert "X-Amz-Credential=AKEY%2F20260701%2Fdefault%2Fs3%2Faws4_request" in url
    assert "X-Amz-Expires=3600" in url
    assert "SECRET" not in url
    with pytest.raises(InputError, match="CDSE_S3_ACCESS_KEY"):
        service.signer(CDSE).sign(href)


def test_public_files_stay_as_they_are(service: Service) -> None:
    signs = service.signer(NO_ACCESS)
    assert signs.sign("https://h.invalid/x.tif").url == "https://h.invalid/x.tif"
    assert signs.sign("s3://b/k/x.tif").url == "https://b.s3.amazonaws.com/k/x.tif"


def test_nothing_shows_a_token(service: Service) -> None:
    signed = service.signer(PC).sign(BLOB)
    assert "secret" not in repr(signed)
    assert "secret" not in f"{signed}"
    service.faults = [Reply({}, 500)] * 3
    with pytest.raises(LandmarkError) as caught:
        service.signer(CDSE, CDSE_USERNAME="me", CDSE_PASSWORD="pass-word").sign(CDSE_HTTPS)
    assert "pass-word" not in str(caught.value)


def test_a_process_has_one_signer_per_access() -> None:
    assert signer(Access("cdse")) is signer(CDSE)
    assert signer(CDSE) is not signer(PC)
