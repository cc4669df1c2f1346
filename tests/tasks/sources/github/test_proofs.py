"""Sweeps through Bronze: which windows are proven day by day, and that no secret lies anywhere."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from quality.receipts import Proof
from tasks import bronze
from tasks.context import Context
from tasks.sources.contract import Item
from tasks.sources.github.source import GitHubSource
from tests.harness import at as context_at
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.conftest import TOKEN
from tests.tasks.sources.github.hub import Hub, Repo, sha
from tests.tasks.sources.github.reading import ORIGIN, day

Make = Callable[..., GitHubSource]
STREAMS = (
    "pull_requests", "commits", "deployments", "workflow_runs", "releases", "tags", "issues", "reverts",
)  # fmt: skip


def swept(context: Context, source: GitHubSource, now: datetime, *, days: int = 8) -> str | None:
    """A daily sweep, asked for the days before `now`."""
    span = (now.date() - timedelta(days=days), now.date())
    return bronze.sweep(context_at(context, now), source, ORIGIN, span, lambda: now)


def proofs(context: Context, stream: str) -> dict[int, str]:
    """By day of October."""
    found = context.ledger.windows(f"bronze.github.{stream}", ORIGIN, ("proof.state",))
    return {
        (one["window"].date() - date(2026, 9, 30)).days: one["proof"]["state"]
        for one in found
        if one["window"].date() >= date(2026, 10, 1)
    }


def happening(repo: Repo, number: int) -> None:
    """What happens on each day, in each stream."""
    when = day(number) + 40_000
    repo.pull(number, when, merged=when)
    repo.issue(100 + number, when)
    repo.deployment(number, when, ("success", when + 60))
    repo.run(number, when, when + 60)
    repo.release(number, when)
    repo.commit(f"c{number}", when)
    repo.tag(f"t{number}", sha(f"c{number}"), tagged=when)


def night(number: int) -> datetime:
    """Twenty minutes into the day after."""
    return datetime(2026, 10, 1, 0, 20, tzinfo=UTC) + timedelta(days=number)


def test_each_night_proves_the_day_before(context: Context, repo: Repo, source: Make) -> None:
    for number in range(1, 5):
        happening(repo, number)
        assert swept(context, source(), night(number)) is None
        for stream in STREAMS:
            assert proofs(context, stream) == {
                **dict.fromkeys(range(1, number + 1), Proof.PROVEN),
                **({} if number + 1 not in proofs(context, stream) else {number + 1: Proof.PARTIAL}),
            }, stream
    assert context.db["bronze.github.pull_requests"].count_documents({}) == 4


def test_a_day_without_news_is_proven_by_an_answer_that_says_so(
    context: Context, repo: Repo, source: Make, server: FaultyServer
) -> None:
    happening(repo, 1)
    assert swept(context, source(), night(1)) is None
    server.requests.clear()
    assert swept(context, source(), night(3)) is None
    assert len(server.requests) == 7
    for stream in STREAMS:
        assert {number: state for number, state in proofs(context, stream).items() if number < 4} == dict.fromkeys(
            (1, 2, 3), Proof.PROVEN
        )


def test_days_that_were_not_seen_are_proven_once_the_next_sweep_has_seen_them(
    context: Context, repo: Repo, source: Make, server: FaultyServer
) -> None:
    """Also those of a sweep that failed for one stream only; what was proven before stays so meanwhile."""
    happening(repo, 1)
    happening(repo, 2)
    swept(context, source(), night(2))
    happening(repo, 3)
    server.inject("500_lasting", path=r"/pulls\?", every=True)
    assert "page 1 answered 500" in str(swept(context, source(), night(3)))
    assert proofs(context, "pull_requests") | {4: ""} == {1: "proven", 2: "proven", 3: "failed", 4: ""}
    assert proofs(context, "reverts")[3] == "failed"  # they are read from pull requests too
    assert proofs(context, "issues")[3] == "proven"
    server.heal()
    happening(repo, 4)
    assert swept(context, source(), night(4)) is None
    for stream in STREAMS:
        assert {number: state for number, state in proofs(context, stream).items() if number < 5} == dict.fromkeys(
            (1, 2, 3, 4), Proof.PROVEN
        ), stream


def test_a_sweep_that_fails_as_a_whole_proves_nothing_and_the_next_one_all(
    context: Context, repo: Repo, source: Make, server: FaultyServer
) -> None:
    happening(repo, 1)
    swept(context, source(), night(1))
    happening(repo, 2)
    server.inject("401", every=True)
    assert "token" in str(swept(context, source(), night(2)))
    assert proofs(context, "issues")[2] in (Proof.FAILED, Proof.PARTIAL)
    server.heal()
    swept(context, source(), night(3))
    for stream in STREAMS:
        assert {proofs(context, stream)[number] for number in (1, 2, 3)} == {Proof.PROVEN}, stream


def test_a_record_that_cannot_be_read_is_set_aside_until_it_can(
    context: Context, repo: Repo, source: Make, server: FaultyServer
) -> None:
    happening(repo, 1)
    happening(repo, 2)
    server.inject("item_null", path=r"/pulls\?")
    swept(context, source(), night(2))
    assert proofs(context, "pull_requests")[2] == Proof.PARTIAL
    server.heal()
    swept(context, source(), night(3))
    assert context.db["bronze.github.pull_requests"].count_documents({}) == 2
    for stream in STREAMS:
        assert {proofs(context, stream)[number] for number in (1, 2, 3)} == {Proof.PROVEN}, stream


def test_a_killed_sweep_goes_on_and_bronze_is_the_same(
    context: Context, repo: Repo, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 10):
        happening(repo, number)
    made = source(page_size=2)
    whole = {(one.stream, one.id) for one in made.sweep(ORIGIN, None, night(9)) if isinstance(one, Item)}
    sweep = made.sweep

    def killed(unit: str, cursor: object, now: datetime) -> Iterator[object]:
        for number, part in enumerate(sweep(unit, cursor, now)):  # type: ignore[arg-type]
            if number == 25:
                raise KeyboardInterrupt
            yield part

    with monkeypatch.context() as patch:
        patch.setattr(made, "sweep", killed)
        with pytest.raises(KeyboardInterrupt):
            swept(context, made, night(9))
    swept(context, made, night(9))
    stored = {
        (stream, one["id"]) for stream in STREAMS for one in context.db[f"bronze.github.{stream}"].find({}, {"id": 1})
    }
    assert stored == whole
    for stream in STREAMS:
        assert set(proofs(context, stream).values()) - {Proof.PARTIAL} == {Proof.PROVEN}
        assert proofs(context, stream)[9] == Proof.PROVEN


@pytest.mark.parametrize("scopes", ["", "public_repo", "read:org"])
def test_a_token_that_lacks_a_scope_proves_nothing_of_a_private_repository(
    context: Context, repo: Repo, hub: Hub, source: Make, scopes: str
) -> None:
    repo.private = True
    hub.scopes = scopes
    swept(context, source(), night(2))
    assert proofs(context, "issues")[2] == Proof.UNPROVEN
    hub.scopes = "repo"
    swept(context, source(), night(3))
    assert proofs(context, "issues")[2] == Proof.PROVEN


def test_a_canary_that_is_not_seen_proves_nothing(context: Context, repo: Repo, source: Make) -> None:
    happening(repo, 1)
    swept(context, source(canary=999), night(1))
    assert proofs(context, "workflow_runs")[1] == Proof.UNPROVEN
    swept(context, source(canary=1), night(2))
    assert proofs(context, "workflow_runs")[1] == Proof.PROVEN


def test_no_secret_is_stored_logged_or_sent_elsewhere(
    context: Context, repo: Repo, source: Make, server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    happening(repo, 1)
    swept(context, source(), night(1))
    for number, fault in enumerate(("401_that_tells_the_token", "301_elsewhere", "next_page_elsewhere", "400"), 2):
        happening(repo, number)
        server.inject(fault, path=r"/pulls\?", every=True)
        swept(context, source(page_size=1), night(number))
        server.heal()
    swept(context, source(), night(9))
    stored = "".join(
        json.dumps(document, default=str)
        for name in context.db.list_collection_names()
        for document in context.db[name].find()
    )
    assert len(stored) > 10_000
    assert TOKEN not in stored
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(source())
    assert "octocat" not in stored.replace("octocat/", "").replace("github.com/octocat", "")
    assert server.strays == []
    assert server.hosts_with("authorization") == {server.url.removeprefix("http://").rstrip("/")}
