"""A sweep that shows by itself that it did not see everything moves nothing; and a doubt goes once it is unfounded."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from quality.extractions import Extraction, barrier, loss
from tasks.sources.contract import Coverage, Swept
from tasks.sources.jira import comparing, sweep
from tests.tasks.sources.faulty import Request
from tests.tasks.sources.jira.board import START, Board
from tests.tasks.sources.jira.reading import Reader

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def coverage(swept: Swept | None) -> Coverage:
    assert swept is not None
    return swept.coverages[0]


def stated(swept: Swept | None) -> Extraction:
    return coverage(swept).extractions[0]


def is_sound(swept: Swept | None) -> bool:
    one = stated(swept)
    return one.complete and one.error is None and not barrier(one) and not loss(one) and not coverage(swept).problem


def place(reader: Reader) -> tuple[Any, Any]:
    """From where the next sweep goes on."""
    cursor = reader.cursor
    assert isinstance(cursor, Mapping)
    return cursor["until"], cursor["position"]


def is_brief(request: Request) -> bool:
    return request.path.endswith(("/search", "/search/jql")) and request.json["fields"] == ["updated"]


def test_what_was_hidden_with_the_canary_is_read_however_old_it_is(
    board: Board, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sweep shows a part only; what was left out is older than all that is compared by ids.

    If it is killed on the way nothing may have been noted either.
    """
    monkeypatch.setattr(sweep, "RANGE", 5)
    board.granted = 3
    for day in range(28):
        board.make(START - day * DAY)
    reader.more = {"canary": "OPS-1", "recheck_days": 2}
    board.hidden |= {"10000", *(str(10000 + n) for n in range(15, 28))}
    assert not is_sound(reader.sweep())
    assert place(reader) == (None, None)
    assert not reader.progress
    board.hidden.clear()
    board.now += DAY
    assert is_sound(reader.sweep())
    assert reader.progress
    assert reader.agrees()


def test_in_doubt_nothing_moves_and_nothing_is_forgotten(board: Board, reader: Reader) -> None:
    """An issue is made and one is deleted while nobody can be sure; both are found out when that is long past."""
    for day in range(8):
        board.make(START - day * DAY)
    reader.more = {"canary": "OPS-1", "recheck_days": 3}
    assert is_sound(reader.sweep())
    before = place(reader)
    board.hidden.add("10000")
    board.now += DAY
    board.hidden.add(board.make())
    board.delete("10002")
    for _ in range(5):
        board.now += DAY
        board.make()
        assert not is_sound(reader.sweep())
        assert place(reader) == before
    board.hidden.clear()
    assert is_sound(reader.sweep())
    assert reader.agrees()
    assert reader.items["10002"].deleted


def test_more_than_can_be_fetched_one_by_one_is_read_by_pages(
    board: Board, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty issues come into sight with times long past: the sweep turns back to the first of them."""
    monkeypatch.setattr(comparing, "MISSED", 10)
    board.granted = 20
    for hour in range(40):
        board.hidden.add(board.make(START - 5 * DAY - hour * HOUR))
    board.make(START - DAY)
    assert is_sound(reader.sweep())
    board.hidden.clear()
    board.now += DAY
    assert is_sound(reader.sweep())
    assert reader.agrees()
    assert not [one for one in reader.asked if "/issue/" in one.target]
    board.now += HOUR
    swept = reader.sweep()
    assert swept is not None
    assert swept.unchanged


def test_the_only_issue_that_is_remembered_may_be_deleted(board: Board, reader: Reader) -> None:
    """The others are older than what is remembered; that the project is not empty is no contradiction then."""
    for day in range(3):
        board.make(START - day * DAY)
    reader.sweep()
    board.now += 60 * DAY
    young = board.make(board.now - DAY)
    reader.sweep()
    for _ in range(3):
        board.now += DAY
        board.issues.pop(young, None)
        assert is_sound(reader.sweep())
    assert reader.items[young].deleted
    assert reader.agrees()


def test_an_issue_made_between_the_list_and_the_count_is_no_doubt(board: Board, reader: Reader) -> None:
    for day in range(5):
        board.make(START - day * DAY)
    raced: list[str] = []

    def race(request: Request) -> None:
        if request.path.endswith("/approximate-count") and not raced:
            raced.append(board.make(board.now))

    board.before = race
    assert is_sound(reader.sweep())
    assert bool(raced) == (board.edition == "cloud")
    assert reader.agrees()


def test_a_count_that_was_wrong_for_a_while_is_no_doubt_for_ever(
    board: Board, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(5):
        board.make(START - day * DAY)
    with monkeypatch.context() as patched:
        patched.setattr(comparing, "count", lambda *_: 9)
        swept = reader.sweep()
        assert is_sound(swept) == (board.edition != "cloud")
    board.now += HOUR
    assert is_sound(reader.sweep())
    assert place(reader)[0] is not None


def test_what_is_set_aside_lacks_in_no_count(board: Board, reader: Reader) -> None:
    """It has a doubt of its own, which does not keep the other issues from being done with."""
    for day in range(5):
        board.make(START - day * DAY)
    reader.server.inject("item_without_id", path="/search", every=True)
    assert is_sound(reader.sweep())
    assert reader.rejected
    assert place(reader)[0] is not None


def test_a_list_that_moves_while_it_is_paged_is_no_doubt(board: Board, reader: Reader) -> None:
    """The oldest issue is edited between two pages: all others move up, and one of them is on neither page."""
    for day in range(20):
        board.make(START - (20 - day) * DAY)
    reader.sweep()
    board.granted = 5
    board.now += DAY
    listed = 0

    def edit(request: Request) -> None:
        nonlocal listed
        if is_brief(request):
            listed += 1
            if listed == 2:
                board.edit("10000")

    board.before = edit
    swept = reader.sweep()
    assert [one for one in reader.asked if "/issue/" in one.target]  # so one was skipped
    assert is_sound(swept)
    assert not any(item.deleted for item in reader.items.values())


@pytest.fixture
def halved(board: Board, reader: Reader) -> Reader:
    """Thirty issues are known; twenty-five of them are deleted."""
    for day in range(30):
        board.make(START - day * DAY)
    reader.sweep()
    board.now += DAY
    for n in range(25):
        board.delete(str(10000 + n))
    return reader


def test_when_most_were_deleted_it_is_believed_a_day_later(board: Board, halved: Reader) -> None:
    before = place(halved)
    swept = halved.sweep()
    problem = coverage(swept).problem
    assert problem is not None
    assert "25 of 30 issues" in problem
    assert "count as gone if they still answer 404 a day later" in problem
    board.now += DAY - HOUR
    board.make()
    assert not is_sound(halved.sweep())
    assert not any(item.deleted for item in halved.items.values())
    assert not [one for one in halved.asked if "/issue/" in one.target]  # each is asked for twice in all
    assert place(halved) == before
    board.now += HOUR
    assert is_sound(halved.sweep())
    assert sum(item.deleted for item in halved.items_now) == 25
    assert halved.agrees()
    assert place(halved) > before


def test_what_was_seen_in_between_has_not_been_gone_for_a_day(board: Board, reader: Reader) -> None:
    """Hidden, visible, and hidden again: the second time begins anew, and is noticed though no comparison is due."""
    for day in range(30):
        board.make(START - day * DAY)
    reader.sweep()
    for hours, hidden in ((25, True), (20, False), (20, True)):
        board.now += hours * HOUR
        board.hidden = {str(10000 + n) for n in range(25)} if hidden else set()
        assert is_sound(reader.sweep()) != hidden
    assert not any(item.deleted for item in reader.items.values())


def test_without_the_canary_no_day_of_absence_begins(board: Board, halved: Reader) -> None:
    halved.more = {"canary": board.issues["10029"]["key"]}
    board.hidden.add("10029")
    halved.sweep()
    board.hidden.clear()
    board.now += DAY + HOUR
    assert not is_sound(halved.sweep())
    assert not any(item.deleted for item in halved.items.values())
    board.now += DAY
    assert is_sound(halved.sweep())
    assert halved.agrees()


def test_more_suspects_than_one_sweep_asks_for_take_several(
    board: Board, halved: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.sources.jira.absence.ASKED", 10)
    asked = []
    for _ in range(8):
        swept = halved.sweep()
        asked.append(sum("/issue/" in one.target for one in halved.asked))
        board.now += 12 * HOUR
    assert asked[:2] == [10, 10]
    assert max(asked) < 25
    assert is_sound(swept)
    assert halved.agrees()


def test_what_comes_back_after_it_was_forgotten_is_read(board: Board, reader: Reader) -> None:
    """Hidden for so long that its time lies before all that is compared."""
    for day in range(30):
        board.make(START - day * DAY)
    reader.more = {"recheck_days": 20}
    reader.sweep()
    board.hidden.add("10015")
    board.now += DAY
    reader.sweep()
    assert reader.items["10015"].deleted
    board.now += 15 * DAY
    reader.sweep()
    board.hidden.clear()
    board.now += DAY
    assert is_sound(reader.sweep())
    assert reader.agrees()
