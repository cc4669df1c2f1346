"""What is read once more: after a kill, where the cursor no longer fits, and where a record could not be read."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from quality.receipts import Proof
from tasks.context import Context
from tasks.sources.contract import Cursor, Part, Progress
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.exchanges import Request, Response
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Hub, Repo, sha
from tests.tasks.sources.github.reading import at, day, later, read
from tests.tasks.sources.github.test_proofs import happening, night, proofs, swept

Make = Callable[..., GitHubSource]


def test_a_kill_after_a_stream_has_ended_leaves_no_window_failed(
    context: Context, repo: Repo, source: Make, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `until` is kept in the middle of the sweep, of which no receipt tells."""
    for number in range(1, 6):
        happening(repo, number)
    for number in range(60):
        repo.deployment(210 + number, day(5) + 76_000 + number, ("success", day(5) + 76_100))
    made = source(page_size=3, streams=["pull_requests", "deployments"])
    server.inject("500_lasting", path=r"/(pulls|deployments)\?", every=True)
    swept(context, made, night(5))
    assert proofs(context, "pull_requests")[5] == Proof.FAILED
    server.heal()
    sweep = made.sweep

    def killed(unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Part]:
        for part in sweep(unit, cursor, now):
            yield part
            if isinstance(part, Progress) and "until" in part.cursor["streams"].get("pull_requests", {}):
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(made, "sweep", killed)
        with pytest.raises(KeyboardInterrupt):
            swept(context, made, night(5) + timedelta(hours=1))
    assert swept(context, made, night(5) + timedelta(hours=2)) is None
    for stream in ("pull_requests", "deployments"):
        assert {proofs(context, stream)[number] for number in range(1, 6)} == {Proof.PROVEN}, stream


def test_a_record_that_cannot_be_read_does_not_hold_up_a_backfill(repo: Repo, hub: Hub, source: Make) -> None:
    """Each sweep is cut off by the rate limit; the next one goes on, and at last all is read but the one."""
    for number in range(1, 81):
        repo.pull(number, day(2) + number * 1000)
    repo.pull_commits[78][0]["commit"] |= {"author": None, "committer": None}
    made = source(page_size=3, streams=["pull_requests"], requests={"retries": 0, "longest_wait_seconds": 0})
    found: set[str] = set()
    cursor = None
    answer = hub._answer
    for sweep in range(8):
        asked = iter(range(10_000))

        def tired(request: Request, asked: Iterator[int] = asked) -> Response:
            if next(asked) > 80:
                return Response(429, {"Retry-After": "3600"}, {"message": "API rate limit exceeded"})
            return answer(request)

        hub._answer = tired  # type: ignore[method-assign]
        part = read(made, cursor, later(hours=sweep))
        cursor = part.cursor
        found |= set(part.ids("pull_requests"))
    assert found == {str(number) for number in range(1, 81)} - {"78"}


def test_what_was_refused_is_read_again_by_the_next_sweep_and_then_once_a_day(
    repo: Repo, source: Make, server: FaultyServer
) -> None:
    """Of the others no details are asked for again, and the item has the place of what was refused."""
    for number in range(1, 9):
        repo.pull(number, day(2) + number * 1000)
    good = repo.pull_commits[7][0]["commit"] | {}
    repo.pull_commits[7][0]["commit"] |= {"author": None, "committer": None}
    made = source(page_size=3, streams=["pull_requests"])
    cursor, tries = None, []
    for hours in (0, 1, 2, 3, 24, 25):
        server.requests.clear()
        part = read(made, cursor, later(hours=hours))
        cursor = part.cursor
        tries.append(len(part.rejected))
        details = [one.path for one in server.requests if one.path.endswith("/commits")]
        assert hours == 0 or set(details) <= {"/repos/acme/api/pulls/7/commits"}
        assert {one.place for one in part.rejected} <= {"acme/api: pull request 7"}
    assert tries == [1, 1, 0, 0, 1, 0]
    repo.pull_commits[7][0]["commit"] |= good
    part = read(made, cursor, later(days=2))
    assert [(one.id, one.place) for one in part.items] == [("7", "acme/api: pull request 7")]
    assert part.proof("pull_requests", 2) is Proof.PROVEN
    assert "refused" not in part.cursor["streams"]["pull_requests"]


def test_a_second_reading_that_breaks_takes_no_proof_away(
    context: Context, repo: Repo, source: Make, server: FaultyServer
) -> None:
    happening(repo, 1)
    happening(repo, 2)
    repo.pull_commits[2][0]["commit"] |= {"author": None, "committer": None}
    made = source(streams=["pull_requests"])
    swept(context, made, night(3))
    assert proofs(context, "pull_requests")[1] == Proof.PROVEN
    server.inject("500_lasting", path=r"/pulls\?", every=True)
    swept(context, made, night(3) + timedelta(days=1))
    assert proofs(context, "pull_requests")[1] == Proof.PROVEN
    server.heal()
    repo.pull_commits[2] = []
    swept(context, made, night(5))
    assert {proofs(context, "pull_requests")[number] for number in range(1, 6)} == {Proof.PROVEN}


@pytest.mark.parametrize("change", [{"since": "2026-09-20"}, {"key": b"another"}])
def test_what_was_deleted_is_taken_back_though_the_cursor_no_longer_fits(
    repo: Repo, source: Make, change: dict[str, Any]
) -> None:
    for number in range(1, 5):
        repo.issue(number, day(3) + number)
        repo.deployment(number, day(3) + number, ("success", day(3) + number))
        repo.run(number, day(3) + number)
        repo.release(number, day(3) + number)
    repo.commit("a", day(3))
    repo.commit("b", day(4))
    repo.tag("kept", sha("a"))
    repo.tag("gone", sha("a"))
    first = read(source(), None, at(5))
    for listed in (repo.issues, repo.deployments, repo.runs, repo.releases):
        del listed[2]
    del repo.refs["gone"]
    repo.head = sha("a")
    second = read(source(**change), first.cursor, at(6))
    numbered = {(stream, "2") for stream in ("issues", "deployments", "workflow_runs", "releases")}
    assert {(one.stream, one.id) for one in second.items if one.deleted} == numbered | {
        ("commits", sha("b")), ("tags", "gone"),
    }  # fmt: skip
    gone = {(one.stream, one.id) for one in second.items if one.deleted}
    left = {(one.stream, one.id, one.updated_on) for one in first.items if (one.stream, one.id) not in gone}
    assert {(one.stream, one.id, one.updated_on) for one in second.items if not one.deleted} == left
    assert read(source(**change), second.cursor, at(7)).items == []
