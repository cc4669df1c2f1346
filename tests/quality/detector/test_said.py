"""What people said is kept as they said it, and of one window the newest counts."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from quality.detector.said import Said, Says, about, heard, say
from tasks.context import Context

DAY = date(2026, 3, 10)
AT = datetime(2026, 3, 11, tzinfo=UTC)
SAID = Said(Says.EXPECTED, "silver.changes", "acme/api", DAY, DAY, (), "ann", AT, "a release", "i-1")


def test_what_was_said_is_heard_the_newest_last(context: Context) -> None:
    later = replace(SAID, says=Says.NORMAL, last=None, measures=("rows",), at=AT + timedelta(hours=1))
    other = replace(SAID, scope="acme/web")
    for one in (later, other, SAID):
        say(context.db, one)
    assert heard(context.db, "silver.changes", "acme/api") == [SAID, later]
    assert heard(context.db, scope="acme/web") == [other]
    assert len(heard(context.db)) == 3


def test_nothing_ends_before_it_begins(context: Context) -> None:
    with pytest.raises(ValueError, match="is before"):
        say(context.db, replace(SAID, last=DAY - timedelta(days=1)))
    assert heard(context.db) == []


@pytest.mark.parametrize(
    ("told", "measure", "answer"),
    [
        ([], None, None),
        ([SAID], None, Says.EXPECTED),
        ([replace(SAID, first=DAY + timedelta(days=1), last=None)], None, None),
        ([replace(SAID, first=DAY - timedelta(days=9), last=None)], None, Says.EXPECTED),
        ([SAID, replace(SAID, says=Says.FAULT)], None, Says.FAULT),
        ([replace(SAID, says=Says.FAULT), SAID], None, Says.EXPECTED),
        ([SAID, replace(SAID, says=Says.NORMAL)], None, Says.EXPECTED),
        ([replace(SAID, measures=("rows",))], "rows", Says.EXPECTED),
        ([replace(SAID, measures=("rows",))], "freshness_seconds", None),
        ([replace(SAID, measures=("rows",))], None, None),
    ],
)
def test_of_one_window_the_newest_counts(told: list[Said], measure: str | None, answer: Says | None) -> None:
    assert about(told, DAY, measure) is answer
