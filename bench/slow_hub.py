"""A GitHub for measurements: pull requests without end, each answer after a fixed latency. Run as a process of its own.

Usage: python -m bench.slow_hub PULLS LATENCY_MS; prints its port, and ends when its standard input does.
"""

import asyncio
import hashlib
import json
import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

NEWEST: Final = datetime(2026, 10, 31, tzinfo=UTC)
EVERY: Final = timedelta(minutes=5)
_DETAIL: Final = re.compile(r"/repos/acme/api/pulls/(\d+)/(commits|reviews)")
_BODY: Final = "What it does, and why: as people write it, with a list of what was tried and how it was tested. " * 8
_PLACE: Final = "https://hub.example/repos/acme/api"


def user(number: int) -> dict[str, Any]:
    """Somebody, as GitHub shows people everywhere."""
    page = f"https://hub.example/users/u{number}"
    urls = ("followers_url", "following_url", "gists_url", "starred_url", "repos_url", "events_url")
    return {"login": f"u{number}", "id": number, "type": "User", **{url: f"{page}/{url}" for url in urls}}


def pull(number: int, total: int) -> dict[str, Any]:
    """A pull request, of about the size that those of GitHub have in lists."""
    at = NEWEST - EVERY * (total - number)
    sha = hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()
    repository = {"id": 1, "full_name": "acme/api", "default_branch": "main", "owner": user(1)}
    repository |= {f"{name}_url": f"{_PLACE}/{name}" for name in ("archive", "branches", "commits", "hooks", "keys",
                   "labels", "merges", "pulls", "statuses", "tags", "teams", "trees")}  # fmt: skip
    told = at.isoformat().replace("+00:00", "Z")
    return {
        "url": f"{_PLACE}/pulls/{number}", "id": 10**9 + number, "number": number, "state": "closed", "locked": False,
        "title": f"Change {number}", "user": user(number % 97), "body": _BODY, "created_at": told, "updated_at": told,
        "closed_at": told, "merged_at": told, "merge_commit_sha": sha, "assignees": [], "labels": [], "draft": False,
        "requested_reviewers": [user(number % 89)], "milestone": None,
        "head": {"label": "acme:topic", "ref": f"topic-{number}", "sha": sha, "user": user(1), "repo": repository},
        "base": {"label": "acme:main", "ref": "main", "sha": sha[::-1], "user": user(1), "repo": repository},
    }  # fmt: skip


def details(number: int, what: str) -> list[dict[str, Any]]:
    """One commit, or one review."""
    told = NEWEST.isoformat().replace("+00:00", "Z")
    if what == "reviews":
        return [{"id": number, "user": user(3), "state": "APPROVED", "submitted_at": told, "body": ""}]
    person = {"name": "A Person", "email": f"u{number % 97}@example.invalid", "date": told}
    commit = {"author": person, "committer": person, "message": f"Change {number}", "tree": {"sha": "0" * 40}}
    return [{"sha": f"{number:040x}", "commit": commit, "author": user(3), "committer": user(3), "parents": []}]


class Hub:
    """What is answered."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.page = lru_cache(maxsize=64)(self._page)

    def answer(self, target: str, etag: str | None, host: str) -> bytes:
        """A whole HTTP answer."""
        parts = urlsplit(target)
        if found := _DETAIL.fullmatch(parts.path):
            return _answer(json.dumps(details(int(found[1]), found[2])).encode())
        if parts.path == "/repos/acme/api":
            return _answer(json.dumps({"id": 1, "full_name": "acme/api", "private": False}).encode())
        if parts.path == "/repos/acme/api/pulls":
            asked = parse_qs(parts.query)
            number, size = int(asked.get("page", ["1"])[0]), int(asked.get("per_page", ["30"])[0])
            return self.page(number, size, etag, host, parts.query)
        return _answer(b'{"message": "Not Found"}', HTTPStatus.NOT_FOUND)

    def _page(self, number: int, size: int, etag: str | None, host: str, query: str) -> bytes:
        first = self.total - (number - 1) * size
        body = json.dumps([pull(one, self.total) for one in range(first, max(first - size, 0), -1)]).encode()
        mark = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if etag == mark:
            return _answer(b"", HTTPStatus.NOT_MODIFIED, f"ETag: {mark}\r\n")
        last = -(-self.total // size)
        rest = re.sub(r"&?page=\d+", "", query.replace("per_page", "PER")).replace("PER", "per_page")
        place = f"http://{host}/repos/acme/api/pulls?{rest}&page="
        link = f'Link: <{place}{number + 1}>; rel="next", <{place}{last}>; rel="last"\r\n' if number < last else ""
        return _answer(body, HTTPStatus.OK, f"ETag: {mark}\r\n{link}")


def _answer(body: bytes, status: HTTPStatus = HTTPStatus.OK, more: str = "") -> bytes:
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {now}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One client's connection: one request at a time, each answered after the latency."""

    asked = 0

    def __init__(self, hub: Hub, latency: float) -> None:
        self.hub, self.latency, self.got = hub, latency, b""

    def connection_made(self, transport: Any) -> None:
        """Remember where to answer."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is there in full."""
        self.got += data
        while b"\r\n\r\n" in self.got:
            head, self.got = self.got.split(b"\r\n\r\n", 1)
            line, *fields = head.decode().split("\r\n")
            named = dict(field.lower().split(": ", 1) for field in fields)
            target = line.split(" ")[1]
            if target == "/asked":
                self.transport.write(_answer(str(Connection.asked).encode()))
                continue
            Connection.asked += 1
            whole = self.hub.answer(target, named.get("if-none-match"), named["host"])
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, whole)


async def serve(total: int, latency: float) -> None:
    """Until standard input ends."""
    loop, hub = asyncio.get_running_loop(), Hub(total)
    server = await loop.create_server(lambda: Connection(hub, latency), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    over = asyncio.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(over.set)), daemon=True).start()
    await over.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
