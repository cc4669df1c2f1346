"""All that can go wrong between Jenkins and us, at each kind of question: nothing is proven that was not seen."""

from datetime import timedelta

import pytest

from quality.receipts import Proof
from tasks.sources.jenkins import details
from tests.tasks.sources.faulty import FAULTS
from tests.tasks.sources.jenkins.conftest import DAY, HOUR, NOW, SINCE, Place, Sweep, verdict

QUESTIONS = {"list": r"keepLog", "slice": r"allBuilds%5B.*queueId", "build": r"/job/api/17/"}
DAYS = range(1, 19)
NUMBERS = [number for number in range(1, 31) if number != 17]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setattr(details, "SLICE", 10)
    place.timeout_seconds, place.retries = 0.3, 2


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_no_fault_proves_what_was_not_seen(place: Place, name: str, question: str) -> None:
    """And once it is over all is there, once, and proven."""
    fault = FAULTS[name]
    api = place.jenkins.job("api")
    for number in range(30):
        api.run(SINCE + number * timedelta(hours=12))
    del api.builds[17]
    place.server.inject(name, path=QUESTIONS[question])
    first = place.sweep()
    if fault.transient or fault.harmless:
        assert is_whole(first), f"{name} is passing: {verdict(first, 3).reason}"
    else:
        assert is_whole(first) or not any_proven(first), f"proven with {len(first.ids)} builds"
    place.server.heal()
    place.later += DAY
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert sorted({int(one.id) for one in (*first.items, *second.items)}) == NUMBERS
    assert not [one for one in (*first.items, *second.items) if one.deleted]
    assert all(verdict(second, day).proof is Proof.PROVEN for day in DAYS)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_no_fault_of_a_refresh_deletes_or_proves_anything(place: Place, name: str) -> None:
    api = place.jenkins.job("api")
    for day in range(10):
        api.run(SINCE + day * DAY)
    first = place.sweep(now=SINCE + 10 * DAY)
    api.run(SINCE + 12 * DAY)
    place.server.inject(name)
    second = place.sweep(first.swept.cursor)
    assert not [one for one in second.items if one.deleted]
    assert second.ids == ["11"] or not any(verdict(second, day).proof is Proof.PROVEN for day in range(11, 19))
    place.server.heal()
    place.later += DAY
    third = place.sweep(second.swept.cursor, NOW + HOUR)
    assert {*second.ids, *third.ids} == {"11"}
    assert all(verdict(third, day).proof is Proof.PROVEN for day in DAYS)


def is_whole(sweep: Sweep) -> bool:
    return sorted(int(one) for one in sweep.ids) == NUMBERS and all(
        verdict(sweep, day).proof is Proof.PROVEN for day in DAYS
    )


def any_proven(sweep: Sweep) -> bool:
    return any(verdict(sweep, day).proof is Proof.PROVEN for day in DAYS)
