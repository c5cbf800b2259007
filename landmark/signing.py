"""From an unsigned href to one that a server answers, at the moment of reading.

Catalogs, plans and shards hold unsigned hrefs alone; a token lives in this module's memory and in
the request, nowhere else: never in a file, a message or a `repr`. A token is kept per container
(or service) and process, renewed before it expires, and dropped when a server refuses it.

Credentials come from the environment or from `.netrc`; docs/providers/ says which.
"""

from __future__ import annotations

import datetime as dt
import functools
import netrc
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from landmark.errors import InputError, LandmarkError
from landmark.presigning import presigned
from landmark.requesting import Requester, RequestFailedError
from landmark.throttle import host_of

Scheme = Literal["none", "planetary-computer", "sas", "bearer", "query", "netrc", "cdse"]

#: Token service of Planetary Computer; the variable is the one its own SDK reads.
PC_TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105
PC_TOKEN_URL_VARIABLE = "PC_SDK_SAS_URL"  # noqa: S105
PC_KEY_VARIABLE = "PC_SDK_SUBSCRIPTION_KEY"
_AZURE_SUFFIX = ".blob.core.windows.net"
#: OpenID Connect of Copernicus Data Space (its documentation, "Access token").
CDSE_TOKEN_URL = (
    "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"  # noqa: S105
)
CDSE_TOKEN_URL_VARIABLE = "LANDMARK_CDSE_TOKEN_URL"  # noqa: S105
CDSE_S3_URL = "https://eodata.dataspace.copernicus.eu"
CDSE_S3_URL_VARIABLE = "LANDMARK_CDSE_S3_URL"
_CDSE_SUFFIX = ".dataspace.copernicus.eu"
#: Presigned S3 URLs hold this long; they are made anew long before.
_PRESIGNED_S = 3600
#: A token with less left than this is renewed before it is used.
_RENEW_BEFORE_S = 60.0


@dataclass(frozen=True)
class Access:
    """How the files of a catalog are opened. Holds no secret; small and picklable.

    Attributes:
        scheme: `none`; `planetary-computer`; `sas` (another service that hands out SAS tokens);
            `bearer` (a token in the Authorization header); `query` (a token as query string);
            `netrc` (user and password); `cdse` (S3 keys, or the account's token for https).
        variable: Environment variable that holds the token (`bearer`, `query`).
        hosts: Hosts, with port where the URL has one, that may be sent the token; a catalog
            can name any host in an href, and gets no token for others.
        token_url: Token service of `sas`: `{token_url}/{container}` answers
            `{"token", "msft:expiry"}`; the container is the first part of the href's path.
        connections: Connections at once that each host of the files allows all processes
            together; 0: no bound is stated.
    """

    scheme: Scheme = "none"
    variable: str = ""
    hosts: tuple[str, ...] = ()
    token_url: str = ""
    connections: int = 0


#: Files that anyone may read.
NO_ACCESS = Access()


@dataclass(frozen=True)
class Signed:
    """What to request for an href. Made for one read: do not keep it for long.

    Attributes:
        url: http(s) URL, token and all. A presigned S3 URL allows GET alone, not HEAD.
        headers: Headers to send with it.
        key: Which token was used; `Signer.renew` needs it.
        connections: Connections at once its host allows all processes together; 0: any number.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str = ""
    connections: int = 0


class _Token(NamedTuple):
    value: str
    expires: float  # seconds since 1970


class Signer:
    """Signs hrefs by one `Access`; every method may be called from any thread."""

    def __init__(
        self,
        access: Access,
        *,
        requester: Requester | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._requester = requester
        self._environment = os.environ if environment is None else environment
        self._clock = clock
        self._tokens: dict[str, _Token] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def sign(self, href: str) -> Signed:
        """Return what to request for an unsigned href.

        An href whose host is none of the scheme's comes back as it is.

        Raises:
            InputError: A credential is missing; the message names the variable.
            LandmarkError: The token service does not answer.
        """
        return replace(self._signed(href), connections=self._access.connections)

    def _signed(self, href: str) -> Signed:
        scheme = self._access.scheme
        if href.startswith("s3://"):
            return self._s3(href)
        if scheme == "planetary-computer":
            return self._sas(href, _azure_container(href), self._pc_token_url())
        if scheme == "cdse":
            return self._cdse(href)
        if scheme == "none" or host_of(href) not in self._access.hosts:
            return Signed(href)
        if scheme == "sas":
            return self._sas(href, _first_folder(href), self._access.token_url)
        if scheme == "netrc":
            return Signed(href, _basic(host_of(href), self._environment), f"netrc {host_of(href)}")
        token = self._secret(self._access.variable)
        if scheme == "query":
            return Signed(_with_query(href, token), {}, self._access.variable)
        return Signed(href, {"Authorization": f"Bearer {token}"}, self._access.variable)

    def renew(self, href: str, refused: Signed) -> Signed | None:
        """Return a new signature after a 401 or 403, or None where no other can be had.

        The refused token is dropped, unless another thread has replaced it already.
        """
        with self._lock(refused.key):
            kept = self._tokens.get(refused.key)
            if kept is None:  # nothing here was fetched: asking again gives the same
                return None
            if kept.value in refused.url or any(kept.value in v for v in refused.headers.values()):
                del self._tokens[refused.key]
        return self.sign(href)

    def _sas(self, href: str, container: str, token_url: str) -> Signed:
        if not container:
            return Signed(href)
        key = f"{token_url}/{container}"
        token = self._token(key, lambda: self._ask_sas(key))
        return Signed(_with_query(href, token), {}, key)

    def _ask_sas(self, url: str) -> _Token:
        headers = {}
        subscription = self._environment.get(PC_KEY_VARIABLE, "")
        if subscription and self._access.scheme == "planetary-computer":
            headers["Ocp-Apim-Subscription-Key"] = subscription
        answer = self._ask("GET", url, headers=headers)
        try:
            expires = dt.datetime.fromisoformat(str(answer["msft:expiry"]))
            token = str(answer["token"])
        except (KeyError, TypeError, ValueError):
            raise LandmarkError(f"{url}: the answer is no SAS token") from None
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=dt.UTC)
        return _Token(token, expires.timestamp())

    def _pc_token_url(self) -> str:
        return self._environment.get(PC_TOKEN_URL_VARIABLE, "").rstrip("/") or PC_TOKEN_URL

    def _cdse(self, href: str) -> Signed:
        host = host_of(href)
        own = host.endswith(_CDSE_SUFFIX) and href.startswith("https://")
        if not (own or host in self._access.hosts):
            return Signed(href)
        url = self._environment.get(CDSE_TOKEN_URL_VARIABLE, "") or CDSE_TOKEN_URL
        token = self._token(url, lambda: self._ask_cdse(url))
        return Signed(href, {"Authorization": f"Bearer {token}"}, url)

    def _ask_cdse(self, url: str) -> _Token:
        user = self._environment.get("CDSE_USERNAME", "")
        password = self._environment.get("CDSE_PASSWORD", "")
        if not (user and password):
            found = _netrc_entry(host_of(url), self._environment)
            if found is None:
                raise InputError(
                    "Copernicus Data Space needs an account: set CDSE_USERNAME and CDSE_PASSWORD, "
                    f"or give .netrc an entry for {host_of(url)}"
                )
            user, password = found
        form = {
            "client_id": "cdse-public",
            "grant_type": "password",
            "username": user,
            "password": password,
        }
        asked = self._clock()
        answer = self._ask("POST", url, form=form)
        try:
            return _Token(str(answer["access_token"]), asked + float(answer["expires_in"]))
        except (KeyError, TypeError, ValueError):
            raise LandmarkError(f"{url}: the answer is no access token") from None

    def _s3(self, href: str) -> Signed:
        """Return an https URL: presigned for CDSE, plain for public buckets of AWS."""
        parts = urlsplit(href)
        path = quote(parts.path, safe="/~")
        if self._access.scheme != "cdse":
            return Signed(f"https://{parts.netloc}.s3.amazonaws.com{path}")
        endpoint = self._environment.get(CDSE_S3_URL_VARIABLE, "").rstrip("/") or CDSE_S3_URL
        url = presigned(
            f"{endpoint}/{parts.netloc}{path}",
            access_key=self._secret("CDSE_S3_ACCESS_KEY"),
            secret_key=self._secret("CDSE_S3_SECRET_KEY"),
            region="default",
            moment=dt.datetime.fromtimestamp(self._clock(), dt.UTC),
            seconds=_PRESIGNED_S,
        )
        return Signed(url, {}, endpoint)

    def _secret(self, variable: str) -> str:
        value = self._environment.get(variable, "")
        if not value:
            raise InputError(f"the catalog's files need a token: set the variable {variable}")
        return value

    def _token(self, key: str, ask: Callable[[], _Token]) -> str:
        with self._lock(key):  # one thread asks, the others wait for its token
            kept = self._tokens.get(key)
            if kept is None or kept.expires - self._clock() < _RENEW_BEFORE_S:
                kept = ask()
                self._tokens[key] = kept
            return kept.value

    def _lock(self, key: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())

    def _ask(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        with self._guard:
            requester = self._requester = self._requester or Requester()
        try:
            answer = requester.json(method, url, form=form, headers=headers)
        except RequestFailedError as error:
            if error.status in (400, 401, 403):
                raise InputError(
                    f"token service {url} refuses the credentials ({error.status}); "
                    "check the variables named in docs/providers"
                ) from None
            raise
        return answer if isinstance(answer, dict) else {}


@functools.lru_cache(maxsize=64)
def signer(access: Access) -> Signer:
    """Return the process's signer for an access: its threads share one token per container."""
    return Signer(access)


def _azure_container(href: str) -> str:
    """Return `account/container` of a Blob Storage href, or "" for any other."""
    parts = urlsplit(href)
    if parts.scheme != "https" or not parts.netloc.endswith(_AZURE_SUFFIX):
        return ""
    folder = _first_folder(href)
    return f"{parts.netloc.removesuffix(_AZURE_SUFFIX)}/{folder}" if folder else ""


def _first_folder(href: str) -> str:
    parts = urlsplit(href).path.split("/")
    return quote(parts[1]) if len(parts) > 2 else ""


def _with_query(href: str, token: str) -> str:
    return f"{href}{'&' if '?' in href else '?'}{token.lstrip('?&')}"


def _basic(host: str, environment: Mapping[str, str]) -> dict[str, str]:
    from requests.auth import _basic_auth_str

    found = _netrc_entry(host.partition(":")[0], environment)
    if found is None:
        raise InputError(f"the catalog's files need a login: give .netrc an entry for {host}")
    return {"Authorization": _basic_auth_str(*found)}


def _netrc_entry(host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return user and password of a host from `.netrc` (or the file `NETRC` names)."""
    named = environment.get("NETRC", "")
    path = Path(named) if named else Path.home() / ".netrc"
    if not path.is_file():
        return None
    try:
        entry = netrc.netrc(str(path)).authenticators(host)
    except (netrc.NetrcParseError, OSError) as error:
        raise InputError(f"{path}: cannot be read: {type(error).__name__}") from None
    return None if entry is None else (entry[0], entry[2] or "")
