"""Where a sweep begins and goes on: jobs made anew, the beginning of history, what broke off, what failed."""

from datetime import timedelta

import pytest

from quality.receipts import Proof
from tests.tasks.sources.jenkins.conftest import DAY, HOUR, NOW, SINCE, Place, proofs, verdict


def test_a_job_that_was_made_anew_begins_anew(place: Place) -> None:
    """The id is the number still; the newer build of a number is the newer version. What was built before stays."""
    api = place.jenkins.job("api")
    for day in range(10):
        api.run(SINCE + day * DAY)
    first = place.sweep()
    del place.jenkins.jobs["api"]
    api = place.jenkins.job("api")
    for minute in range(3):
        api.run(NOW + timedelta(minutes=minute))
    second = place.sweep(first.swept.cursor, NOW + DAY)
    assert second.ids == ["1", "2", "3"]
    newer = {one.id: one.updated_on for one in second.items}
    assert all(newer[one.id] > one.updated_on for one in first.items if one.id in newer)


def test_a_job_that_was_made_anew_is_told_by_its_builds_too(place: Place) -> None:
    """Its numbers may have gone beyond the old ones, and nothing else be known of those."""
    api = place.jenkins.job("api")
    for day in range(3):
        api.run(SINCE + day * DAY)
    first = place.sweep(recheck_days=0)
    del place.jenkins.jobs["api"]
    api = place.jenkins.job("api")
    for minute in range(8):
        api.run(NOW + timedelta(minutes=minute))
    second = place.sweep(first.swept.cursor, NOW + DAY, recheck_days=0)
    assert second.ids == [str(number) for number in range(1, 9)]


def test_an_older_copy_of_jenkins_is_not_believed(place: Place) -> None:
    api = place.jenkins.job("api")
    for day in range(10):
        api.run(SINCE + day * DAY)
    newest = api.builds[10]
    first = place.sweep()
    api.next = 5
    second = place.sweep(first.swept.cursor, NOW + DAY)
    assert newest["number"] in api.builds
    assert second.ids == []
    assert verdict(second, 20).proof is Proof.FAILED


def test_nothing_older_than_the_beginning_is_fetched(place: Place) -> None:
    """But what was finished after it is, whenever it began."""
    api = place.jenkins.job("api")
    for day in range(2500, 0, -1):
        api.run(SINCE - day * DAY / 50)
    api.run(SINCE - DAY, seconds=90_000)
    api.run(SINCE + HOUR)
    sweep = place.sweep()
    assert sweep.ids == ["2501", "2502"]
    assert proofs(sweep) == set()
    assert len(place.asked()) == 2, "one list, which reaches a week further back; one slice"


def test_history_that_begins_earlier_now_is_fetched(place: Place) -> None:
    api = place.jenkins.job("api")
    api.run(SINCE - 3 * DAY)
    api.run(SINCE + DAY)
    first = place.sweep()
    second = place.sweep(first.swept.cursor, NOW + HOUR, since=(SINCE - 5 * DAY).date())
    assert (first.ids, second.ids) == (["2"], ["1", "2"])


def test_a_sweep_goes_on_where_it_broke_off(place: Place) -> None:
    api = place.jenkins.job("api")
    for minute in range(1500):
        api.run(SINCE + timedelta(minutes=10 * minute))
    first = place.sweep()
    assert len(first.progress) == 3
    at = first.parts.index(first.progress[1])
    before = [one.id for one in first.parts[:at] if hasattr(one, "id")]
    place.asked()
    rest = place.sweep(first.progress[1].cursor, NOW + HOUR)
    assert before + rest.ids == first.ids
    assert proofs(rest) == set()
    assert len(place.asked()) == 2 + 5, "two lists in brief, and the slices that were left"
    assert place.sweep(rest.swept.cursor, NOW + DAY).swept.unchanged


def test_what_failed_is_made_good_by_the_next_sweep(place: Place) -> None:
    api = place.jenkins.job("api")
    for hour in range(400):
        api.run(SINCE + hour * HOUR)
    place.server.inject("500_lasting", path="/job/api/api/json", nth=4, every=True)
    first = place.sweep()
    assert 0 < len(first.ids) < 400
    assert proofs(first) == set(range(1, 20))
    assert "500" in str(verdict(first, 1).reason)
    place.server.heal()
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert first.ids + second.ids == [str(number) for number in range(1, 401)]
    assert proofs(second) == set()


@pytest.mark.parametrize("fault", ["404", "401", "403_refused", "login_page", "302_login", "refused_connection"])
def test_a_job_that_cannot_be_read_is_not_proven(place: Place, fault: str) -> None:
    """And what was proven before the last sweep stays: nothing is said of it."""
    api = place.jenkins.job("api")
    api.run(SINCE + DAY)
    first = place.sweep(now=SINCE + 10 * DAY)
    place.server.inject(fault, every=True)
    second = place.sweep(first.swept.cursor)
    assert (second.ids, second.swept.unchanged) == ([], False)
    (extraction,) = second.swept.coverages[0].extractions
    assert extraction.start == SINCE + 10 * DAY - timedelta(minutes=5)
    assert proofs(second) == set(range(10, 20))


def test_a_folder_is_no_job(place: Place) -> None:
    place.jenkins.job("team/api").run(SINCE)
    sweep = place.sweep(jobs=["team"])
    assert 'write "team/*"' in str(verdict(sweep, 1, "team").reason) or verdict(sweep, 1, "team").proof is Proof.FAILED


def test_what_cannot_be_read_is_set_aside_with_its_day(place: Place) -> None:
    api = place.jenkins.job("api")
    for day in range(3):
        api.run(SINCE + day * DAY)
    api.builds[2]["timestamp"] = "yesterday"
    sweep = place.sweep()
    assert sweep.ids == ["1", "3"]
    assert [(one.origin, one.stream, one.place) for one in sweep.rejected] == [("api", "builds", "api #2")]
    assert b"yesterday" in sweep.rejected[0].raw
    api.builds[2]["timestamp"] = int((SINCE + DAY).timestamp() * 1000)
    assert place.sweep(sweep.swept.cursor, NOW + HOUR).ids == ["2"]
