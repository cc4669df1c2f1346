"""What breaks off is gone on with, and what moves while it is read is not lost."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from quality.receipts import Proof
from tasks.sources.contract import Cursor, Progress
from tasks.sources.github import runs
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.exchanges import Request
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Hub, Repo, sha
from tests.tasks.sources.github.reading import NOW, ORIGIN, Read, day, later, read, taken, versions

Make = Callable[..., GitHubSource]
PAGED = {
    "pull_requests": r"/pulls\?", "commits": r"/commits\?sha", "deployments": r"/deployments\?",
    "workflow_runs": "created=", "issues": "direction=asc",
}  # fmt: skip
"""Streams whose backfill can go on, and how their pages are asked for."""


@pytest.fixture(autouse=True)
def _small_searches(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setattr(runs, "_CAP", 6)
    hub.cap = 6


def long(repo: Repo, count: int = 16) -> None:
    for number in range(1, count + 1):
        when = day(2) + number * 100_000
        repo.pull(number, when)
        repo.issue(100 + number, when)
        repo.deployment(number, when, ("success", when + 9))
        repo.run(number, when)
        repo.commit(f"c{number}", when)
        repo.tag(f"t{number}", sha(f"c{number}"))


@pytest.mark.parametrize("stream", PAGED)
def test_a_killed_backfill_goes_on_where_it_was(repo: Repo, source: Make, server: FaultyServer, stream: str) -> None:
    """Wherever it is killed: all is there in the end, all is proven, and little is asked for twice."""
    long(repo)
    made = source(page_size=3, streams=[stream])
    whole = read(made)
    once = len(server.requests)
    total = len(list(made.sweep(ORIGIN, None, NOW)))
    for killed in range(4, total, 5):
        server.requests.clear()
        before, cursor = _until(made.sweep(ORIGIN, None, NOW), killed)
        assert cursor is not None or killed < 12
        after = read(made, cursor, later(hours=1))
        assert versions(before.items) | versions(after.items) == versions(whole.items)
        assert after.proof(stream, 20) is Proof.PROVEN
        assert after.proof(stream, 3) is Proof.PROVEN
        assert len(server.requests) < once * 2 + 10


def _until(parts: Iterator[Any], killed: int) -> tuple[Read, Cursor | None]:
    """What was yielded up to a part, and the last cursor that the ledger would have."""
    got = list(islice(parts, killed))
    marks = [number for number, part in enumerate(got) if isinstance(part, Progress)]
    cursor = got[marks[-1]].cursor if marks else None
    return taken(iter(got)), cursor


@pytest.mark.parametrize("stream", PAGED)
def test_a_stream_that_breaks_goes_on_where_it_broke_and_the_others_do_not_care(
    repo: Repo, source: Make, server: FaultyServer, stream: str
) -> None:
    long(repo)
    made = source(page_size=3)
    whole = read(made)
    server.inject("500_lasting", path=PAGED[stream], nth=4, every=True)
    broken = read(made)
    assert broken.proof(stream, 20) is Proof.FAILED
    assert {one: broken.proof(one, 20) for one in PAGED if one != stream} == {
        one: Proof.PROVEN for one in PAGED if one != stream
    }
    server.heal()
    server.requests.clear()
    mended = read(made, broken.cursor, later(hours=1))
    assert versions(broken.items) | versions(mended.items) == versions(whole.items)
    assert mended.proof(stream, 20) is Proof.PROVEN
    assert not broken.items or len(mended.items) < len(whole.of(stream)) + 4


@pytest.mark.parametrize("stream", PAGED)
def test_news_since_a_backfill_began_are_seen_with_its_end(
    repo: Repo, source: Make, server: FaultyServer, stream: str
) -> None:
    long(repo)
    made = source(page_size=3, streams=[stream])
    server.inject("500_lasting", path=PAGED[stream], nth=4, every=True)
    broken = read(made)
    server.heal()
    repo.pull(3, day(33))
    repo.pull(30, day(33))
    repo.issue(103, day(33))
    repo.deployment(30, day(33), ("success", day(33)))
    repo.run(30, day(33))
    repo.commit("new", day(33))
    mended = read(made, broken.cursor, later(days=2))
    ids = {one.id for one in mended.items}
    assert ids & {"3", "30", "103", sha("new")}
    assert mended.proof(stream, 33) is Proof.PROVEN


Moves = list[tuple[int, str, int]]
moves = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["update", "new", "delete"]), st.integers(4, 16)), max_size=12
)


@settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@example(
    moves=[(8, "update", 8), (14, "new", 1), (17, "new", 1), (19, "new", 1), (21, "update", 7), (30, "delete", 4)],
    size=2,
    stream="issues",
)
@given(moves=moves, size=st.integers(2, 5), stream=st.sampled_from(sorted(PAGED)))
def test_what_moves_while_it_is_read_is_not_lost(moves: Moves, size: int, stream: str) -> None:
    """Updates, new entities and deletions (of the last `recheck_days`) between any two requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_TOKEN", "token")
        repo = Repo()
        hub = Hub(repo)
        long(repo)
        clock = _Clock()
        hub.before = lambda request: _move(repo, request, moves, clock)
        with FaultyServer(hub) as server:
            made = _made(server, size, stream)
            first = read(made)
            clock.now = later(hours=1).timestamp() - 200
            second = read(made, first.cursor, later(hours=1))
            clock.stopped = True
            third = read(made, second.cursor, later(days=1))
    newest: dict[str, tuple[Any, bool]] = {}
    for item in sorted((*first.items, *second.items, *third.items), key=lambda one: one.updated_on):
        if item.stream == stream:
            newest[item.id] = (item.updated_on.timestamp(), item.deleted)
    assert {id_: when for id_, (when, deleted) in newest.items() if not deleted} == _present(repo, stream)
    assert third.proof(stream, 32) is Proof.PROVEN


class _Clock:
    """Counts requests, and says what time it is where things happen."""

    def __init__(self) -> None:
        self.requests = 0
        self.stopped = False
        self.now = NOW.timestamp() - 200

    def tick(self) -> float:
        self.now += 1
        return self.now


def _move(repo: Repo, request: Request, moves: Moves, clock: _Clock) -> None:
    if clock.stopped or request.method != "GET":
        return
    clock.requests += 1
    for number, what, id_ in moves:
        if number == clock.requests:
            at = clock.tick()
            if what == "new":
                at_id = 200 + clock.requests * 20 + id_
                repo.pull(at_id, at)
                repo.issue(at_id + 1000, at)
                repo.deployment(at_id, at, ("success", at))
                repo.run(at_id, at)
                repo.commit(f"n{at_id}", at)
            elif what == "update":
                repo.pull(id_, at)
                repo.run(id_, day(2) + id_ * 100_000, at)
                if 100 + id_ in repo.issues:
                    repo.issue(100 + id_, at)
            else:
                for kept in (repo.issues, repo.deployments):
                    kept.pop(id_ if kept is repo.deployments else 100 + id_, None)


def _present(repo: Repo, stream: str) -> dict[str, float]:
    from tasks.sources.github.payloads import moment  # noqa: PLC0415

    if stream == "commits":
        return {one: moment(record["commit"]["committer"]["date"]).timestamp() for one, record in repo.commits.items()}
    if stream == "deployments":
        return {
            str(id_): max(moment(one["created_at"]).timestamp() for one in [repo.deployments[id_], *repo.statuses[id_]])
            for id_ in repo.deployments
        }
    kept = {"pull_requests": repo.pulls, "issues": repo.issues, "workflow_runs": repo.runs}[stream]
    return {
        str(id_): moment(record["updated_at"]).timestamp()
        for id_, record in kept.items()
        if stream != "issues" or "pull_request" not in record
    }


def _made(server: FaultyServer, size: int, stream: str) -> GitHubSource:
    from config.sources import GitHub  # noqa: PLC0415

    section = GitHub.model_validate({
        "type": "github", "name": "hub", "base_url": server.url, "repositories": ["acme/api"], "since": "2026-10-01",
        "streams": [stream],
    })  # fmt: skip
    return GitHubSource(section, b"key", sleep=lambda _: None, page_size=size)
