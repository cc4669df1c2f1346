"""A stand-in of the API of GitHub: repositories as Python data, served with pages, ETags, limits, orders and filters.

The shapes are those of `recorded.json`: responses recorded by DevLake and the examples of GitHub's own description of
its API, with other people in them. What is not read by the connector is left as it was recorded.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.tasks.sources.exchanges import Request, Response

RECORDED: Final = json.loads((Path(__file__).parent / "recorded.json").read_text())
Json = dict[str, Any]


def stamp(seconds: float) -> str:
    """As GitHub writes a time."""
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"


def sha(name: str) -> str:
    """The same for the same name."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


@dataclass
class Repo:
    """One repository. Times are epoch seconds."""

    full_name: str = "acme/api"
    id: int = 1
    private: bool = False
    has_issues: bool = True
    pulls: dict[int, Json] = field(default_factory=dict)
    pull_commits: dict[int, list[Json]] = field(default_factory=dict)
    reviews: dict[int, list[Json]] = field(default_factory=dict)
    issues: dict[int, Json] = field(default_factory=dict)
    deployments: dict[int, Json] = field(default_factory=dict)
    statuses: dict[int, list[Json]] = field(default_factory=dict)
    runs: dict[int, Json] = field(default_factory=dict)
    releases: dict[int, Json] = field(default_factory=dict)
    commits: dict[str, Json] = field(default_factory=dict)
    head: str | None = None
    refs: dict[str, tuple[str, str]] = field(default_factory=dict)
    tags: dict[str, Json] = field(default_factory=dict)

    def pull(self, number: int, updated: float, *, merged: float | None = None, **more: Any) -> Json:
        """Add a pull request, or change it."""
        record = self.pulls.get(number) or deepcopy(RECORDED["pull"])
        record |= {"number": number, "id": 9000 + number, "updated_at": stamp(updated)}
        record.setdefault("_made", stamp(updated))
        record |= {"created_at": record["_made"], "merged_at": stamp(merged) if merged else None, **more}
        record["merge_commit_sha"] = sha(f"merge {number}")
        self.pulls[number] = record
        self.pull_commits.setdefault(number, [made_commit(f"pull {number}", updated - 60)])
        review = deepcopy(RECORDED["review"]) | {"id": 100 + number, "submitted_at": stamp(updated - 30)}
        self.reviews.setdefault(number, [review])
        self.issues[number] = {
            **deepcopy(RECORDED["issue"]), "number": number, "updated_at": stamp(updated), "pull_request": {"url": ""},
        }  # fmt: skip
        return record

    def issue(self, number: int, updated: float, *, labels: Sequence[str] = (), **more: Any) -> Json:
        """Add an issue, or change it."""
        record = self.issues.get(number) or deepcopy(RECORDED["issue"])
        record |= {"number": number, "id": 7000 + number, "updated_at": stamp(updated), **more}
        record["labels"] = [{"id": 1, "name": name} for name in labels]
        self.issues[number] = record
        return record

    def deployment(self, id_: int, created: float, *states: tuple[str, float], moves: bool = True) -> Json:
        """Add a deployment with its statuses, oldest first. moves: its own time changes with them."""
        times = [created, *(at for _, at in states)]
        record: Json = deepcopy(RECORDED["deployment"]) | {"id": id_, "created_at": stamp(created)}
        record["updated_at"] = stamp(max(times) if moves else created)
        self.deployments[id_] = record
        self.statuses[id_] = [
            deepcopy(RECORDED["status"]) | {"id": id_ * 10 + number, "state": state, "created_at": stamp(at)}
            for number, (state, at) in enumerate(states)
        ]
        return record

    def run(self, id_: int, created: float, updated: float | None = None, **more: Any) -> Json:
        """Add a run of a workflow, or change it."""
        record: Json = deepcopy(RECORDED["run"]) | {"id": id_, "created_at": stamp(created)}
        record |= {"updated_at": stamp(created if updated is None else updated), "run_attempt": 1, **more}
        self.runs[id_] = record
        return record

    def release(self, id_: int, created: float, **more: Any) -> Json:
        """Add a release, or change it."""
        record: Json = deepcopy(RECORDED["release"]) | {"id": id_, "tag_name": f"v{id_}"}
        record |= {"created_at": stamp(created), "published_at": stamp(created), **more}
        self.releases[id_] = record
        return record

    def commit(self, name: str, at: float, *parents: str, message: str | None = None) -> str:
        """Add a commit on top of the branch, or of the commits named."""
        over = [sha(one) for one in parents] or ([self.head] if self.head else [])
        made = made_commit(name, at, message or f"commit {name}\n\nBody", over)
        self.commits[made["sha"]] = made
        self.head = made["sha"]
        return str(made["sha"])

    def tag(self, name: str, target: str, *, tagged: float | None = None) -> None:
        """Set a tag on a commit; annotated if it is told when."""
        if tagged is None:
            self.refs[name] = (target, "commit")
            return
        made = deepcopy(RECORDED["tag"]) | {"tag": name, "sha": sha(f"tag {name} {target} {tagged}")}
        made |= {"object": {"type": "commit", "sha": target}}
        made["tagger"] = {"name": "Mona", "email": "mona@example.com", "date": stamp(tagged)}
        self.tags[made["sha"]] = made
        self.refs[name] = (made["sha"], "tag")

    def reached(self, tip: str | None) -> set[str]:
        """What a commit reaches."""
        found: set[str] = set()
        waiting = [tip] if tip else []
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += [parent["sha"] for parent in self.commits[one]["parents"]]
        return found


def made_commit(name: str, at: float, message: str = "Change", parents: Iterable[str] = ()) -> Json:
    """A commit as the API lists it."""
    made: Json = deepcopy(RECORDED["commit"]) | {"sha": sha(name), "parents": [{"sha": one} for one in parents]}
    for role in ("author", "committer"):
        made["commit"][role] = {"name": "Mona", "email": "Mona@example.com", "date": stamp(at)}
    made["commit"]["message"] = message
    return made


class Hub:
    """The API; an instance is the `app` of a server."""

    def __init__(self, *repos: Repo) -> None:
        self.repos = list(repos)
        self.renamed: dict[str, int] = {}
        """Old names and the ids of repositories."""
        self.scopes: str | None = "repo, read:org"
        self.cap = 1000
        self.before: Callable[[Request], None] = lambda _: None
        """Called with each request before it is answered."""
        self.tokens = 0
        """How many were given to the App."""
        self.expires = stamp(2**32 - 1)
        self.proofs: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.before(request)
        answer = self._answer(request)
        headers: dict[str, str | None] = {
            "X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4990", "X-RateLimit-Reset": "4102444800",
            "X-RateLimit-Resource": "core", "X-OAuth-Scopes": self.scopes, **answer.headers,
        }  # fmt: skip
        etag = f'W/"{hashlib.sha256(answer.body + str(headers.get("Link")).encode()).hexdigest()[:32]}"'
        if answer.status == 200:
            headers["ETag"] = etag
            if request.headers.get("if-none-match") == etag:
                return Response(304, headers, content=b"")
        return Response(answer.status, headers, answer.json)

    def _answer(self, request: Request) -> Response:
        if request.method == "POST":
            self.tokens += 1
            self.proofs.append(request.headers.get("authorization", ""))
            return Response(201, json={"token": f"ghs_installation_{self.tokens}", "expires_at": self.expires})
        if request.path == "/rate_limit":
            return Response(json={"resources": {"core": {"limit": 5000, "remaining": 4990, "reset": 4102444800}}})
        if request.path == "/user":
            return Response(json=RECORDED["deployment"]["creator"])
        found = re.fullmatch(r"/repos/([^/]+/[^/]+)(?:/(.*))?|/repositories/(\d+)(?:/(.*))?", request.path)
        if found is None:
            return _nothing()
        name, rest = found[1], found[2] or found[4] or ""
        for repo in self.repos:
            if repo.full_name == name or str(repo.id) == found[3]:
                return self._of(repo, rest, request)
        if name in self.renamed:
            path = "/".join(part for part in ("repositories", str(self.renamed[name]), rest) if part)
            query = request.target.partition("?")[2]
            location = f"http://{request.host}/{path}{'?' if query else ''}{query}"
            return Response(301, {"Location": location}, {"message": "Moved Permanently", "url": location})
        return _nothing()

    def _of(self, repo: Repo, rest: str, request: Request) -> Response:  # noqa: C901, PLR0912 - the routes
        query = request.query
        match rest.split("/"):
            case [""]:
                own = {"id": repo.id, "full_name": repo.full_name, "private": repo.private}
                return Response(json=RECORDED["repository"] | own | {"has_issues": repo.has_issues})
            case ["pulls"]:
                return self._page(request, _shown(_ordered(repo.pulls, query)))
            case ["pulls", number, "commits"] if int(number) in repo.pulls:
                return self._page(request, repo.pull_commits[int(number)][:250])
            case ["pulls", number, "reviews"] if int(number) in repo.pulls:
                return self._page(request, repo.reviews[int(number)])
            case ["pulls", number]:
                return _one(repo.pulls, number)
            case ["issues"]:
                if not repo.has_issues:
                    return Response(410, json={"message": "Issues are disabled for this repo"})
                listed = [_placed(repo, one) for one in _ordered(repo.issues, query)]
                return self._page(request, [one for one in listed if one["updated_at"] >= query.get("since", "")])
            case ["issues", number] if int(number) in repo.issues:
                return Response(json=_placed(repo, repo.issues[int(number)]))
            case ["deployments"]:
                return self._page(request, [repo.deployments[id_] for id_ in sorted(repo.deployments, reverse=True)])
            case ["deployments", id_, "statuses"] if int(id_) in repo.deployments:
                return self._page(request, repo.statuses[int(id_)])
            case ["deployments", id_]:
                return _one(repo.deployments, id_)
            case ["actions", "runs"]:
                return self._runs(repo, request)
            case ["actions", "runs", id_]:
                return _one(repo.runs, id_)
            case ["releases"]:
                listed = sorted(repo.releases.values(), key=lambda one: (one["created_at"], one["id"]), reverse=True)
                return self._page(request, listed)
            case ["releases", id_]:
                return _one(repo.releases, id_)
            case ["commits"] if repo.head is None:
                return Response(409, json={"message": "Git Repository is empty."})
            case ["commits"]:
                reached = _sorted(repo, repo.reached(query.get("sha", repo.head)), reverse=True)
                since = query.get("since", "")
                return self._page(request, [one for one in reached if one["commit"]["committer"]["date"] >= since])
            case ["compare", both]:
                return self._compare(repo, request, *both.split("..."))
            case ["git", "commits", one] if one in repo.commits:
                return Response(json=RECORDED["git_commit"] | repo.commits[one]["commit"] | {"sha": one})
            case ["git", "tags", one] if one in repo.tags:
                return Response(json=repo.tags[one])
            case ["git", "matching-refs", "tags"]:
                return Response(json=[_ref(name, *repo.refs[name]) for name in sorted(repo.refs)])  # not in pages
            case ["git", "ref", "tags", *name] if "/".join(name) in repo.refs:
                return Response(json=_ref("/".join(name), *repo.refs["/".join(name)]))
            case ["tags"]:
                return self._page(request, [{"name": name} for name in sorted(repo.refs, reverse=True)])
            case _:
                return _nothing()

    def _runs(self, repo: Repo, request: Request) -> Response:
        listed = sorted(repo.runs.values(), key=lambda one: (one["created_at"], one["id"]), reverse=True)
        wanted = request.query.get("created")
        if wanted is None:
            return self._page(request, listed, "workflow_runs")
        low, _, high = wanted.removeprefix(">=").partition("..")
        found = [one for one in listed if low <= one["created_at"] and (not high or one["created_at"] <= high)]
        return self._page(request, found, "workflow_runs", most=self.cap)

    def _compare(self, repo: Repo, request: Request, base: str, head: str) -> Response:
        if base not in repo.commits or head not in repo.commits:
            return _nothing()
        ours, theirs = repo.reached(base), repo.reached(head)
        if not ours & theirs:
            return Response(404, json={"message": f"No common ancestor between {base} and {head}."})
        new = _sorted(repo, theirs - ours)
        more = {"total_commits": len(new), "ahead_by": len(new), "behind_by": len(ours - theirs), "files": []}
        return self._page(request, new, "commits", more=more)

    def _page(
        self, request: Request, records: Sequence[Json], key: str | None = None, *, most: int = 10**9,
        more: Json | None = None,
    ) -> Response:  # fmt: skip
        size, number = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
        reachable = records[:most]
        shown = reachable[(number - 1) * size : number * size]
        last = max(-(-len(reachable) // size), 1)
        base = f"http://{request.host}{request.path}?" + "".join(
            f"{name}={value}&" for name, value in request.query.items() if name != "page"
        ).replace(":", "%3A").replace(">", "%3E").replace("+", "%2B")  # fmt: skip
        links = []
        if number < last:
            links += [f'<{base}page={number + 1}>; rel="next"', f'<{base}page={last}>; rel="last"']
        if number > 1:
            links += [f'<{base}page=1>; rel="first"', f'<{base}page={number - 1}>; rel="prev"']
        headers = {"Link": ", ".join(links)} if links else {}
        if key is None:
            return Response(200, headers, shown)
        return Response(200, headers, {"total_count": len(records), **(more or {}), key: shown})


def _ref(name: str, one: str, kind: str) -> Json:
    return {"ref": f"refs/tags/{name}", "node_id": "", "url": "", "object": {"sha": one, "type": kind, "url": ""}}


def _nothing() -> Response:
    return Response(404, json={"message": "Not Found", "documentation_url": "https://docs.github.com/rest"})


def _one(records: dict[int, Json], number: str) -> Response:
    return Response(json=records[int(number)]) if int(number) in records else _nothing()


def _ordered(records: dict[int, Json], query: dict[str, str]) -> list[Json]:
    by = f"{query.get('sort', 'created')}_at"
    return sorted(
        records.values(), key=lambda one: (one[by], one["number"]), reverse=query.get("direction", "desc") == "desc"
    )


def _shown(records: Iterable[Json]) -> list[Json]:
    return [{name: value for name, value in one.items() if name != "_made"} for one in records]


def _placed(repo: Repo, record: Json) -> Json:
    return (
        {"repository_url": f"https://api.github.com/repos/{repo.full_name}"}
        | {name: value for name, value in record.items() if name != "repository_url"}
        | ({} if "moved_to" not in record else {"repository_url": f"https://api.github.com/repos/{record['moved_to']}"})
    )


def _sorted(repo: Repo, shas: Iterable[str], *, reverse: bool = False) -> list[Json]:
    found = [repo.commits[one] for one in shas]
    return sorted(found, key=lambda one: (one["commit"]["committer"]["date"], one["sha"]), reverse=reverse)
