"""Lists that lie: nothing that is missing is called whole, and the next sweep has it."""

from collections.abc import Callable

import pytest

from quality.receipts import Proof
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Repo, sha
from tests.tasks.sources.github.reading import day, later, read, versions

LISTS = {
    "pull_requests": r"/pulls\?", "commits": r"/commits\?sha", "deployments": r"/deployments\?",
    "workflow_runs": "created=", "releases": r"/releases\?", "tags": "matching-refs", "issues": "direction=asc",
}  # fmt: skip
LIES = (
    "chain_cut", "page_repeated", "page_shorter", "page_empty", "next_page_is_this", "items_reversed", "item_null",
    "item_missing", "item_twice", "404", "login_page", "500_lasting",
)  # fmt: skip


@pytest.mark.parametrize("stream", LISTS)
def test_a_list_that_lies_proves_nothing_and_loses_nothing(
    repo: Repo, source: Callable[..., GitHubSource], server: FaultyServer, stream: str
) -> None:
    for number in range(1, 9):
        when = day(20) + number * 1000
        repo.pull(number, when)
        repo.issue(100 + number, when)
        repo.deployment(number, when, ("success", when))
        repo.run(number, when)
        repo.release(number, when)
        repo.commit(f"c{number}", when)
        repo.tag(f"t{number}", sha(f"c{number}"), tagged=when)
    made = source(page_size=3, streams=[stream])
    whole = versions(read(made).items)
    met = 0
    for lie in LIES:
        server.inject(lie, path=LISTS[stream], nth=1 if stream == "tags" else 2)
        first = read(made)
        met += server.applied[lie] > 0
        server.heal()
        proven = first.proof(stream, 20) is Proof.PROVEN and not first.rejected
        assert not proven or versions(first.items) == whole, lie
        second = read(made, first.cursor, later(hours=1))
        assert versions(first.items) | versions(second.items) == whole, lie
        assert proven or second.proof(stream, 20) is Proof.PROVEN, lie
    assert met >= 6
