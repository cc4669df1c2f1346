"""Our rows of Jira in the columns of DevLake's tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.devlake.github import lead_minutes
from bench.devlake.silver import Made, jira_issues
from bench.devlake.tables import At, Case, View, at
from tasks.transforms import reading


def tool_issues(case: Case, _: str) -> View:
    """Issues as they were extracted."""
    return View(
        ("issue_id",),
        [
            {
                "issue_id": made.raw["id"],
                "issue_key": row["key"],
                "summary": row["title"],
                "type": row["type"],
                "status_name": row["original_status"],
                "std_status": row["status"],
                "priority_name": row["priority"],
                "resolution_date": at(row["resolved_ts"]),
                "created": at(row["created_ts"]),
                "updated": at(int(made.updated_on.timestamp())),
                "lead_time_minutes": lead_minutes(row),
                "changelog_total": len(made.payload["issue"]["changelog"]["histories"]),
            }
            for made, row in _made(case)
        ],
    )


def issues(case: Case, _: str) -> View:
    """Issues in the domain model."""
    return View(
        ("id",),
        [
            {
                "id": f"jira:JiraIssue:{case.connection}:{made.raw['id']}",
                "url": row["url"],
                "issue_key": row["key"],
                "title": row["title"],
                "original_type": row["type"],
                "status": row["status"],
                "original_status": row["original_status"],
                "priority": row["priority"],
                "component": ",".join(row["components"]),
                "resolution_date": at(row["resolved_ts"]),
                "created_date": at(row["created_ts"]),
                "updated_date": at(int(made.updated_on.timestamp())),
                "lead_time_minutes": lead_minutes(row),
            }
            for made, row in _made(case)
        ],
    )


def board_issues(case: Case, table: str) -> View:
    """Which issues there are."""
    prefix = "" if table.startswith("_tool") else f"jira:JiraIssue:{case.connection}:"
    return View(("issue_id",), [{"issue_id": f"{prefix}{made.raw['id']}"} for made, _ in _made(case)])


def changelogs(case: Case, _: str) -> View:
    """The history of each issue, which stays in Bronze."""
    return View(
        ("changelog_id",),
        [
            {
                "changelog_id": str(history["id"]),
                "issue_id": made.raw["id"],
                "created": At(reading.moment(history, "created")),
            }
            for made, history in _histories(case)
        ],
    )


def changelog_items(case: Case, _: str) -> View:
    """What was changed, which stays in Bronze."""
    return View(
        ("changelog_id", "field"),
        [
            {
                "changelog_id": str(history["id"]),
                "field": item["field"],
                "field_type": item.get("fieldtype") or "",
                "field_id": item.get("fieldId") or "",
                "from_value": item.get("from") or "",
                "from_string": item.get("fromString") or "",
                "to_value": item.get("to") or "",
                "to_string": item.get("toString") or "",
            }
            for _, history in _histories(case)
            for item in history["items"]
        ],
    )


def _made(case: Case) -> list[tuple[Made, Mapping[str, Any]]]:
    return [(one, one.row) for one in jira_issues(case)]


def _histories(case: Case) -> Iterator[tuple[Made, Mapping[str, Any]]]:
    for made, _ in _made(case):
        for history in made.payload["issue"]["changelog"]["histories"]:
            yield made, history
