"""What a sweep of one job hands over: new builds, running ones, changed ones, deleted ones; and what it proves."""

from datetime import timedelta

from quality.receipts import Proof
from tests.tasks.sources.jenkins.conftest import DAY, HOUR, NOW, SINCE, Place, proofs, verdict


def test_all_builds_come_oldest_first_and_prove_their_days(place: Place) -> None:
    api = place.jenkins.job("api")
    for hour in range(250):
        api.run(SINCE + hour * HOUR)
    sweep = place.sweep()
    assert sweep.ids == [str(number) for number in range(1, 251)]
    assert sweep.swept.whole
    assert proofs(sweep) == set()
    assert verdict(sweep, 20).proof is Proof.PARTIAL
    assert len(place.asked()) == 4, "one list in brief, three slices"


def test_a_refresh_without_news_costs_one_request(place: Place) -> None:
    api = place.jenkins.job("api")
    for hour in range(30):
        api.run(SINCE + hour * 12 * HOUR)
    cursor = place.sweep().swept.cursor
    place.asked()
    again = place.sweep(cursor, NOW + HOUR)
    assert (again.ids, again.swept.unchanged, place.asked()) == ([], True, ["/job/api/api/json"])


def test_a_running_build_comes_again_when_it_is_finished(place: Place) -> None:
    """As long as it takes: also when it is older than what is compared."""
    api = place.jenkins.job("api")
    number = api.start(SINCE + DAY)
    api.run(SINCE + 2 * DAY)
    first = place.sweep(recheck_days=0)
    assert (first.items[0].id, first.items[0].updated_on) == ("1", SINCE + DAY)
    second = place.sweep(first.swept.cursor, NOW + DAY, recheck_days=0)
    assert (second.ids, second.swept.unchanged) == ([], True)
    api.finish(number, 21 * 86_400, "FAILURE")
    third = place.sweep(second.swept.cursor, NOW + 3 * DAY, recheck_days=0)
    assert [(one.id, one.updated_on) for one in third.items] == [("1", SINCE + 22 * DAY)]
    assert third.items[0].payload["build"]["result"] == "FAILURE"
    assert place.sweep(third.swept.cursor, NOW + 4 * DAY, recheck_days=0).swept.unchanged


def test_a_finished_build_is_newer_than_the_same_one_running(place: Place) -> None:
    """Also where it took no time at all."""
    api = place.jenkins.job("api")
    number = api.start(SINCE + DAY)
    running = place.sweep()
    api.finish(number, 0, "ABORTED")
    finished = place.sweep(running.swept.cursor, NOW + HOUR)
    assert finished.items[0].updated_on > running.items[0].updated_on


def test_a_deleted_build_becomes_a_tombstone(place: Place) -> None:
    api = place.jenkins.job("api")
    for day in range(10):
        api.run(SINCE + day * DAY)
    first = place.sweep()
    del api.builds[4], api.builds[9]
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert second.ids == ["-4", "-9"]
    assert all(one.updated_on == NOW + HOUR for one in second.items)
    assert proofs(second) == set()
    assert place.sweep(second.swept.cursor, NOW + DAY).swept.unchanged


def test_a_build_that_only_the_list_leaves_out_is_not_deleted(place: Place) -> None:
    """Nor is one that Jenkins will not show: only 404 says that it is gone."""
    api = place.jenkins.job("api")
    for day in range(10):
        api.run(SINCE + day * DAY)
    first = place.sweep()
    place.jenkins.hidden = {"api#4"}
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert (second.ids, proofs(second)) == ([], set())
    place.server.inject("403_refused", path="/job/api/4/", every=True)
    third = place.sweep(first.swept.cursor, NOW + HOUR)
    assert (third.ids, verdict(third, 20).proof) == ([], Proof.UNPROVEN)
    assert "token" in str(verdict(third, 20).reason)


def test_a_build_that_comes_back_is_newer_than_its_tombstone(place: Place) -> None:
    api = place.jenkins.job("api")
    for day in range(5):
        api.run(SINCE + day * DAY)
    build = api.builds.pop(3)
    first = place.sweep()
    api.builds[3] = build
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert [(one.id, one.updated_on) for one in second.items] == [("3", NOW + HOUR)]


def test_a_result_that_is_changed_later_is_seen_as_of_now(place: Place) -> None:
    api = place.jenkins.job("api")
    api.run(SINCE + DAY)
    first = place.sweep()
    api.builds[1]["result"] = "UNSTABLE"
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert [(one.id, one.updated_on, one.payload["build"]["result"]) for one in second.items] == [
        ("1", NOW + HOUR, "UNSTABLE")
    ]


def test_discarded_builds_keep_their_items(place: Place) -> None:
    """Rotation is no deletion: what was deployed was deployed. What is pinned stays, and hides nothing."""
    api = place.jenkins.job("api")
    for day in range(5):
        api.run(SINCE + day * DAY, keepLog=day == 1)
    for day in range(5, 19):
        api.run(SINCE + day * DAY, result="FAILURE")
    first = place.sweep()
    assert len(first.ids) == 19
    api.discard(3)
    assert sorted(api.builds) == [2, 5, 17, 18, 19]
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert (second.ids, proofs(second)) == ([], set())
    third = place.sweep(second.swept.cursor, NOW + DAY)
    assert (third.swept.unchanged, proofs(third)) == (True, set())


def test_builds_that_were_discarded_before_anybody_saw_them_leave_their_days_unproven(place: Place) -> None:
    api = place.jenkins.job("api")
    for day in range(19):
        api.run(SINCE + day * DAY, seconds=60)
    api.discard(5)
    first = place.sweep()
    assert first.ids == ["15", "16", "17", "18", "19"]
    assert proofs(first) == set(range(1, 16))
    assert "builds 1, 14 and 12 more are missing" in str(verdict(first, 3).reason)
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert proofs(second) == set(range(1, 16)), "what is lost stays lost"


def test_builds_that_came_and_went_between_two_sweeps_leave_the_time_between_unproven(place: Place) -> None:
    api = place.jenkins.job("api")
    for day in range(10):
        api.run(SINCE + day * DAY)
    first = place.sweep(now=SINCE + 10 * DAY)
    for day in range(11, 18):
        api.run(SINCE + day * DAY)
    api.discard(2)
    second = place.sweep(first.swept.cursor)
    assert second.ids == ["16", "17"]
    assert proofs(second) == set(range(10, 18)), "from the last sweep (the end of day 10) to a day after build 16 began"


def test_numbers_that_were_deleted_before_the_first_sweep_are_shown_to_be_gone(place: Place) -> None:
    api = place.jenkins.job("api")
    for day in range(10):
        api.run(SINCE + day * DAY)
    del api.builds[4], api.builds[10]
    first = place.sweep()
    assert proofs(first) == set()
    assert {"/job/api/4/api/json", "/job/api/10/api/json"} <= set(place.asked())
    second = place.sweep(first.swept.cursor, NOW + HOUR)
    assert place.asked() == ["/job/api/api/json", "/job/api/10/api/json"], "the last might only have been beginning"
    place.sweep(second.swept.cursor, NOW + 2 * HOUR)
    assert place.asked() == ["/job/api/api/json"]


def test_numbers_that_jump_are_no_loss(place: Place) -> None:
    """The next number may be set by hand: to a date, say."""
    api = place.jenkins.job("api")
    api.run(SINCE)
    api.run(SINCE + HOUR)
    api.next = 20_261_002
    api.run(SINCE + DAY)
    api.run(SINCE + DAY)
    sweep = place.sweep()
    assert (sweep.ids, proofs(sweep)) == (["1", "2", "20261002", "20261003"], set())


def test_a_number_whose_build_is_only_beginning_is_not_given_up(place: Place) -> None:
    """Jenkins gives the number before the build can be seen: it answers 404 for a moment."""
    api = place.jenkins.job("api")
    api.run(SINCE)
    api.next = 3
    first = place.sweep()
    assert first.ids == ["1"]
    api.next = 2
    api.start(NOW)
    second = place.sweep(first.swept.cursor, NOW + timedelta(minutes=1))
    assert second.ids == ["2"]
