"""Each expected table against our view of it, cell by cell."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.devlake import dora, github, jenkins, jira
from bench.devlake.differences import ROW, Difference, reason
from bench.devlake.tables import Case, View, read, says

VIEWS: Final[Mapping[str, Mapping[str, Callable[[Case, str], View]]]] = {
    "github": {
        "_tool_github_runs": github.tool_runs,
        "cicd_pipelines": github.pipelines,
        "cicd_pipeline_commits": github.pipeline_commits,
        "_tool_github_pull_requests": github.tool_pulls,
        "_tool_github_pull_request_labels": github.pull_labels,
        "_tool_github_pull_request_commits": github.pull_commits,
        "pull_requests": github.pull_requests,
        "pull_request_commits": github.pull_commits,
        "pull_request_labels": github.pull_labels,
        "_tool_github_issues": github.tool_issues,
        "_tool_github_issue_labels": github.issue_labels,
        "issues": github.issues,
        "issue_labels": github.issue_labels,
        "board_issues": github.board_issues,
    },
    "jenkins": {
        "_tool_jenkins_builds": jenkins.tool_builds,
        "_tool_jenkins_build_commits": jenkins.tool_commits,
        "_tool_jenkins_stages": jenkins.tool_stages,
        "cicd_pipelines": jenkins.pipelines,
        "cicd_pipeline_commits": jenkins.pipeline_commits,
        "cicd_tasks": jenkins.build_tasks,
        "cicd_tasks_after_stages": jenkins.stage_tasks,
    },
    "jira": {
        "_tool_jira_issues": jira.tool_issues,
        "_tool_jira_board_issues": jira.board_issues,
        "_tool_jira_issue_changelogs": jira.changelogs,
        "_tool_jira_issue_changelog_items": jira.changelog_items,
        "issues": jira.issues,
        "board_issues": jira.board_issues,
    },
    "dora": {
        "cicd_deployments": dora.deployments,
        "cicd_deployment_commits": dora.deployments,
        "cicd_deployment_commits_after": dora.previous,
        "project_pr_metrics": dora.lead_times,
        "project_incident_deployment_relationships": dora.failures,
    },
}
"""By plugin and by how the table's name begins; the longest beginning counts."""


@dataclass
class Result:
    """What came of one table."""

    table: str
    rows: int
    columns: tuple[str, ...] = ()
    cells: int = 0
    equal: int = 0
    known: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    aside: str = ""
    """Why it was not compared."""


def compare(case: Case) -> list[Result]:
    """All tables of `case`."""
    return [_compare(case, file, columns, ignored) for file, columns, ignored in case.expected]


def _compare(case: Case, file: str, columns: Sequence[str] | None, ignored: Sequence[str]) -> Result:
    table = Path(file).stem
    theirs = read(case.folder / file)
    view_of = _view_of(case.plugin, table)
    if view_of is None or not case.inputs:
        return Result(table, len(theirs), aside="our model has no such thing")
    result = Result(table, len(theirs))
    case.met.clear()
    try:
        view = view_of(case, table)
    except (KeyError, ValueError) as error:
        result.unexplained.append(f"our rows cannot be made: {type(error).__name__}: {error}")
        return result
    if not view.rows and not case.met:
        return Result(table, len(theirs), aside="made of records or tables that our connectors do not fetch")
    ours = {tuple(str(row[name]) for name in view.key): row for row in view.rows}
    shown: dict[str, None] = {}
    for row in theirs:
        key = tuple(row[name] for name in view.key)
        mine = ours.pop(key, None)
        if mine is None:
            _note(result, Difference(table, ROW, row, None, key[0] in view.none), "/".join(key))
            continue
        for column, value in mine.items():
            is_asserted = columns is None or column in columns or column in view.key
            if column not in row or column in ignored or not is_asserted:
                continue
            shown[column] = None
            result.cells += 1
            if says(row[column] or "", value):
                result.equal += 1
            else:
                _note(result, Difference(table, column, row, mine), "/".join(key))
    for key in ours:
        result.unexplained.append(f"{'/'.join(key)}: theirs has no such row")
    result.columns = tuple(shown)
    return result


def _view_of(plugin: str, table: str) -> Callable[[Case, str], View] | None:
    views = VIEWS.get(plugin, {})
    fitting = [name for name in views if table == name or (table.startswith(name) and _is_variant(table, name))]
    return views[max(fitting, key=len)] if fitting else None


def _is_variant(table: str, name: str) -> bool:
    """Whether the rest of the name only tells which variant of the table it is."""
    rest = table[len(name) :]
    return rest.startswith(("_no_", "_after", "_before", "_for_", "_with_", "_multibranch", "_bot"))


def _note(result: Result, found: Difference, key: str) -> None:
    if why := reason(found):
        result.known[why] += 1
        return
    said = "" if found.ours is None else f" theirs {found.theirs[found.column]!r}, ours {found.ours[found.column]!r}"
    result.unexplained.append(f"{key}: {found.column}{said or ': we have no such row'}")
