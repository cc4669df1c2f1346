"""DevLake's derived tables, by our functions from its own domain tables.

Their tables are put into the shapes of our rows and histories here; what is decided is decided by the product.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any, Final

from bench.devlake.tables import Case, Row, View, at, seconds
from tasks.transforms import counting, incidents, silver_github
from tasks.transforms.counting import Rules
from tasks.transforms.deliveries import delivered
from tasks.transforms.history import Change, Deployment, History, Incident, Pull
from tasks.transforms.sequence import Ended, previous_success

SUCCESS: Final = "SUCCESS"
PRODUCTION: Final = "PRODUCTION"
FIRST_OF_LINE: Final = "is first of its line"
"""No column of theirs."""


def deployments(case: Case, table: str) -> View:
    """Which pipelines are deployments, and to where. One row for each commit, or for each pipeline."""
    pipelines = {row["id"]: row for row in case.table("cicd_pipelines")}
    tasks: dict[str, list[Row]] = defaultdict(list)
    for task in case.table("cicd_tasks"):
        tasks[task["pipeline_id"]].append(task)
    made = {}
    for name, row in pipelines.items():
        is_mine = row["cicd_scope_id"] in _scopes(case, "cicd_scopes")
        if is_mine and row["result"] in counting.FINISHED and counting.is_deployment(row, tasks[name]):
            made[name] = _deployment(row, counting.environment(row, tasks[name]))
    if table.startswith("cicd_deployments"):
        return View(("id",), [{**row, "id": name} for name, row in made.items()])
    rows = []
    for commit in case.table("cicd_pipeline_commits"):
        if told := made.get(commit["pipeline_id"]):
            of = {"cicd_deployment_id": commit["pipeline_id"], "commit_sha": commit["commit_sha"]}
            url = commit["repo_url"]
            rows.append({**told, **of, "id": f"{commit['pipeline_id']}:{url}", "repo_url": url})
    return View(("id",), rows)


def _deployment(row: Row, environment: str) -> dict[str, Any]:
    ended = _ts(row, "finished_date")
    started = _ts(row, "started_date")
    if started is None and ended is not None and row.get("duration_sec"):
        started = ended - int(float(row["duration_sec"]))
    return {
        "cicd_scope_id": row["cicd_scope_id"],
        "result": row["result"],
        "environment": environment,
        "started_date": at(started),
        "finished_date": at(ended),
    }


def previous(case: Case, _: str) -> View:
    """Each deployment with the successful one before it; those that are none keep what they had."""
    rows = case.table("cicd_deployment_commits")
    before = _previous(case, rows)
    return View(
        ("id",),
        [{"id": row["id"], "prev_success_deployment_commit_id": before.get(row["id"], "")} for row in rows],
    )


def _previous(case: Case, rows: Sequence[Row]) -> dict[str, str]:
    scopes = _scopes(case, "cicd_scopes")
    ended = []
    for row in rows:
        line = (row["cicd_scope_id"], row["repo_url"], row["environment"])
        is_one = row["cicd_scope_id"] in scopes and all(line)
        ended.append(
            Ended(row["id"], line if is_one else None, seconds(row["finished_date"]), row["result"] == SUCCESS)
        )
    return previous_success(ended)


def lead_times(case: Case, _: str) -> View:
    """Where the time of each merged pull request went, in minutes."""
    commits, comments = _by(case, "pull_request_commits"), _by(case, "pull_request_comments")
    mine = _scopes(case, "repos")
    rows, merged = [], []
    for record in case.table("pull_requests"):
        payload = _pull(record, commits[record["id"]], comments[record["id"]])
        row = silver_github.pull_request(payload, Rules())
        if row is not None and record["base_repo_id"] in mine:
            merged.append(Pull(record["id"], 0, row["merge_sha"], row["authored_ts"], row["merged_ts"]))
            rows.append((record["id"], row, payload))
    shipped = _shipped(case, merged)
    return View(("id",), [_metrics(case, name, row, payload, shipped.get(name)) for name, row, payload in rows])


def _metrics(
    case: Case, name: str, row: Mapping[str, Any], payload: Mapping[str, Any], deployed: tuple[str, int, bool] | None
) -> dict[str, Any]:
    created, merged, reviewed = row["created_ts"], row["merged_ts"], row["first_review_ts"]
    began = row["authored_ts"] if row["commits"] else None
    first = [one["sha"] for one in payload["commits"] if one["author_ts"] == began]
    review = [one["id"] for one in payload["reviews"] if _moment(one["submitted_at"]) == reviewed]
    name_of, ended, is_first = deployed or ("", None, False)
    coding, deploying = _minutes(began, created), _minutes(merged, ended)
    open_for = _minutes(created, merged)
    return {
        "id": name,
        "project_name": case.options.get("ProjectName"),
        "first_commit_sha": first[0] if first else "",
        "first_commit_authored_date": at(began),
        "pr_coding_time": coding,
        "first_review_id": review[0] if review else "",
        "first_comment_date": at(reviewed),
        "pr_pickup_time": _minutes(created, reviewed),
        "pr_review_time": _minutes(reviewed, merged),
        "deployment_commit_id": name_of,
        "pr_deploy_time": deploying,
        "pr_cycle_time": sum(filter(None, (coding, open_for, deploying))),
        "pr_created_date": at(created),
        "pr_merged_date": at(merged),
        "pr_deployed_date": at(ended),
        FIRST_OF_LINE: is_first,
    }


def _shipped(case: Case, pulls: Sequence[Pull]) -> dict[str, tuple[str, int, bool]]:
    """The first deployment of each pull request, when it ended, and whether none was before it.

    Their table of differences between deployments stands for the graph: what a deployment adds is its parent.
    """
    scopes = _scopes(case, "cicd_scopes")
    rows = [row for row in case.table("cicd_deployment_commits") if row["cicd_scope_id"] in scopes]
    rows = [row for row in rows if row["result"] == SUCCESS and row["environment"] == PRODUCTION]
    told = {row["id"]: row for row in rows}
    parents: dict[str, set[str]] = defaultdict(set)
    added: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in case.table("commits_diffs"):
        added[one["new_commit_sha"], one["old_commit_sha"]].append(one["commit_sha"])
    for row in rows:
        before = told.get(row.get("prev_success_deployment_commit_id") or "")
        new, old = row["commit_sha"], before["commit_sha"] if before else ""
        parents[new] |= {*added[new, old], *([old] if old else [])} - {new}
    known = set(parents).union(*parents.values()) if parents else set()
    history = History(
        [Change(sha, sorted(parents[sha]), 0) for sha in sorted(known)],
        [
            Deployment(row["id"], row["commit_sha"], ended, _ts(row, "started_date"), row["environment"])
            for row in rows
            if (ended := _ts(row, "finished_date")) is not None
        ],
        [],
        pulls=pulls,
    )
    made = delivered(history)
    return {
        link["change"]: (
            link["deployment"],
            made.deployments[number].deployed_ts,
            not told[link["deployment"]].get("prev_success_deployment_commit_id"),
        )
        for number, link in made.links
        if link["kind"] == "change"
    }


def failures(case: Case, _: str) -> View:
    """The deployment that each incident is laid to."""
    project = case.options.get("ProjectName")
    scopes = _scopes(case, "cicd_scopes")
    told = [
        (ended, row)
        for row in case.table("cicd_deployment_commits")
        if row["cicd_scope_id"] in scopes and row["result"] == SUCCESS and row["environment"] == PRODUCTION
        if (ended := _ts(row, "finished_date")) is not None
    ]
    told.sort(key=lambda pair: (pair[0], pair[1]["id"]))
    lines = [
        incidents.Line(Deployment(row["cicd_deployment_id"], row.get("commit_sha", ""), ended), None)
        for ended, row in told
    ]
    laid = incidents.lay(_incidents(case), lines, 0)
    return View(
        ("id",),
        [
            {"id": one.incident.id, "project_name": project, "deployment_id": lines[one.failed].deployment.id}
            for one in laid
            if incidents.LAST in one.rules
        ],
    )


def _incidents(case: Case) -> list[Incident]:
    """Theirs, or the issues of the project's boards that are."""
    found = [
        Incident(row["id"], row.get("incident_key", ""), row["scope_id"], began)
        for row in case.table("incidents")
        if row["scope_id"] in _scopes(case, row["table"]) and (began := _ts(row, "created_date")) is not None
    ]
    boards = {row["issue_id"]: row["board_id"] for row in case.table("board_issues")}
    for row in () if found else case.table("issues"):
        board = boards.get(row["id"], "")
        is_mine = row["type"] == "INCIDENT" and board in _scopes(case, "boards")
        if is_mine and (began := _ts(row, "created_date")) is not None:
            found.append(Incident(row["id"], row.get("issue_key", ""), board, began))
    return found


def _pull(record: Row, commits: Sequence[Row], comments: Sequence[Row]) -> dict[str, Any]:
    """A row of theirs in the shape of our payload."""
    author = record.get("author_id") or None
    return {
        "pull": {
            "number": 0,
            "title": record.get("title", ""),
            "user": author and {"login": author},
            "created_at": _iso(record["created_date"]),
            "merged_at": _iso(record.get("merged_date", "")),
            "merge_commit_sha": record.get("merge_commit_sha", ""),
        },
        "commits": [{"sha": one["commit_sha"], "author_ts": _ts(one, "commit_authored_date") or 0} for one in commits],
        "reviews": [
            {"id": one["id"], "submitted_at": _iso(one["created_date"]), "user": {"login": one.get("account_id")}}
            for one in comments
        ],
    }


def _by(case: Case, table: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in case.table(table):
        found[row["pull_request_id"]].append(row)
    return found


def _scopes(case: Case, table: str) -> set[str]:
    project = case.options.get("ProjectName", "")
    mapped = case.table("project_mapping")
    return {row["row_id"] for row in mapped if row["project_name"] == project and row["table"] == table}


def _minutes(start: int | None, end: int | None) -> int | None:
    """As they count them: up to the next whole one, none if it would be less than nothing."""
    if start is None or end is None:
        return None
    minutes = ceil((end - start) / 60)
    return None if minutes < 0 else minutes


def _ts(row: Row, column: str) -> int | None:
    told = seconds(row.get(column))
    return None if told is None else int(told // 1)


def _moment(text: str | None) -> int | None:
    told = seconds(text)
    return None if told is None else int(told // 1)


def _iso(text: str) -> str | None:
    """One of their times in the form that an API tells it in."""
    told = seconds(text)
    return None if told is None else datetime.fromtimestamp(told, UTC).isoformat()
