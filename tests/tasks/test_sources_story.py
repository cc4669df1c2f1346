"""One service, whose code is at GitHub, whose incidents are in Jira, and which GitHub and Jenkins deploy, day by day.

All through the command line: what is fetched, what the numbers are, what moves them afterwards, and what is not known
while a token may not look. The numbers that are expected were worked out by hand, from the days that are told here.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tasks.transforms.definitions import METRICS
from tests.tasks.sources.github.hub import made_commit, sha, stamp
from tests.tasks.trio import Trio, today, trio

DAY: Final = 86_400
LAST: Final = "change_fail_rate_last_deployment"
RECOVERY: Final = "failed_deployment_recovery_time_median_seconds"
LEAD: Final = "change_lead_time_median_seconds"
OF_INCIDENTS: Final = (
    "change_fail_rate", "change_fail_rate_explicit", "change_fail_rate_window", LAST, RECOVERY,
    "deployment_rework_rate",
)  # fmt: skip

FIRST: Final[Mapping[int, Mapping[str, Any]]] = {
    2: {
        "deployment_frequency": 2,  # GitHub's 11 and Jenkins' build 2
        "changes_shipped": 2,  # pull 1 was written 1.4 days before 11 ended, pull 2 half a day and a minute before 2
        LEAD: (1.4 * DAY + 0.5 * DAY + 60) / 2,
        "change_fail_rate_explicit": 0.5,  # OPS-1 names build 2
        "change_fail_rate_window": 0.5,  # OPS-1 began an hour after 11; OPS-2 more than a day after build 2
        LAST: 1.0,  # and OPS-2 began after build 2, before anything else
        "change_fail_rate": 1.0,
        "change_fail_rate_revert_before_next": 0.5,  # pull 5 reverts pull 2, which build 2 delivered
        "change_fail_rate_revert_ever": 0.5,
        RECOVERY: (0.45 * DAY + 1.25 * DAY - 60) / 2,  # OPS-1 since 11, OPS-2 since build 2
        "deployment_rework_rate": 0.0,
    },
    4: {
        "deployment_frequency": 1,  # 12; 13 is pending, and the run has failed
        "changes_shipped": 2,  # pulls 3 and 5
        LEAD: (1.15 * DAY + 0.11 * DAY) / 2,
        "change_fail_rate_explicit": 0.0,
        "change_fail_rate_window": 1.0,  # OPS-3
        LAST: 1.0,
        "change_fail_rate": 1.0,
        "change_fail_rate_revert_before_next": 0.0,
        "change_fail_rate_revert_ever": 0.0,
        RECOVERY: None,  # it is not over
        "deployment_rework_rate": 1.0,  # 12 delivers the revert
    },
}
AFTERWARDS: Final[Mapping[int, Mapping[str, Any]]] = {
    2: {
        "deployment_frequency": 1,  # build 2 was deleted
        "changes_shipped": 1,
        LEAD: 1.4 * DAY,
        "change_fail_rate_explicit": 0.0,
        "change_fail_rate_window": 1.0,
        LAST: 1.0,  # both incidents are laid to 11
        "change_fail_rate": 1.0,
        "change_fail_rate_revert_before_next": 0.0,  # pull 2 was first delivered together with its revert
        "change_fail_rate_revert_ever": 0.0,
        RECOVERY: (0.45 * DAY + 1.45 * DAY) / 2,
        "deployment_rework_rate": 0.0,
    },
    4: {
        "deployment_frequency": 3,  # 12, 13 and the second attempt of the run
        "changes_shipped": 4,  # pull 2 took 2.05 days, 3 1.15, 5 0.11, and 4 0.3 with deployment 13
        LEAD: (0.3 * DAY + 1.15 * DAY) / 2,
        "change_fail_rate_explicit": 0.0,
        "change_fail_rate_window": 1 / 3,
        LAST: 1 / 3,
        "change_fail_rate": 1 / 3,
        "change_fail_rate_revert_before_next": 0.0,
        "change_fail_rate_revert_ever": 0.0,
        RECOVERY: 0.65 * DAY,  # OPS-3 is over
        "deployment_rework_rate": 1 / 3,  # 13 mended it
    },
}


def at(day: float) -> float:
    """Epoch seconds of a day of the story, whose eighth is today."""
    return (today() - timedelta(days=8)).timestamp() + day * DAY


def moment(day: float) -> datetime:
    return datetime.fromtimestamp(at(day), UTC)


def on(day: int) -> date:
    return moment(day).date()


DONE: Final = {"name": "Done", "id": "9", "statusCategory": {"key": "done"}}


@pytest.fixture
def shop(
    database: str,  # noqa: ARG001 - names the database
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Trio]:
    """The service as it is when it is first looked at."""
    with trio(monkeypatch, capsys, tmp_path) as three:
        three.configure(
            repositories='["acme/api"]\ncounts = {deployments = ["environments", "workflows"]}',
            projects='["OPS"]\ncounts = {deployment = "customfield_10300"}',
        )
        for number, written, merged in ((1, 1.1, 2.1), (2, 2.2, 2.6), (3, 3.1, 4.1), (5, 4.14, 4.15), (4, 4.4, 4.5)):
            _pull(three, number, written, merged)
        three.repo.pulls[5]["body"] = "Reverts acme/api#2"
        _deploy(three, 11, 1, 2.25, ("success", 2.5))
        _deploy(three, 12, 5, 4.2, ("success", 4.25))
        _deploy(three, 13, 4, 4.6, ("in_progress", 4.61))
        _deploy(three, 14, 4, 4.55, ("success", 4.56), environment="staging")
        _attempt(three, 1, 4.8, 4.82, "failure")
        job = three.jenkins.job("deploy/api")
        job.run(moment(1.2), result="FAILURE")
        url = "https://127.0.0.1/acme/api.git"
        revision = {"lastBuiltRevision": {"SHA1": sha("merge 2"), "branch": []}, "remoteUrls": [url]}
        job.run(moment(2.7), 60, actions=[revision])
        job.run(moment(5.5), result="FAILURE")
        _incident(three, 2.55, 2.95, customfield_10300="deploy/api#2")
        _incident(three, 3.9, 3.95)
        _incident(three, 4.3)
        three.board.make(moment(4.31), kind="Story")
        yield three


def _pull(three: Trio, number: int, written: float, merged: float) -> None:
    three.repo.commit(f"merge {number}", at(merged))
    three.repo.pull(number, at(merged), merged=at(merged))
    three.repo.pull_commits[number] = [made_commit(f"pull {number}", at(written))]


def _deploy(three: Trio, id_: int, pull: int, day: float, *states: tuple[str, float], environment: str = "") -> None:
    made = three.repo.deployment(id_, at(day), *((state, at(when)) for state, when in states), moves=False)
    made |= {"sha": sha(f"merge {pull}"), "environment": environment or "production"}


def _attempt(three: Trio, attempt: int, day: float, ended: float, conclusion: str) -> None:
    more = {"run_attempt": attempt, "conclusion": conclusion, "status": "completed", "head_sha": sha("merge 4")}
    named = {"name": "Deploy to production", "head_branch": "main", "run_started_at": stamp(at(day))}
    three.repo.run(21, at(4.8), at(ended), **more, **named)


def _incident(three: Trio, began: float, over: float | None = None, **more: Any) -> None:
    number = three.board.make(moment(began))
    if over is not None:
        three.board.edit(number, moment(over), resolutiondate=moment(over).isoformat(), status=DONE, **more)


def backfill(three: Trio) -> Any:
    return three("backfill", "--from", str(on(0)), "--to", str(on(7)))


def metrics(three: Trio, scope: str = "service:shop") -> dict[int, dict[str, Any]]:
    """The rows of the days of the story."""
    told = three.json("metrics", "--from", str(on(0)), "--to", str(on(8)), "--scope", scope, "--format", "json")
    return {(date.fromisoformat(row["day"]) - on(0)).days: row for row in told}


def agrees(row: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert {name: row[name] for name in expected} == pytest.approx(dict(expected), abs=1e-6)


def test_the_story_of_a_service(shop: Trio) -> None:
    """As it is, after the fact, while Jira may not be read, and after that."""
    assert shop("sources", "check").code == 0
    done = backfill(shop)
    assert (done.code, done.out) == (0, ""), done
    _is_as_told(metrics(shop), FIRST)
    _is_explained(shop)
    state = shop.json("status", "--json")
    assert {*state["scopes"]} == {"service:shop", "acme/api"}
    days = state["datasets"]["gold.dora_daily"]
    assert (days["complete"], days["stale"], days["failed"], days["blocked"]) == (16, 0, 0, 0)
    _news(shop)
    _loses_permission(shop)


def _is_as_told(rows: Mapping[int, Mapping[str, Any]], expected: Mapping[int, Mapping[str, Any]]) -> None:
    for day, numbers in expected.items():
        agrees(rows[day], numbers)
        assert (rows[day]["trust"], rows[day]["reasons"]) == ("proven", {})
        assert rows[day]["change_fail_rate_rule"] == "last_deployment"
    for day in {*range(8)} - {*expected}:
        assert (rows[day]["deployment_frequency"], rows[day]["trust"]) == (0, "proven")
        assert (rows[day]["change_fail_rate"], rows[day][LEAD]) == (None, None), "a share of nothing"
    assert not _zeros(rows[8]), "today is not over"


def _zeros(row: Mapping[str, Any]) -> set[str]:
    return {name for name in METRICS if row[name] == 0}


def _is_explained(shop: Trio) -> None:
    shown = shop("metrics", "--explain", "service:shop", str(on(2)))
    assert shown.code == 0
    names = ("acme/api|deployment:11", "deploy/api|build:2", "acme/api|pull:1", "acme/api|pull:2", "OPS-1", "OPS-2")
    assert not [name for name in names if name not in shown.out], shown.out
    told = shop.json("metrics", "--explain", "service:shop", str(on(4)), "--format", "json")
    assert told["behind"]["change_fail_rate"] == ["acme/api|deployment:12"]
    assert {one["incident"]: one["rules"] for one in told["failures"]} == {"OPS-3": ["window", "last_deployment"]}
    assert {one["ref"] for one in told["changes"]} == {"acme/api|pull:3", "acme/api|pull:5"}
    assert told["metrics"][RECOVERY] is None


def _news(shop: Trio) -> None:
    """What was pending has succeeded, a run was run again, an incident is over, a build is gone: days are restated.

    That 13 and the run ended on a day that is over is told late: nobody can wait for a day in a test.
    """
    _deploy(shop, 13, 4, 4.6, ("in_progress", 4.61), ("success", 4.7))
    _attempt(shop, 2, 4.9, 4.95, "success")
    shop.board.edit("10002", datetime.now(UTC), resolutiondate=moment(4.9).isoformat(), status=DONE)
    del shop.jenkins.jobs["deploy/api"].builds[2]
    asked = len(shop.servers["hub"].requests)
    done = shop("run")
    assert done.code == 0, done
    assert len(shop.servers["hub"].requests) - asked < 20, "a refresh is no backfill"
    rows = metrics(shop)
    _is_as_told(rows, AFTERWARDS)
    series = "gold.dora_daily:service:shop:deployment_frequency"
    for day, values in ((2, [2, 1]), (4, [1, 3])):
        (told,) = shop.json("history", series, "--date", str(on(day)), "--json")
        assert [one["value"] for one in told["statements"]] == values
        assert told["statements"][-1]["cause"] == "late data"
    assert shop("run").code == 0
    assert {day: row for day, row in metrics(shop).items() if day < 8} == {d: row for d, row in rows.items() if d < 8}


def _loses_permission(shop: Trio) -> None:
    """Of today nothing is said that needs Jira, the rest is; what was proven stays; the next run mends it."""
    before = metrics(shop)
    shop.servers["ops"].inject("403_refused", path="/search", every=True)
    _deploy(shop, 15, 4, 8 + 1 / DAY, ("success", 8 + 2 / DAY))
    failed = shop("run")
    assert failed.code == 1
    assert "rest/api/3/search/jql: answered 403" in failed.err
    rows = metrics(shop)
    assert not [metric for metric in OF_INCIDENTS if rows[8][metric] is not None or not rows[8]["reasons"][metric]]
    assert (rows[8]["deployment_frequency"], _zeros(rows[8])) == (1, set())
    assert {day: rows[day] for day in range(8)} == {day: before[day] for day in range(8)}
    (one,) = [one for one in shop.json("incidents", "list", "--json") if one["key"]["dataset"] == "sweep"]
    assert one["key"]["scope"] == "ops/OPS"
    assert "answered 403" in one["facts"]["observed"]
    assert "service:shop" in one["scopes"]
    shop.servers["ops"].heal()
    assert shop("run").code == 0
    assert not [one for one in shop.json("incidents", "list", "--json") if one["key"]["dataset"] == "sweep"]
    rows = metrics(shop)
    assert (rows[8]["deployment_frequency"], _zeros(rows[8])) == (1, set())
    _is_as_told({**rows, 8: before[8]}, AFTERWARDS)


def test_what_needs_jira_is_unknown_from_the_first_run_on_and_all_else_is_known(shop: Trio) -> None:
    """Not even a day without deployments has a zero that Jira would have to prove; and then Jira may be read."""
    shop.servers["ops"].inject("403_refused", path="/search", every=True)
    done = backfill(shop)
    assert (done.code, "answered 403" in done.err) == (1, True)
    rows = metrics(shop)
    for day in range(8):
        known = {name: value for name, value in FIRST.get(day, {}).items() if name not in OF_INCIDENTS}
        agrees(rows[day], {"deployment_frequency": 0} | known)
        for metric in OF_INCIDENTS:
            assert rows[day][metric] is None
            assert "answered 403" in rows[day]["reasons"][metric]
    shop.servers["ops"].heal()
    assert backfill(shop).code == 0
    _is_as_told(metrics(shop), FIRST)


def test_a_stream_that_may_not_be_read_makes_no_zeros_of_those_that_were(shop: Trio) -> None:
    """A token without the permission for deployments: Jenkins tells of some, but nobody knows how many there were."""
    shop.servers["hub"].inject("403_refused", path="/deployments", every=True)
    done = backfill(shop)
    assert (done.code, "acme/api deployments: " in done.err) == (1, True)
    rows = metrics(shop)
    for day in range(8):
        assert {rows[day][name] for name in METRICS} == {None}
        assert "answered 403: the token was refused" in rows[day]["reasons"]["deployment_frequency"]
    (failed,) = [one for one in shop.json("incidents", "list", "--json") if one["kind"] == "task"]
    assert "acme/api deployments: " in failed["facts"]["observed"]
    told = [one["key"] for one in shop.json("incidents", "list", "--all", "--json") if one["kind"] == "receipt"]
    assert [(one["dataset"], one["scope"]) for one in told] == [("bronze.github.deployments", "acme/api")]
    shop.servers["hub"].heal()
    assert backfill(shop).code == 0
    _is_as_told(metrics(shop), FIRST)
    assert not [
        one
        for one in shop.json("incidents", "list", "--all", "--json")
        if one["kind"] in {"receipt", "task"} and one["state"] == "open"
    ]
