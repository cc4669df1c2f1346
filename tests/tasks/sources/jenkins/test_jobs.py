"""Which jobs a unit stands for: in folders and multibranch projects, when they come, go, and get other names."""

import pytest

from quality.receipts import Proof
from tasks.sources.contract import SourceError
from tasks.sources.jenkins.api import job_path
from tasks.sources.jenkins.jobs import fits, folder_of
from tests.tasks.sources.faulty import Response
from tests.tasks.sources.jenkins.conftest import DAY, HOUR, NOW, SINCE, Place, Sweep, verdict
from tests.tasks.sources.jenkins.controller import FOLDER, FREESTYLE, MULTIBRANCH


def origins(sweep: Sweep) -> list[str]:
    return [one.origin for one in sweep.swept.coverages]


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("team/*", "team/api", True),
        ("team/*", "team/api/main", True),
        ("team/*", "team2/api", False),
        ("team/*/main", "team/api/main", True),
        ("team/*/main", "team/a/b/main", True),
        ("team/*/main", "team/main", False),
        ("team/deploy-*", "team/deploy-api", True),
        ("team/deploy-*", "team/build-api", False),
        ("*", "a/b/c", True),
        ("*/deploy", "a/deploy", True),
        ("a.b/*", "aXb/c", False),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, name: str, does: bool) -> None:  # noqa: FBT001 - a table
    assert fits(name, pattern) is does


def test_the_folder_of_a_pattern_is_what_is_certain() -> None:
    cases = ("*", "a*", "a/*", "a/b*/c", "a/b/*/d")
    assert [folder_of(one) for one in cases] == ["", "", "a", "a", "a/b"]


def test_paths_are_quoted_part_by_part() -> None:
    """A branch's name holds its slash already coded, and Jenkins decodes once."""
    assert job_path("a/b c/feature%2Fx") == "job/a/job/b%20c/job/feature%252Fx/"


def test_a_pattern_feeds_the_jobs_that_it_finds(place: Place) -> None:
    """However deep; folders without jobs are none; what does not fit is not asked for."""
    for name in ("team/api/main", "team/api/feature%2Fx", "team/a/b/c/d/e/f/deep", "team/tool", "other/tool"):
        place.jenkins.job(name, FREESTYLE).run(SINCE + DAY)
    place.jenkins.kinds |= {"team/api": MULTIBRANCH, "team/empty": FOLDER}
    assert list(place.source(["team/*", "one"]).feeds("team/*")) == []
    assert list(place.source(["team/*", "one"]).feeds("one")) == [("jenkins", "one", ("builds",))]
    sweep = place.sweep(jobs=["team/*"])
    names = ["team/a/b/c/d/e/f/deep", "team/api/feature%2Fx", "team/api/main", "team/tool"]
    assert origins(sweep) == names
    assert [one.origin for one in sweep.items] == names
    assert not any("other" in path for path in place.asked())


def test_a_refresh_of_a_pattern_costs_one_request_per_job_and_one_for_the_folder(place: Place) -> None:
    for name in ("team/a", "team/b", "team/c"):
        place.jenkins.job(name).run(SINCE)
    first = place.sweep(jobs=["team/*"])
    place.asked()
    assert place.sweep(first.swept.cursor, NOW + HOUR, jobs=["team/*"]).swept.unchanged
    assert len(place.asked()) == 4


def test_a_job_that_comes_later_is_found(place: Place) -> None:
    place.jenkins.job("team/a").run(SINCE)
    first = place.sweep(jobs=["team/*"])
    place.jenkins.job("team/b").run(SINCE + DAY)
    second = place.sweep(first.swept.cursor, NOW + HOUR, jobs=["team/*"])
    assert (second.ids, origins(second)) == (["1"], ["team/a", "team/b"])
    assert not second.swept.unchanged


def test_jobs_fail_apart(place: Place) -> None:
    for name in ("team/a", "team/b", "team/c"):
        place.jenkins.job(name).run(SINCE)
    place.server.inject("500_lasting", path="/job/team/job/b/", every=True)
    sweep = place.sweep(jobs=["team/*"])
    assert [one.origin for one in sweep.items] == ["team/a", "team/c"]
    assert [verdict(sweep, 3, name).proof for name in origins(sweep)] == [Proof.PROVEN, Proof.FAILED, Proof.PROVEN]
    assert not sweep.swept.whole
    place.server.heal()
    second = place.sweep(sweep.swept.cursor, NOW + HOUR, jobs=["team/*"])
    assert [one.origin for one in second.items] == ["team/b"]
    assert verdict(second, 3, "team/b").proof is Proof.PROVEN


def test_a_job_that_vanished_from_a_folder_is_unproven_from_then_on(place: Place) -> None:
    """It may be hidden from this token, and go on building."""
    for name in ("team/a", "team/b"):
        place.jenkins.job(name).run(SINCE)
    first = place.sweep(jobs=["team/*"], now=SINCE + 10 * DAY)
    place.jenkins.hidden = {"team/b"}
    second = place.sweep(first.swept.cursor, jobs=["team/*"])
    assert (second.ids, origins(second)) == ([], ["team/a", "team/b"])
    assert [verdict(second, day, "team/b").proof for day in (9, 10, 15)] == [
        Proof.PROVEN, Proof.UNPROVEN, Proof.UNPROVEN,
    ]  # fmt: skip
    assert "gone or hidden" in str(verdict(second, 15, "team/b").reason)
    place.jenkins.hidden = set()
    place.jenkins.jobs["team/b"].run(SINCE + 12 * DAY)
    third = place.sweep(second.swept.cursor, NOW + HOUR, jobs=["team/*"])
    assert (third.ids, verdict(third, 15, "team/b").proof) == (["2"], Proof.PROVEN)


def test_a_branch_that_its_project_no_longer_has_is_gone(place: Place) -> None:
    """Its builds stay; what it built since the last sweep nobody saw; from then on it builds nothing."""
    place.jenkins.kinds["team/api"] = MULTIBRANCH
    for name in ("team/api/main", "team/api/fix"):
        place.jenkins.job(name).run(SINCE)
    first = place.sweep(jobs=["team/*"], now=SINCE + 10 * DAY)
    del place.jenkins.jobs["team/api/fix"]
    second = place.sweep(first.swept.cursor, SINCE + 11 * DAY, jobs=["team/*"])
    third = place.sweep(second.swept.cursor, jobs=["team/*"])
    assert (second.ids, third.ids, third.swept.unchanged) == ([], [], True)
    proofs = [verdict(third, day, "team/api/fix").proof is Proof.PROVEN for day in (9, 10, 11, 12, 19)]
    assert proofs == [True, False, False, True, True]
    place.jenkins.job("team/api/fix").run(NOW)
    fourth = place.sweep(third.swept.cursor, NOW + HOUR, jobs=["team/*"])
    assert fourth.ids == ["1"], "a branch of the same name is a new job"


def test_a_renamed_job_moves_with_its_builds(place: Place) -> None:
    """They count once: under the new name."""
    for day in range(8):
        place.jenkins.job("team/old").run(SINCE + day * DAY)
        place.jenkins.job("team/other").run(SINCE + day * DAY + HOUR)
    first = place.sweep(jobs=["team/*"])
    place.jenkins.jobs["team/new"] = place.jenkins.jobs.pop("team/old")
    place.jenkins.job("team/new").run(NOW)
    second = place.sweep(first.swept.cursor, NOW + HOUR, jobs=["team/*"])
    new = [one.id for one in second.items if one.origin == "team/new"]
    old = [(one.id, one.deleted) for one in second.items if one.origin == "team/old"]
    assert new == [str(number) for number in range(1, 10)]
    assert old == [(str(number), True) for number in range(1, 9)]
    assert verdict(second, 19, "team/old").proof is Proof.PROVEN
    third = place.sweep(second.swept.cursor, NOW + DAY, jobs=["team/*"])
    assert (third.ids, third.swept.unchanged) == ([], True)


def test_nothing_found_is_no_answer(place: Place) -> None:
    place.jenkins.job("other/a").run(SINCE)
    with pytest.raises(SourceError, match="404"):
        place.sweep(jobs=["team/*"])
    with pytest.raises(SourceError, match="no job fits"):
        place.sweep(jobs=["other/x*"])


def test_a_folder_that_cannot_be_read_in_full_ends_the_sweep(place: Place) -> None:
    """Jobs that were not seen are none that vanished."""
    for name in ("team/a/b/c/d/deep", "team/tool"):
        place.jenkins.job(name).run(SINCE)
    first = place.sweep(jobs=["team/*"])
    place.server.inject("500_lasting", path="/job/team/job/a/job/b/job/c/api", every=True)
    with pytest.raises(SourceError, match="500"):
        place.sweep(first.swept.cursor, jobs=["team/*"])


def test_folders_in_a_circle_come_to_an_end(place: Place) -> None:
    """Jenkins makes none; whatever else answers might."""
    deepest = {"_class": FOLDER, "name": "in", "jobs": [{"name": "in"}]}
    nested = {**deepest, "jobs": [{**deepest, "jobs": [deepest]}]}
    place.server.app = lambda _: Response(json={"_class": FOLDER, "jobs": [nested]})
    with pytest.raises(SourceError, match="deeper than 20 levels"):
        place.sweep(jobs=["*"])
