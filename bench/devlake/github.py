"""Our rows of GitHub in the columns of DevLake's tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from bench.devlake.silver import NOTHING, Made, github_issues, pulls, runs
from bench.devlake.tables import At, Case, Is, View, at
from tasks.sources.github import payloads


def tool_runs(case: Case, table: str) -> View:
    """Runs as they were extracted."""
    return View(
        ("id",),
        [
            {
                "id": str(made.raw["id"]),
                "name": row["name"],
                "head_branch": row["branch"],
                "head_sha": row["sha"],
                "run_number": row["number"],
                "event": row["event"],
                "status": row["original_status"],
                "conclusion": row["original_result"],
                "display_title": row["title"],
                "html_url": row["url"],
                "github_created_at": at(row["created_ts"]),
                "github_updated_at": at(_updated(made)),
                "run_attempt": row["attempt"],
                "run_started_at": at(row["started_ts"]),
                "type": row["type"],
                "environment": row["environment"],
            }
            for made, row in _rows(runs(case, production="no_prod" not in table))
        ],
    )


def pipelines(case: Case, _: str) -> View:
    """Runs in the domain model."""
    return View(
        ("id",),
        [
            {
                "id": _run_id(case, made),
                "name": row["name"],
                "display_title": row["title"],
                "result": row["result"],
                "status": row["status"],
                "original_status": row["original_status"],
                "original_result": row["original_result"],
                "type": row["type"],
                "environment": row["environment"],
                "duration_sec": row["duration_seconds"],
                "queued_duration_sec": row["queued_seconds"],
                "created_date": at(row["created_ts"]),
                "started_date": at(row["started_ts"]),
                "finished_date": at(row["finished_ts"]),
                "cicd_scope_id": _repository(case),
            }
            for made, row in _rows(runs(case, production=True))
        ],
    )


def pipeline_commits(case: Case, _: str) -> View:
    """What was checked out for each run."""
    return View(
        ("pipeline_id",),
        [
            {
                "pipeline_id": _run_id(case, made),
                "commit_sha": row["sha"],
                "branch": row["branch"],
                "display_title": row["title"],
                "url": row["url"],
                "repo_url": row["repository_url"],
                "repo_id": _repository(case),
            }
            for made, row in _rows(runs(case, production=True))
        ],
    )


def tool_pulls(case: Case, _: str) -> View:
    """Pull requests as they were extracted."""
    return View(
        ("number",),
        [
            {
                "number": str(row["number"]),
                "title": row["subject"],
                "url": row["url"],
                "author_name": row["author"] or "",
                "github_created_at": at(row["created_ts"]),
                "github_updated_at": at(_updated(made)),
                "merged_at": at(row["merged_ts"]),
                **_commits_of(row),
            }
            for made, row in _rows(pulls(case))
        ],
        frozenset(str(one.raw["number"]) for one in pulls(case) if one.row.get("none")),
    )


def pull_requests(case: Case, _: str) -> View:
    """Pull requests in the domain model."""
    return View(
        ("pull_request_key",),
        [
            {
                "pull_request_key": str(row["number"]),
                "id": _pull_id(case, made),
                "status": "MERGED",
                "title": row["subject"],
                "url": row["url"],
                "author_name": row["author"] or "",
                "created_date": at(row["created_ts"]),
                "merged_date": at(row["merged_ts"]),
                **_commits_of(row),
            }
            for made, row in _rows(pulls(case))
        ],
        frozenset(str(one.raw["number"]) for one in pulls(case) if one.row.get("none")),
    )


def pull_commits(case: Case, table: str) -> View:
    """The commits of pull requests, as their payloads hold them; Silver keeps their shas."""
    commits: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for raw, asked in case.raw("_pull_request_commits"):
        commits[str(asked.get("GithubId"))].append(raw)
    prefix = "" if table.startswith("_tool") else f"github:GithubPullRequest:{case.connection}:"
    return View(
        ("pull_request_id", "commit_sha"),
        [
            {
                "pull_request_id": f"{prefix}{name}",
                "commit_sha": commit["sha"],
                "commit_authored_date": At(commit["author_ts"]),
            }
            for name, of in commits.items()
            for commit in payloads.pull({}, of, (), None)["commits"]
        ],
    )


def pull_labels(case: Case, table: str) -> View:
    """Labels of pull requests."""
    is_tool = table.startswith("_tool")
    key = "pull_id" if is_tool else "pull_request_id"
    made = pulls(case)
    names = {one.row["id"]: str(one.raw["id"]) if is_tool else _pull_id(case, one) for one in made}
    return View(
        (key, "label_name"),
        [{key: names[row["id"]], "label_name": label} for _, row in _rows(made) for label in row["labels"]],
        frozenset(names[one.row["id"]] for one in made if one.row.get("none")),
    )


def tool_issues(case: Case, _: str) -> View:
    """Issues as they were extracted."""
    return View(
        ("github_id",),
        [
            {
                "github_id": str(made.raw["id"]),
                "number": row["key"],
                "title": row["title"],
                "url": row["url"],
                "state": row["original_status"],
                "type": ",".join(row["labels"]),
                "closed_at": at(row["resolved_ts"]),
                "github_created_at": at(row["created_ts"]),
                "github_updated_at": at(_updated(made)),
                "lead_time_minutes": lead_minutes(row),
            }
            for made, row in _rows(github_issues(case, ""))
        ],
    )


def issues(case: Case, _: str) -> View:
    """Issues in the domain model; theirs tells types, ours only failures."""
    incidents = github_issues(case, case.options.get("IssueTypeIncident") or NOTHING)
    failed = {made.row["id"] for made in incidents if not made.row.get("none")}
    return View(
        ("id",),
        [
            {
                "id": _issue_id(case, made),
                "issue_key": row["key"],
                "title": row["title"],
                "url": row["url"],
                "type": Is("INCIDENT", row["id"] in failed),
                "status": row["status"],
                "original_status": row["original_status"],
                "resolution_date": at(row["resolved_ts"]),
                "created_date": at(row["created_ts"]),
                "updated_date": at(_updated(made)),
                "lead_time_minutes": lead_minutes(row),
            }
            for made, row in _rows(github_issues(case, ""))
        ],
    )


def issue_labels(case: Case, table: str) -> View:
    """Labels of issues."""
    is_tool = table.startswith("_tool")
    return View(
        ("issue_id", "label_name"),
        [
            {"issue_id": str(made.raw["id"]) if is_tool else _issue_id(case, made), "label_name": label}
            for made, row in _rows(github_issues(case, ""))
            for label in row["labels"]
        ],
    )


def board_issues(case: Case, _: str) -> View:
    """Which issues there are."""
    made = [_issue_id(case, one) for one, _ in _rows(github_issues(case, ""))]
    return View(("issue_id",), [{"issue_id": one, "board_id": _repository(case)} for one in made])


def lead_minutes(row: Mapping[str, Any]) -> int | None:
    """From the creation of an issue to its resolution, as they count it."""
    return None if row["resolved_ts"] is None else (row["resolved_ts"] - row["created_ts"]) // 60


def _commits_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "merge_commit_sha": row["merge_sha"],
        "head_ref": row["head"],
        "base_ref": row["base"],
        "base_commit_sha": row["base_sha"],
        "head_commit_sha": row["head_sha"],
        "is_draft": row["draft"],
    }


def _rows(made: Sequence[Made]) -> list[tuple[Made, Mapping[str, Any]]]:
    return [(one, one.row) for one in made if not one.row.get("none")]


def _updated(made: Made) -> int:
    return int(made.updated_on.timestamp())


def _repository(case: Case) -> str:
    return f"github:GithubRepo:{case.connection}:{case.options.get('GithubId')}"


def _run_id(case: Case, made: Made) -> str:
    return f"github:GithubRun:{case.connection}:{case.options.get('GithubId')}:{made.raw['id']}"


def _pull_id(case: Case, made: Made) -> str:
    return f"github:GithubPullRequest:{case.connection}:{made.raw['id']}"


def _issue_id(case: Case, made: Made) -> str:
    return f"github:GithubIssue:{case.connection}:{made.raw['id']}"
