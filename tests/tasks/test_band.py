"""Links by rule, against the rules taken literally, and in tables."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.transforms.attribution import carried, repository_of
from tasks.transforms.deliveries import deliver
from tasks.transforms.history import Change, Deployment, Failure, History, Incident, Pull, PullRevert
from tasks.transforms.incidents import EXPLICIT, LAST, WINDOW, Line, lay, mark
from tests.harness import sha

DAY = 86_400
instants = st.integers(1, 40).map(lambda n: n * DAY)


@st.composite
def places(draw: st.DrawFn) -> tuple[list[Line], list[Incident]]:
    ends = sorted(draw(st.lists(instants, max_size=6)))
    lines = [
        Line(
            Deployment(
                f"deployment:{n}", sha(str(n)), end, end - draw(st.integers(0, DAY)), draw(st.sampled_from(["", "eu"]))
            ),
            draw(st.sampled_from(["a", "b"])),
        )
        for n, end in enumerate(ends)
    ]
    begun = draw(st.lists(instants, max_size=4))
    names = st.none() | st.sampled_from(["0", "deployment:1", sha("2")[:9], sha("3"), "none"])
    over = st.none() | instants  # also before it began: people type dates
    issues = [
        Incident(str(n), f"OPS-{n}", "OPS", at, draw(over), draw(names))
        for n, at in enumerate(begun)
    ]  # fmt: skip
    return lines, issues


@settings(max_examples=200, deadline=None)
@given(drawn=places(), window=st.sampled_from([0, DAY, 5 * DAY]))
def test_incidents_are_laid_as_the_rules_say(drawn: tuple[list[Line], list[Incident]], window: int) -> None:
    lines, issues = drawn
    expected: set[Any] = set()
    for issue in issues:
        before = [n for n, line in enumerate(lines) if line.deployment.deployed_ts < issue.started_ts]
        if before:
            expected.add((issue.id, before[-1], LAST))
            if issue.started_ts - lines[before[-1]].deployment.deployed_ts <= window:
                expected.add((issue.id, before[-1], WINDOW))
        for n, (one, _) in enumerate(lines):
            text = issue.deployment or "-"
            if text in {str(n), one.id, one.target} or (len(text) == 9 and one.target.startswith(text)):
                expected.add((issue.id, n, EXPLICIT))
    laid = lay(issues, lines, window)
    assert {(one.incident.id, one.failed, rule) for one in laid for rule in one.rules} == expected
    for link in laid:
        if link.mended_by is not None:
            mine, other = lines[link.mended_by], lines[link.failed]
            assert (mine.repository, mine.deployment.environment) == (other.repository, other.deployment.environment)
            assert link.incident.resolved_ts is not None
            assert link.incident.started_ts <= mine.deployment.began_ts
            assert mine.deployment.deployed_ts <= link.incident.resolved_ts
    rows: list[dict[str, Any]] = [{} for _ in lines]
    mark(rows, laid)
    assert sum(row["failed_last_deployment"] for row in rows) == len({n for _, n, rule in expected if rule == LAST})


def test_of_two_deployments_that_a_name_may_mean_the_last_one_before_failed() -> None:
    lines = [Line(Deployment(str(n), sha("x"), n * DAY, name="v1"), "a") for n in (1, 2, 4)]
    for named in ("v1", "1", "V1", sha("x")[:7], f"other, {sha('x')}"):
        (laid,) = [
            one for one in lay([Incident("i", "I", "O", 3 * DAY, None, named)], lines, 0) if EXPLICIT in one.rules
        ]
        assert laid.failed == (0 if named == "1" else 1), named
    assert lay([Incident("i", "I", "O", DAY // 2, None, "nothing")], lines, 0) == []


def pull(number: int, merge: str, merged: float, commits: tuple[str, ...] = ()) -> Pull:
    return Pull(f"pull:{number}", number, merge, int((merged - 0.5) * DAY), int(merged * DAY), commits)


def changes(history: History) -> dict[str, tuple[str, str]]:
    rows = [row for rows in deliver(history).values() for row in rows if row["kind"] == "change"]
    return {row["change"]: (row["deployment"], row["rule"]) for row in rows}


def test_pull_requests_go_out_with_their_merge() -> None:
    graph = [Change("m1", (), 0, DAY), Change("m2", ("m1",), 0, 2 * DAY)]
    history = History(
        graph, [Deployment("d1", "m1", 3 * DAY), Deployment("d2", "m2", 4 * DAY)], (), (),
        [pull(1, "m1", 1), pull(2, "m2", 2), pull(3, "elsewhere", 2)],
    )  # fmt: skip
    assert changes(history) == {"pull:1": ("d1", "contains"), "pull:2": ("d2", "contains")}


@pytest.mark.parametrize(
    ("deployments", "expected"),
    [
        # no commit and no change sets: whatever was merged before it began
        ([Deployment("d1", "", 3 * DAY, int(1.5 * DAY)), Deployment("d2", "", 4 * DAY, 4 * DAY)],
         {"pull:1": ("d1", "merged_before"), "pull:2": ("d2", "merged_before")}),
        # a line that lists change sets means it: what is not listed is not there
        ([Deployment("d1", "", 3 * DAY, commits=("m2",)), Deployment("d2", "", 4 * DAY, commits=("c1",))],
         {"pull:2": ("d1", "commits"), "pull:1": ("d2", "commits")}),
        # each environment is a line of its own, and the first one counts
        ([Deployment("d1", "", 3 * DAY, environment="eu"), Deployment("d2", "", 4 * DAY, environment="us")],
         {"pull:1": ("d1", "merged_before"), "pull:2": ("d1", "merged_before")}),
    ],
)  # fmt: skip
def test_without_commits_change_sets_or_times_tell(
    deployments: list[Deployment], expected: dict[str, tuple[str, str]]
) -> None:
    assert changes(History((), deployments, (), (), [pull(1, "m1", 1, ("c1",)), pull(2, "m2", 2)])) == expected


def test_a_deployment_without_a_commit_may_be_the_first_to_have_what_a_later_one_contains() -> None:
    graph = [Change("m1", (), 0, DAY)]
    deployments = [Deployment("d1", "", 2 * DAY), Deployment("d2", "m1", 3 * DAY)]
    assert changes(History(graph, deployments, (), (), [pull(1, "m1", 1)])) == {"pull:1": ("d1", "merged_before")}


def test_the_next_deployment_is_that_of_the_line() -> None:
    a, r = sha("a"), sha("r")
    graph = [Change(a, (), DAY, DAY), Change(r, (a,), 3 * DAY, 3 * DAY)]
    deployments = [Deployment("eu1", a, DAY, environment="eu"), Deployment("us1", a, 2 * DAY, environment="us"),
                   Deployment("eu2", r, 4 * DAY, environment="eu")]  # fmt: skip
    found = deliver(History(graph, deployments, [Failure(r, a, 3 * DAY)]))
    (failure,) = [row for rows in found.values() for row in rows if row["kind"] == "failure"]
    assert (failure["deployment"], failure["rule"], failure["recovered_by"]) == ("eu1", "revert_before_next", "eu2")


@pytest.mark.parametrize("said", [(), (Failure(sha("r"), sha("m1"), 3 * DAY),)])
def test_a_reverted_pull_request_fails_its_deployment_once(said: tuple[Failure, ...]) -> None:
    m, r = sha("m1"), sha("r")
    graph = [Change(m, (), 0, DAY), Change(r, (m,), 0, 3 * DAY)]
    history = History(
        graph, [Deployment("d1", m, 2 * DAY), Deployment("d2", r, 4 * DAY)], said, (),
        [pull(1, m, 1), pull(2, r, 3)], [PullRevert(r, 1, 3 * DAY)],
    )  # fmt: skip
    (failure,) = [row for rows in deliver(history).values() for row in rows if row["kind"] == "failure"]
    assert (failure["deployment"], failure["recovered_by"], failure["recovery_seconds"]) == ("d1", "d2", 2 * DAY)


URL = "git@github.com:acme/web.git"
ADDRESSES = {"acme/api": frozenset({"github.com/acme/api"}), "acme/web": frozenset({"github.com/acme/web"})}


@pytest.mark.parametrize(
    ("row", "changed", "owner"),
    [
        ({"repository_url": URL, "target": "x"}, [], ("acme/web", "x")),
        ({"revisions": [{"repository_url": "https://github.com/lib/ci", "sha": "l"},
                        {"repository_url": URL, "sha": "x"}]}, [], ("acme/web", "x")),
        ({"target": "known"}, [], ("acme/api", "known")),
        ({"target": ""}, ["known"], ("acme/api", "")),
        ({"target": "other"}, [], (None, "other")),
    ],
)  # fmt: skip
def test_a_job_deploys_the_repository_that_it_checked_out(
    row: dict[str, Any], changed: list[str], owner: tuple[str | None, str]
) -> None:
    assert repository_of(row, ADDRESSES, {"acme/api": {"known"}, "acme/web": set()}, changed) == owner
    only = {"acme/api": ADDRESSES["acme/api"]}
    if owner == (None, "other"):
        assert repository_of(row, only, {"acme/api": set()}, []) == ("acme/api", "other"), "there is no other"
        named = row | {"repository_url": URL}
        assert repository_of(named, only, {"acme/api": set()}, []) == (None, "other"), "it says that it is another one"


def test_change_sets_of_failed_builds_go_with_the_next_success() -> None:
    told = [("SUCCESS", "a"), ("FAILURE", "b"), ("FAILURE", "c"), ("SUCCESS", "d"), ("SUCCESS", "e")]
    rows = [{"_id": str(n), "scope": "job", "deployed_ts": n, "result": result.lower(), "commits": [name]}
            for n, (result, name) in enumerate(told)]  # fmt: skip
    assert [carried(rows)[str(n)] for n in (0, 3, 4)] == [["a"], ["b", "c", "d"], ["e"]]
