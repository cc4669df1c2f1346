"""What changed after the fact: the next sweep sees it, and what is gone becomes a tombstone."""

from collections.abc import Callable
from typing import Any

import pytest

from quality.receipts import Proof
from tasks.sources.contract import SourceError
from tasks.sources.github import payloads
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.exchanges import Request, Response
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Hub, Repo, sha
from tests.tasks.sources.github.reading import Read, at, day, filled, later, read

Make = Callable[..., GitHubSource]


def changed(source: Make, change: Callable[[], object], **settings: Any) -> Read:
    """What a sweep an hour later yields after a change."""
    first = read(source(**settings))
    change()
    found = read(source(**settings), first.cursor, later(hours=1))
    assert read(source(**settings), found.cursor, later(hours=2)).items == []
    return found


@pytest.mark.parametrize("moves", [True, False])
def test_a_pending_deployment_is_seen_to_its_end(repo: Repo, source: Make, moves: bool) -> None:  # noqa: FBT001
    """Also where its own time does not move with its statuses, and where it has left the first page."""
    repo.deployment(1, day(20), ("in_progress", day(20) + 5))
    for id_ in range(2, 6):
        repo.deployment(id_, day(21), ("success", day(21)))
    done = (("in_progress", day(20) + 5), ("success", day(32.51)))
    found = changed(source, lambda: repo.deployment(1, day(20), *done, moves=moves), page_size=2)
    (item,) = found.items
    assert (item.id, item.updated_on, item.payload["statuses"][0]["state"]) == ("1", at(32.51), "success")
    assert not payloads.is_pending(item.payload)


def test_a_pending_deployment_costs_one_conditional_request(repo: Repo, source: Make, server: FaultyServer) -> None:
    repo.deployment(1, day(20), ("in_progress", day(20) + 5))
    settings = {"streams": ["deployments"]}
    first = read(source(**settings))
    server.requests.clear()
    read(source(**settings), first.cursor, later(hours=1))
    assert [(one.path, "if-none-match" in one.headers) for one in server.requests] == [
        ("/repos/acme/api/deployments", True), ("/repos/acme/api/deployments/1/statuses", True),
    ]  # fmt: skip


def test_a_run_that_is_run_again_is_a_newer_version(repo: Repo, source: Make) -> None:
    repo.run(1, day(30))
    found = changed(source, lambda: repo.run(1, day(30), day(32.51), run_attempt=2))
    assert [(one.id, one.updated_on, one.payload["run_attempt"]) for one in found.items] == [("1", at(32.51), 2)]


def test_a_run_far_back_that_is_run_again_is_found_the_next_day(repo: Repo, source: Make) -> None:
    """It keeps its place in the list, so that only a second look at all of `recheck_days` shows it."""
    for id_ in range(1, 8):
        repo.run(id_, day(20 + id_))
    first = read(source(page_size=2))
    repo.run(1, day(21), day(32.6), run_attempt=2)
    assert read(source(page_size=2), first.cursor, later(hours=4)).items == []
    found = read(source(page_size=2), first.cursor, later(hours=24))
    assert [(one.id, one.payload["run_attempt"]) for one in found.items] == [("1", 2)]
    assert found.proof("workflow_runs", 32) is Proof.PROVEN


def test_a_run_under_way_is_looked_at_though_it_left_the_first_page(repo: Repo, source: Make) -> None:
    repo.run(1, day(31), status="in_progress", conclusion=None)
    for id_ in range(2, 8):
        repo.run(id_, day(32) + id_)
    found = changed(source, lambda: repo.run(1, day(31), day(32.51)), page_size=2)
    assert [(one.id, one.payload["status"]) for one in found.items] == [("1", "completed")]


def test_an_edited_issue_and_a_rebased_pull_request(repo: Repo, source: Make) -> None:
    repo.issue(1, day(20))
    repo.pull(2, day(20))

    def edit() -> None:
        repo.issue(1, day(32.51), labels=["incident"], title="It is down")
        repo.pull_commits[2] = []
        repo.pull(2, day(32.52), merged=day(32.52), title="Rebased")

    found = changed(source, edit)
    assert [(one.id, one.updated_on) for one in found.items] == [("2", at(32.52)), ("1", at(32.51))]
    assert found.items[0].payload["commits"] == []


def test_a_release_that_is_edited_without_a_sign_bears_the_time_of_notice(repo: Repo, source: Make) -> None:
    repo.release(1, day(20))
    found = changed(source, lambda: repo.release(1, day(20), name="Better"))
    assert [(one.id, one.updated_on) for one in found.items] == [("1", later(hours=1))]


def test_downloads_are_no_news_of_a_release(repo: Repo, source: Make) -> None:
    asset = {"id": 1, "name": "a.tgz", "download_count": 1}
    repo.release(1, day(20), assets=[asset])
    assert changed(source, lambda: repo.release(1, day(20), assets=[asset | {"download_count": 2}])).items == []


@pytest.mark.parametrize("size", [100, 2])
def test_what_was_deleted_becomes_a_tombstone(repo: Repo, source: Make, size: int) -> None:
    """By comparison of what is listed with what is known; where that takes more than a page, the next day."""
    repo.commit("base", day(2))
    for number in range(1, 6):
        repo.issue(number, day(25) + number)
        repo.deployment(number, day(25) + number, ("success", day(25) + number))
        repo.run(number, day(25) + number)
        repo.release(number, day(25) + number)
        repo.tag(f"v{number}", sha("base"), tagged=day(25) + number)
    first = read(source(page_size=size))
    for kept in (repo.issues, repo.deployments, repo.runs, repo.releases):
        del kept[2]
    del repo.refs["v2"]
    found = read(source(page_size=size), first.cursor, later(days=1))
    gone = {(one.stream, one.id) for one in found.items}
    wanted = {(stream, "2") for stream in ("issues", "deployments", "workflow_runs", "releases")} | {("tags", "v2")}
    assert gone == wanted
    assert all(one.deleted and one.updated_on == later(days=1) for one in found.items)
    assert read(source(page_size=size), found.cursor, later(days=2)).items == []


def test_what_is_refused_is_not_deleted(repo: Repo, source: Make, server: FaultyServer) -> None:
    """A 403 says nothing about whether it is there."""
    repo.issue(1, day(25))
    repo.issue(2, day(26))
    first = read(source())
    del repo.issues[1]
    server.inject("403_refused", path="/issues/1$", every=True)
    found = read(source(), first.cursor, later(hours=1))
    assert found.items == []
    assert found.extraction("issues").failed_at is not None
    server.heal()
    assert [one.deleted for one in read(source(), found.cursor, later(hours=2)).items] == [True]


def test_an_issue_that_was_moved_to_another_repository_is_gone_from_here(repo: Repo, source: Make) -> None:
    repo.issue(1, day(25))
    repo.issue(2, day(26))
    listed = repo.issues

    def move() -> None:
        class Listed(dict[int, dict[str, Any]]):
            def values(self) -> Any:
                return [one for one in super().values() if "moved_to" not in one]

        repo.issues = Listed(listed)
        repo.issues[1]["moved_to"] = "acme/other"

    found = changed(source, move)
    assert [(one.id, one.deleted) for one in found.items] == [("1", True)]


def test_a_moved_tag_and_one_that_came_back_are_newer_than_before(repo: Repo, source: Make) -> None:
    first, second = repo.commit("a", day(2)), repo.commit("b", day(3))
    repo.tag("latest", first)
    repo.tag("gone", first)
    one = read(source())
    repo.tag("latest", second)
    kept = repo.refs.pop("gone")
    two = read(source(), one.cursor, later(hours=1))
    assert {(item.id, item.deleted, item.updated_on) for item in two.of("tags")} == {
        ("latest", False, later(hours=1)), ("gone", True, later(hours=1)),
    }  # fmt: skip
    repo.refs["gone"] = kept
    three = read(source(), two.cursor, later(hours=2))
    assert [(item.id, item.deleted, item.updated_on) for item in three.of("tags")] == [("gone", False, later(hours=2))]


def test_commits_that_enter_late_with_an_old_date_are_seen(repo: Repo, source: Make) -> None:
    """A branch that is merged brings commits which are older than the last sweep."""
    repo.commit("base", day(2))
    first = read(source())
    repo.commit("side", day(10), "base")
    repo.commit("merge", day(32.51), "base", "side")
    found = read(source(), first.cursor, later(hours=1))
    assert {(one.id, one.updated_on) for one in found.items} == {(sha("side"), at(10)), (sha("merge"), at(32.51))}


def test_a_rewritten_branch_takes_back_what_left_it(repo: Repo, source: Make) -> None:
    repo.commit("base", day(2))
    old = repo.commit("old", day(3), message=f"Undo\n\nThis reverts commit {sha('base')}.")
    first = read(source())
    repo.commit("new", day(32.51), "base")
    two = read(source(), first.cursor, later(hours=1))
    assert {(one.stream, one.id, one.deleted) for one in two.items} == {
        ("commits", sha("new"), False), ("commits", old, True), ("reverts", f"{old}:{sha('base')}", True),
    }  # fmt: skip
    repo.head = old
    three = read(source(), two.cursor, later(hours=2))
    back = next(one for one in three.of("commits") if one.id == old)
    assert (back.deleted, back.updated_on) == (False, later(hours=2))


def test_a_branch_whose_old_tip_was_collected_is_unproven_and_says_so(repo: Repo, source: Make) -> None:
    repo.commit("base", day(2))
    old = repo.commit("old", day(3))
    first = read(source())
    repo.commit("new", day(32.51), "base")
    del repo.commits[old]
    found = read(source(), first.cursor, later(hours=1))
    assert found.ids("commits") == sorted([sha("base"), sha("new")])
    assert found.swept is not None
    problems = {one.streams[0]: one.problem for one in found.swept.coverages}
    assert "rewritten" in str(problems["commits"])
    assert problems["issues"] is None


def test_a_renamed_repository_is_followed(repo: Repo, hub: Hub, source: Make) -> None:
    filled(repo)
    first = read(source())
    repo.full_name = "acme/new-name"
    hub.renamed["acme/api"] = repo.id
    repo.pull(60, day(32.51))
    repo.deployment(61, day(32.51), ("success", day(32.51)))
    found = read(source(), first.cursor, later(hours=1))
    assert {one.id for one in found.items} == {"60", "61"}
    assert {one.origin for one in found.items} == {"acme/api"}
    assert found.cursor["repository"]["full_name"] == "acme/new-name"


def test_another_repository_under_the_same_name_is_an_error(repo: Repo, hub: Hub, source: Make) -> None:
    filled(repo)
    first = read(source())
    hub.repos = [Repo(id=77)]
    hub.repos[0].pull(1, day(20))
    with pytest.raises(SourceError, match="another repository"):
        read(source(), first.cursor, later(hours=1))


def test_a_pull_request_that_is_hidden_while_pages_are_read_takes_no_other_with_it(
    repo: Repo, source: Make, hub: Hub
) -> None:
    """What follows moves forward by one, onto a page that was read before."""
    for number in range(1, 7):
        repo.pull(number, day(number))

    def app(request: Request) -> Response:
        answer = hub(request)
        if request.path.endswith("/pulls") and "page=" not in request.target.replace("per_page=", ""):
            repo.pulls.pop(6, None)
        return answer

    with FaultyServer(app) as changing:
        found = read(source(page_size=2, base_url=changing.url, streams=["pull_requests"]))
    assert {"1", "2", "3", "4", "5"} <= set(found.ids("pull_requests"))
