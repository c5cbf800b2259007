"""HTTP requests that change nothing on a server: patient, bounded in time, and polite.

Short outages heal here: 429, 5xx, connections refused, reset or cut, and answers that are no JSON
where JSON is due. GET and POST alike, since searching and asking for tokens change nothing.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from landmark.errors import LandmarkError
from landmark.throttle import LONGEST_PAUSE_S, Throttle, retry_after, shared_throttle

#: Seconds to connect, and between two pieces of an answer.
TIMEOUT_S = (10.0, 60.0)
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
#: With these the host itself asks for patience, so all threads leave it alone.
_PAUSING = frozenset({429, 503})
_ATTEMPTS = 8
_LONGEST_BACKOFF_S = 120.0
_SHOWN = 200


class RequestFailedError(LandmarkError):
    """A request was refused, or failed after all its attempts.

    Attributes:
        status: HTTP status of the last answer, or None where there was none.
        text: Start of the last answer's body, on one line.
        timed_out: Whether the last attempt ran into a time-out.
        wait_s: Seconds `Retry-After` asked for, or None.
    """

    def __init__(
        self, message: str, status: int | None = None, text: str = "", timed_out: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.text = text
        self.timed_out = timed_out
        self.wait_s: float | None = None


GivesUp = Callable[[RequestFailedError], bool]
_HOPELESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.SSLError,
)


@dataclass(frozen=True)
class Retrying:
    """How patient a requester is.

    Attributes:
        attempts: Requests at most, the first among them.
        backoff_s: Seconds before the second attempt; doubled for each further one, plus up to
            a fifth at random, at most two minutes. `Retry-After` comes before it.
        timeout_s: To connect, and between two pieces of an answer.
    """

    attempts: int = _ATTEMPTS
    backoff_s: float = 1.0
    timeout_s: tuple[float, float] = TIMEOUT_S


class Requester:
    """Sends requests through one session; thread-safe as far as `requests.Session` is."""

    def __init__(
        self,
        retrying: Retrying | None = None,
        throttle: Throttle | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._retrying = retrying or Retrying()
        self._throttle = throttle or shared_throttle()
        self._sleep = sleep
        self._session = requests.Session()

    def json(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON answer of a request.

        Args:
            method: `GET` or `POST`.
            url: Where to.
            form: Sent as a form.
            headers: Further headers.

        Raises:
            RequestFailedError: Refused (4xx), or still failing after all attempts.
        """
        return json.loads(self.text(method, url, form=form, headers=headers))

    def text(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        gives_up: GivesUp | None = None,
    ) -> str:
        """Return the JSON answer of a request as text.

        Args:
            method: `GET` or `POST`.
            url: Where to.
            params: Query parameters.
            body: Sent as JSON.
            form: Sent as a form.
            headers: Further headers.
            gives_up: Function of a failed attempt -> whether further ones are pointless; default:
                they are for refusals (4xx but 408 and 429).

        Raises:
            RequestFailedError: Refused (4xx), or still failing after all attempts.
        """
        gives_up = gives_up or refused
        failure = RequestFailedError(f"{_shown(url)}: no attempt was made")
        for attempt in range(self._retrying.attempts):
            if attempt:
                self._sleep(self._backoff(attempt) if failure.wait_s is None else failure.wait_s)
            self._throttle.acquire(url)
            try:
                answer = self._session.request(
                    method, url, params=params, json=body, data=form, headers=headers,
                    timeout=self._retrying.timeout_s,
                )  # fmt: skip
            except _HOPELESS as error:
                raise RequestFailedError(f"{_shown(url)}: {_reason(error)}") from None
            except requests.exceptions.RequestException as error:
                late = isinstance(error, requests.exceptions.ReadTimeout)
                failure = RequestFailedError(f"{_shown(url)}: {_reason(error)}", timed_out=late)
            else:
                text = answer.text
                if answer.status_code < 400 and text.strip()[:1] in ("{", "["):
                    return text
                failure = self._failure(url, answer)
            if gives_up(failure):
                break
        raise failure

    def _failure(self, url: str, answer: requests.Response) -> RequestFailedError:
        text = " ".join(answer.text.split())[:_SHOWN]
        status = answer.status_code
        if status < 400:  # an error page of something on the way, mostly passing
            return RequestFailedError(f"{_shown(url)}: the answer is no JSON: {text}", None, text)
        failure = RequestFailedError(f"{_shown(url)}: answers {status}: {text}", status, text)
        failure.wait_s = retry_after(answer.headers.get("Retry-After"))
        if failure.wait_s is not None:
            failure.wait_s = min(failure.wait_s, LONGEST_PAUSE_S)
            if status in _PAUSING:
                self._throttle.pause(url, failure.wait_s)
        return failure

    def _backoff(self, attempt: int) -> float:
        pause = min(self._retrying.backoff_s * 2.0 ** (attempt - 1), _LONGEST_BACKOFF_S)
        return pause * (1 + random.uniform(0, 0.2))  # noqa: S311  (no secret depends on it)


def refused(failure: RequestFailedError) -> bool:
    """Tell whether a server said no, so that asking again is pointless."""
    return failure.status is not None and failure.status not in RETRIED


def _shown(url: str) -> str:
    """Return a URL for messages: without query and user information, where tokens stand."""
    head = url.split("?", 1)[0]
    scheme, found, rest = head.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}" if found else head


def _reason(error: Exception) -> str:
    """Return what went wrong without the URL, which may hold a token."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "does not answer (time-out while connecting)"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return "does not answer (time-out)"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer was cut short"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS failed: the certificate is not trusted"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "cannot be reached (refused, reset, or no network)"
    return type(error).__name__
