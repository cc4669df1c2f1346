"""One request and its answer on the wire: httpx2's transport without its client, which would log whole addresses.

So there are no cookies, no redirects and no credentials but those that are given.
"""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from tasks.sources.http.body import Broken, NotRecords, TooLarge, bounded
from tasks.sources.http.deadline import Backend, within
from tasks.sources.http.limits import Limits

for _part in ("connection", "http11", "proxy", "socks"):
    # At DEBUG the library tells all headers that a server sends, with the addresses in them.
    logging.getLogger(f"httpcore2.{_part}").addFilter(lambda _: False)
logging.getLogger("httpcore2").setLevel(logging.WARNING)

_BODILESS: Final = frozenset({204, 304})
_WHOLE: Final = 10
"""An answer whose headers or body drip may take as long as so many time-outs, from the beginning of the request."""
_ERRORS: Final = 400
"""The lowest status of an error."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; several of one name joined by commas."""
    raw: bytes
    is_whole: bool = True
    """False: an error, whose body broke off; its status was told before."""


class Wire:
    """Connections to one host, kept open between requests."""

    def __init__(self, base_url: str, limits: Limits) -> None:
        pool = httpx2.Limits(max_connections=None, max_keepalive_connections=limits.concurrency, keepalive_expiry=60)
        seconds = limits.timeout_seconds
        self._timeout = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        self._whole = seconds * _WHOLE
        self._most = limits.answer_bytes
        self._transport = httpx2.HTTPTransport(verify=_trusted(), limits=pool, proxy=proxy_for(base_url))
        connections = self._transport._pool  # noqa: SLF001 - httpx2 lets no other backend in
        connections._network_backend = Backend(connections._network_backend)  # noqa: SLF001

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Exchange:
        """Raises httpx2.TransportError, and what `bounded` raises; not for the body of an error."""
        with within(self._whole):
            return self._exchange(method, url, headers, body)

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Exchange:
        asked = httpx2.Request(method, url, headers=headers, content=body, extensions={"timeout": self._timeout})
        response = self._transport.handle_request(asked)
        try:
            got = {name.lower(): value for name, value in response.headers.items()}
            # what has no body may still name the encoding of the one that it stands for
            encoding = "" if response.status_code in _BODILESS else got.get("content-encoding", "").lower()
            try:
                return Exchange(response.status_code, got, bounded(response.iter_raw(), encoding, self._most))
            except (httpx2.TransportError, Broken, NotRecords, TooLarge) as error:
                if response.status_code < _ERRORS:
                    raise
                return Exchange(response.status_code, got, b"", is_whole=isinstance(error, NotRecords | TooLarge))
        finally:
            response.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`; none for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return found if not found or "://" in found else f"http://{found}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Made once: to read the certificates takes 20 ms."""
    return httpx2.create_ssl_context()
