"""Jobs that get another name, or are removed, at the worst moment: what they built counts once, and none is made up."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from quality.receipts import Proof
from tasks.sources.contract import Item, Progress
from tests.tasks.sources.jenkins.conftest import DAY, HOUR, NOW, SINCE, Place, Sweep, verdict
from tests.tasks.sources.jenkins.controller import MULTIBRANCH

UNIT = ["team/*"]
FIVE_MINUTES = HOUR / 12


def alive(*parts: Iterable[Any]) -> Counter[str]:
    """How many builds each job has, by the newest version of each; the later of two that are equally new."""
    newest: dict[tuple[str, str], Item] = {}
    for one in (one for some in parts for one in some if isinstance(one, Item)):
        before = newest.get((one.origin, one.id))
        if before is None or one.updated_on >= before.updated_on:
            newest[one.origin, one.id] = one
    return Counter(one.origin for one in newest.values() if not one.deleted)


def rename(place: Place, old: str, new: str) -> None:
    place.jenkins.jobs[new] = place.jenkins.jobs.pop(old)


def until(sweep: Sweep, note: Progress) -> list[Any]:
    return sweep.parts[: sweep.parts.index(note)]


def test_a_renamed_job_whose_first_sweep_fails_half_way_counts_once(place: Place) -> None:
    """The next one reads only part of the list; what is below was told of under both names."""
    for number in range(1500):
        place.jenkins.job("team/old").run(SINCE + number * FIVE_MINUTES)
    first = place.sweep(jobs=UNIT, recheck_days=1)
    rename(place, "team/old", "team/new")
    place.jenkins.job("team/new").run(NOW)
    place.server.inject("500_lasting", path="/job/team/job/new/api/json", nth=10, every=True)
    second = place.sweep(first.swept.cursor, NOW + HOUR, UNIT, recheck_days=1)
    assert 0 < alive(second.parts)["team/new"] < 1500
    assert verdict(second, 20, "team/old").proof is not Proof.PARTIAL
    place.server.heal()
    third = place.sweep(second.swept.cursor, NOW + 2 * HOUR, UNIT, recheck_days=1)
    assert alive(first.parts, second.parts, third.parts) == {"team/new": 1501}
    assert verdict(third, 10, "team/old").proof is Proof.PROVEN
    assert place.sweep(third.swept.cursor, NOW + DAY, UNIT, recheck_days=1).items == []


def test_a_renamed_job_is_left_after_a_break_between_its_two_names(place: Place) -> None:
    """All was handed over under the new name, and nothing yet taken back."""
    for number in range(350):
        place.jenkins.job("team/old").run(SINCE + number * FIVE_MINUTES)
    first = place.sweep(jobs=UNIT)
    rename(place, "team/old", "team/new")
    for number in range(600):
        place.jenkins.job("team/zz").run(SINCE + number * FIVE_MINUTES + FIVE_MINUTES / 2)
    second = place.sweep(first.swept.cursor, NOW + HOUR, UNIT)
    note = second.progress[-1]
    assert alive(until(second, note))["team/new"] == 350
    third = place.sweep(note.cursor, NOW + 2 * HOUR, UNIT)
    assert alive(first.parts, until(second, note), third.parts) == {"team/new": 350, "team/zz": 600}
    assert verdict(third, 20, "team/old").proof is Proof.PARTIAL


@pytest.mark.parametrize("more", [{"since": (SINCE - DAY).date()}, {"stages": False, "key": b"k" * 32}])
def test_a_renamed_job_is_told_though_all_is_fetched_anew(place: Place, more: dict[str, Any]) -> None:
    for day in range(8):
        place.jenkins.job("team/old").run(SINCE + day * DAY)
    first = place.sweep(jobs=UNIT)
    rename(place, "team/old", "team/new")
    second = place.sweep(first.swept.cursor, NOW + HOUR, UNIT, **more)
    assert alive(first.parts, second.parts) == {"team/new": 8}


def test_a_job_that_gets_its_old_name_back_has_its_builds_there(place: Place) -> None:
    for day in range(8):
        place.jenkins.job("team/old").run(SINCE + day * DAY)
    swept = [place.sweep(jobs=UNIT, recheck_days=1)]
    for hour, names in enumerate([("team/old", "team/new"), ("team/new", "team/old")], 1):
        rename(place, *names)
        swept.append(place.sweep(swept[-1].swept.cursor, NOW + hour * HOUR, UNIT, recheck_days=1))
        assert alive(*(one.parts for one in swept)) == {names[1]: 8}


def test_jobs_whose_builds_began_in_the_same_moment_are_not_taken_for_each_other(place: Place) -> None:
    for name in ("team/a", "team/b"):
        place.jenkins.job(name).run(SINCE)
    first = place.sweep(jobs=UNIT)
    del place.jenkins.jobs["team/b"]
    second = place.sweep(first.swept.cursor, NOW + HOUR, UNIT, since=(SINCE - DAY).date())
    assert not [one for one in second.items if one.deleted]


def test_a_branch_that_is_gone_is_unproven_where_it_was_never_asked_for(place: Place) -> None:
    """History now begins earlier, and nobody can tell what the branch had built by then."""
    place.jenkins.kinds["team/api"] = MULTIBRANCH
    for name in ("team/api/main", "team/api/fix"):
        place.jenkins.job(name).run(SINCE + 2 * DAY)
        place.jenkins.job(name).run(SINCE + 8 * DAY)
    late = (SINCE + 6 * DAY).date()
    first = place.sweep(jobs=UNIT, now=SINCE + 10 * DAY, since=late)
    del place.jenkins.jobs["team/api/fix"]
    second = place.sweep(first.swept.cursor, SINCE + 11 * DAY, UNIT, since=late)
    third = place.sweep(second.swept.cursor, NOW, UNIT)
    fourth = place.sweep(third.swept.cursor, NOW + HOUR, UNIT)
    for sweep in (third, fourth):
        unproven = {day for day in range(1, 20) if verdict(sweep, day, "team/api/fix").proof is not Proof.PROVEN}
        assert unproven == {1, 2, 3, 4, 5, 6, 10, 11}


def test_a_branch_that_is_removed_twice_is_unproven_both_times(place: Place) -> None:
    """It had as many builds each time."""
    place.jenkins.kinds["team/api"] = MULTIBRANCH
    place.jenkins.job("team/api/main").run(SINCE)
    cursor, sweep = None, None
    for day in (2, 8):
        place.jenkins.job("team/api/fix").run(SINCE + day * DAY)
        cursor = place.sweep(cursor, SINCE + (day + 1) * DAY, UNIT).swept.cursor
        del place.jenkins.jobs["team/api/fix"]
        sweep = place.sweep(cursor, SINCE + (day + 3) * DAY, UNIT)
        cursor = sweep.swept.cursor
    assert sweep is not None
    unproven = {day for day in range(1, 11) if verdict(sweep, day, "team/api/fix").proof is not Proof.PROVEN}
    assert unproven == {3, 4, 5, 9, 10}
