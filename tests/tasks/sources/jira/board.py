"""A Jira on loopback, of either edition: issues that can be made, edited, moved, hidden and deleted while it is read.

Issues have the recorded shape of `tests/data/jira`. It is as unkind as the documentation allows: pages hold fewer
issues than asked for, tokens are mere places in a list that moves, the index is late, and times in JQL are minutes in
the zone of the user.
"""

import copy
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from tests.harness import DATA
from tests.tasks.sources.faulty import Request, Response

USER, TOKEN = "ops@example.org", "canary-token-of-jira-5a0c"
RECORDED: Final = [json.loads(line) for line in (DATA / "jira" / "issues.jsonl").read_text().splitlines()]
START: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)

_TOKENS: Final = re.compile(r'\s*("(?:\\.|[^"\\])*"|[()]|>=|<|=|[\w.-]+)')


@dataclass
class Board:
    """One Jira, whose clock stands until it is moved."""

    edition: str = "cloud"
    now: datetime = START
    zone: str = "UTC"
    later: bool = True
    """Of a local time that was twice: whether JQL means the second."""
    granted: int = 1000
    """The most issues of one page."""
    embedded: int = 40
    """Of a history, on Cloud: the newest so many are with the issue."""
    token_uses: int | None = None
    """So often can a page be asked for by a token; None: for ever."""
    lag: timedelta = timedelta(0)
    """So long the index of searches takes to notice an update."""
    skew: timedelta = timedelta(0)
    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    indexed: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    """Id -> (when it was noticed, which time of update): the last that was noticed counts."""
    hidden: set[str] = field(default_factory=set)
    projects: dict[str, str] = field(default_factory=lambda: {"OPS": "10001", "WEB": "10002"})
    before: Callable[[Request], None] = lambda _: None
    """Called before each answer: what others do meanwhile."""
    pages: list[list[str]] = field(default_factory=list)
    """The ids of each page with fields that was answered."""

    def make(
        self, at: datetime | None = None, *, project: str = "OPS", kind: str = "Incident", history: int = 2
    ) -> str:
        """A new issue, updated at `at`; its id."""
        number = str(10000 + len(self.indexed))
        record = copy.deepcopy(RECORDED[1])
        key = f"{project}-{1 + sum(one['key'].startswith(project + '-') for one in self.issues.values())}"
        record |= {"id": number, "key": key, "self": f"https://jira.example.org/rest/api/2/issue/{number}"}
        record["fields"] |= {
            "created": self._text(at or self.now),
            "project": {"id": self.projects[project], "key": project, "name": project},
            "issuetype": {"id": "1", "name": kind}, "lastViewed": self._text(self.now),
        }  # fmt: skip
        record["changelog"] = [self._entry(number, n, at or self.now) for n in range(history)]
        self.issues[number] = record
        self._touch(number, at or self.now)
        return number

    def edit(self, number: str, at: datetime | None = None, *, changes: int = 1, **fields: Any) -> None:
        """Somebody works on the issue, at `at`."""
        record = self.issues[number]
        record["fields"] |= fields
        start = len(record["changelog"])
        record["changelog"] += [self._entry(number, start + n, at or self.now) for n in range(changes)]
        self._touch(number, at or self.now)

    def move(self, number: str, project: str) -> None:
        """To another project: its id stays, its key does not."""
        self.edit(number, project={"id": self.projects[project], "key": project, "name": project})
        self.issues[number]["key"] = f"{project}-{900 + int(number) % 100}"

    def delete(self, number: str) -> None:
        del self.issues[number]

    def updated(self, number: str) -> datetime:
        return datetime.fromisoformat(self.issues[number]["fields"]["updated"])

    def _touch(self, number: str, at: datetime) -> None:
        self.issues[number]["fields"]["updated"] = self._text(at)
        self.indexed.setdefault(number, []).append((self.now + self.lag, at.replace(microsecond=0)))

    def _text(self, at: datetime) -> str:
        local = at.astimezone(ZoneInfo(self.zone))
        return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03}{local:%z}"

    def _entry(self, number: str, n: int, at: datetime) -> dict[str, Any]:
        person = RECORDED[1]["fields"]["creator"]
        change = {"field": "assignee", "fieldtype": "jira", "fieldId": "assignee", "from": None, "fromString": None,
                  "to": person["accountId"], "toString": person["displayName"]}  # fmt: skip
        return {"id": f"{number}{n:05}", "author": person, "created": self._text(at), "items": [change]}

    def __call__(self, request: Request) -> Response:
        self.before(request)
        answer = self._answer(request)
        return answer.having(Date=format_datetime(self.now + self.skew, usegmt=True))

    def _answer(self, request: Request) -> Response:
        given = request.headers.get("authorization")
        basic = f"Basic {b64encode(f'{USER}:{TOKEN}'.encode()).decode()}"
        if given not in (basic, f"Bearer {TOKEN}"):
            return Response(401, content=b"<html><title>Unauthorized (401)</title></html>")
        path, asked = re.sub(r"^/rest/api/[23]/", "", request.path), _asked(request)
        match path.split("/"):
            case ["search", *rest]:
                return self._search(rest, asked)
            case ["issue", name, *rest]:
                return self._issue(name, rest, asked)
            case ["project", key]:
                found = self.projects.get(key)
                return Response(json={"id": found, "key": key}) if found else _error(404, "No project could be found")
        return self._about(path)

    def _about(self, path: str) -> Response:
        cloud = self.edition == "cloud"
        who = {"accountId": "abc"} if cloud else {"name": "ops", "key": "JIRAUSER1"}
        answers: dict[str, Any] = {
            "myself": {**who, "emailAddress": USER, "displayName": "Op", "active": True, "timeZone": self.zone},
            "serverInfo": {
                "deploymentType": "Cloud" if cloud else "Server", "version": "10.3.1", "versionNumbers": [10, 3, 1],
            },
            "mypermissions": {"permissions": {"BROWSE_PROJECTS": {"havePermission": True}}},
            "field": [],
        }  # fmt: skip
        return Response(json=answers[path]) if path in answers else _error(404, f"nothing at {path}")

    def _search(self, rest: list[str], asked: Mapping[str, Any]) -> Response:
        try:
            match rest:
                case ["jql"] if self.edition == "cloud":
                    return self._by_token(asked)
                case ["approximate-count"] if self.edition == "cloud":
                    return Response(json={"count": len(self._found(asked["jql"]))})
                case [] if self.edition != "cloud":
                    return self._by_number(asked)
        except LookupError as error:
            return _error(400, str(error))
        return _error(410, "The requested API has been removed")

    def _issue(self, name: str, rest: list[str], asked: Mapping[str, Any]) -> Response:
        number = next((n for n, one in self.issues.items() if name in (n, one["key"]) and n not in self.hidden), None)
        if number is None:
            return _error(404, "Issue does not exist or you do not have permission to see it.")
        if rest == ["changelog"] and self.edition == "cloud":
            start, most = int(asked.get("startAt", 0)), min(int(asked.get("maxResults", 50)), 100)
            entries = self.issues[number]["changelog"]
            values = entries[start : start + most]
            last = start + len(values) >= len(entries)
            return Response(json={
                "startAt": start, "maxResults": most, "total": len(entries), "isLast": last, "values": values,
            })  # fmt: skip
        return Response(json=self._shown(number, asked)) if not rest else _error(404, "no such thing")

    def _by_token(self, asked: Mapping[str, Any]) -> Response:
        found = self._found(asked["jql"])
        start = 0
        if token := asked.get("nextPageToken"):
            if self.token_uses is not None:
                self.token_uses -= 1
                if self.token_uses < 0:
                    self.token_uses = None
                    return _error(400, "The provided next page token is invalid or expired.")
            start = int(str(token).removeprefix("place-"))
        page = found[start : start + min(int(asked.get("maxResults") or 50), self.granted)]
        last = start + len(page) >= len(found)
        more = {} if last else {"nextPageToken": f"place-{start + len(page)}"}
        return Response(json={"issues": self._records(page, asked), "isLast": last, **more})

    def _by_number(self, asked: Mapping[str, Any]) -> Response:
        found = self._found(asked["jql"])
        told = asked.get("maxResults")
        start, most = int(asked.get("startAt") or 0), min(int(50 if told is None else told), self.granted)
        page = found[start : start + most]
        return Response(json={
            "startAt": start, "maxResults": most, "total": len(found), "issues": self._records(page, asked),
        })  # fmt: skip

    def _records(self, numbers: list[str], asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "*all" in asked.get("fields", ()):
            self.pages.append(numbers)
        return [self._shown(number, asked) for number in numbers]

    def _shown(self, number: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        record = self.issues[number]
        fields = asked.get("fields") or ["*all"]
        every = "*all" in fields
        shown = {
            name: value
            for name, value in record["fields"].items()
            if (every or name in fields) and f"-{name}" not in fields
        }
        answer = {"expand": "operations,changelog", **{n: record[n] for n in ("id", "key", "self")}, "fields": shown}
        if "changelog" in (asked.get("expand") or ""):
            entries = record["changelog"][::-1]
            if self.edition == "cloud":
                part = entries[: self.embedded]
                size = self.embedded
            else:
                part, size = entries, len(entries)
            answer["changelog"] = {"startAt": 0, "maxResults": size, "total": len(entries), "histories": part}
        return answer

    def _found(self, jql: str) -> list[str]:
        """The ids, in order. Raises LookupError for what Jira would not understand."""
        condition, _, order = jql.partition(" ORDER BY ")
        words = _TOKENS.findall(condition)
        for key in re.findall(r'project = "([^"]*)"', condition):
            if key not in self.projects:
                raise LookupError(f"The value '{key}' does not exist for the field 'project'.")
        times = {number: at for number in self.issues if (at := self._indexed(number)) and number not in self.hidden}
        found = [number for number in times if self._fits(number, times[number], list(words))]
        found.sort(key=lambda number: (times[number], int(number)), reverse="DESC" in order)
        return found

    def _indexed(self, number: str) -> datetime | None:
        return max((entry for entry in self.indexed[number] if entry[0] <= self.now), default=(None, None))[1]

    def _fits(self, number: str, at: datetime, words: list[str]) -> bool:
        fits = True
        while words:
            name = words.pop(0)
            if name == "(":
                end = words.index(")")
                fits &= self._fits(number, at, words[:end])
                del words[: end + 1]
            elif name != "AND":
                sign, value = words.pop(0), words.pop(0)
                fits &= self._is(number, at, name, sign, json.loads(value) if value.startswith('"') else value)
        return fits

    def _is(self, number: str, at: datetime, name: str, sign: str, value: str) -> bool:
        record = self.issues[number]
        match name, sign:
            case "project", "=":
                return bool(record["fields"]["project"]["id"] == self.projects[value])
            case "issuetype", "=":
                return bool(record["fields"]["issuetype"]["name"] == value)
            case "id", "=":
                return value in (number, record["key"])
            case "updated", ">=":
                return at >= self._time(value)
            case "updated", "<":
                return at < self._time(value)
        raise LookupError(f"Error in the JQL Query: {name} {sign}")

    def _time(self, text: str) -> datetime:
        local = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(self.zone), fold=int(self.later))
        return local.astimezone(UTC)


def _asked(request: Request) -> dict[str, Any]:
    """Parameters of either method, lists as lists."""
    if request.method == "POST":
        return dict(request.json)
    asked: dict[str, Any] = {}
    for name, value in parse_qsl(urlsplit(request.target).query):
        if name == "fields":
            asked[name] = [*asked.get(name, []), *value.split(",")]
        else:
            asked[name] = value
    return asked


def _error(status: int, text: str) -> Response:
    return Response(status, json={"errorMessages": [text], "errors": {}})
