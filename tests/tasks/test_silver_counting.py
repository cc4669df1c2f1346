"""Whose patterns count for an origin, and what must be made anew once they change."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.catalog import BUILDS, CHANGES, DEPLOYMENTS, FAILURES
from config.settings import Settings
from config.sources import GitHub, GitHubCounts, Jenkins, JenkinsCounts, Jira, JiraCounts
from tasks.transforms import counting
from tasks.transforms.counting import Rules
from tasks.transforms.sequence import Ended, previous_success

SINCE = date(2026, 1, 1)
SETTINGS = Settings(
    sources=(
        GitHub.model_validate(
            {
                "type": "github", "name": "hub", "since": SINCE, "counts": {"failures": "first"},
                "repositories": ["acme/api", {"repository": "acme/web", "origin": "w"}],
            }
        ),
        GitHub.model_validate({"type": "github", "name": "two", "since": SINCE, "repositories": ["acme/api"]}),
        Jira.model_validate(
            {
                "type": "jira", "name": "jira", "since": SINCE, "base_url": "https://j.example", "user": "u",
                "projects": ["OPS"],
            }
        ),
        Jenkins(type="jenkins", name="ci", since=SINCE, base_url="https://c.example", jobs=("team/*", "deploy")),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "kinds"),
    [
        ("acme/api", {"github"}), ("w", {"github"}), ("acme/web", set()), ("OPS", {"jira"}), ("deploy", {"jenkins"}),
        ("team/a/main", {"jenkins"}), ("team", set()), ("deploy2", set()),
    ],
)  # fmt: skip
def test_the_rules_of_an_origin_are_those_of_its_sources(origin: str, kinds: set[str]) -> None:
    found = counting.rules(SETTINGS, origin)
    assert {kind for kind in ("github", "jira", "jenkins") if getattr(found, kind)} == kinds


def test_of_two_sources_the_first_decides() -> None:
    rules = counting.rules(SETTINGS, "acme/api")
    assert rules.github is not None
    assert rules.github.failures == "first"


@pytest.mark.parametrize(
    ("before", "after", "stale"),
    [
        (GitHubCounts(), GitHubCounts(failures="x"), {FAILURES}),
        (GitHubCounts(), GitHubCounts(releases="x"), {DEPLOYMENTS}),
        (GitHubCounts(), GitHubCounts(production="x"), {DEPLOYMENTS, BUILDS}),
        (GitHubCounts(), GitHubCounts(), set()),
        (JiraCounts(), JiraCounts(started="customfield_1"), {FAILURES}),
        (JenkinsCounts(), JenkinsCounts(deployments="x"), {DEPLOYMENTS, BUILDS}),
    ],
)
def test_a_pattern_concerns_the_datasets_that_use_it(before: Any, after: Any, stale: set[Any]) -> None:
    kind = type(before).__name__.removesuffix("Counts").lower()
    changed = {
        dataset
        for dataset in (CHANGES, DEPLOYMENTS, FAILURES, BUILDS)
        if counting.version(dataset.name, Rules(**{kind: before}))
        != counting.version(dataset.name, Rules(**{kind: after}))
    }
    assert changed == stale


def test_an_origin_without_such_sources_has_no_version_of_rules() -> None:
    """So what is made from git alone is not made anew when another source is configured."""
    assert counting.version(DEPLOYMENTS.name, counting.rules(SETTINGS, "acme/other")) == ""


def part(kind: str = "", environment: str = "", result: str = "SUCCESS") -> Mapping[str, Any]:
    return {"type": kind, "environment": environment, "result": result}


@pytest.mark.parametrize(
    ("build", "parts", "is_one", "environment"),
    [
        (part("DEPLOYMENT"), [], True, ""),
        (part(), [part("DEPLOYMENT", "TESTING"), part("", "STAGING")], True, "STAGING"),
        (part(), [part("DEPLOYMENT", "PRODUCTION", "")], False, ""),
        (part("DEPLOYMENT", "eu"), [part("", "PRODUCTION")], True, "eu"),
        (part(), [part("", "PRODUCTION", "FAILURE")], False, "PRODUCTION"),
    ],
)
def test_which_builds_are_deployments(build: Any, parts: list[Any], is_one: bool, environment: str) -> None:  # noqa: FBT001
    assert (counting.is_deployment(build, parts), counting.environment(build, parts)) == (is_one, environment)


ENDED = st.builds(
    lambda line, at, ok: (line, at, ok),
    st.sampled_from(["a", "b", None]),
    st.one_of(st.none(), st.integers(0, 5)),
    st.booleans(),
)


@given(st.lists(ENDED, max_size=12), st.randoms(use_true_random=False))
def test_the_previous_success_is_the_last_of_its_line(
    told: list[tuple[str | None, int | None, bool]], rng: Any
) -> None:
    """Against its plain statement, in any order of the input."""
    ended = [Ended(f"{number:02}", line, at, ok) for number, (line, at, ok) in enumerate(told)]
    good = [one for one in ended if one.succeeded and one.line is not None and one.ended_ts is not None]
    expected = {}
    for one in good:
        before = [
            (other.ended_ts, other.id)
            for other in good
            if other.line == one.line and (other.ended_ts, other.id) < (one.ended_ts, one.id)
        ]
        if before:
            expected[one.id] = max(before)[1]
    rng.shuffle(ended)
    assert previous_success(ended) == expected
