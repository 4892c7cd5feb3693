"""Calls of the HTTP API: credential, repetition while the gateway can't take it, and errors."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from laneway.client.http_errors import error_of_answer
from laneway.errors import AccessDenied, ConfigError, LanewayError, OutcomeUnknown, Refused, Unavailable

#: Where the credential comes from: the token itself, or a function that gives it, asked at the first request and
#: whenever the gateway no longer knows the last one.
Token = str | Callable[[], str | Awaitable[str]]

#: The wait before a call is repeated, when the gateway named none (s): doubled each time up to the last.
_FIRST_WAIT, _LAST_WAIT = 0.1, 2.0

JSON = "application/json"


class Caller:
    """Sends requests to one gateway. What it repeats, and how long, is said at :class:`HttpClient`."""

    def __init__(
        self,
        url: str,
        *,
        token: Token | None,
        patience: float,
        timeout: float,
        verify: ssl.SSLContext | bool,
        transport: httpx.AsyncBaseTransport | None,
        agent: str,
    ) -> None:
        self.url = gateway_url(url)
        self._token = token
        self._bearer: str | None = None
        self._patience = patience
        parts = urlsplit(self.url)
        self.http = httpx.AsyncClient(
            base_url=self.url,
            headers={"User-Agent": agent, "Accept": JSON},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            # Authorities are read from files, for which nobody has a use without TLS.
            verify=verify if parts.scheme == "https" else False,
            transport=transport,
            # A proxy of the environment is for what lies outside, not for this machine (or a port-forward on it).
            trust_env=not _is_loopback(parts.hostname or ""),
            limits=httpx.Limits(max_connections=20, keepalive_expiry=30.0),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self.http.aclose()

    async def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        repeat: bool = True,
    ) -> Any:
        """The JSON of a 2xx answer; ``body`` is bytes of JSON, or what is encoded so. ``wait``: how much longer than
        usual the answer may take (s). ``repeat`` False: it is not sent again when it may have happened.

        Raises:
            LanewayError: the gateway refused (a subclass says how), or gave no answer (Unavailable when nothing can
                have happened, else OutcomeUnknown).
        """
        return (await self.answer(method, path, query=query, body=body, headers=headers, wait=wait, repeat=repeat))[0]

    async def answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        repeat: bool = True,
    ) -> tuple[Any, httpx.Response]:
        """As :meth:`json`, with the response; raises as that."""
        response = await self._send(method, path, query, body, headers or {}, wait, repeat)
        try:
            return (msgspec.json.decode(response.content) if response.content else None), response
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LanewayError(f"{self.url} does not answer as a gateway of Laneway does: {error}") from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str],
        wait: float,
        repeat: bool,
    ) -> httpx.Response:
        content = body if body is None or isinstance(body, bytes) else _encode(body)
        deadline = time.monotonic() + self._patience
        backoff, refreshed = _FIRST_WAIT, False
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                response = await self._once(method, path, query, content, headers, wait)
            except (Unavailable, OutcomeUnknown) as error:
                failure: LanewayError = error
            else:
                if 200 <= response.status_code < 300:
                    return response
                failure = error_of_answer(response.status_code, response.content, response.headers, self.url)
            pause = backoff * random.uniform(0.5, 1.0)
            match failure:
                case AccessDenied() if not refreshed and self._renews(failure):
                    refreshed, pause = True, 0.0
                case OutcomeUnknown():
                    unknown = failure
                    if not repeat:
                        raise failure
                case Refused():
                    pause = failure.retry_after if failure.problem is not None else pause
                case _:
                    raise failure
            if pause and time.monotonic() + pause > deadline:
                # That a later try changed nothing says nothing of an earlier one.
                raise unknown or failure
            await asyncio.sleep(pause)
            backoff = min(_LAST_WAIT, backoff * 2)

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        content: bytes | None,
        headers: Mapping[str, str],
        wait: float,
    ) -> httpx.Response:
        timeout = self.http.timeout
        request = self.http.build_request(
            method,
            path,
            params=_query(query),
            content=content,
            headers={**({"Content-Type": JSON} if content is not None else {}), **headers, **await self._auth()},
            timeout=httpx.Timeout(timeout.read, connect=timeout.connect, read=(timeout.read or 0.0) + wait),
        )
        with _named(self.url, method == "GET"):
            return await self.http.send(request)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str], silence: float
    ) -> AsyncIterator[httpx.Response]:
        """An open answer to a GET, whose parts may be ``silence`` seconds apart.

        Raises:
            LanewayError: the gateway refused, or can't be reached.
        """
        timeout = httpx.Timeout(self.http.timeout.read, connect=self.http.timeout.connect, read=silence)
        with _named(self.url, True):
            response = await self._open(path, query, headers, timeout)
            try:
                if response.status_code != 200:
                    error = await self._refusal(response)
                    if not self._renews(error):
                        raise error
                    await response.aclose()
                    response = await self._open(path, query, headers, timeout)
                    if response.status_code != 200:
                        raise await self._refusal(response)
                yield response
            finally:
                await response.aclose()

    async def _open(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str], timeout: httpx.Timeout
    ) -> httpx.Response:
        request = self.http.build_request(
            "GET", path, params=_query(query), headers={**headers, **await self._auth()}, timeout=timeout
        )
        return await self.http.send(request, stream=True)

    async def _refusal(self, response: httpx.Response) -> LanewayError:
        return error_of_answer(response.status_code, await response.aread(), response.headers, self.url)

    def _renews(self, error: LanewayError) -> bool:
        """Whether another token may help: such a one may have expired since it was got. It is asked for with the next
        request."""
        if error.problem != "unauthenticated" or not callable(self._token):
            return False
        self._bearer = None
        return True

    async def _auth(self) -> dict[str, str]:
        if self._token is None:
            return {}
        if self._bearer is None:
            given = self._token() if callable(self._token) else self._token
            self._bearer = bearer(await given if inspect.isawaitable(given) else given)
        return {"Authorization": f"Bearer {self._bearer}"}


class _named:
    """Gives errors of the network the names that Laneway has for them."""

    def __init__(self, url: str, reads: bool) -> None:
        self._url, self._reads = url, reads

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
            return
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            # (no request was sent yet)
            raise Unavailable(f"{self._url} can't be reached ({text})") from error
        if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
            raise ConfigError(f"{self._url} is no URL of a gateway, such as https://laneway.example.com: {text}") from (
                error
            )
        if self._reads:
            raise Unavailable(f"no answer from {self._url} ({text})") from error
        raise OutcomeUnknown(f"no answer from {self._url} ({text}): it may or may not have happened") from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def gateway_url(text: str) -> str:
    """The address of a gateway, without the slash at its end.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        raise ConfigError(f"{text[:100]!r} is no URL such as https://laneway.example.com:8080") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
        hint = f"; perhaps http://{text}" if "://" not in text and text else ""
        raise ConfigError(f"{text[:100]!r} is no URL such as https://laneway.example.com:8080{hint}")
    if parts.username or parts.password:
        raise ConfigError("a gateway takes no user and password in its URL: give a token")
    if parts.query or parts.fragment:
        raise ConfigError(f"{text[:100]!r} must end with the path: leave out what follows ? or #")
    return text.rstrip("/").removesuffix("/api/v1")


def bearer(token: str) -> str:
    """A token as it may stand in a header.

    Raises:
        ConfigError: it is empty, or has characters that no token has. (It is not told: it is a secret.)
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token must have printable ASCII characters without blanks, and at least one")
    return token


def _encode(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise ConfigError(f"this can't be sent as JSON: {error}") from error


def _query(query: Mapping[str, Any] | None) -> dict[str, Any]:
    """A query without what is None; several values of a list stand one after another."""
    return {name: value for name, value in (query or {}).items() if value is not None}
