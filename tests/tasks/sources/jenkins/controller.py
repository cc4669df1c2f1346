"""A Jenkins on loopback, as far as a reader of builds can tell: jobs in folders, builds, trees with ranges, stages.

Shapes are those of recorded answers (DevLake's raw tables) and of the Remote access API: objects have a `_class`,
`tree` chooses fields and ranges, `allBuilds` is newest first, what is unknown or hidden answers 404 with a page.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote

from tests.tasks.sources.faulty import Request, Response

PIPELINE: Final = "org.jenkinsci.plugins.workflow.job.WorkflowJob"
FREESTYLE: Final = "hudson.model.FreeStyleProject"
FOLDER: Final = "com.cloudbees.hudson.plugins.folder.Folder"
MULTIBRANCH: Final = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"
NOT_FOUND: Final = Response(404, {"Content-Type": "text/html"}, content=b"<html><title>Not Found</title></html>")


@dataclass
class Job:
    """One job: its builds by number."""

    kind: str = PIPELINE
    builds: dict[int, dict[str, Any]] = field(default_factory=dict)
    next: int = 1

    def start(self, at: datetime, **more: Any) -> int:
        """A build begins; its number."""
        number = self.next
        self.next += 1
        self.builds[number] = {
            "_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun", "number": number, "id": str(number),
            "timestamp": int(at.timestamp() * 1000), "duration": 0, "estimatedDuration": 1457, "result": None,
            "building": True, "keepLog": False, "displayName": f"#{number}", "actions": [{}],
            "changeSets": [], "culprits": [], **more,
        }  # fmt: skip
        return number

    def finish(self, number: int, seconds: float = 60, result: str = "SUCCESS") -> None:
        self.builds[number] |= {"building": False, "result": result, "duration": int(seconds * 1000)}

    def run(self, at: datetime, seconds: float = 60, result: str = "SUCCESS", **more: Any) -> int:
        """A whole build; its number."""
        number = self.start(at, **more)
        self.finish(number, seconds, result)
        return number

    def discard(self, keep: int) -> None:
        """As Jenkins does: but the newest, the last that were successful or stable, and those that somebody keeps."""
        pinned = {self.last("SUCCESS"), self.last("SUCCESS", "UNSTABLE")}
        for number in sorted(self.builds)[:-keep]:
            build = self.builds[number]
            if number not in pinned and not build["keepLog"] and not build["building"]:
                del self.builds[number]

    def last(self, *results: str) -> int | None:
        return max((n for n, one in self.builds.items() if not results or one["result"] in results), default=None)


class Controller:
    """`jobs` by full name; folders are where jobs are, of kinds that `kinds` may tell. Serve it by a FaultyServer."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.kinds: dict[str, str] = {}
        self.hidden: set[str] = set()
        """Paths of builds and jobs that the lists leave out or that may not be seen: "team/api", "team/api#7"."""
        self.before: Callable[[Request], None] = lambda _: None
        """Called before each answer: what happens at Jenkins while it is read."""

    def job(self, name: str, kind: str = PIPELINE) -> Job:
        return self.jobs.setdefault(name, Job(kind))

    def __call__(self, request: Request) -> Response:
        self.before(request)
        headers = {"X-Jenkins": "2.516.3"}
        found = self._found(request.path, request.query.get("tree", ""))
        return NOT_FOUND if found is None else Response(200, headers, found)

    def _found(self, path: str, tree: str) -> Any:
        if path == "/whoAmI/api/json":
            return {"_class": "hudson.security.WhoAmI", "name": "reader", "anonymous": False, "authenticated": True}
        names, rest = [], path.strip("/")
        while match := re.match(r"job/([^/]+)/?(.*)", rest):
            names.append(unquote(match[1]))
            rest = match[2]
        name = "/".join(names)
        if name in self.hidden:
            return None
        if name not in self.jobs:
            return chosen(self._folder(name), tree) if rest == "api/json" and self._is_folder(name) else None
        if rest == "api/json":
            return chosen(self._job(name), tree)
        number, _, what = rest.partition("/")
        build = self.jobs[name].builds.get(int(number)) if number.isdigit() else None
        if build is None:
            return None
        if what == "wfapi/describe":
            return build.get("wfapi") if self.jobs[name].kind == PIPELINE else None
        return chosen(build, tree) if what == "api/json" else None

    def _is_folder(self, name: str) -> bool:
        return not name or name in self.kinds or any(one.startswith(f"{name}/") for one in self.jobs)

    def _folder(self, name: str) -> dict[str, Any]:
        prefix = f"{name}/" if name else ""
        below = [one for one in (*self.jobs, *self.kinds) if one.startswith(prefix) and one != name]
        names = sorted({one.removeprefix(prefix).split("/")[0] for one in below if one not in self.hidden})
        return {
            "_class": self.kinds.get(name, FOLDER if name else "hudson.model.Hudson"),
            **({"name": name.rpartition("/")[2], "fullName": name} if name else {}),
            "jobs": [
                self._job(prefix + one) if prefix + one in self.jobs else self._folder(prefix + one) for one in names
            ],
        }

    def _job(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        builds = [job.builds[n] for n in sorted(job.builds, reverse=True) if f"{name}#{n}" not in self.hidden]

        def known(number: int | None) -> dict[str, Any] | None:
            return None if number is None else job.builds[number]

        return {
            "_class": job.kind, "name": name.rpartition("/")[2], "fullName": name, "nextBuildNumber": job.next,
            "url": "http://jenkins.example/" + "".join(f"job/{quote(one, safe='')}/" for one in name.split("/")),
            "firstBuild": known(min(job.builds, default=None)), "lastBuild": known(job.last()),
            "lastSuccessfulBuild": known(job.last("SUCCESS", "UNSTABLE")),
            "lastStableBuild": known(job.last("SUCCESS")),
            "allBuilds": builds, "builds": builds[:100],
        }  # fmt: skip


def chosen(value: Any, tree: str) -> Any:
    """What `tree` chooses of an object, as Jenkins does; `_class` is always told."""
    fields, rest = _parsed(tree)
    if rest:
        raise AssertionError(f"a tree that Jenkins would refuse: {tree}")
    return _cut(value, fields)


Fields = Mapping[str, tuple[Any, slice | None]]


def _parsed(tree: str) -> tuple[dict[str, tuple[Any, slice | None]], str]:
    fields: dict[str, tuple[Any, slice | None]] = {}
    while match := re.match(r",?([\w*]+)", tree):
        tree = tree[match.end() :]
        inner: Any = None
        if tree.startswith("["):
            inner, tree = _parsed(tree[1:])
            tree = tree.removeprefix("]")
        bounds = re.match(r"\{(\d+),(\d+)\}", tree)
        if bounds:
            tree = tree[bounds.end() :]
        fields[match[1]] = (inner, slice(int(bounds[1]), int(bounds[2])) if bounds else None)
    return fields, tree


def _cut(value: Any, fields: Fields | None) -> Any:
    if isinstance(value, list):
        return [_cut(one, fields) for one in value]
    if not isinstance(value, dict):
        return value
    if fields is None or "*" in fields:
        return value
    told: dict[str, Any] = {"_class": value["_class"]} if "_class" in value else {}
    for name, (inner, bounds) in fields.items():
        if name in value:
            one = value[name]
            told[name] = _cut(one[bounds] if bounds and isinstance(one, list) else one, inner)
    return told
