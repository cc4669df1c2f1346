"""Each fault in each question: nothing is lost or doubled, and nothing is called whole that is not."""

from datetime import timedelta
from typing import Final

import pytest

from quality.receipts import Proof, Receipt, classify, worst
from tasks.sources.contract import SourceError, Swept
from tests.tasks.sources.faulty import FAULTS, FaultyServer
from tests.tasks.sources.jira.board import START, Board
from tests.tasks.sources.jira.reading import Reader

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PLACES: Final = ("/search", "/changelog|/issue/")
SLOW: Final = {
    "stalled_after_nothing", "stalled_after_head", "stalled_after_body", "stalled_lasting", "length_too_long", "huge",
    "bomb",
}  # fmt: skip
"""What takes seconds to be noticed. It is left to the tests of the client, as is what goes away when asked again."""


def is_proven(swept: Swept | None, rejected: int = 0) -> bool:
    """Whether any day of the last month but the open one would be called proven."""
    if swept is None:
        return False
    coverage = swept.coverages[0]
    day = START.replace(hour=0) - 5 * DAY
    receipt = Receipt(
        "issues/OPS", day, day + DAY, coverage.start, coverage.end, items=1, rejected_anywhere=rejected,
        extraction=worst(coverage.extractions, "issues", day, day + DAY),
    )  # fmt: skip
    return classify(receipt).proof is Proof.PROVEN


def make(edition: str) -> Board:
    board = Board(edition, granted=5, embedded=3)
    for hour in range(12):
        board.make(START - 12 * hour * HOUR, history=2 + 3 * (hour == 7))
    return board


def attempt(reader: Reader) -> Swept | None:
    try:
        return reader.sweep()
    except SourceError:
        return None


@pytest.mark.parametrize("fault", sorted(name for name in set(FAULTS) - SLOW if not FAULTS[name].transient))
def test_no_fault_loses_anything_or_is_taken_for_an_end(edition: str, fault: str) -> None:
    """Faults of one question in the middle, and of all; a second sweep without them mends everything."""
    scenes = [(PLACES[0], 2, False), (PLACES[0], 1, True), (PLACES[1], 1, True)]
    for place, nth, every in scenes:
        board = make(edition)
        with FaultyServer(board) as server:
            reader = Reader(
                board, server, {"requests": {"retries": 1, "timeout_seconds": 2, "longest_wait_seconds": 0}}
            )
            server.inject(fault, path=place, nth=nth, every=every, times=99)
            swept = attempt(reader)
            said = {number: item.payload["issue"] for number, item in reader.items.items()}
            assert all(len(one["changelog"]["histories"]) >= 2 for one in said.values())
            assert not any(item.deleted for item in reader.items.values())
            assert reader.agrees() or not is_proven(swept, len(reader.rejected))
            server.heal()
            reader.rejected.clear()
            board.now += HOUR
            swept = reader.sweep()
            assert reader.agrees(), (place, nth, every)
            assert is_proven(swept)
            assert not reader.rejected
            if server.applied[fault] == 0:
                break
