"""A mended recording counts as if it had never been broken, also where the broken lines were taken for good."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from config import schema
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, commit, gold, make_context, moment, revert, run_all, snapshot, tag

FIRST = date(2024, 1, 1)
RANGE = (FIRST, FIRST + timedelta(days=6))
Recorded = Callable[..., ReplaySource]
Event = dict[str, Any]

CLEAN = [
    *EVENTS[:2], commit("c", "b", 3.1), tag("v3", "c", 3.5), commit("r", "c", 4.1), revert("r", "b", 4.1),
    tag("v4", "r", 4.5), *EVENTS[2:],
]  # fmt: skip


def another(**change: Any) -> Callable[[Event], Event]:
    return lambda event: {**event, **change}


FAULTS = [
    ("another author", 1, another(author="b" * 32)),
    ("another subject", 1, another(subject="wrong")),
    ("author time an hour off", 1, another(author_ts=moment(2.0))),
    ("another target", 3, another(target=EVENTS[0]["sha"])),
    ("a tag a day late", 3, another(tag_ts=moment(4.6))),
    ("a tag a day early", 3, another(tag_ts=moment(2.6))),
    ("a commit two days late", 2, another(commit_ts=moment(5.2))),
    ("a revert an hour off", 5, another(commit_ts=moment(4.15))),
    ("a new field", 0, another(extra=1)),
]


@pytest.mark.parametrize(("number", "fault"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
@pytest.mark.parametrize("was_good_before", [False, True])
def test_after_repair_everything_is_as_if_there_had_been_no_fault(
    context: Context,
    recorded: Recorded,
    number: int,
    fault: Callable[[Event], Event],
    was_good_before: bool,  # noqa: FBT001
) -> None:
    """Whatever the hashes and times of the two versions, and whichever came first."""
    run_all(context, recorded(CLEAN), RANGE)
    clean = snapshot(context)
    if not was_good_before:
        context.db.client.drop_database(context.db.name)
        schema.ensure(context.db)
    broken = [fault(event) if at == number else event for at, event in enumerate(CLEAN)]
    for _ in range(2):
        run_all(make_context(), recorded(broken), RANGE)
        assert snapshot(context) != clean or "extra" in broken[0]
        run_all(make_context(), recorded(CLEAN), RANGE)
        assert snapshot(context) == clean


def test_a_line_that_is_missing_withdraws_nothing(context: Context, recorded: Recorded) -> None:
    """A truncated recording must not look like a deletion."""
    run_all(context, recorded(CLEAN), RANGE)
    before = gold(context)
    run_all(make_context(), recorded([event for event in CLEAN if event.get("name") != "v3"]), RANGE)
    assert gold(context) == before
    assert context.db[schema.WITHDRAWN].count_documents({}) == 0


def test_two_sources_of_one_origin_withdraw_only_their_own(context: Context, recorded: Recorded) -> None:
    """What another source says of the same entity is not this one's to take back."""
    run_all(context, recorded(CLEAN, "mine.jsonl"), RANGE)
    other = recorded([event | {"author": "c" * 32} if "author" in event else event for event in CLEAN], "other.jsonl")
    other.name = "other"
    run_all(make_context(), other, RANGE)
    assert context.db[schema.WITHDRAWN].count_documents({}) == 0
    settled = snapshot(context)
    run_all(make_context(), recorded(CLEAN, "mine.jsonl"), RANGE)
    assert snapshot(context) == settled
