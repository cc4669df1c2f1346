"""What a record of GitHub, Jira or Jenkins becomes: one table for each decision."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from config.catalog import BUILDS, CHANGES, DEPLOYMENTS, FAILURES
from config.sources import GitHubCounts, JenkinsCounts, JiraCounts
from tasks.transforms import silver
from tasks.transforms.counting import Rules
from tests.tasks.records import BY_WORKFLOW, CREATED, RUN, SHA, T, build, deployment, jira, stage


def row(dataset: str, stream: str, payload: Mapping[str, Any], rules: Rules | None = None, id_: str = "7") -> Any:
    kind, _, name = stream.partition(".")
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    item = {"_id": "b", "source": kind, "stream": name, "origin": "acme/api", "id": id_, "window": at, "updated_on": at}
    return silver.row(dataset, {**item, "payload": payload}, rules or Rules())


def is_none(made: Mapping[str, Any]) -> bool:
    return bool(made.get("deleted") and made.get("none"))


@pytest.mark.parametrize(
    ("states", "result", "minute"),
    [
        ((), "pending", 0),
        ((("in_progress", 1),), "pending", 0),
        ((("success", 2), ("in_progress", 1)), "success", 2),
        ((("success", 5), ("success", 2), ("in_progress", 1)), "success", 2),
        ((("inactive", 9), ("success", 2)), "success", 2),
        ((("inactive", 9),), "", 0),
        ((("failure", 4), ("success", 2)), "failure", 4),
        ((("error", 3), ("pending", 1)), "failure", 3),
        ((("queued", 6), ("failure", 4)), "pending", 0),
        ((("in_progress", 1), ("success", 2)), "success", 2),
    ],
)
def test_the_newest_statuses_say_how_a_deployment_ended(
    states: tuple[tuple[str, int], ...], result: str, minute: int
) -> None:
    """And since when: that it succeeded is said again by some tools, and "inactive" only that another one came."""
    made = row(DEPLOYMENTS.name, "github.deployments", deployment(*states))
    assert (made["result"], made["deployed_ts"] - T) == (result, 60 * minute)
    assert (made["id"], made["target"], made["started_ts"]) == ("deployment:7", SHA, T)


@pytest.mark.parametrize(
    ("environment", "production"),
    [("production", True), ("prod-eu", True), ("live", True), ("staging", False), ("delivery", False), ("", False)],
)
def test_what_is_production_is_told_by_the_environment(environment: str, production: bool) -> None:  # noqa: FBT001
    made = row(DEPLOYMENTS.name, "github.deployments", deployment(("success", 1), environment=environment))
    assert (made["production"], made["environment"]) == (production, environment)


@pytest.mark.parametrize(
    ("change", "result", "minute"),
    [
        ({}, "success", 11),
        ({"conclusion": "cancelled"}, "failure", 11),
        ({"conclusion": "timed_out"}, "failure", 11),
        ({"conclusion": "skipped"}, "", 11),
        ({"status": "queued", "conclusion": None}, "pending", 0),
        ({"name": "Test"}, None, 0),
    ],
)
def test_a_run_is_a_deployment_by_its_name(change: dict[str, Any], result: str | None, minute: int) -> None:
    made = row(DEPLOYMENTS.name, "github.workflow_runs", {**RUN, **change}, BY_WORKFLOW)
    if result is None:
        assert is_none(made)
    else:
        assert (made["result"], made["production"]) == (result, True)
        assert made["deployed_ts"] - T == 60 * minute


def test_runs_are_no_deployments_unless_the_configuration_says_so() -> None:
    assert is_none(row(DEPLOYMENTS.name, "github.workflow_runs", RUN))
    made = row(BUILDS.name, "github.workflow_runs", RUN)
    assert (made["id"], made["queued_seconds"], made["duration_seconds"]) == ("run:7", 60, 600)
    assert (made["repository_url"], made["type"]) == ("https://github.com/acme/api", "DEPLOYMENT")


@pytest.mark.parametrize(
    ("change", "counts", "is_one"),
    [
        ({}, {}, True),
        ({"draft": True}, {}, False),
        ({"published_at": None}, {}, False),
        ({"prerelease": True}, {}, False),
        ({"prerelease": True}, {"prereleases": True}, True),
        ({}, {"releases": "^api-"}, False),
        ({}, {"deployments": ("environments",)}, False),
    ],
)
def test_releases_count_once_they_are_out(change: dict[str, Any], counts: dict[str, Any], is_one: bool) -> None:  # noqa: FBT001
    release: dict[str, Any] = {
        "id": 7,
        "tag_name": "v1",
        "target_commitish": "main",
        "published_at": CREATED,
        "draft": False,
    }
    rules = Rules(github=GitHubCounts.model_validate({"deployments": ("releases",), **counts}))
    made = row(DEPLOYMENTS.name, "github.releases", {**release, **change}, rules)
    assert is_none(made) is not is_one
    if is_one:
        assert (made["name"], made["target"], made["deployed_ts"]) == ("v1", "", T)


@pytest.mark.parametrize("kind", ["git", "github"])
@pytest.mark.parametrize(
    ("rules", "is_one"),
    [
        (Rules(), True),
        (Rules(github=GitHubCounts()), False),
        (Rules(github=GitHubCounts(deployments=("environments", "tags"))), True),
        (Rules(github=GitHubCounts(deployments=("tags",), tags="^release")), False),
    ],
)
def test_the_tags_of_git_and_github_are_told_alike(kind: str, rules: Rules, is_one: bool) -> None:  # noqa: FBT001
    """Both write the same row of one repository: if one of them called it none, it would take the other's back."""
    made = row(DEPLOYMENTS.name, f"{kind}.tags", {"name": "v1", "target": SHA, "tag_ts": T}, rules, "v1")
    assert (made["id"], is_none(made)) == ("v1", not is_one)


def test_a_pull_request_is_a_change_once_it_is_merged() -> None:
    pull: dict[str, Any] = {
        "number": 7, "title": "Faster", "user": {"login": "ada"}, "created_at": CREATED, "merged_at": None,
        "merge_commit_sha": SHA, "head": {"ref": "fast", "sha": "b" * 40}, "base": {"ref": "main", "sha": "c" * 40},
    }  # fmt: skip
    payload: dict[str, Any] = {
        "pull": pull,
        "commits": [{"sha": "d" * 40, "author_ts": T - 50}, {"sha": "e" * 40, "author_ts": T - 90}],
        "reviews": [
            {"submitted_at": "2026-03-02T10:05:00Z", "user": {"login": "ada"}},
            {"submitted_at": "2026-03-02T10:09:00Z", "user": {"login": "bob"}},
            {"submitted_at": "2026-03-02T10:07:00Z", "user": {"login": "cleo"}},
            {"submitted_at": None, "user": {"login": "dan"}},
        ],
    }
    assert is_none(row(CHANGES.name, "github.pull_requests", payload))
    merged = {**payload, "pull": {**pull, "merged_at": "2026-03-02T11:00:00Z"}}
    made = row(CHANGES.name, "github.pull_requests", merged)
    assert (made["id"], made["kind"], made["number"]) == ("pull:7", "pull_request", 7)
    assert (made["authored_ts"] - T, made["first_review_ts"] - T, made["merged_ts"] - T) == (-90, 420, 3600)
    assert (made["merge_sha"], made["commits"], made["committed_ts"]) == (SHA, ["d" * 40, "e" * 40], made["merged_ts"])


@pytest.mark.parametrize(
    ("labels", "change", "is_one"),
    [
        (["incident"], {}, True),
        (["bug", "SEV-1"], {}, True),
        (["bug"], {}, False),
        ([], {}, False),
        (["incident"], {"pull_request": {"x": 1}}, False),
    ],
)
def test_a_label_makes_an_issue_a_failure(labels: list[str], change: dict[str, Any], is_one: bool) -> None:  # noqa: FBT001
    issue = {
        "number": 7, "title": "Down\0", "state": "closed", "created_at": CREATED, "closed_at": "2026-03-02T10:30:00Z",
        "labels": [{"name": label} for label in labels], **change,
    }  # fmt: skip
    made = row(FAILURES.name, "github.issues", {"issue": issue})
    assert is_none(made) is not is_one
    if is_one:
        assert (made["id"], made["key"], made["title"], made["status"]) == ("issue:7", "7", "Down", "DONE")
        assert (made["started_ts"], made["resolved_ts"] - T) == (T, 1800)


@pytest.mark.parametrize(
    ("fields", "minutes"),
    [
        ({"resolutiondate": "2026-03-02T10:20:00.000+0000"}, 20),
        ({"statuscategorychangedate": "2026-03-02T10:30:00.000+0000"}, 30),
        ({}, 40),
        ({"status": {"name": "Open", "id": "3", "statusCategory": {"key": "new"}}}, None),
    ],
)
def test_an_issue_is_resolved_when_jira_says_so_first(fields: dict[str, Any], minutes: int | None) -> None:
    """Some workflows set no resolution: then the turn to a status of the category "done" says it."""
    made = row(FAILURES.name, "jira.issues", jira(**fields))
    assert made["resolved_ts"] == (None if minutes is None else T + 60 * minutes)
    assert (made["id"], made["key"], made["url"]) == ("jira:7", "OPS-7", "https://j.example/browse/OPS-7")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("v1.2", "v1.2"), (12, "12"), ({"value": "api"}, "api"), (None, None), ([], None), ("  ", None),
        ([{"name": "1.0"}, {"name": "1.1"}], "1.0, 1.1"),
    ],
)  # fmt: skip
def test_the_field_that_names_the_deployment_is_read_as_text(field: Any, said: str | None) -> None:
    counts = JiraCounts(deployment="customfield_1", started="customfield_2")
    began = "2026-03-02T10:05:00.000+0000"
    made = row(FAILURES.name, "jira.issues", jira(customfield_1=field, customfield_2=began), Rules(jira=counts))
    assert (made["deployment"], made["started_ts"]) == (said, T + 300)


@pytest.mark.parametrize(
    ("fields", "counts", "is_one"),
    [
        ({"issuetype": {"name": "Task"}}, {}, False),
        ({"issuetype": {"name": "Production bug"}}, {}, True),
        ({"issuetype": {"name": "Task"}, "labels": ["outage"]}, {"labels": "outage"}, True),
        ({"issuetype": {"name": "Task"}, "labels": None}, {"labels": "outage"}, False),
    ],
)
def test_type_or_label_makes_a_jira_issue_a_failure(
    fields: dict[str, Any],
    counts: dict[str, Any],
    is_one: bool,  # noqa: FBT001
) -> None:
    made = row(FAILURES.name, "jira.issues", jira(**fields), Rules(jira=JiraCounts(**counts)))
    assert is_none(made) is not is_one


@pytest.mark.parametrize(
    ("payload", "result"),
    [
        (build(), "success"),
        (build(result="ABORTED"), "failure"),
        (build(result="UNSTABLE"), ""),
        (build(building=True, result="SUCCESS"), "pending"),
        (build("team/test"), None),
        (build("team/main", [stage("Deploy")]), "success"),
        (build("team/main", [stage("Deploy", "NOT_EXECUTED")]), None),
        (build("team/main", [stage("Test")]), None),
    ],
)
def test_a_build_is_a_deployment_by_its_job_or_a_stage_that_ran(payload: dict[str, Any], result: str | None) -> None:
    made = row(DEPLOYMENTS.name, "jenkins.builds", payload)
    if result is None:
        assert is_none(made)
        return
    assert (made["result"], made["id"], made["production"]) == (result, "build:7", True)
    assert (made["target"], made["repository_url"], made["commits"]) == (SHA, "git@x:a.git", ["d" * 40])
    assert made["deployed_ts"] - T == (0 if result == "pending" else 61)


@pytest.mark.parametrize(
    ("payload", "production"),
    [
        (build("deploy-prod"), True),
        (build("deploy"), False),
        (build("deploy", [stage("To prod")]), True),
        (build("deploy", actions=[{"parameters": [{"name": "env", "value": "prod"}]}]), True),
        (build("deploy", actions=[{"parameters": [{"name": "prod", "value": True}]}]), False),
    ],
)
def test_a_build_is_production_by_job_stage_or_parameter(payload: dict[str, Any], production: bool) -> None:  # noqa: FBT001
    rules = Rules(jenkins=JenkinsCounts(production="prod"))
    assert row(DEPLOYMENTS.name, "jenkins.builds", payload, rules)["production"] is production


@pytest.mark.parametrize(
    ("dataset", "stream", "payload", "path"),
    [
        (CHANGES, "github.pull_requests", {"pull": {"merged_at": CREATED, "created_at": "soon"}}, "created_at"),
        (CHANGES, "github.pull_requests", {"pull": []}, "pull"),
        (DEPLOYMENTS, "github.deployments", {"deployment": {"created_at": "2026-03-02T10:00:00"}}, "created_at"),
        (DEPLOYMENTS, "git.tags", {"name": "v1", "target": "", "tag_ts": 1}, "target"),
        (FAILURES, "github.issues", {"issue": {"labels": [7]}}, "labels"),
        (FAILURES, "jira.issues", jira(created=None), "created"),
        (BUILDS, "jenkins.builds", build(timestamp="now"), "timestamp"),
        (BUILDS, "jenkins.builds", build(number=True), "number"),
        (BUILDS, "github.workflow_runs", {**RUN, "run_number": None}, "run_number"),
    ],
)
def test_a_shape_that_cannot_be_names_its_path(dataset: Any, stream: str, payload: dict[str, Any], path: str) -> None:
    with pytest.raises(silver.RowError) as caught:
        row(dataset.name, stream, payload)
    assert caught.value.path == path


def test_every_dataset_has_a_fold_for_each_of_its_upstreams() -> None:
    for dataset in (CHANGES, DEPLOYMENTS, FAILURES, BUILDS):
        assert silver.FOLDS[dataset.name].keys() == set(dataset.upstream)
