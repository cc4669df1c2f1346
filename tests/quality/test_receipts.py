"""What a receipt is worth: a table, one case a line."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quality.receipts import Proof, Receipt, classify

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WHOLE = Receipt("code/acme", START, START + DAY, START - DAY, START + 2 * DAY, items=3, items_anywhere=99)


@pytest.mark.parametrize(
    ("receipt", "proof", "coverage", "reason"),
    [
        (WHOLE, Proof.PROVEN, 1.0, None),
        # an empty window is fine when proven
        (replace(WHOLE, items=0), Proof.PROVEN, 1.0, None),
        # to the second: covered until the window's end is enough, a second less is not
        (replace(WHOLE, covered_until=START + DAY), Proof.PROVEN, 1.0, None),
        (replace(WHOLE, covered_until=START + DAY / 2), Proof.PARTIAL, 0.5, "still open: seen until 12:00"),
        # nothing of the window was seen: the recording had ended, or had not begun
        (replace(WHOLE, covered_until=START), Proof.UNPROVEN, 0.0, "recorded history ends 2026-03-01"),
        (replace(WHOLE, covered_from=START + DAY / 2), Proof.UNPROVEN, 0.0, "recorded history begins 2026-03-01"),
        # unreadable records of this window, or of nobody knows which
        (replace(WHOLE, rejected=1), Proof.UNPROVEN, 0.75, "1 of 4 records"),
        (replace(WHOLE, rejected_anywhere=1), Proof.PARTIAL, 0.99, "1 records could not be read"),
        # the origin as a whole
        (replace(WHOLE, problem="shallow clone"), Proof.UNPROVEN, 0.0, "shallow clone"),
        # a broken sweep is worse than anything else that is wrong with it
        (replace(WHOLE, problem="shallow clone", error="HTTP 502"), Proof.FAILED, 0.0, "HTTP 502"),
    ],
)
def test_a_receipt_is_worth(receipt: Receipt, proof: Proof, coverage: float, reason: str | None) -> None:
    verdict = classify(receipt)
    assert (verdict.proof, verdict.coverage) == (proof, coverage)
    assert verdict.reason is None if reason is None else reason in str(verdict.reason)
