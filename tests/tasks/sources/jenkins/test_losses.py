"""Builds of which nobody saw how they ended: the time in which that may have been is not proven."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.sources.http import Trace
from tasks.sources.jenkins.listing import Brief, Listing
from tasks.sources.jenkins.losses import extractions, unseen
from tasks.sources.jenkins.payloads import About
from tasks.sources.jenkins.state import SUCCESS, Lost, State, with_lost
from tests.tasks.sources.faulty import Request
from tests.tasks.sources.jenkins.conftest import DAY, HOUR, NOW, SINCE, Place, proofs, verdict

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("others", [0, 3])
def test_a_running_build_that_was_discarded_before_it_was_seen_finished_is_lost(place: Place, others: int) -> None:
    """Both where it is the oldest of all, and where an older one is kept."""
    api = place.jenkins.job("api")
    for _ in range(others):
        api.run(SINCE, keepLog=True)
    number = api.start(SINCE + 10 * DAY)
    first = place.sweep(now=SINCE + 10 * DAY + HOUR)
    api.finish(number, 30 * 3600)
    api.run(SINCE + 13 * DAY)
    api.discard(1)
    second = place.sweep(first.swept.cursor, SINCE + 14 * DAY + HOUR)
    assert number not in api.builds
    assert second.ids == [str(number + 1)]
    assert proofs(second, 14) == {11, 12, 13, 14}
    third = place.sweep(second.swept.cursor)
    assert (third.ids, proofs(third)) == ([], {11, 12, 13, 14, 15}), "once"


def test_a_lost_build_may_have_ended_after_the_next_one(place: Place) -> None:
    """Builds of one job overlap."""
    api = place.jenkins.job("api")
    api.run(SINCE + DAY)
    first = place.sweep(now=SINCE + 9 * DAY + HOUR)
    number = api.start(SINCE + 10 * DAY + 23 * HOUR)
    for later in range(1, 4):
        api.run(SINCE + 10 * DAY + 23 * HOUR + later * 5 * MINUTE)
    api.finish(number, 2 * 3600)
    api.run(SINCE + 16 * DAY)
    api.discard(4)
    second = place.sweep(first.swept.cursor, SINCE + 17 * DAY + HOUR)
    assert number not in api.builds
    assert proofs(second, 17) == {10, 11, 12}


def test_builds_are_lost_also_by_a_clock_that_is_behind(place: Place) -> None:
    """By the times of those that are kept, they ended before the last sweep; and that did not see them."""
    api = place.jenkins.job("api")
    night = SINCE + 10 * DAY + HOUR
    api.run(night - 5 * DAY)
    first = place.sweep(now=night)
    for second in range(4):
        api.run(night - 3 * DAY + timedelta(seconds=second), seconds=1)
    api.discard(1)
    later = place.sweep(first.swept.cursor, night + DAY)
    assert later.ids == ["5"]
    assert proofs(later, 11) == {11}


@pytest.mark.parametrize("timestamp", [10**18, -(10**18), 10**13])
def test_a_time_that_cannot_be_ends_no_sweep(place: Place, timestamp: int) -> None:
    api = place.jenkins.job("api")
    api.run(SINCE)
    first = place.sweep(now=SINCE + 10 * DAY)
    for _ in range(4):
        api.run(SINCE + 11 * DAY)
    api.builds[4]["timestamp"] = timestamp
    api.builds[5]["timestamp"] = timestamp
    del api.builds[1], api.builds[2], api.builds[3]
    second = place.sweep(first.swept.cursor)
    assert {11, 12} <= proofs(second) <= set(range(10, 20))
    third = place.sweep(second.swept.cursor, NOW + HOUR)
    assert proofs(third) == proofs(second)


def listing(*builds: tuple[int, int, int]) -> Listing:
    """Numbers, and days of when they began and ended."""
    day = 86_400_000
    there = {number: Brief(number, SUCCESS, a * day, b * day, keep=False) for number, a, b in builds}
    return Listing(About("api", "api", "api", ""), 100, min(there), builds=there)


@pytest.mark.parametrize(
    ("kept", "state", "days"),
    [
        (listing((9, 12, 12)), State("api", until=864_000), (10, 13)),
        (listing((9, 12, 15)), State("api", until=864_000), (10, 15)),  # others run for three days
        (listing((9, 20, 20)), State("api", until=864_000), (10, 20)),  # never later than now
        (listing((1, 11, 11), (9, 12, 12)), State("api", until=864_000), (11, 13)),  # they began after build 1
        (listing((1, 11, 11)), State("api", until=864_000), (11, 20)),
        (listing((9, 3, 3)), State("api", until=864_000), (10, 20)),
        (listing((9, 3, 3)), State("api", until=864_000, again=True), None),  # an earlier sweep had seen them
        (listing((9, 12, 12)), State("api"), (2, 13)),
    ],
)
def test_when_builds_may_have_ended(kept: Listing, state: State, days: tuple[int, int] | None) -> None:
    now = datetime(1970, 1, 21, tzinfo=UTC)
    lost = unseen(5, 6, kept, state, since=datetime(1970, 1, 3, tzinfo=UTC), now=now)
    found = None if lost is None else (lost.start // 86_400, lost.end // 86_400)
    assert found == days
    assert lost is None or with_lost((), lost) == (lost,)


def test_a_time_that_cannot_be_and_was_noted_ends_no_sweep_either() -> None:
    """As cursors of earlier versions may hold it."""
    state = State("api", lost=(Lost(10**15, 10**15 + 1, 1, 1, 1),))
    _, lost = extractions(Trace("builds"), state, state, SINCE, NOW)
    assert lost.start is not None
    assert lost.end is not None
    assert lost.start < lost.end


def test_a_token_that_loses_its_sight_during_a_sweep_deletes_nothing(place: Place) -> None:
    """A build that is listed and answers 404 a moment later is judged by the next list."""
    api = place.jenkins.job("api")
    api.run(SINCE)
    number = api.start(SINCE + 10 * DAY)
    first = place.sweep(now=SINCE + 10 * DAY + HOUR)
    api.finish(number, 3600)

    def hide(request: Request) -> None:
        if "allBuilds" not in request.query.get("tree", ""):
            place.jenkins.hidden = {"api"}

    place.jenkins.before = hide
    second = place.sweep(first.swept.cursor)
    assert (second.ids, proofs(second)) == ([], set(range(11, 20)))
    assert "404" in str(verdict(second, 12).reason)
    place.jenkins.before, place.jenkins.hidden = lambda _: None, set()
    third = place.sweep(second.swept.cursor, NOW + HOUR)
    assert (third.ids, proofs(third)) == (["2"], set())


def test_a_build_that_goes_away_while_it_is_read_is_judged_by_the_next_list(place: Place) -> None:
    api = place.jenkins.job("api")
    api.run(SINCE)
    number = api.start(SINCE + 10 * DAY)
    first = place.sweep(now=SINCE + 10 * DAY + HOUR)
    api.finish(number, 3600)
    api.run(SINCE + 12 * DAY)

    def delete(request: Request) -> None:
        if "allBuilds" not in request.query.get("tree", ""):
            api.builds.pop(number, None)

    place.jenkins.before = delete
    second = place.sweep(first.swept.cursor)
    assert second.ids == ["3"]
    assert proofs(second) == set(range(11, 20)), "nobody saw how it ended"
    third = place.sweep(second.swept.cursor, NOW + HOUR)
    assert third.ids == ["-2"]


def test_a_sweep_after_one_that_failed_is_news(place: Place) -> None:
    """Also where nothing has come: what failed is proven now, and that is to be recorded."""
    api = place.jenkins.job("api")
    api.run(SINCE)
    first = place.sweep()
    place.server.inject("500_lasting", every=True)
    failed = place.sweep(first.swept.cursor, NOW + HOUR)
    place.server.heal()
    mended = place.sweep(failed.swept.cursor, NOW + 2 * HOUR)
    assert (mended.ids, mended.swept.unchanged) == ([], False)
    assert place.sweep(mended.swept.cursor, NOW + 3 * HOUR).swept.unchanged


def test_a_sweep_after_one_that_could_not_read_a_build_is_news(place: Place) -> None:
    """Also where the build was deleted since, and nothing has come."""
    api = place.jenkins.job("api")
    for day in range(3):
        api.run(SINCE + day * DAY)
    api.builds[3]["timestamp"] = "yesterday"
    first = place.sweep()
    del api.builds[3]
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert (second.ids, proofs(second), second.swept.unchanged) == ([], set(), False)
    assert place.sweep(second.swept.cursor, NOW + 2 * HOUR).swept.unchanged
