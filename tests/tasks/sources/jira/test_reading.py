"""What a sweep reads: all of it, once, and then only what is news."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tasks.sources.jira import sweep
from tests.tasks.sources.faulty import FaultyServer, Request
from tests.tasks.sources.jira.board import START, Board
from tests.tasks.sources.jira.reading import Reader

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def test_everything_is_read_once_and_then_only_news(board: Board, reader: Reader) -> None:
    for hour in range(250):
        board.make(START - hour * HOUR)
    swept = reader.sweep()
    assert swept is not None
    assert swept.whole
    assert reader.agrees()
    assert len(reader.items_now) == 250
    board.now += HOUR
    board.edit("10003")
    fresh = board.make()
    swept = reader.sweep()
    assert swept is not None
    assert not swept.whole
    assert not swept.unchanged
    assert [item.id for item in reader.items_now] == ["10003", fresh]
    assert reader.agrees()


def test_no_news_costs_one_question(board: Board, reader: Reader) -> None:
    for hour in range(30):
        board.make(START - hour * HOUR)
    reader.sweep()
    for minutes in (1, 10, 300):
        board.now += minutes * MINUTE
        swept = reader.sweep()
        assert swept is not None
        assert swept.unchanged
        assert not reader.items_now
        assert len(reader.asked) == 1


@pytest.mark.parametrize("granted", [7, 50])
def test_a_minute_that_fills_many_pages_ends(board: Board, reader: Reader, granted: int) -> None:
    """A bulk change: 120 issues of one minute, where a question can not begin in the middle of a minute."""
    board.granted = granted
    for second in range(120):
        board.make(START - 2 * HOUR + timedelta(milliseconds=400 * second))
    for hour in (3, 1):
        board.make(START - hour * HOUR)
    swept = reader.sweep()
    assert swept is not None
    assert reader.agrees()
    assert len(reader.items_now) == 122
    assert len(reader.asked) < 3 * 122 // granted + 20
    assert swept.coverages[0].extractions[0].complete


def test_a_token_that_expires_costs_only_a_new_beginning(server: FaultyServer) -> None:
    board: Board = server.app  # type: ignore[assignment]
    board.granted, board.token_uses = 10, 4
    for second in range(90):
        board.make(START - 2 * HOUR + timedelta(milliseconds=400 * second))
    reader = Reader(board, server)
    swept = reader.sweep()
    assert swept is not None
    assert reader.agrees()
    assert len(reader.items_now) == 90
    assert board.token_uses is None or board.edition != "cloud"
    assert swept.coverages[0].extractions[0].error is None


def test_what_broke_off_goes_on_where_it_was(board: Board, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "RANGE", 40)
    board.granted = 20
    for hour in range(200):
        board.make(START - hour * HOUR)
    assert reader.sweep(stop_after=100) is None
    known, pages = reader.there(), len(board.pages)
    swept = reader.sweep()
    assert swept is not None
    assert not swept.whole
    assert reader.agrees()
    again = {number for page in board.pages[pages:] for number in page} & known
    assert len(again) <= 60  # one range, the last page of which is read whole
    assert swept.coverages[0].start == datetime(2026, 2, 1, tzinfo=UTC)
    extraction = swept.coverages[0].extractions[0]
    assert extraction.start == datetime(2026, 2, 1, tzinfo=UTC)
    assert extraction.complete


def test_an_update_that_the_index_noticed_late_is_read(board: Board, reader: Reader) -> None:
    for hour in range(20):
        board.make(START - hour * HOUR)
    board.lag = timedelta(seconds=50)
    reader.sweep()
    board.edit("10007")
    late = board.make()
    board.now += timedelta(seconds=40)
    reader.sweep()
    assert late not in reader.there()
    board.lag = timedelta(0)
    board.make()
    reader.sweep()
    board.now += 30 * MINUTE
    reader.sweep()
    assert reader.agrees()


def test_the_whole_history_is_read(board: Board, reader: Reader) -> None:
    """A search embeds the newest entries; all others must be asked for."""
    long = board.make(START - HOUR, history=333)
    for hour in range(2, 30):
        board.make(START - hour * HOUR, history=hour)
    reader.sweep()
    assert reader.agrees()
    entries = reader.items[long].payload["issue"]["changelog"]["histories"]
    assert [int(one["id"]) for one in entries] == sorted(int(one["id"]) for one in entries)
    assert len(entries) == 333
    board.now += HOUR
    swept = reader.sweep()
    assert swept is not None
    assert swept.unchanged


@given(
    at=st.lists(st.integers(0, 400), min_size=5, max_size=40),
    edits=st.dictionaries(st.integers(0, 40), st.lists(st.integers(0, 59), max_size=4), max_size=12),
    granted=st.sampled_from([2, 5, 11]),
    edition=st.sampled_from(["cloud", "data_center"]),
)
@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_nothing_is_lost_while_others_work(
    at: list[int], edits: dict[int, list[int]], granted: int, edition: str
) -> None:
    """Issues are edited between any two questions, and leave the places where the next page would begin.

    What is edited to the very end of a sweep may be left to the next one.
    """
    board = Board(edition, granted=granted)
    for minutes in at:
        board.make(START - minutes * MINUTE - HOUR)
    asked = 0

    def work(_: Request) -> None:
        nonlocal asked
        for which in edits.get(asked, ()):
            board.edit(str(10000 + which % len(at)))
        board.now += timedelta(seconds=3)
        asked += 1

    with FaultyServer(board) as server:
        reader = Reader(board, server)
        board.before = work
        reader.sweep()
        board.before = lambda _: None
        board.now += HOUR
        swept = reader.sweep()
    assert swept is not None
    assert swept.coverages[0].extractions[0].complete
    assert reader.agrees()


def test_an_issue_that_shows_a_newer_time_than_its_place_is_no_end(board: Board, reader: Reader) -> None:
    """A search finds by the index, and shows what is true now: the last issue of a page seems to be of this minute."""
    board.granted = 5
    for hour in range(20):
        board.make(START - (30 - hour) * HOUR)
    board.lag = 3 * MINUTE
    for number in ("10004", "10009"):
        board.edit(number)
    swept = reader.sweep()
    assert swept is not None
    assert reader.agrees()
    assert not [one for one in reader.asked if "/issue/" in one.target]


def test_only_what_was_updated_since_the_beginning_is_read(board: Board, reader: Reader) -> None:
    reader.more = {"since": "2026-02-25"}
    for day in range(20):
        board.make(START - day * DAY)
    reader.sweep()
    assert {item.updated_on.date().isoformat() for item in reader.items_now} >= {"2026-02-25", "2026-03-02"}
    assert min(item.updated_on for item in reader.items_now) >= datetime(2026, 2, 25, tzinfo=UTC)


def test_what_is_asked_for_or_hidden_otherwise_is_all_read_again(board: Board, reader: Reader) -> None:
    for hour in range(20):
        board.make(START - hour * HOUR)
    reader.sweep()
    reader.key = None
    swept = reader.sweep()
    assert swept is not None
    assert swept.whole
    assert len(reader.items_now) == 20
