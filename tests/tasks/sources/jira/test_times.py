"""Times of JQL: minutes, in the zone of the user, of which some are twice and some never."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.sources.jira.jql import Query
from tests.tasks.sources.jira.board import START, Board
from tests.tasks.sources.jira.reading import Reader, section_of

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BACK, FORTH = datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)
"""Clocks in Berlin are set back, and forward."""


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize("change", [BACK, FORTH])
@pytest.mark.parametrize("granted", [3, 100])
def test_nothing_is_lost_when_clocks_change(
    board: Board, reader: Reader, change: datetime, granted: int, *, later: bool
) -> None:
    """Whichever of the two Jira takes an ambiguous time for."""
    board.zone, board.later, board.granted = "Europe/Berlin", later, granted
    reader.more = {"since": change.date() - timedelta(days=1), "timezone": "Europe/Berlin", "recheck_days": 0}
    board.now = change - 3 * HOUR
    while board.now < change + 3 * HOUR:
        board.make()
        board.make(board.now - 4 * MINUTE)
        board.now += 17 * MINUTE
        if board.now.minute % 2 == 0:
            reader.sweep()
    board.now += 10 * MINUTE
    reader.sweep()
    assert reader.agrees()
    assert len(reader.items) == len(board.issues)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Shanghai"])
def test_the_zone_that_jira_names_is_used(board: Board, reader: Reader, zone: str) -> None:
    """Configured is UTC: to ask eight hours too late would lose what came before."""
    board.zone = zone
    for hour in range(30):
        board.make(START - hour * HOUR)
    reader.sweep()
    for _ in range(5):
        board.now += HOUR
        board.make()
        reader.sweep()
    assert reader.agrees()


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Shanghai"])
def test_a_user_who_moves_to_another_zone_loses_nothing(board: Board, reader: Reader, zone: str) -> None:
    """Where questions begin too late, the newest issue is not shown, and the zone is asked for again."""
    for hour in range(30):
        board.make(START - hour * HOUR)
    reader.sweep()
    board.zone = zone
    for _ in range(4):
        board.now += 130 * MINUTE
        board.make()
        reader.sweep()
        assert reader.agrees()


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"]


@given(
    seconds=st.integers(946_684_800, 1_900_000_000),
    zone=st.sampled_from(ZONES),
    edge=st.sampled_from([BACK, FORTH, None]),
)
def test_a_slot_holds_its_time_and_begins_and_ends_at_times_that_are_only_once(
    seconds: int, zone: str, edge: datetime | None
) -> None:
    at = datetime.fromtimestamp(seconds, UTC) if edge is None else edge + timedelta(seconds=seconds % 14_400 - 7200)
    slot = Query("OPS", "", ZoneInfo(zone)).slot(at)
    assert slot.start <= at < slot.end <= slot.start + 3 * HOUR
    for one in (slot.start, slot.end):
        local = one.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        meant = {local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)}
        assert meant == {one}


def test_a_zone_that_nobody_knows_is_refused(board: Board) -> None:
    with pytest.raises(ValidationError, match="'Berlin' is not a time zone"):
        section_of(board, "https://jira.example.org", timezone="Berlin")
