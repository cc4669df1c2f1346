"""Everything that can go wrong between an API and us, by name.

A fault changes the healthy answer to one question. What a client must do about it is said by two flags: a *transient*
one is gone when the same is asked again; a *harmless* one changes nothing in what is said; all others last, and must be
noticed, or be of no consequence: never may something that is missing count as proven.
"""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, Final

from tests.tasks.sources.exchanges import End, Fault, Outcome, Part, Response, Scene, Sent
from tests.tasks.sources.paging_faults import PAGING

LOGIN_PAGE: Final = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>...</form></body></html>"
BAD_GATEWAY: Final = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def _plain(
    status: int, headers: Mapping[str, str] | None = None, said: Any = "", page: bytes | None = None
) -> Response:
    typed = {"Content-Type": "text/html"} if page is not None else {}
    return Response(status, {**typed, **(headers or {})}, {"message": said} if said else None, page)


def _always(outcome: Response) -> Callable[[Scene], Outcome]:
    return lambda _: outcome


def _ended(part: Part, end: End) -> Callable[[Scene], Outcome]:
    return lambda scene: Sent(scene.healthy, part, end)


def _at(scene: Scene, seconds: float) -> str:
    return str(int(scene.now.timestamp() + seconds))


SECONDARY: Final = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
EXCEEDED: Final = "API rate limit exceeded for installation ID 1."

_TRANSIENT: Final[Mapping[str, Callable[[Scene], Outcome]]] = {
    **{f"{end}_after_{part}": _ended(part, end) for part in Part for end in End},
    "chunks_without_end": lambda scene: Sent(scene.healthy, Part.BODY, End.CLOSED, chunked=True),
    "length_too_long": lambda scene: Sent(scene.healthy, length=len(scene.healthy.body) + 7),
    "length_too_short": lambda scene: Sent(scene.healthy, length=len(scene.healthy.body) // 2),
    "not_http": lambda scene: Sent(scene.healthy, raw=b"SSH-2.0-OpenSSH_9.9\r\n\r\n\r\n"),
    "empty_body": _always(Response(content=b"")),
    "json_cut_off": lambda scene: replace(scene.healthy, content=scene.healthy.body[: len(scene.healthy.body) // 2]),
    "gzip_corrupt": lambda scene: _zipped(scene, lambda zipped: zipped[:10] + b"\xff" * (len(zipped) - 10)),
    "gzip_cut_off": lambda scene: _zipped(scene, lambda zipped: zipped[:-6]),
    "gzip_in_name_only": lambda scene: scene.healthy.having(Content_Encoding="gzip"),
    "408": _always(_plain(408)),
    "425": _always(_plain(425)),
    "429_seconds": _always(_plain(429, {"Retry-After": "1"}, EXCEEDED)),
    "429_date": lambda scene: _plain(
        429, {"Retry-After": format_datetime(scene.now + timedelta(seconds=2), usegmt=True)}, "slow down"
    ),
    "429_without_time": _always(_plain(429, said="slow down")),
    "429_negative": _always(_plain(429, {"Retry-After": "-30"}, "slow down")),
    "429_reset_iso": lambda scene: _plain(
        429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": (scene.now + timedelta(seconds=1)).isoformat()}
    ),
    "403_limit": lambda scene: _plain(
        403, {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": _at(scene, 1)}, EXCEEDED
    ),
    "403_secondary": _always(_plain(403, {"Retry-After": "1"}, SECONDARY)),
    "403_secondary_without_time": _always(_plain(403, said=SECONDARY)),
    "500": _always(_plain(500, said="Server Error")),
    "502_page": _always(_plain(502, page=BAD_GATEWAY)),
    "503_seconds": _always(_plain(503, {"Retry-After": "1"})),
    "503": _always(_plain(503)),
    "504": _always(_plain(504, page=b"<html>Gateway Time-out</html>")),
}


def _zipped(scene: Scene, damage: Callable[[bytes], bytes]) -> Response:
    zipped = damage(gzip.compress(scene.healthy.body, mtime=0))
    return Response(scene.healthy.status, {**scene.healthy.headers, "Content-Encoding": "gzip"}, content=zipped)


def _moved(scene: Scene) -> Response | None:
    """To the same with one more parameter, which apps do not know; for questions that can be asked there again."""
    if "moved=1" in scene.request.target:
        return None
    return Response(307, {"Location": scene.request.target + ("&" if "?" in scene.request.target else "?") + "moved=1"})


_HARMLESS: Final[Mapping[str, Callable[[Scene], Outcome]]] = {
    "gzip": lambda scene: _zipped(scene, bytes),
    "chunked": lambda scene: Sent(scene.healthy, chunked=True),
    "connection_close": lambda scene: scene.healthy.having(Connection="close"),
    "wrong_content_type": lambda scene: scene.healthy.having(Content_Type="text/html; charset=utf-8"),
    "byte_order_mark": lambda scene: Response(
        scene.healthy.status, scene.healthy.headers, content=b"\xef\xbb\xbf" + scene.healthy.body
    ),
    "early_hints": lambda scene: Sent(scene.healthy, hints=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "cookies": lambda scene: scene.healthy.having(Set_Cookie="session=from-the-server; Path=/"),
    "moved_within": _moved,
}


_LASTING: Final[Mapping[str, Callable[[Scene], Outcome]]] = {
    "refused_connection": lambda scene: Sent(scene.healthy, Part.NOTHING, End.RESET, deaf=True),
    "login_page": _always(Response(200, {"Content-Type": "text/html"}, content=LOGIN_PAGE)),
    "html": _always(Response(200, {"Content-Type": "text/html"}, content=b"<html><body>Welcome</body></html>")),
    "error_object": _always(Response(json={"message": "Something went wrong", "documentation_url": "about:blank"})),
    "error_messages": _always(Response(json={"errorMessages": ["The value 'X' does not exist"], "errors": {}})),
    "null": _always(Response(json=None)),
    "bare_text": _always(Response(json="maintenance")),
    "empty_object": _always(Response(json={})),
    "list_for_object": lambda scene: Response(json={} if isinstance(scene.healthy.json, list) else []),
    "not_json": _always(Response(content=b"It works! Now read the manual, and then begin again.")),
    "nan": _always(Response(content=b'[{"id": NaN, "number": 1, "name": "nothing more than this"}]')),
    "not_utf8": _always(Response(content=b'[{"id": 1, "title": "\xff\xfe\xfa", "number": 12345}]')),
    "nested_too_deeply": _always(Response(content=b"[" * 200_000 + b"]" * 200_000)),
    "unasked_encoding": lambda scene: scene.healthy.having(Content_Encoding="br"),
    "bomb": _always(Response(200, {"Content-Encoding": "gzip"}, content=gzip.compress(bytes(2**24), mtime=0))),
    "huge": lambda scene: Sent(scene.healthy, endless=True),
    "202": _always(Response(202, json={})),
    "204": _always(Response(204, content=b"")),
    "301_elsewhere": lambda scene: Response(301, {"Location": scene.elsewhere + scene.request.target.lstrip("/")}),
    "302_login": lambda scene: Response(302, {"Location": scene.elsewhere + "login"}),
    "302_login_here": _always(Response(302, {"Location": "/login"})),
    "303_login": lambda scene: Response(303, {"Location": scene.elsewhere + "saml/sso"}),
    "307_elsewhere": lambda scene: Response(307, {"Location": scene.elsewhere + scene.request.target.lstrip("/")}),
    "308_without_location": _always(Response(308)),
    "redirect_loop": lambda scene: Response(307, {"Location": scene.request.target}),
    "304_unasked": lambda scene: None if "if-none-match" in scene.request.headers else Response(304),
    "400": _always(_plain(400, said="Problems parsing JSON")),
    "401": _always(_plain(401, said="Bad credentials")),
    "401_that_tells_the_token": lambda scene: _plain(
        401, said=f"unknown credential {scene.request.headers.get('authorization')}"
    ),
    "403_refused": _always(_plain(403, {"X-RateLimit-Remaining": "4000"}, "Resource not accessible by integration")),
    "403_limit_far": lambda scene: _plain(
        403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": _at(scene, 3500)}, EXCEEDED
    ),
    "404": _always(_plain(404, said="Not Found")),
    "410": _always(_plain(410, said="This was turned off")),
    "422": _always(_plain(422, said="Validation Failed")),
    "429_absurd": _always(_plain(429, {"Retry-After": "1000000000"}, "slow down")),
    "429_lasting": _always(_plain(429, {"Retry-After": "1"}, "slow down")),
    "500_lasting": _always(_plain(500, said="Server Error")),
    "501": _always(_plain(501)),
    "502_lasting": _always(_plain(502, page=BAD_GATEWAY)),
    "503_for_hours": _always(_plain(503, {"Retry-After": "7200"}, "Scheduled maintenance")),
    "stalled_lasting": _ended(Part.BODY, End.STALLED),
    "reset_lasting": _ended(Part.NOTHING, End.RESET),
    "date_hours_off": lambda scene: scene.healthy.having(
        Date=format_datetime(scene.now + timedelta(hours=7), usegmt=True)
    ),
}

FAULTS: Final[Mapping[str, Fault]] = {
    **{name: Fault(name, spoil, transient=True) for name, spoil in _TRANSIENT.items()},
    **{name: Fault(name, spoil, harmless=True) for name, spoil in _HARMLESS.items()},
    **{name: Fault(name, spoil) for name, spoil in _LASTING.items()},
    **PAGING,
}
