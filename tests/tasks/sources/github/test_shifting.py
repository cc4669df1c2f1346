"""Lists that shift between two sweeps or two pages, ends that come after `since`, and what comes back."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from quality.receipts import Proof
from tasks.sources.contract import Cursor, Progress
from tasks.sources.github import runs
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.exchanges import Request, Response
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Hub, Repo, made_commit, sha
from tests.tasks.sources.github.reading import NOW, ORIGIN, Read, at, day, later, read, taken

Make = Callable[..., GitHubSource]


def until_mark(source: GitHubSource, stream: str, wanted: Callable[[Cursor], bool]) -> tuple[Read, Cursor]:
    """What is yielded until a partial state is as wanted, and the cursor then."""
    parts = []
    sweep = source.sweep(ORIGIN, None, NOW)
    for part in sweep:
        parts.append(part)
        if isinstance(part, Progress) and wanted(part.cursor["streams"][stream]["partial"]):
            sweep.close()  # type: ignore[attr-defined]
            return taken(iter(parts)), part.cursor
    raise AssertionError("no such mark")


def test_what_was_made_before_since_and_ended_after_it_counts(repo: Repo, source: Make) -> None:
    repo.run(20, day(1) - 600, day(1) + 600)
    repo.run(21, day(1) - 600, day(1) - 300)
    repo.deployment(10, day(1) - 600, ("success", day(1) + 600))
    repo.deployment(11, day(1) - 600, ("success", day(1) - 300))
    found = read(source())
    assert (found.ids("workflow_runs"), found.ids("deployments")) == (["20"], ["10"])
    repo.run(21, day(1) - 600, day(32.51))
    assert read(source(), found.cursor, later(hours=1)).ids("workflow_runs")[-1:] == ["21"]


@pytest.mark.parametrize("stream", ["deployments", "pull_requests"])
@pytest.mark.parametrize("gone", [2, 7])
def test_what_is_deleted_while_a_backfill_rests_takes_no_other_with_it(
    repo: Repo, source: Make, stream: str, gone: int
) -> None:
    for number in range(1, 19):
        repo.deployment(number, day(2) + number, ("success", day(2) + number))
        repo.pull(number, day(2) + number)
    made = source(page_size=3, streams=[stream], recheck_days=5)
    before, cursor = until_mark(made, stream, lambda partial: partial["page"] == 4)
    for number in range(19 - gone, 19):
        del repo.deployments[number]
        del repo.pulls[number]
    after = read(made, cursor, later(hours=1))
    assert {str(number) for number in range(1, 19 - gone)} <= {*before.ids(stream), *after.ids(stream)}
    assert after.proof(stream, 2) is Proof.PROVEN


def test_runs_that_were_run_again_while_a_backfill_rested_are_seen_with_its_end(
    repo: Repo, hub: Hub, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_CAP", 6)
    hub.cap = 6
    for number in range(1, 17):
        repo.run(number, day(10) + number * 50_000)
    made = source(page_size=3, streams=["workflow_runs"])
    _, cursor = until_mark(made, "workflow_runs", lambda partial: partial["from"] > day(14))
    repo.run(3, day(10) + 150_000, day(33) + 40_000, run_attempt=2)
    del repo.runs[2]
    found = read(made, cursor, later(days=2))
    assert [(one.payload["run_attempt"]) for one in found.items if one.id == "3"] == [2]
    assert [one.id for one in found.items if one.deleted] == ["2"]
    assert found.proof("workflow_runs", 33) is Proof.PROVEN


def test_runs_that_begin_while_the_last_slice_is_read_do_not_spoil_it(repo: Repo, hub: Hub, source: Make) -> None:
    for number in range(1, 8):
        repo.run(number, day(20) + number)

    def busy(request: Request) -> None:
        if "created=" in request.target:
            repo.run(100 + len(repo.runs), NOW.timestamp() - 5)

    hub.before = busy
    made = source(page_size=3, streams=["workflow_runs"])
    first = read(made)
    assert first.proof("workflow_runs", 20) is Proof.PROVEN
    hub.before = lambda _: None
    second = read(made, first.cursor, later(hours=1))
    assert {*first.ids("workflow_runs"), *second.ids("workflow_runs")} == {str(number) for number in repo.runs}


def test_runs_of_the_last_minutes_are_read_by_the_next_sweep_without_further_news(repo: Repo, source: Make) -> None:
    for number in range(1, 8):
        repo.run(number, NOW.timestamp() - 60 + number)
    made = source(page_size=3, streams=["workflow_runs"])
    first = read(made)
    second = read(made, first.cursor, later(hours=1))
    assert {*first.ids("workflow_runs"), *second.ids("workflow_runs")} == set("1234567")


def test_a_branch_rewritten_from_its_root(repo: Repo, source: Make) -> None:
    """GitHub compares nothing that has no common ancestor."""
    repo.commit("a", day(2))
    repo.commit("b", day(3))
    made = source(streams=["commits"])
    first = read(made, None, at(4))
    repo.head = None
    repo.commit("x", day(2))
    repo.commit("y", day(4) + 5)
    found = read(made, first.cursor, at(5))
    assert {(one.id, one.deleted) for one in found.items} == {
        (sha("x"), False), (sha("y"), False), (sha("a"), True), (sha("b"), True),
    }  # fmt: skip
    assert found.proof("commits", 3) is Proof.PROVEN
    assert read(made, found.cursor, at(6)).items == []


def test_commits_without_sha_or_date_stop_no_other_stream(repo: Repo, source: Make) -> None:
    repo.issue(1, day(2))
    repo.commit("base", day(2))
    old = repo.commit("old", day(3))
    first = read(source())
    repo.commit("new", day(4), "base")
    repo.issue(2, day(32.51))
    repo.commits[old]["commit"] |= {"author": {}, "committer": {"date": "then"}}
    second = read(source(), first.cursor, later(hours=1))
    assert [one.place for one in second.rejected] == [f"acme/api: commit {old}"]
    assert second.ids("issues") == ["2"]


def test_a_first_commit_without_sha_is_an_error_of_its_stream(repo: Repo, hub: Hub, source: Make) -> None:
    repo.issue(1, day(2))
    repo.commit("a", day(2))

    def app(request: Request) -> Response:
        return Response(json=[{}]) if request.path.endswith("/commits") else hub(request)

    with FaultyServer(app) as lying:
        found = read(source(base_url=lying.url))
    assert found.ids("issues") == ["1"]
    assert found.proof("commits", 2) is Proof.FAILED


def test_what_comes_back_unchanged_is_newer_than_its_tombstone(repo: Repo, source: Make) -> None:
    """And a tombstone is newer than what it takes back, though that lies ahead of our clock."""
    ahead = later(hours=2).timestamp()
    for number in (1, 2):
        repo.issue(number, ahead)
        repo.run(number, day(30), ahead)
        repo.deployment(number, day(30), ("success", ahead))
        repo.release(number, day(30), published_at=repo.issues[number]["updated_at"])
    streams = ["issues", "workflow_runs", "deployments", "releases"]
    made = source(streams=streams)
    first = read(made)
    lists = (repo.issues, repo.runs, repo.deployments, repo.releases)
    kept = [listed.pop(1) for listed in lists]
    second = read(made, first.cursor, later(hours=1))
    gone = {one.stream: one.updated_on for one in second.items if one.deleted}
    assert gone == dict.fromkeys(streams, later(hours=2) + timedelta(seconds=1))
    for listed, one in zip(lists, kept, strict=True):
        listed[1] = one
    third = read(made, second.cursor, later(hours=1, minutes=5))
    back = {one.stream: one.updated_on for one in third.items if one.id == "1" and not one.deleted}
    assert set(back) == set(streams)
    assert all(back[stream] > gone[stream] for stream in streams)
    assert read(made, third.cursor, later(hours=3)).items == []


def test_a_repository_that_is_hidden_amid_a_sweep_takes_nothing_back(repo: Repo, hub: Hub, source: Make) -> None:
    for number in range(1, 5):
        repo.run(number, day(5) - number, status="in_progress", conclusion=None)
    repo.deployment(9, day(3), ("in_progress", day(3) + 9))
    made = source(streams=["workflow_runs", "deployments"], page_size=2)
    first = read(made, None, at(5))
    for number in (5, 6, 7):
        repo.run(number, day(5) + number)
    full_name, listed = repo.full_name, {"workflow_runs": "/actions/runs", "deployments": "/deployments"}
    for path in listed.values():
        repo.full_name = full_name

        def hide(request: Request, path: str = path) -> None:
            if request.path.startswith(f"/repos/{full_name}{path}/"):
                repo.full_name = "acme/hidden"

        hub.before = hide
        assert not [one for one in read(made, first.cursor, at(5) + timedelta(hours=2)).items if one.deleted]


def test_an_issue_moved_to_a_repository_whose_name_ends_alike_is_gone(repo: Repo, source: Make) -> None:
    for number in (1, 2):
        repo.issue(number, day(25))
    made = source(streams=["issues"])
    first = read(made)
    moved = repo.issues[1] | {"moved_to": "big-acme/api"}

    class Listed(dict[int, dict[str, object]]):
        def values(self) -> list[dict[str, object]]:  # type: ignore[override]
            return [one for one in super().values() if "moved_to" not in one]

    repo.issues = Listed({1: moved, 2: repo.issues[2]})
    assert [(one.id, one.deleted) for one in read(made, first.cursor, later(hours=1)).items] == [("1", True)]


def test_an_issue_that_is_updated_while_many_of_one_second_are_paged_hides_no_other(
    repo: Repo, hub: Hub, source: Make
) -> None:
    """It leaves the first page for the last one, and what follows moves forward onto a page that was read."""
    for number in range(1, 10):
        repo.issue(number, day(20))

    def app(request: Request) -> Response:
        answer = hub(request)
        if request.query.get("direction") == "asc" and request.query.get("page", "1") == "1":
            repo.issue(1, day(21))
        return answer

    with FaultyServer(app) as changing:
        found = read(source(page_size=3, base_url=changing.url, streams=["issues"]))
    assert set(found.ids("issues")) == set("123456789")


@pytest.mark.parametrize("collected", [False, True])
def test_more_commits_of_a_pull_request_than_github_lists(
    repo: Repo,
    source: Make,
    collected: bool,  # noqa: FBT001
) -> None:
    base = repo.commit("base", day(1))
    for number in range(260):
        repo.commit(f"p{number}", day(2) + number)
    head = repo.head
    pull = repo.pull(1, day(4))
    pull["base"] |= {"sha": sha("no longer there") if collected else base}
    pull["head"] |= {"sha": head}
    repo.pull_commits[1] = [made_commit(f"p{number}", day(2) + number) for number in range(260)]
    (item,) = read(source(streams=["pull_requests"])).items
    assert len(item.payload["commits"]) == (250 if collected else 260)
    assert item.payload.get("commits_cut", False) is collected
