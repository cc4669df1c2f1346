"""A service as three sources tell of it: GitHub's repositories, Jenkins' jobs, Jira's issues, without their servers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from config import settings
from config.catalog import ENTITIES
from tasks import bronze, settle
from tasks.context import Context
from tasks.sources.contract import Coverage, Cursor, Feed, Item, Swept
from tests.harness import commit, finish, make_context, moment, sha

DAYS: Final = (date(2024, 1, 1), date(2024, 1, 11))
CONFIG: Final = """
[[sources]]
type = "github"
name = "hub"
since = 2024-01-01
repositories = ["acme/api", "acme/web", "acme/tools"]
[sources.counts]
deployments = ["environments"]

[[sources]]
type = "jenkins"
name = "ci"
since = 2024-01-01
base_url = "https://ci.example/"
jobs = ["shop/*"]

[[sources]]
type = "jira"
name = "desk"
since = 2024-01-01
base_url = "https://jira.example/"
edition = "data_center"
projects = ["OPS", "HR"]
[sources.counts]
deployment = "customfield_1"

[[services]]
name = "shop"
repositories = ["acme/api", "acme/web"]
jobs = ["shop/*"]
projects = ["OPS/checkout"]

[[teams]]
name = "payments"
scopes = ["service:shop", "acme/tools"]
"""
STREAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("pull_requests", "commits", "deployments", "releases", "tags", "issues", "reverts"),
    "jenkins": ("builds",), "jira": ("issues",),
}  # fmt: skip


@dataclass
class Told:
    """One unit of a source that hands over what it was given, and proves all of DAYS."""

    name: str
    kind: str
    unit: str
    items: list[tuple[str, str, str, float, dict[str, Any]]] = field(default_factory=list)
    """Stream, origin, id, day, payload."""
    problem: str | None = None
    end: float = 400

    def units(self) -> Sequence[str]:
        return [self.unit]

    def feeds(self, unit: str) -> Sequence[Feed]:
        return [(self.kind, unit, STREAMS[self.kind])]

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Swept]:  # noqa: ARG002
        for stream, origin, name, day, payload in self.items:
            yield Item(self.kind, stream, origin, name, datetime.fromtimestamp(moment(day), UTC), payload)
        origins = sorted({item[1] for item in self.items} or {unit})
        end = min(now, datetime.fromtimestamp(moment(self.end), UTC))
        yield Swept({}, tuple(Coverage(self.kind, o, STREAMS[self.kind], end, problem=self.problem) for o in origins))


class Place:
    """The sources of CONFIG."""

    def __init__(self) -> None:
        self.hub = {name: Told("hub", "github", name) for name in ("acme/api", "acme/web", "acme/tools")}
        self.ci = Told("ci", "jenkins", "shop/*")
        self.desk = {name: Told("desk", "jira", name) for name in ("OPS", "HR")}

    @property
    def units(self) -> list[Told]:
        return [*self.hub.values(), self.ci, *self.desk.values()]

    def commit(self, repository: str, name: str, parents: str = "", day: float = 0) -> None:
        made = commit(name, parents, day)
        self.hub[repository].items.append(("commits", repository, made["sha"], day, made))

    def pull(self, repository: str, number: int, merge: str, merged: float, written: float) -> None:
        raw = {"number": number, "title": f"change {number}", "created_at": iso(written), "merged_at": iso(merged),
               "user": {"login": "d" * 32},
               "merge_commit_sha": sha(merge), "html_url": f"https://hub.example/{number}"}  # fmt: skip
        commits = [{"sha": sha(f"{repository}{number}"), "author_ts": moment(written), "commit_ts": moment(written)}]
        payload = {"pull": raw, "commits": commits, "reviews": []}
        self.hub[repository].items.append(("pull_requests", repository, str(number), merged, payload))

    def deploy(self, repository: str, number: int, target: str, day: float, environment: str = "production") -> None:
        raw = {"id": number, "sha": sha(target), "environment": environment, "created_at": iso(day - 0.01), "ref": "m"}
        payload = {"deployment": raw, "statuses": [{"state": "success", "created_at": iso(day)}]}
        self.hub[repository].items.append(("deployments", repository, str(number), day, payload))

    def build(self, job: str, number: int, day: float, result: str = "SUCCESS", **told: Any) -> None:
        raw = {"number": number, "timestamp": moment(day) * 1000 - 60_000, "duration": 60_000, "result": result,
               "building": False, "actions": [], "changeSets": [], "url": f"https://ci.example/{number}"}  # fmt: skip
        if url := told.get("url"):
            at = {"SHA1": sha(told["target"]), "branch": []}
            raw["actions"] = [{"lastBuiltRevision": at, "remoteUrls": [url]}]
        if commits := told.get("commits"):
            raw["changeSets"] = [{"items": [{"commitId": sha(name)} for name in commits]}]
        self.ci.items.append(("builds", job, str(number), day, {"job": {"fullName": job, "name": job}, "build": raw}))

    def incident(self, key: str, day: float, over: float | None = None, *, named: str | None = None) -> None:
        project, _, number = key.partition("-")
        fields = {"issuetype": {"name": "Incident"}, "labels": [], "summary": f"broken {key}", "created": iso(day),
                  "components": [{"name": "checkout"}], "resolutiondate": iso(over) if over else None,
                  "status": {"name": "Open", "statusCategory": {"key": "done" if over else "new"}},
                  "customfield_1": named}  # fmt: skip
        issue = {"id": number, "key": key, "self": f"https://jira.example/rest/{number}", "fields": fields}
        payload = {"issue": {**issue, "changelog": {"histories": []}}}
        self.desk[project].items.append(("issues", project, number, over or day, payload))

    def run(self, context: Context, days: tuple[date, date] = DAYS) -> None:
        """Sweep, fold, link and compute all of it."""
        for unit in self.units:
            bronze.sweep(context, unit, unit.unit, days, lambda: context.now)
            for origin in bronze.scopes(context, unit, unit.unit):
                for dataset in ENTITIES:
                    settle.entities_of(context, dataset, origin)
        finish(context, days, ["acme/tools"])


def configure(monkeypatch: pytest.MonkeyPatch, folder: Path, more: str = "", text: str = CONFIG) -> Context:
    """A worker under CONFIG."""
    path = folder / "touchstone.toml"
    path.write_text(more + text, encoding="utf-8")
    monkeypatch.setenv(settings.CONFIG_VARIABLE, str(path))
    settings.load.cache_clear()
    return make_context()


def iso(day: float) -> str:
    """As the sources write it."""
    return (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")


def dumped(value: Any) -> str:
    """For comparing."""
    return json.dumps(value, sort_keys=True, default=str)
