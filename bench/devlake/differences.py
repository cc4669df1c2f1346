"""Where our model differs from DevLake's on purpose. docs/devlake.md says the same to people; any other is a defect."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bench.devlake.dora import FIRST_OF_LINE
from bench.devlake.tables import At, Row, seconds

ROW: Final = "(row)"
"""Stands for a column where the whole row is missing."""


class Difference(NamedTuple):
    """One cell that is not what ours says."""

    table: str
    column: str
    theirs: Row
    ours: Mapping[str, Any] | None
    """None: we have no such row."""
    is_none: bool = False
    """By our rules, because it is none of what the dataset holds."""


class Known(NamedTuple):
    """One kind of difference that is meant."""

    reason: str
    tables: tuple[str, ...]
    columns: tuple[str, ...]
    applies: Callable[[Difference], bool]

    def explains(self, found: Difference) -> bool:
        """Whether `found` is of this kind."""
        is_there = found.table.startswith(self.tables) and found.column in self.columns
        return is_there and self.applies(found)


def _unmerged(found: Difference) -> bool:
    theirs = found.theirs
    return found.is_none and (theirs.get("merged_date") or theirs.get("merged_at") or "") == ""


def _under_way(found: Difference) -> bool:
    return found.theirs.get("status") == "IN_PROGRESS"


def _renamed(found: Difference) -> bool:
    return found.theirs[found.column] not in ("TODO", "IN_PROGRESS", "DONE")


def _left_out(found: Difference) -> bool:
    return found.theirs[found.column] == ""


def _unrecorded(found: Difference) -> bool:
    return found.ours is not None and found.ours["url"] == ""


def _first(found: Difference) -> bool:
    return found.theirs["deployment_commit_id"] == "" and found.ours is not None and found.ours[FIRST_OF_LINE] is True


def _lost_milliseconds(found: Difference) -> bool:
    told = seconds(found.theirs[found.column])
    ours = (found.ours or {}).get(found.column)
    return told is not None and isinstance(ours, At) and 0 < ours.ts - told // 1 <= 1


KNOWN: Final = (
    Known(
        "a pull request that is not merged is no change",
        ("pull_request", "_tool_github_pull_request"),
        (ROW,),
        _unmerged,
    ),
    Known(
        "what still goes on has no end and no duration yet",
        ("cicd_pipelines", "cicd_tasks"),
        ("finished_date", "duration_sec"),
        _under_way,
    ),
    Known(
        "their test renames statuses by configuration; ours are those of the category",
        ("issues", "_tool_jira_issues"),
        ("status", "std_status"),
        _renamed,
    ),
    Known(
        "they leave the time in the queue out",
        ("cicd_pipelines",),
        ("queued_duration_sec",),
        _left_out,
    ),
    Known(
        "their address is the job's and the number, ours the build's, which was not recorded",
        ("cicd_pipeline_commits",),
        ("url",),
        _unrecorded,
    ),
    Known(
        "the first deployment of a line delivers what it has; theirs delivers nothing",
        ("project_pr_metrics",),
        ("deployment_commit_id", "pr_deployed_date", "pr_deploy_time", "pr_cycle_time"),
        _first,
    ),
    Known(
        "they drop the milliseconds of a build's start before they add its duration",
        ("cicd_pipelines", "cicd_tasks"),
        ("finished_date",),
        _lost_milliseconds,
    ),
)


def reason(found: Difference) -> str | None:
    """Why the difference is meant; None if it is not."""
    return next((one.reason for one in KNOWN if one.explains(found)), None)
