"""Day by day into a real Bronze: each day ends proven, whatever happened on the way."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from config import catalog
from tasks import bronze
from tasks.context import Context
from tasks.sources.http import Answer
from tasks.sources.jira.source import JiraSource
from tests.harness import at
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.jira.board import TOKEN, Board
from tests.tasks.sources.jira.reading import KEY, section_of

FIRST, DAYS = date(2026, 3, 2), 6
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DATASET = catalog.bronze("jira", "issues")


@dataclass
class Life:
    """A week of the stand-in, swept at some time of each day."""

    context: Context
    board: Board
    server: FaultyServer
    more: dict[str, Any] = field(default_factory=lambda: {"since": FIRST.isoformat()})

    def sweep(self) -> str | None:
        source = JiraSource(section_of(self.board, self.server.url, **self.more), KEY, clock=lambda: self.board.now)
        last = self.board.now.date() + DAY
        worker = at(self.context, self.board.now)
        return bronze.sweep(worker, source, "OPS", (FIRST, last), lambda: self.board.now)

    def states(self) -> dict[date, str]:
        return {
            one["window"].date(): one["proof"]["state"]
            for one in self.context.ledger.windows(DATASET, "OPS", ("proof",))
        }

    def reasons(self) -> set[str]:
        found = self.context.ledger.windows(DATASET, "OPS", ("proof",))
        return {one["proof"]["reason"] for one in found if one["proof"]["reason"]}

    def stored(self) -> set[tuple[str, datetime, bool]]:
        rows = self.context.db[DATASET].find({"origin": "OPS"})
        return {(row["id"], row["updated_on"], row.get("deleted", False)) for row in rows}


@pytest.fixture
def life(context: Context, board: Board, server: FaultyServer) -> Life:
    board.now = datetime(2026, 3, 2, 3, tzinfo=UTC)
    for hour in range(3):
        board.make(board.now - hour * HOUR)
    return Life(context, board, server)


def test_each_day_is_proven_by_the_sweep_of_the_next(life: Life) -> None:
    for day in range(DAYS):
        assert life.sweep() is None
        proven = {FIRST + n * DAY for n in range(day)}
        assert {one for one, state in life.states().items() if state == "proven"} == proven
        if day != 3:  # of a day without any issue too
            life.board.make(life.board.now + 2 * HOUR)
        life.board.now += DAY
    life.sweep()
    assert {number for number, *_ in life.stored()} == set(life.board.issues)


@pytest.mark.parametrize("fault", ["500", "401", "login_page", "json_cut_off", "reset_after_nothing", "429_absurd"])
def test_days_that_a_failed_sweep_left_open_are_proven_by_the_next(life: Life, fault: str) -> None:
    for day in range(DAYS):
        life.server.heal()
        if day in (2, 3):
            life.server.inject(fault, path="/search", times=999, every=True)
        life.sweep()
        assert "proven" not in [state for one, state in life.states().items() if one >= FIRST + day * DAY]
        life.board.make(life.board.now + 2 * HOUR)
        life.board.now += DAY
    life.sweep()
    states = life.states()
    assert [states[FIRST + n * DAY] for n in range(DAYS)] == ["proven"] * DAYS
    assert {number for number, *_ in life.stored()} == set(life.board.issues)


def test_a_sweep_that_was_killed_ends_in_the_same_bronze(
    life: Life, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    """Half of the history is in, with its progress, when the worker dies; the next one goes on, and proves all."""
    del mongo_uri
    monkeypatch.setattr("tasks.sources.jira.sweep.RANGE", 20)
    life.more["since"] = "2026-02-01"
    life.board.granted = 10
    for hour in range(100):
        life.board.make(life.board.now - 5 * hour * HOUR)
    served = 0

    def dying(answer: Answer) -> Any:
        nonlocal served
        served += 1
        if served == 15:
            raise KeyboardInterrupt
        return answer.content

    monkeypatch.setattr("tasks.sources.jira.search.record", dying)
    with pytest.raises(KeyboardInterrupt):
        life.sweep()
    known, pages = {number for number, *_ in life.stored()}, len(life.board.pages)
    assert 20 <= len(known) < 103
    assert life.sweep() is None
    again = {number for page in life.board.pages[pages:] for number in page} & known
    assert len(again) < 40
    assert {number for number, *_ in life.stored()} == set(life.board.issues)
    assert len(life.stored()) == 103
    life.board.now += DAY
    life.sweep()
    assert life.states()[FIRST] == "proven"


def test_what_has_gone_is_told_on_the_day_on_which_it_was_missed(life: Life) -> None:
    life.sweep()
    life.board.now += 2 * DAY
    life.board.delete("10001")
    life.sweep()
    assert ("10001", life.board.now, True) in life.stored()
    assert life.states()[FIRST] == "proven"


def test_what_could_not_be_read_leaves_no_trace_once_it_can_be(life: Life) -> None:
    life.sweep()
    life.board.now += DAY
    life.board.make()
    life.server.inject("item_without_id", path="/search", every=True)
    life.sweep()
    assert life.context.db["quarantine"].count_documents({"state": "open"})
    life.server.heal()
    life.board.now += DAY
    life.sweep()
    assert not life.context.db["quarantine"].count_documents({"state": "open"})
    assert [state for _, state in sorted(life.states().items())][:2] == ["proven", "proven"]


def test_a_day_on_which_the_canary_was_hidden_is_proven_once_all_is_read(life: Life) -> None:
    """An issue was hidden together with the canary; it belongs to a window that was judged without it."""
    life.more["canary"] = life.board.issues["10001"]["key"]
    life.board.now += DAY
    life.board.hidden |= {"10001", life.board.make(life.board.now - 5 * HOUR)}
    life.board.make(life.board.now - HOUR)
    life.sweep()
    assert set(life.states().values()) == {"unproven"}
    life.board.hidden.clear()
    life.board.now += DAY
    life.sweep()
    assert {number for number, *_ in life.stored()} == set(life.board.issues)
    assert [state for _, state in sorted(life.states().items())][:2] == ["proven", "proven"]


def test_a_mass_deletion_leaves_its_days_unproven_and_says_what_to_do(life: Life) -> None:
    life.board.now += 2 * DAY
    for minute in range(30):
        life.board.make(life.board.now - HOUR - minute * timedelta(minutes=1))
    life.sweep()
    for number in list(life.board.issues)[:25]:
        life.board.delete(number)
    for day in (1, 2):
        life.board.now += DAY
        life.sweep()
        assert any("25 of 33 issues are out of sight" in reason for reason in life.reasons()) == (day == 1)
        assert life.states()[FIRST] == "proven"
    states = [state for _, state in sorted(life.states().items())]
    assert states[:4] == ["proven"] * 4
    assert sum(deleted for *_, deleted in life.stored()) == 25


def test_an_empty_project_is_proven_to_be_empty(life: Life) -> None:
    life.board.issues.clear()
    for _ in range(3):
        life.sweep()
        life.board.now += DAY
    assert [state for _, state in sorted(life.states().items())][:2] == ["proven", "proven"]


def test_a_project_that_is_hidden_is_not_empty(life: Life) -> None:
    life.sweep()
    life.board.now += DAY
    life.board.hidden |= set(life.board.issues)
    del life.board.projects["OPS"]
    for one in life.board.issues.values():
        one["fields"]["project"]["key"] = "?"
    life.sweep()
    assert "failed" in life.states().values()
    assert any("does not exist" in reason for reason in life.reasons())


def test_the_token_is_nowhere_in_the_database(life: Life) -> None:
    life.server.inject("401", path="/search", times=99, nth=2)
    life.sweep()
    life.server.heal()
    life.sweep()
    text = "".join(str(one) for name in life.context.db.list_collection_names() for one in life.context.db[name].find())
    assert len(text) > 1000
    assert TOKEN not in text
    assert "Person" not in text
