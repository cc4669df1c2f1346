"""Entities of several sources in one dataset: versions, items that are none, and patterns that change."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import schema
from config.catalog import BUILDS, CHANGES, DEPLOYMENTS, ENTITIES, FAILURES, Dataset
from config.sources import GitHub, GitHubCounts
from quality import quarantine
from tasks import bronze, entities, settle
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tests.harness import make_context
from tests.tasks.records import BY_WORKFLOW, RUN, SHA, T, build, deployment, jira

ORIGIN = "acme/api"
DAY = date(2026, 3, 2)
DAYS = (DAY, DAY + timedelta(days=3))
Recorded = Callable[..., ReplaySource]
REVERT = {"type": "revert", "sha": SHA, "reverted_sha_raw": "b" * 40, "commit_ts": T}


def item(stream: str, payload: dict[str, Any], day: float = 0.0, id_: str = "7", **more: Any) -> dict[str, Any]:
    source, _, name = stream.partition(".")
    at = datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(days=day)
    told = {"source": source, "stream": name, "origin": ORIGIN, "id": id_, "updated_on": at.isoformat()}
    return {**told, "payload": payload, **more}


def incident(*labels: str, title: str = "Down") -> dict[str, Any]:
    issue = {"number": 7, "title": title, "state": "open", "created_at": "2026-03-02T10:00:00Z",
             "labels": [{"name": label} for label in labels]}  # fmt: skip
    return {"issue": issue}


def under(context: Context, counts: GitHubCounts) -> Context:
    told = {"type": "github", "name": "hub", "since": DAY, "repositories": [ORIGIN], "counts": counts}
    source = GitHub.model_validate(told)
    return replace(context, settings=context.settings.model_copy(update={"sources": (source,)}))


def fold(context: Context, source: ReplaySource | None = None) -> None:
    if source:
        assert bronze.sweep(context, source, "files", DAYS, lambda: context.now) is None
    for dataset in ENTITIES:
        settle.entities_of(context, dataset, ORIGIN)


def live(context: Context, dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in context.db[dataset.name].find({"deleted": {"$ne": True}})}


@pytest.mark.parametrize("together", [True, False])
def test_a_version_that_is_none_takes_the_row_back(context: Context, recorded: Recorded, together: bool) -> None:  # noqa: FBT001
    """The label was taken off: whichever window is folded first, and the accounts of both are whole."""
    was, no_longer = item("github.issues", incident("incident")), item("github.issues", incident("bug"), 1.0)
    if not together:
        fold(context, recorded([no_longer]))
        assert live(context, FAILURES) == {}
    fold(make_context(), recorded([no_longer, was]))
    assert live(context, FAILURES) == {}
    kept = context.db[FAILURES.name].find_one({"_id": f"{ORIGIN}|issue:7"})
    assert kept is not None
    assert (kept["deleted"], kept["none"], kept["version"][:10]) == (True, True, "2026-03-03")
    for window in context.ledger.windows(FAILURES.name, ORIGIN, ("proof", "report", "rows")):
        assert window["report"].get("findings", []) == []


def test_a_deployment_that_was_pending_becomes_a_success(context: Context, recorded: Recorded) -> None:
    fold(context, recorded([item("github.deployments", deployment(("in_progress", 1)))], "a.jsonl"))
    assert live(context, DEPLOYMENTS)["deployment:7"]["result"] == "pending"
    fold(
        context, recorded([item("github.deployments", deployment(("success", 5), ("in_progress", 1)), 1.0)], "b.jsonl")
    )
    assert live(context, DEPLOYMENTS)["deployment:7"]["result"] == "success"


def test_changing_a_pattern_makes_its_dataset_stale_and_nothing_else(context: Context, recorded: Recorded) -> None:
    """And the rows follow, without a sweep."""
    mine = under(context, GitHubCounts())
    items = [
        item("github.issues", incident("bug")),
        item("github.workflow_runs", RUN),
        item("github.deployments", deployment(("success", 5))),
    ]
    fold(mine, recorded(items))
    assert live(mine, FAILURES) == {}

    changed = under(make_context(), GitHubCounts(failures="bug"))
    stale = {dataset.name: [one.why for one in entities.stale(changed, dataset, ORIGIN)] for dataset in ENTITIES}
    assert {name for name, found in stale.items() if found} == {FAILURES.name}
    fold(changed)
    assert live(changed, FAILURES).keys() == {"issue:7"}
    fold(under(make_context(), GitHubCounts()))
    assert live(changed, FAILURES) == {}


def test_rows_of_every_kind_pass_their_suites(context: Context, recorded: Recorded) -> None:
    """No rule is of one kind only: nothing is set aside, and no finding is made of a window of any mixture."""
    pull = {"number": 7, "title": "x", "created_at": "2026-03-01T10:00:00Z", "merged_at": "2026-03-02T10:00:00Z",
            "user": {"person": "p"}, "merge_commit_sha": SHA}  # fmt: skip
    event = {
        "type": "commit",
        "sha": SHA,
        "parents": [],
        "author_ts": 1772445600,
        "commit_ts": 1772445600,
        "author": "p",
    }
    tag = {"name": "v1", "target": SHA, "tag_ts": 1772445600}
    pull_revert = {"type": "pull_revert", "number": 9, "reverts": 7, "merged_ts": 1772445600, "merge_sha": SHA}
    items = [
        item("git.commits", event, id_=SHA),
        item("github.pull_requests", {"pull": pull, "commits": [], "reviews": []}),
        item("git.tags", tag, id_="v1"),
        item("github.deployments", deployment(("success", 5))),
        item("github.workflow_runs", RUN),
        item("jenkins.builds", build()),
        item("jenkins.builds", build(actions=[], number=8), id_="8"),
        item("github.reverts", REVERT, id_="r"),
        item("github.reverts", pull_revert, id_="pull:9:7"),
        item("github.issues", incident("incident")),
        item("jira.issues", jira()),
    ]
    fold(context, recorded(items))
    assert live(context, CHANGES).keys() == {SHA, "pull:7"}
    assert live(context, DEPLOYMENTS).keys() == {"v1", "deployment:7", "build:7", "build:8"}
    assert live(context, FAILURES).keys() == {"r", "pull:9:7", "issue:7", "jira:7"}
    assert live(context, BUILDS).keys() == {"run:7", "build:7", "build:8"}
    assert context.db[schema.QUARANTINE].count_documents({}) == 0
    for dataset in ENTITIES:
        of_day = (DAY, DAY + timedelta(days=1))
        (window,) = context.ledger.windows(dataset.name, ORIGIN, ("report", "proof", "rows"), of_day)
        assert (dataset.name, window["report"].get("findings", [])) == (dataset.name, [])
        assert window["proof"]["state"] == "proven"


@pytest.mark.parametrize(
    "stream", ["git.reverts", "jira.issues", "github.issues", "jenkins.builds", "github.workflow_runs"]
)
def test_one_source_alone_passes_too(context: Context, recorded: Recorded, stream: str) -> None:
    """What rows of other kinds would have is no missing column where there are none."""
    payload = {"jira.issues": jira(), "github.issues": incident("incident"), "jenkins.builds": build(),
               "github.workflow_runs": RUN, "git.reverts": REVERT}[stream]  # fmt: skip
    counts = BY_WORKFLOW.github
    assert counts is not None
    fold(under(context, counts), recorded([item(stream, payload)]))
    found = [
        window["report"].get("findings", [])
        for dataset in ENTITIES
        for window in context.ledger.windows(dataset.name, ORIGIN, ("report",))
    ]
    assert found
    assert all(one == [] for one in found)


def test_a_row_that_cannot_be_is_set_aside_under_its_own_id(context: Context, recorded: Recorded) -> None:
    """And once a good version of the same entity came, it is mended: ids of rows are not those of items."""
    bad = item("github.issues", {"issue": {"labels": 7}})
    fold(context, recorded([bad]))
    aside = list(context.db[schema.QUARANTINE].find({"dataset": FAILURES.name, **quarantine.OUT}))
    assert [one["item"]["id"] for one in aside] == ["7"]
    later = replace(make_context(), now=context.now + timedelta(hours=1))
    fold(later, recorded([bad, item("github.issues", incident("incident"), 0.1)]))
    assert live(context, FAILURES).keys() == {"issue:7"}
    assert context.db[schema.QUARANTINE].count_documents({"dataset": FAILURES.name, **quarantine.OUT}) == 0


def test_a_mended_recording_gives_the_row_of_what_it_says_now(context: Context, tmp_path: Path) -> None:
    """Corrections begin with Bronze ids and must find Silver's."""
    path = tmp_path / "items.jsonl"
    source = ReplaySource("recorded", [str(path)])
    for number, (title, later) in enumerate([("Wrong", 0.2), ("Right", 0.1)]):
        path.write_text(json.dumps(item("github.issues", incident("incident", title=title), later)), encoding="utf-8")
        fold(replace(make_context(), now=context.now + timedelta(hours=number)), source)
        assert live(context, FAILURES)["issue:7"]["title"] == title


@pytest.mark.parametrize(
    ("states", "state", "lossy"),
    [
        (["proven", "proven"], "proven", False),
        (["proven", "unproven"], "unproven", False),
        (["failed", "unproven"], "failed", False),
        (["partial lossy", "unproven"], "unproven", True),
    ],
)
def test_a_window_is_known_as_far_as_its_worst_stream(states: list[str], state: str, lossy: bool) -> None:  # noqa: FBT001
    proofs: list[dict[str, Any]] = [
        {"state": one.split()[0], "coverage": 1.0, **({"lossy": True} if "lossy" in one else {})} for one in states
    ]
    found = entities._worst(proofs)
    assert (found["state"], bool(found.get("lossy"))) == (state, lossy)
