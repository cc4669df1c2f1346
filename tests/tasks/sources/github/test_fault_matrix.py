"""Every fault in every question: no window is wrongly proven, nothing is lost or doubled, the reason is named."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import pytest

from quality.receipts import Proof
from tasks.sources.contract import Cursor, Part, SourceError
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.faulty import FAULTS, Fault, FaultyServer
from tests.tasks.sources.github.hub import Hub, Repo, sha
from tests.tasks.sources.github.reading import NOW, ORIGIN, Read, day, later, taken, versions

QUESTIONS: Final = {
    "pull_requests": ("pull_requests", r"/pulls\?"),
    "details": ("pull_requests", r"/pulls/\d+/"),
    "commits": ("commits", r"/commits\?"),
    "deployments": ("deployments", r"/deployments\?"),
    "statuses": ("deployments", r"/statuses"),
    "workflow_runs": ("workflow_runs", r"/runs\?"),
    "releases": ("releases", r"/releases\?"),
    "tags": ("tags", "/matching-refs"),
    "objects": ("tags", r"/git/(tags|commits)/"),
    "issues": ("issues", r"/issues\?"),
}
"""The stream, and where in it something goes wrong."""
PARTS: Final = {"details", "statuses", "objects"}
"""Of an entity: lists of one page without a total, in which nothing tells that one is missing."""
SLOW: Final = {
    "stalled_after_nothing", "stalled_after_head", "stalled_after_body", "stalled_lasting", "length_too_long", "huge",
    "bomb", "403_limit_far", "403_secondary_without_time", "403_limit", "429_reset_iso",
}  # fmt: skip
"""What takes seconds to be noticed, or waits by the clock of this machine: left to the tests of the client."""
TOTALS: Final = {"workflow_runs"}
"""Where GitHub tells how many there are. Elsewhere a page that leaves one out, and tells nobody, cannot be noticed."""


def filled(repo: Repo) -> None:
    for number in range(1, 9):
        when = day(29) + number * 1000
        repo.pull(number, when, merged=when)
        repo.issue(100 + number, when)
        repo.deployment(number, when, ("success", when + 5))
        repo.run(number, when, when + 50)
        repo.release(number, when)
        repo.commit(f"c{number}", when)
        repo.tag(f"t{number}", sha(f"c{number}"), tagged=when)


def swept(source: GitHubSource, cursor: Cursor | None, now: datetime) -> tuple[Read, str]:
    """What a sweep yields, and why it ended early."""
    parts: list[Part] = []
    try:
        parts.extend(source.sweep(ORIGIN, cursor, now))
    except SourceError as error:
        return taken(iter(parts)), str(error)
    return taken(iter(parts)), ""


def is_possible(name: str, fault: Fault, question: str) -> bool:
    told = question in TOTALS or not fault.needs_total
    return name not in SLOW and name != "item_with_news" and told and not (question in PARTS and fault.paging)


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_fault_proves_what_was_not_seen(
    repo: Repo, hub: Hub, source: Callable[..., GitHubSource], question: str
) -> None:
    stream, path = QUESTIONS[question]
    filled(repo)
    tried = 0
    for name, fault in FAULTS.items():
        if not is_possible(name, fault, question):
            continue
        with FaultyServer(hub) as server:
            limits = {"retries": 1, "timeout_seconds": 5, "longest_wait_seconds": 5, "answer_megabytes": 1}
            made = source(page_size=3, base_url=server.url, streams=[stream], requests=limits)
            whole = versions(swept(made, None, NOW)[0].items)
            server.inject(
                name,
                path=path,
                nth=(3 if question == "issues" else 2) if fault.paging else 1,
                every=not fault.transient and not fault.paging,
            )
            first, why = swept(made, None, NOW)
            tried += server.applied[name] > 0
            proven = first.swept is not None and first.proof(stream, 29) is Proof.PROVEN and not first.rejected
            seen = versions(first.items)
            assert not proven or seen == whole, name
            assert seen <= whole or first.rejected, name
            assert first.swept is not None or why, name
            server.heal()
            cursor = first.swept.cursor if first.swept else None
            second, why = swept(made, cursor, later(hours=1))
            assert not why, (name, why)
            assert seen | versions(second.items) == whole, name
            assert proven or second.proof(stream, 29) is Proof.PROVEN, name
    assert tried >= 40
