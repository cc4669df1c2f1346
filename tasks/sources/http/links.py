"""Addresses: where a path leads, and whether a credential may go there. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

Origin: TypeAlias = tuple[str, str, int | None]
"""Scheme, host and port: who gets a credential."""

_PORTS: Final = {"http": 80, "https": 443}
_LINK: Final = re.compile(r'<([^>]*)>((?:\s*;\s*[\w!#$&+.^`|~*-]+\s*(?:=\s*(?:"[^"]*"|[^",;\s]*))?)*)')
_RELATION: Final = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^",;\s]*))', re.IGNORECASE)


def origin(url: str) -> Origin:
    """Of an absolute URL. Raises ValueError if it is none, e.g. by its port."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise ValueError("not an address of http or https")
    return scheme, parts.hostname.lower().rstrip("."), parts.port or _PORTS[scheme]


def check_base(url: str) -> None:
    """Raises ValueError unless `url` can be the base of all paths. Its text does not hold the address."""
    parts = urlsplit(url)
    origin(url)
    if "@" in parts.netloc:
        raise ValueError("an address must hold no credential: configure the token by itself")
    if not parts.path.endswith("/") or parts.query or parts.fragment:
        raise ValueError("a base address ends with a slash, and has no query")


def same_origin(one: str, other: str) -> bool:
    """Whether a credential for the one may go to the other. False for what is no URL."""
    try:
        return origin(one) == origin(other) and "@" not in urlsplit(other).netloc
    except ValueError:
        return False


def absolute(base: str, path: str, params: Mapping[str, str | int] | None = None) -> str:
    """The URL of `path`, which is relative to `base` (that ends with a slash) or a whole URL, with `params` added."""
    url = path if path.lower().startswith(("http://", "https://")) else base + path.lstrip("/")
    if not params:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"


def joined(url: str, target: str) -> str:
    """Where `target`, as a page at `url` has it, leads. What is no URL is left as it is, and is of no origin."""
    try:
        return urljoin(url, target)
    except ValueError:
        return target


def path_of(url: str) -> str:
    """Without host, query and fragment, which may hold secrets."""
    return urlsplit(url).path or "/"


def relations(link: str, url: str) -> dict[str, str]:
    """The targets of a Link header (RFC 8288) by relation, absolute; `url` is of the page that had it."""
    return dict(_relations(link, url))


def _relations(link: str, url: str) -> Iterator[tuple[str, str]]:
    for target, parameters in _LINK.findall(link):
        if found := _RELATION.search(parameters):
            for relation in (found[1] or found[2] or "").lower().split():
                yield relation, joined(url, target.strip())


def page_number(url: str) -> int | None:
    """Of `page=N` in its query."""
    number = parse_qs(urlsplit(url).query).get("page", [""])[-1]
    return int(number) if re.fullmatch("[0-9]{1,9}", number) else None
