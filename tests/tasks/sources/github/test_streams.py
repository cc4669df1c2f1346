"""Each stream: what becomes of its records, what a second sweep yields, and what changed after the fact."""

from collections.abc import Callable
from typing import Any

import pytest

from quality.receipts import Proof
from tasks.sources.git_payloads import pseudonym
from tasks.sources.github import runs
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.conftest import KEY
from tests.tasks.sources.github.hub import Hub, Repo, sha
from tests.tasks.sources.github.reading import at, day, filled, later, read, versions

Make = Callable[..., GitHubSource]

STREAMS = ("pull_requests", "commits", "deployments", "workflow_runs", "releases", "tags", "issues")


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set[str]().union(*map(keys_of, value)) if isinstance(value, list) else set()


def test_payloads_are_raw_without_links_and_people(repo: Repo, source: Make) -> None:
    filled(repo)
    found = read(source())
    for item in found.items:
        dropped = {key for key in keys_of(item.payload) if key.endswith("_url") and key != "html_url"}
        assert not dropped | (keys_of(item.payload) & {"_links", "node_id", "gravatar_id", "login", "email"}), item
    pull = found.of("pull_requests")[-1]
    assert (pull.id, pull.updated_on, pull.origin, pull.source) == ("1", at(4), "acme/api", "github")
    assert set(pull.payload) == {"pull", "commits", "reviews"}
    assert set(pull.payload["pull"]["base"]["repo"]) <= {"id", "full_name", "default_branch"}
    assert pull.payload["commits"] == [
        {"sha": sha("pull 1"), "author_ts": day(4) - 60, "commit_ts": day(4) - 60, "message": "Change"}
    ]
    assert set(pull.payload["reviews"][0]) == {"id", "state", "submitted_at", "commit_id", "user"}
    assert set(pull.payload["reviews"][0]["user"]) == {"person", "type"}


def test_commits_and_tags_have_the_shape_of_git(repo: Repo, source: Make) -> None:
    filled(repo)
    found = read(source())
    commit = next(item for item in found.of("commits") if item.id == sha("second"))
    assert commit.updated_on == at(3)
    assert commit.payload == {
        "type": "commit", "repo": "acme/api", "sha": sha("second"), "parents": [sha("first")], "author_ts": day(3),
        "author_tz": "+0000", "commit_ts": day(3), "commit_tz": "+0000", "author": pseudonym(b"mona@example.com", KEY),
        "subject": "Revert it",
    }  # fmt: skip
    assert {item.id: item.payload for item in found.of("reverts")} == {
        f"{sha('second')}:{sha('first')}": {
            "type": "revert", "repo": "acme/api", "sha": sha("second"), "commit_ts": day(3),
            "reverted_sha_raw": sha("first"),
        },
        "pull:3:1": {
            "type": "pull_revert", "repo": "acme/api", "number": 3, "reverts": 1, "merged_ts": day(5),
            "merge_sha": sha("merge 3"),
        },
    }  # fmt: skip
    assert {item.id: item.payload for item in found.of("tags")} == {
        "light": {
            "type": "tag", "repo": "acme/api", "name": "light", "target": sha("first"), "annotated": False,
            "tag_ts": day(2), "tag_tz": "+0000", "tag_time_source": "target_committer",
        },
        "v2": {
            "type": "tag", "repo": "acme/api", "name": "v2", "target": sha("second"), "annotated": True,
            "tag_ts": day(9), "tag_tz": "+0000", "tag_time_source": "tagger",
        },
    }  # fmt: skip


def test_the_rest_is_as_it_came(repo: Repo, source: Make) -> None:
    filled(repo)
    found = read(source())
    (deployment,) = found.of("deployments")
    assert (deployment.id, deployment.updated_on) == ("10", at(6 + 60 / 86_400))
    assert [one["state"] for one in deployment.payload["statuses"]] == ["success", "pending"]
    (run,) = found.of("workflow_runs")
    assert (run.id, run.updated_on, run.payload["name"]) == ("20", at(7 + 300 / 86_400), "Lint")
    (release,) = found.of("releases")
    assert (release.id, release.updated_on, release.payload["tag_name"]) == ("30", at(8), "v30")
    (issue,) = found.of("issues")  # and no pull request
    assert (issue.id, issue.payload["issue"]["labels"][0]["name"]) == ("2", "incident")
    assert found.rejected == []


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_sizes_of_pages_make_no_difference(repo: Repo, source: Make, size: int) -> None:
    filled(repo)
    for number in range(40, 47):
        repo.pull(number, day(10) + number % 3, merged=None)
        repo.issue(number + 100, day(10) + number % 3)
        repo.deployment(number, day(10) + number % 3, ("success", day(10) + 5))
        repo.run(number, day(10) + number % 3)
        repo.release(number, day(10) + number % 3)
        repo.commit(f"c{number}", day(10) + number)
        repo.tag(f"t{number}", sha(f"c{number}"))
    whole = read(source())
    paged = read(source(page_size=size))
    assert versions(paged.items) == versions(whole.items)
    assert {stream: paged.proof(stream, 30) for stream in STREAMS} == dict.fromkeys(STREAMS, Proof.PROVEN)


def test_a_refresh_without_news_costs_one_request_for_each_stream(
    repo: Repo, source: Make, server: FaultyServer
) -> None:
    filled(repo)
    first = read(source())
    server.requests.clear()
    again = read(source(), first.cursor, later(hours=1))
    assert len(server.requests) == len(STREAMS)
    assert all("if-none-match" in one.headers for one in server.requests)
    assert again.swept is not None
    assert again.swept.unchanged
    assert again.items == []
    tomorrow = read(source(), again.cursor, later(days=1))
    assert len(server.requests) == 2 * len(STREAMS)  # also of a new day, where one page shows all
    assert tomorrow.proof("pull_requests", 32) is Proof.PROVEN  # for nothing has happened since


@pytest.mark.parametrize("stream", STREAMS)
def test_what_is_new_is_yielded_alone(repo: Repo, source: Make, stream: str) -> None:
    filled(repo)
    first = read(source())
    new = day(32.51)
    happen: dict[str, Callable[[], object]] = {
        "pull_requests": lambda: repo.pull(50, new),
        "commits": lambda: repo.commit("third", new),
        "deployments": lambda: repo.deployment(50, new, ("success", new + 1)),
        "workflow_runs": lambda: repo.run(50, new),
        "releases": lambda: repo.release(50, new),
        "tags": lambda: repo.tag("v3", sha("second"), tagged=new),
        "issues": lambda: repo.issue(50, new),
    }
    happen[stream]()
    found = read(source(), first.cursor, later(hours=6))
    assert len(found.items) == 1
    assert found.items[0].stream == stream
    assert found.swept is not None
    assert not found.swept.unchanged
    assert found.proof(stream, 32) is Proof.PARTIAL  # the day is not over
    assert read(source(), found.cursor, later(hours=7)).items == []


def test_an_empty_repository_is_whole(hub: Hub, source: Make) -> None:
    hub.repos[0].has_issues = False
    found = read(source())
    assert found.items == []
    assert {stream: found.proof(stream, 30) for stream in STREAMS} == dict.fromkeys(STREAMS, Proof.PROVEN)


def test_more_runs_than_a_search_lists_are_asked_for_in_slices(
    repo: Repo, hub: Hub, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_CAP", 20)
    hub.cap = 20
    for id_ in range(1, 121):
        repo.run(id_, day(2) + id_ * (10_000 if id_ % 9 else 3000))
    found = read(source(page_size=5))
    assert set(found.ids("workflow_runs")) == {str(id_) for id_ in range(1, 121)}
    assert found.proof("workflow_runs", 20) is Proof.PROVEN
    assert found.extraction("workflow_runs").total_advertised == 120


def test_more_runs_in_a_second_than_a_search_lists_are_no_silent_loss(
    repo: Repo, hub: Hub, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_CAP", 20)
    hub.cap = 20
    for id_ in range(1, 31):
        repo.run(id_, day(2))
    found = read(source(page_size=5))
    assert found.proof("workflow_runs", 2) is Proof.FAILED


def test_nothing_older_than_since_is_fetched(repo: Repo, source: Make, server: FaultyServer) -> None:
    old = day(-5)
    repo.pull(1, old)
    repo.issue(2, old)
    repo.deployment(3, old, ("success", old))
    repo.run(4, old)
    repo.release(5, old)
    repo.tag("old", repo.commit("old", old))
    assert read(source()).items == []
    assert not [one for one in server.requests if "/commits" in one.path and "pulls" in one.path]


def test_an_earlier_since_fetches_the_rest(repo: Repo, source: Make) -> None:
    repo.pull(1, day(-5))
    repo.pull(2, day(5))
    first = read(source())
    assert first.ids("pull_requests") == ["2"]
    found = read(source(since="2026-09-01"), first.cursor, later(hours=1))
    assert found.ids("pull_requests") == ["1", "2"]
    assert found.swept is not None
    assert not found.swept.unchanged


def test_statuses_of_many_pages(repo: Repo, source: Make) -> None:
    states = [("in_progress", day(6) + number) for number in range(250)]
    repo.deployment(1, day(6), *states, ("success", day(6) + 300))
    (item,) = read(source()).of("deployments")
    assert len(item.payload["statuses"]) == 251
    assert item.payload["statuses"][0]["state"] == "success"


def test_sample_shows_the_newest(repo: Repo, source: Make) -> None:
    filled(repo)
    for number in range(70, 80):
        repo.run(number, day(10) + number)
    assert [one.id for one in source().sample("acme/api", "workflow_runs", 3)] == ["79", "78", "77"]
    for stream in (*STREAMS, "reverts"):
        assert list(source().sample("acme/api", stream, 2)), stream
