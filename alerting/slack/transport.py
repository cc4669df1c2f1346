"""One HTTP request, of which it is known whether anything was sent.

`urllib` follows a redirect with the token to wherever it points, and tells a refused connection and a lost answer by
the same exception. Here nothing is followed; what fails before the connection stands was not sent, what fails after it
is in doubt. No connection is kept: one that the other side has closed meanwhile would make a doubt of every pause.
"""

import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from alerting.slack.errors import DeliveryError

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of an answer; a page of history is far smaller."""
CHUNK: Final = 64 * 1024
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def is_safe(url: str) -> bool:
    """Whether what is sent to `url` is not sent in the clear: https, or http on loopback."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.hostname in LOOPBACK if parts.scheme == "http" else parts.scheme == "https" and bool(parts.hostname)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
    """POST `body` and read the whole answer, whatever its status.

    timeout: seconds for each step, and for the answer's body in all; nothing is sent later than that after the call,
    so that who may send for that long does not send when it may not any more. Raises DeliveryError, which names neither
    the address nor a header.
    """
    parts = urlsplit(url)
    failed: DeliveryError
    began = time.monotonic()
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout)
    try:
        try:
            connection.connect()
            if time.monotonic() - began > timeout:
                raise TimeoutError("it took too long to connect")
        except (OSError, HTTPException, ValueError) as error:
            failed = DeliveryError("unreachable", detail=_why(error))
        else:
            try:
                target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
                connection.request("POST", target, body, {**headers, "Connection": "close"})
                return _answer(connection, time.monotonic() + timeout)
            except (OSError, HTTPException, ValueError) as error:
                failed = DeliveryError("no_answer", doubt=True, detail=_why(error))
    finally:
        connection.close()
    raise failed


def _answer(connection: HTTPConnection, deadline: float) -> Answer:
    response = connection.getresponse()
    chunks, size = [], 0
    while chunk := response.read1(CHUNK):  # at most one receive each, so that the deadline is looked at
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST or time.monotonic() > deadline:
            raise TimeoutError("the answer does not end")
    if response.length:
        raise HTTPException("the answer was cut short")
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, b"".join(chunks))


def _connection(scheme: str, host: str, port: int | None, timeout: float) -> HTTPConnection:
    """Straight to `host`, or through the proxy that the environment names."""
    proxy = None if host in LOOPBACK or proxy_bypass(host) else getproxies().get(scheme)
    if scheme != "https":
        return HTTPConnection(host, port, timeout=timeout)
    if proxy is None:
        return HTTPSConnection(host, port, timeout=timeout, context=_trusted())
    through = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    tunnel = HTTPSConnection(through.hostname or "", through.port, timeout=timeout, context=_trusted())
    login = f"{unquote(through.username or '')}:{unquote(through.password or '')}"
    basic = {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"} if through.username else {}
    tunnel.set_tunnel(host, port or 443, basic)
    return tunnel


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Made once: to read the system's certificates takes 20 ms."""
    return ssl.create_default_context()


def _why(error: Exception) -> str:
    """The kind of failure, and the system's words for it."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
