"""Which repository of a service a deployment is of, and which change sets count for it. Pure.

A deployment of a repository's own source is of that repository. One of a job is of the repository that a revision of it
was checked out from, by its address; else of the one that has its commit, or a commit of its change sets; else of the
service's only repository. What then has none counts as a deployment of the service, and delivers nothing.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from config.scopes import address
from tasks.transforms.history import Deployment

Row = Mapping[str, Any]


def is_counted(row: Row) -> bool:
    """Whether it reached production, and succeeded."""
    return row.get("production", True) is not False and row.get("result", "success") == "success"


def carried(rows: Iterable[Row]) -> dict[str, list[str]]:
    """By `_id`, the commits of the change sets of each, and of those that failed since the last success before it.

    Jenkins lists what is new since the build before, whatever became of that one.
    """
    found: dict[str, list[str]] = {}
    pending: dict[tuple[str, str], list[str]] = {}
    for row in sorted(rows, key=lambda row: (row["deployed_ts"], row["_id"])):
        line = (row["scope"], row.get("environment") or "")
        commits = [*pending.get(line, ()), *(row.get("commits") or ())]
        found[row["_id"]] = commits
        pending[line] = [] if row.get("result", "success") == "success" else commits
    return found


def repository_of(
    row: Row, repositories: Mapping[str, Container[str]], commits: Mapping[str, Container[str]], changes: Sequence[str]
) -> tuple[str | None, str]:
    """Whose deployment `row`, one of a job, is, and of which commit of it.

    repositories: by origin its addresses; commits: by origin what is known to be a commit of it; changes: the commits
    of its change sets.
    """
    told = row.get("revisions") or [{"repository_url": row.get("repository_url"), "sha": row.get("target")}]
    for one in told:
        named = address(one.get("repository_url") or "")
        for origin, addresses in repositories.items():
            if named and named in addresses:
                return origin, one.get("sha") or ""
    shas = [one["sha"] for one in told if one.get("sha")]
    for origin, known in commits.items():
        if found := next((sha for sha in shas if sha in known), None):
            return origin, found
    for origin, known in commits.items():
        if any(sha in known for sha in changes):
            return origin, ""
    elsewhere = any(address(one.get("repository_url") or "") for one in told)
    if len(repositories) == 1 and not (elsewhere and any(repositories.values())):
        return next(iter(repositories)), shas[0] if shas else ""
    return None, shas[0] if shas else ""


def deployment(row: Row, target: str, commits: Sequence[str], *, job: bool) -> Deployment:
    """The row as a deployment; one of a job keeps the job's name, as its id is a number there."""
    return Deployment(
        row["id"],
        target,
        row["deployed_ts"],
        row.get("started_ts"),
        row.get("environment") or "",
        tuple(commits),
        row["scope"] if job else "",
        row.get("name") or "",
        row.get("url") or "",
    )
