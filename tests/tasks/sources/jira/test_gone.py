"""What is no longer there: deleted, moved, no longer meant; and what only seems so."""

from datetime import timedelta

import pytest

from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.jira.board import START, Board
from tests.tasks.sources.jira.reading import Reader

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def known(board: Board, reader: Reader) -> Reader:
    """Thirty issues of as many days, all read; a day has passed."""
    for day in range(30):
        board.make(START - day * DAY)
    reader.sweep()
    board.now += DAY + HOUR
    return reader


def why(reader: Reader) -> dict[str, str]:
    return {item.id: item.payload["gone"] for item in reader.items_now if item.deleted}


def test_a_deleted_issue_becomes_a_tombstone(board: Board, known: Reader) -> None:
    board.delete("10012")
    swept = known.sweep()
    assert swept is not None
    assert not swept.unchanged
    assert why(known) == {"10012": "deleted"}
    assert known.items["10012"].updated_on == board.now
    assert known.agrees()
    known.sweep()
    assert not known.items_now


def test_the_newest_issue_is_missed_at_once(board: Board, known: Reader) -> None:
    """Each answer must show it: its absence is noticed before the daily comparison."""
    known.sweep()
    board.now += HOUR
    board.delete("10000")
    known.sweep()
    assert why(known) == {"10000": "deleted"}


def test_a_moved_issue_is_gone_from_here_and_comes_back(board: Board, known: Reader) -> None:
    board.move("10005", "WEB")
    known.sweep()
    assert why(known) == {"10005": "moved"}
    board.now += DAY
    board.move("10005", "OPS")
    known.sweep()
    assert [item.id for item in known.items_now] == ["10005"]
    assert known.agrees()


def test_a_project_that_was_renamed_keeps_its_issues(board: Board, known: Reader) -> None:
    """Jira goes on to answer to the old key; only that of the issues is another one."""
    board.projects["OPERATIONS"] = board.projects["OPS"]
    for one in board.issues.values():
        one["fields"]["project"] |= {"key": "OPERATIONS"}
        one["key"] = one["key"].replace("OPS", "OPERATIONS")
    board.delete("10003")
    known.sweep()
    assert why(known) == {"10003": "deleted"}


def test_what_comes_back_is_newer_than_its_tombstone(board: Board, known: Reader) -> None:
    """An issue that was hidden for a day comes back in its old state, with its old time."""
    board.hidden.add("10008")
    known.sweep()
    assert why(known) == {"10008": "deleted"}
    tombstone = known.items["10008"]
    board.hidden.clear()
    board.now += DAY
    known.sweep()
    assert [item.id for item in known.items_now] == ["10008"]
    assert known.items["10008"].updated_on > tombstone.updated_on
    assert not known.items["10008"].deleted
    board.now += DAY
    swept = known.sweep()
    assert swept is not None
    assert swept.unchanged


def test_an_issue_that_no_longer_fits_is_gone(board: Board, reader: Reader) -> None:
    reader.more = {"jql": "issuetype = Incident"}
    for day in range(5):
        board.make(START - day * DAY)
    board.make(kind="Task")
    reader.sweep()
    assert len(reader.there()) == 5
    board.now += DAY
    board.edit("10002", issuetype={"id": "2", "name": "Task"})
    reader.sweep()
    assert why(reader) == {"10002": "unmatched"}


def test_when_most_are_out_of_sight_nothing_is_taken_for_deleted(board: Board, known: Reader) -> None:
    board.hidden |= {str(10000 + n) for n in range(25)}
    swept = known.sweep()
    assert swept is not None
    assert not known.items_now
    assert swept.coverages[0].extractions[0].scope_lost
    board.hidden.clear()
    board.now += HOUR
    swept = known.sweep()
    assert swept is not None
    assert not swept.coverages[0].extractions[0].scope_lost
    assert known.agrees()


def test_without_its_canary_nothing_is_taken_for_deleted(board: Board, known: Reader) -> None:
    known.more = {"canary": "OPS-1"}
    board.hidden |= {"10000", "10004"}
    swept = known.sweep()
    assert swept is not None
    assert not known.items_now
    extraction = swept.coverages[0].extractions[0]
    assert extraction.canary == "OPS-1"
    assert not extraction.canary_seen


@pytest.mark.parametrize("fault", ["401", "403_refused", "500", "login_page"])
def test_only_jira_itself_says_that_an_issue_is_gone(
    board: Board, known: Reader, server: FaultyServer, fault: str
) -> None:
    board.delete("10012")
    server.inject(fault, path="/issue/10012", times=9)
    swept = known.sweep()
    assert server.applied[fault]
    assert swept is not None
    assert not known.items_now
    assert swept.coverages[0].extractions[0].error
    server.heal()
    known.sweep()
    assert why(known) == {"10012": "deleted"}
    assert known.agrees()


def test_an_issue_that_the_listing_lacks_and_jira_has_is_a_doubt(known: Reader, server: FaultyServer) -> None:
    server.inject("item_missing", method="POST", path="/search", nth=2)
    swept = known.sweep()
    assert swept is not None
    assert server.applied["item_missing"]
    assert not known.items_now
    assert swept.coverages[0].extractions[0].missing_ids


def test_an_issue_that_was_missed_before_is_found_by_the_daily_comparison(board: Board, known: Reader) -> None:
    """It appears with a time long past: made visible, or noticed by the index after days."""
    board.make(START - 10 * DAY)
    known.sweep()
    assert [item.id for item in known.items_now] == ["10030"]
    assert known.agrees()


def test_nothing_is_looked_for_without_days_to_recheck(board: Board, known: Reader) -> None:
    known.more = {"recheck_days": 0}
    board.delete("10012")
    known.sweep()
    assert not known.items_now
