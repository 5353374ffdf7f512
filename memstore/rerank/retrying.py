"""An HTTP request that is repeated within a budget of time, and never tells what it carried."""

from __future__ import annotations

import importlib
import random
import threading
import time
import weakref
from calendar import timegm
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final

from memstore.errors import MissingExtra, ServiceError
from memstore.settings import Settings

RETRIED: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
FIRST_WAIT: Final = 0.5  # seconds; doubles with every attempt
JITTER: Final = 0.25
LONGEST_WAIT: Final = 30.0  # seconds, whatever the service asks for
# A thousand results are 60 kB, and some tens of megabytes if a service returns documents unasked.
MOST_BYTES: Final = 64 * 1024 * 1024
TIME_OVER: Final = "the time allowed was over"


@dataclass(frozen=True, slots=True)
class Timing:
    """Where time and chance come from."""

    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time  # what dates in answers are compared with
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


REAL: Final = Timing()


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request: a status and a body, or why (`failure`) one or both are missing."""

    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    failure: str = ""
    retry_after: str | None = None
    attempts: int = 0
    seconds: float = 0.0

    @property
    def worth_repeating(self) -> bool:
        return self.status is None or self.status in RETRIED


def http_library() -> Any:
    """Return httpx, or else httpx2, which has the same interface.

    Raises:
        MissingExtra: neither is installed.
    """
    for name in ("httpx", "httpx2"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtra(
        "Hosted rerankers need the package httpx, which is not installed.\n"
        "Install it:\n    pip install 'memstore[hosted]'"
    )


class RetryingClient:
    """Keeps connections open between requests and follows no redirects. Safe for several threads.

    Args:
        proxies: whether HTTPS_PROXY and the like count; also SSL_CERT_FILE.

    Raises:
        MissingExtra: no HTTP library is installed.
        ServiceError: the environment asks for a proxy or certificates that cannot be used.
    """

    def __init__(self, settings: Settings, timing: Timing, *, proxies: bool) -> None:
        self._settings = settings
        self._timing = timing
        self._http = http_library()
        agent = {"User-Agent": f"memstore/{version('memstore')}"}
        try:
            client = self._http.Client(headers=agent, trust_env=proxies, follow_redirects=False)
        except (ImportError, OSError, ValueError, self._http.InvalidURL) as error:
            raise ServiceError(
                f"The HTTP client cannot be set up ({type(error).__name__}).\n"
                "Check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
            ) from error
        self._client = client
        weakref.finalize(self, client.close)

    def now(self) -> float:
        return self._timing.clock()

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes, started: float) -> Reply:
        """Send until there is an answer that stays, within `service_budget` after `started`.

        Returns what became of the last attempt. Errors of the HTTP library end here: they hold the
        whole request.
        """
        deadline = started + self._settings.service_budget
        attempts = 0
        while True:
            reply = self._attempt(url, headers, body, deadline)
            pause = self._pause(reply, attempts)
            attempts += 1
            again = reply.worth_repeating and attempts <= self._settings.service_retries
            if not again or self.now() + pause >= deadline:
                return replace(reply, attempts=attempts, seconds=self.now() - started)
            self._timing.sleep(pause)

    def _pause(self, reply: Reply, attempt: int) -> float:
        asked = asked_pause(reply.retry_after, now=self._timing.wall_clock())
        if asked is None:
            asked = FIRST_WAIT * 2**attempt * (1 + JITTER * self._timing.chance())
        return min(asked, LONGEST_WAIT)

    def _attempt(self, url: str, headers: Mapping[str, str], body: bytes, deadline: float) -> Reply:
        # The library limits each read and write, not their sum: an answer that comes byte by byte
        # takes for ever. A thread of its own can be left behind when the time is over.
        outcome: Future[Reply] = Future()
        remaining = deadline - self.now()
        if remaining <= 0:
            return Reply(failure=TIME_OVER)
        timeout = min(self._settings.service_timeout, remaining)

        def exchange() -> None:
            try:
                outcome.set_result(self._exchange(url, headers, body, timeout, deadline))
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=exchange, name="memstore-service", daemon=True).start()
        finished, _ = wait([outcome], timeout=remaining)
        return outcome.result() if finished else Reply(failure=TIME_OVER)

    def _exchange(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: float, deadline: float
    ) -> Reply:
        http = self._http
        content = bytearray()
        try:
            with self._client.stream(
                "POST", url, headers=headers, content=body, timeout=timeout
            ) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MOST_BYTES:
                        return Reply(
                            status=response.status_code,
                            failure=f"it is longer than {MOST_BYTES >> 20} MiB",
                        )
                    if self.now() >= deadline:
                        return Reply(failure=TIME_OVER)
                return Reply(
                    status=response.status_code,
                    body=bytes(content),
                    retry_after=response.headers.get("Retry-After"),
                )
        except http.TimeoutException:
            return Reply(failure=f"nothing came within {timeout:.3g} s")
        # These say what the system says: refused, no such host, a wrong certificate.
        except (http.ConnectError, UnicodeError, OverflowError) as error:
            return Reply(failure=f"no connection ({error})")
        except (http.TransportError, http.DecodingError) as error:
            return Reply(failure=f"the connection broke off ({type(error).__name__})")


def asked_pause(retry_after: str | None, *, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None if it says nothing readable.

    >>> asked_pause("7", now=0.0)
    7.0
    >>> asked_pause("Thu, 01 Jan 1970 00:01:00 GMT", now=58.0)
    2.0
    """
    asked = (retry_after or "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        date = timegm(parsedate_to_datetime(asked).utctimetuple())
    except (ValueError, OverflowError):
        return None
    return max(0.0, date - now)
