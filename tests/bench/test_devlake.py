"""Agreement with DevLake on its own cases, and that the comparison would notice if there was none."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.devlake.__main__ import main
from bench.devlake.differences import KNOWN
from bench.devlake.tables import At, says, seconds
from tests.harness import DATA

FOLDER = DATA / "devlake"
Rows = Sequence[Mapping[str, Any]]


def test_the_recorded_cases_come_out_equal_but_for_what_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FOLDER)]) == 0
    told = capsys.readouterr().out
    assert "552 rows, 4032 fields compared, 3998 equal, 42 different as documented, 0 unexplained" in told


def test_what_is_meant_is_documented() -> None:
    text = " ".join((FOLDER.parents[2] / "docs" / "devlake.md").read_text(encoding="utf-8").split())
    assert [one.reason for one in KNOWN if one.reason not in text] == []


@pytest.mark.parametrize(
    ("file", "column", "wrong"),
    [
        ("github/snapshot_tables/cicd_pipelines.csv", "result", "FAILED"),
        ("github/snapshot_tables/cicd_pipelines.csv", "finished_date", "2022-06-26T12:36:59.000+00:00"),
        ("github/snapshot_tables/pull_requests.csv", "merge_commit_sha", "0" * 40),
        ("github/snapshot_tables/issues.csv", "lead_time_minutes", "1"),
        ("jenkins/snapshot_tables/cicd_tasks_after_stages.csv", "environment", "STAGING"),
        ("jira/snapshot_tables/issues.csv", "resolution_date", ""),
        ("jira/snapshot_tables/_tool_jira_issue_changelog_items.csv", "to_string", "x"),
        ("dora/deployment_generator/cicd_deployment_commits.csv", "environment", "TESTING"),
        ("dora/prev_success_deployment_commit/cicd_deployment_commits_after.csv",
         "prev_success_deployment_commit_id", "16"),
    ],
)  # fmt: skip
def test_one_cell_that_differs_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, column: str, wrong: str
) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "cases"))
    rows = _read(folder / file)
    rows[0][column] = wrong
    _write(folder / file, rows)
    assert main([str(folder)]) == 1
    told = capsys.readouterr().out
    assert "1 unexplained" in told
    assert column in told


def test_a_row_that_theirs_has_not_fails_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "cases"))
    file = folder / "github/snapshot_tables/cicd_pipelines.csv"
    _write(file, _read(file)[1:])
    assert main([str(folder)]) == 1
    assert "theirs has no such row" in capsys.readouterr().out


def test_a_folder_without_cases_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


MAPPING: Rows = [
    {"project_name": "p", "table": "cicd_scopes", "row_id": "ci"},
    {"project_name": "p", "table": "repos", "row_id": "repo"},
    {"project_name": "p", "table": "boards", "row_id": "board"},
    {"project_name": "q", "table": "repos", "row_id": "other"},
]


def deployed(name: str, minute: int, before: str = "", **more: str) -> dict[str, str]:
    told = {"id": name, "cicd_deployment_id": f"run-{name}", "cicd_scope_id": "ci", "result": "SUCCESS",
            "environment": "PRODUCTION", "repo_url": "r", "commit_sha": f"sha-{name}",
            "started_date": clock(minute - 2), "finished_date": clock(minute),
            "prev_success_deployment_commit_id": before}  # fmt: skip
    return told | more


def clock(minute: int) -> str:
    return f"2026-03-02 {10 + minute // 60}:{minute % 60}:00"


def pull(name: str, merged: int | None, sha: str, repository: str = "repo") -> dict[str, str]:
    return {"id": name, "base_repo_id": repository, "author_id": "ada", "merge_commit_sha": sha,
            "created_date": clock(10), "merged_date": "" if merged is None else clock(merged)}  # fmt: skip


METRICS = ("id", "first_commit_sha", "first_review_id", "deployment_commit_id", "pr_coding_time", "pr_pickup_time",
           "pr_review_time", "pr_deploy_time", "pr_cycle_time")  # fmt: skip


def test_lead_times_of_pull_requests_as_their_rule_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Worked out by hand.

    Coding began with the first commit, pickup ended with the first comment by somebody else, and it was deployed by the
    first whose difference to the successful one before has the merge. What failed, or is of another project, is out.
    """
    tables: Mapping[str, Rows] = {
        "project_mapping": MAPPING,
        "pull_requests": [
            pull("early", 20, "m-early"), pull("late", 21, "m-late"), pull("alone", 22, "m-nowhere"),
            pull("open", None, "m-open"), pull("foreign", 20, "m-early", "other"),
        ],
        "pull_request_commits": [
            {"pull_request_id": "early", "commit_sha": "c2", "commit_authored_date": clock(8)},
            {"pull_request_id": "early", "commit_sha": "c1", "commit_authored_date": clock(5)},
            {"pull_request_id": "late", "commit_sha": "c3", "commit_authored_date": clock(15)},
        ],
        "pull_request_comments": [
            {"id": "own", "pull_request_id": "early", "account_id": "ada", "created_date": clock(11)},
            {"id": "bob", "pull_request_id": "early", "account_id": "bob", "created_date": clock(14)},
            {"id": "cleo", "pull_request_id": "early", "account_id": "cleo", "created_date": clock(17)},
        ],
        "cicd_deployment_commits": [
            deployed("0", 1), deployed("1", 30, "0"), deployed("2", 40, "1"),
            deployed("x", 25, "0", result="FAILURE"), deployed("s", 24, "0", environment="STAGING"),
        ],
        "commits_diffs": [
            {"new_commit_sha": "sha-1", "old_commit_sha": "sha-0", "commit_sha": "m-early"},
            {"new_commit_sha": "sha-2", "old_commit_sha": "sha-1", "commit_sha": "m-late"},
            {"new_commit_sha": "sha-x", "old_commit_sha": "sha-0", "commit_sha": "m-late"},
            {"new_commit_sha": "sha-s", "old_commit_sha": "sha-0", "commit_sha": "m-late"},
        ],
    }  # fmt: skip
    expected = [
        ("early", "c1", "bob", "1", 5, 4, 6, 10, 25),
        ("late", "c3", "", "2", "", "", "", 19, 30),
        ("alone", "", "", "", "", "", "", "", 12),
    ]
    rows = [dict(zip(METRICS, row, strict=True)) for row in expected]
    _case(tmp_path, tables, "project_pr_metrics", rows)
    assert main([str(tmp_path)]) == 0
    assert "3 rows, 27 fields compared, 27 equal" in capsys.readouterr().out
    _case(tmp_path, tables, "project_pr_metrics", [{**rows[0], "pr_deploy_time": 11}, *rows[1:]])
    assert main([str(tmp_path)]) == 1


@pytest.mark.parametrize("as_issues", [False, True])
def test_an_incident_is_laid_to_the_last_deployment_before_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    as_issues: bool,  # noqa: FBT001
) -> None:
    """Strictly before; the one without any is in no row."""
    begun = {"at once": 30, "after": 31, "later": 90, "before": 1}
    issues = [{"id": name, "created_date": clock(minute), "type": "INCIDENT"} for name, minute in begun.items()]
    tables: dict[str, Rows] = {
        "project_mapping": MAPPING,
        "cicd_deployment_commits": [
            deployed("0", 1), deployed("1", 30), deployed("x", 60, result="FAILURE"),
            deployed("s", 61, environment="STAGING"), deployed("o", 62, cicd_scope_id="other"),
        ],
    }  # fmt: skip
    if as_issues:
        tables["issues"] = [*issues, {**issues[0], "id": "task", "type": "TASK"}]
        tables["board_issues"] = [{"board_id": "board", "issue_id": name} for name in [*begun, "task"]]
    else:
        tables["incidents"] = [{**one, "table": "boards", "scope_id": "board"} for one in issues]
    expected = [{"id": name, "project_name": "p", "deployment_id": run}
                for name, run in (("at once", "run-0"), ("after", "run-1"), ("later", "run-1"))]  # fmt: skip
    _case(tmp_path, tables, "project_incident_deployment_relationships", expected)
    assert main([str(tmp_path)]) == 0
    assert "3 rows, 9 fields compared, 9 equal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        ("2026-03-02T10:00:00.999+00:00", 1772445600.999),
        ("2026-3-2 10:00:00", 1772445600),
        ("2026-03-02 18:00:00+0800", 1772445600),
        ("2026-03-02T10:00:00Z", 1772445600),
        ("", None),
    ],
)
def test_times_in_all_their_forms(text: str, ts: float | None) -> None:
    assert seconds(text) == ts


@pytest.mark.parametrize(
    ("cell", "ours", "same"),
    [
        ("", None, True), ("0", None, False), ("68", 68, True), ("0.004", 0.004, True), ("x", 1, False),
        ("1", True, True), ("0", True, False), ("2026-03-02 10:00:00.9", At(1772445600), True), ("", At(1), False),
    ],
)  # fmt: skip
def test_what_counts_as_equal(cell: str, ours: Any, same: bool) -> None:  # noqa: FBT001
    assert says(cell, ours) is same


def _case(folder: Path, tables: Mapping[str, Rows], expected: str, rows: Rows) -> None:
    for name, of in {**tables, expected: rows}.items():
        _write(folder / "dora" / f"{name}.csv", of)
    case = {
        "plugin": "dora", "case": "ours", "config": {"options": {"ProjectName": "p"}},
        "inputs": [{"file": f"{name}.csv", "kind": "input-table"} for name in tables],
        "expected": [{"file": f"{expected}.csv", "asserted_columns": list(rows[0]), "ignored_columns": []}],
    }  # fmt: skip
    (folder / "cases.json").write_text(json.dumps([case]), encoding="utf-8")


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
