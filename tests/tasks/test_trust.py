"""No zero without proof: what is not known is null with a reason, and the rest stays."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from config import schema
from tasks import bronze
from tasks.context import Context
from tasks.sources.contract import Coverage, Cursor, Feed, Item, Rejected, SourceError, Swept, instant
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, NOW, commit, gold, make_context, revert, run_all, sha, tag

FIRST = date(2024, 1, 1)
RANGE = (FIRST, FIRST + timedelta(days=6))
Recorded = Callable[..., ReplaySource]


def day(context: Context, number: int) -> dict[str, Any]:
    return gold(context)["acme/api", FIRST + timedelta(days=number)]


def test_a_quiet_day_is_a_proven_zero(context: Context, recorded: Recorded) -> None:
    run_all(context, recorded(EVENTS), RANGE)
    quiet = day(context, 1)
    assert (quiet["trust"], quiet["deployment_frequency"], quiet["changes_shipped"]) == ("proven", 0, 0)
    assert quiet["change_lead_time_median_seconds"] is None
    assert quiet["change_fail_rate_revert_ever"] is None
    assert quiet["reasons"] == {}


def test_days_beyond_the_recording_are_unknown_not_zero(context: Context, recorded: Recorded) -> None:
    run_all(context, recorded(EVENTS), (FIRST - timedelta(days=1), RANGE[1] + timedelta(days=1)))
    for number, reason in ((-1, "recorded history begins"), (6, "recorded history ends")):
        beyond = day(context, number)
        assert (beyond["trust"], beyond["deployment_frequency"], beyond["changes_shipped"]) == ("unknown", None, None)
        assert reason in beyond["reasons"]["deployment_frequency"]
    assert day(context, 5)["trust"] == "proven"


def test_a_torn_tag_makes_its_own_day_unknown_and_no_other(context: Context, recorded: Recorded) -> None:
    """The day that lost a deployment must not show one less; mended, it is as if nothing had been."""
    torn = [*EVENTS[:-1], json.dumps(EVENTS[-1])[:-25]]
    run_all(context, recorded(torn), RANGE)
    assert (day(context, 2)["trust"], day(context, 2)["deployment_frequency"]) == ("unknown", None)
    assert {number: day(context, number)["trust"] for number in (0, 1, 3, 4, 5)} == dict.fromkeys(
        (0, 1, 3, 4, 5), "proven"
    )
    assert context.db[schema.QUARANTINE].count_documents({"state": "open"}) == 1

    run_all(context, recorded(EVENTS), RANGE)
    assert (day(context, 2)["trust"], day(context, 2)["deployment_frequency"]) == ("proven", 1)
    assert context.db[schema.QUARANTINE].count_documents({"state": "open"}) == 0


def test_garbage_that_could_be_anything_makes_zeros_doubtful_and_keeps_counts(
    context: Context, recorded: Recorded
) -> None:
    """A count that was seen is a lower bound and stays, as partial; a zero means nothing any more."""
    run_all(context, recorded([*EVENTS, "garbage"]), RANGE)
    assert (day(context, 2)["trust"], day(context, 2)["deployment_frequency"]) == ("partial", 1)
    assert day(context, 2)["change_lead_time_median_seconds"] == pytest.approx(0.4 * 86_400, abs=1)
    assert (day(context, 1)["trust"], day(context, 1)["deployment_frequency"]) == ("partial", None)
    assert "could not be read" in day(context, 1)["reasons"]["deployment_frequency"]
    assert 0 < day(context, 1)["coverage"] < 1


def test_a_hole_in_history_makes_lead_times_unknown(context: Context, recorded: Recorded) -> None:
    """The deployment is known, what it shipped is not: some commit behind it was never seen."""
    run_all(context, recorded([event for event in EVENTS if event is not EVENTS[0]]), RANGE)
    assert day(context, 2)["deployment_frequency"] == 1
    assert (day(context, 2)["trust"], day(context, 2)["changes_shipped"]) == ("partial", None)
    assert "not whole" in day(context, 2)["reasons"]["change_lead_time_median_seconds"]


def test_an_item_of_another_shape_is_set_aside_and_its_day_is_doubtful(context: Context, recorded: Recorded) -> None:
    broken = tag("v3", "b", 3.5) | {"target": 17}
    run_all(context, recorded([*EVENTS, broken]), RANGE)
    assert (day(context, 3)["trust"], day(context, 3)["deployment_frequency"]) == ("unknown", None)
    assert day(context, 2)["trust"] == "proven"
    (aside,) = context.db[schema.QUARANTINE].find()
    assert (aside["path"], aside["value"], aside["item"]["payload"]) == ("target", 17, broken)


def test_what_mongodb_cannot_hold_is_kept_as_bytes(context: Context, recorded: Recorded) -> None:
    """Too large an integer, a lone surrogate: counted, kept, and the rest goes on."""
    big = commit("big", "", 3.5) | {"extra": 2**70}
    lone = commit("lone", "", 3.6) | {"subject": "\ud800"}
    run_all(context, recorded([*EVENTS, big, lone]), RANGE)
    aside = list(context.db[schema.QUARANTINE].find(sort=[("place", 1)]))
    assert [one["place"] for one in aside] == ["events.jsonl:6", "events.jsonl:7"]
    assert all("MongoDB cannot hold it" in one["reason"] for one in aside)
    assert str(2**70).encode() in aside[0]["raw"]
    assert day(context, 3)["change_lead_time_median_seconds"] is None
    assert day(context, 2)["deployment_frequency"] == 1
    assert day(context, 2)["changes_shipped"] == 1


def test_a_lost_revert_makes_the_zeros_before_it_doubtful(context: Context, recorded: Recorded) -> None:
    """It may name any earlier deployment: that none of them failed is no longer proven. What did fail stays."""
    lost = revert("end", "b", 5.9) | {"reverted_sha_raw": None}
    run_all(context, recorded([*EVENTS, lost, commit("r", "b", 3.5), revert("r", "a", 3.5)]), RANGE)
    assert day(context, 0)["failed_deployments_revert_ever"] == 1
    earlier = day(context, 2)
    assert (earlier["trust"], earlier["change_fail_rate_revert_ever"]) == ("partial", None)
    assert "a revert of 2024-01-06 could not be read" in earlier["reasons"]["change_fail_rate_revert_ever"]
    assert (earlier["deployment_frequency"], earlier["changes_shipped"]) == (1, 1)
    run_all(context, recorded([*EVENTS, revert("end", "b", 5.9)]), RANGE)
    assert (day(context, 2)["trust"], day(context, 2)["change_fail_rate_revert_ever"]) == ("proven", 1.0)


def test_a_lost_tag_makes_the_next_deliveries_doubtful(context: Context, recorded: Recorded) -> None:
    """The next tag seems to deliver what the lost one did; a later one that delivers only newer changes is fine."""
    later = [commit("c", "b", 3.2), tag("v3", "c", 3.5), commit("d", "c", 4.2), tag("v4", "d", 4.5)]
    run_all(context, recorded([*EVENTS[:-1], *later, tag("v2", "b", 2.5) | {"name": ""}]), RANGE)
    assert (day(context, 2)["trust"], day(context, 2)["deployment_frequency"]) == ("unknown", None)
    assert (day(context, 3)["trust"], day(context, 3)["deployment_frequency"]) == ("partial", 1)
    assert day(context, 3)["changes_shipped"] is None
    assert (day(context, 4)["trust"], day(context, 4)["changes_shipped"]) == ("proven", 1)


def test_a_lost_commit_makes_later_deliveries_of_what_lies_behind_it_doubtful(
    context: Context, recorded: Recorded
) -> None:
    """What the first tag reached only through the hole, a later tag reaches another way: it is not the first."""
    history = [
        commit("a", "", 0.1), commit("hole", "a", 0.2), commit("b", "hole", 0.3), commit("side", "a", 1.1),
        commit("c", "b side", 2.1), commit("end", "c", 5.9), tag("v1", "b", 0.5), tag("v2", "c", 2.5),
    ]  # fmt: skip
    run_all(
        context,
        recorded([event for event in history if event["sha" if "sha" in event else "name"] != sha("hole")]),
        RANGE,
    )
    assert day(context, 0)["changes_shipped"] is None
    assert day(context, 2)["changes_shipped"] is None
    run_all(context, recorded(history), RANGE)
    assert [day(context, n)["changes_shipped"] for n in (0, 2)] == [3, 2]


def test_a_line_of_an_unknown_kind_is_a_doubt_about_every_day(context: Context, recorded: Recorded) -> None:
    """`"type": "Tag"`: it looks like an item, of a stream that there is not; it may be any."""
    run_all(context, recorded([*EVENTS, tag("v3", "b", 3.5) | {"type": "Tag"}]), RANGE)
    assert (day(context, 3)["trust"], day(context, 3)["deployment_frequency"]) == ("partial", None)


def test_a_broken_date_far_ahead_proves_nothing_in_between(context: Context, recorded: Recorded) -> None:
    """A commit of 2038 does not stretch the recording until then, and one beyond all calendars is no loss."""
    far = [commit("far", "b", 5000), commit("beyond", "b", 0) | {"commit_ts": 300_000_000_000}]
    run_all(context, recorded([*EVENTS, *far]), (FIRST, RANGE[1] + timedelta(days=30)))
    assert day(context, 5)["trust"] == "proven"
    assert day(context, 20)["trust"] == "unknown"
    assert context.db["silver.changes"].count_documents({}) == 5


def test_yesterday_closes_though_nothing_is_new_and_only_today_is_asked_for(database: str) -> None:  # noqa: ARG001
    """The window that was open at the last look is looked at again by any run."""
    noon = schema.start_of(RANGE[1]) - timedelta(hours=12)

    class Unchanged(Scripted):
        def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Rejected | Swept]:
            parts = list(super().sweep(unit, cursor, now))
            swept = parts.pop()
            assert isinstance(swept, Swept)
            yield from () if cursor else parts
            yield Swept({"same": 1}, swept.coverages, unchanged=cursor is not None)

    run_all(make_context(noon), Unchanged(items(), until=noon), RANGE)
    assert day(make_context(), 5)["coverage"] == 0.5
    later = noon + timedelta(days=1)
    run_all(make_context(later), Unchanged(items(), until=later), (RANGE[1], RANGE[1] + timedelta(days=1)))
    assert (day(make_context(), 5)["trust"], day(make_context(), 5)["deployment_frequency"]) == ("proven", 0)


class Scripted:
    """A source that does as told."""

    name = "scripted"

    def __init__(self, items: Sequence[Item], *, until: datetime, fails: str | None = None) -> None:
        self.items, self.until, self.fails = items, until, fails

    def units(self) -> Sequence[str]:
        return ("all",)

    def feeds(self, unit: str) -> Sequence[Feed]:  # noqa: ARG002 - the contract's
        return (("git", "acme/api", ("commits", "reverts", "tags")),)

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Rejected | Swept]:  # noqa: ARG002
        yield from self.items
        if self.fails is not None:
            raise SourceError(self.fails)
        coverage = Coverage("git", "acme/api", ("commits", "reverts", "tags"), self.until)
        yield Swept({"until": self.until}, (coverage,))


def items() -> list[Item]:
    return [
        Item("git", "commits" if e["type"] == "commit" else "tags", "acme/api", e.get("sha") or e["name"],
             instant(e.get("commit_ts") or e["tag_ts"]), e)
        for e in EVENTS
    ]  # fmt: skip


def test_a_failed_sweep_gives_reasons_and_leaves_what_was_known(context: Context) -> None:
    """Days seen before stay proven; the new day is unknown, with the source's own words; then it recovers."""
    end = schema.start_of(RANGE[1])
    run_all(context, Scripted(items(), until=end), RANGE)
    before = gold(context)
    longer = (FIRST, RANGE[1] + timedelta(days=1))
    assert (
        run_all(context, Scripted([], until=end, fails="page 3 of 7 answered 502"), longer)
        == "page 3 of 7 answered 502"
    )
    assert {key: row for key, row in gold(context).items() if key in before} == before
    new = day(context, 6)
    assert (new["trust"], new["deployment_frequency"]) == ("unknown", None)
    assert "page 3 of 7 answered 502" in new["reasons"]["deployment_frequency"]
    run_all(context, Scripted([], until=end + timedelta(days=1)), longer)
    assert (day(context, 6)["trust"], day(context, 6)["deployment_frequency"]) == ("proven", 0)


def test_a_source_that_never_worked_is_unknown_from_the_first_run(context: Context) -> None:
    run_all(context, Scripted([], until=NOW, fails="no route to host"), RANGE)
    assert {row["trust"] for row in gold(context).values()} == {"unknown"}
    assert len(gold(context)) == 6


def test_a_sweep_that_stops_without_its_last_word_proves_nothing(context: Context) -> None:
    """A generator that simply ends is a truncated extraction, not a complete one."""

    class Truncated(Scripted):
        def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Rejected | Swept]:
            yield from list(super().sweep(unit, cursor, now))[:-1]

    error = run_all(context, Truncated(items(), until=NOW), RANGE)
    assert error
    assert "without saying what it covered" in error
    assert {row["trust"] for row in gold(context).values()} == {"unknown"}


def test_the_open_window_grows_with_the_day_and_closes(database: str) -> None:  # noqa: ARG001 - names the database
    """Today is partial, its zero is null; refreshed as often as one likes; proven once the day is over."""
    start = schema.start_of(RANGE[1] - timedelta(days=1))  # the day of EVENTS[2]
    expected = [(6, "partial", 0.25), (18, "partial", 0.75), (18, "partial", 0.75), (30, "proven", 1.0)]
    for hours, trust, coverage in expected:
        now = start + timedelta(hours=hours)
        run_all(make_context(now), Scripted(items(), until=now), RANGE)
        today = day(make_context(), 5)
        assert (today["trust"], today["coverage"]) == (trust, coverage)
        assert today["deployment_frequency"] == (0 if trust == "proven" else None)


def test_tombstones_and_returns_follow_the_newest_version(context: Context) -> None:
    """A deleted tag's day loses it, an older copy that arrives late does not bring it back, a newer one does."""
    end = schema.start_of(RANGE[1])
    (v2,) = [item for item in items() if item.id == "v2"]
    gone = Item("git", "tags", "acme/api", "v2", instant(EVENTS[2]["commit_ts"]), {"deleted": True}, deleted=True)
    back = Item("git", "tags", "acme/api", "v2", gone.updated_on + timedelta(seconds=1), v2.payload)
    for part, count in (([gone], 0), ([v2], 0), ([back], 1), ([gone, v2], 1)):
        run_all(context, Scripted([*items()[:-1], *part], until=end), RANGE)
        assert day(context, 2)["deployment_frequency"] == count


def test_two_sources_of_one_origin_complete_each_other(context: Context, recorded: Recorded) -> None:
    """What one has proven stands though the other knows less, in either order, however often; items of both count."""
    end = schema.start_of(RANGE[1])
    whole, part = Scripted(items(), until=end), recorded([tag("v3", "b", 3.5)])
    for _ in range(2):
        run_all(context, part, RANGE)
        run_all(context, whole, RANGE)
    assert [day(context, n)["trust"] for n in range(6)] == ["proven"] * 6
    assert [day(context, n)["deployment_frequency"] for n in range(6)] == [1, 0, 1, 1, 0, 0]
    before = gold(context)
    run_all(context, part, RANGE)
    assert gold(context) == before


def test_an_origin_that_vanishes_from_its_files_is_unknown_from_then_on(context: Context, recorded: Recorded) -> None:
    """It is not forgotten in silence: its past stays proven, the days to come are unknown with the reason."""
    run_all(context, recorded(EVENTS), RANGE)
    run_all(context, recorded([commit("x", "", 0.5) | {"repo": "acme/web"}]), (RANGE[1], RANGE[1] + timedelta(days=1)))
    assert day(context, 2)["trust"] == "proven"
    assert (day(context, 6)["trust"], day(context, 6)["deployment_frequency"]) == ("unknown", None)
    assert "no longer has this origin" in day(context, 6)["reasons"]["deployment_frequency"]


def test_days_whose_sweep_failed_are_settled_by_the_next_one_that_works(context: Context, recorded: Recorded) -> None:
    """Also those that nobody asks for again, and though the source has nothing new."""
    source = recorded(EVENTS)
    run_all(context, source, (FIRST, FIRST + timedelta(days=3)))
    paths, source.paths = source.paths, ["/nowhere/events.jsonl"]
    assert run_all(context, source, RANGE)
    assert day(context, 4)["trust"] == "unknown"
    source.paths = paths
    run_all(context, source, (FIRST, FIRST + timedelta(days=1)))
    assert [day(context, number)["trust"] for number in range(6)] == ["proven"] * 6


def test_what_an_interrupted_sweep_stored_counts_at_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the source no longer has it: Bronze is what was ever seen, and Silver does not depend on who asks when."""
    monkeypatch.setattr(bronze, "BATCH", 1)
    end = schema.start_of(RANGE[1])
    run_all(context, Scripted(items()[:4], until=end), RANGE)
    run_all(context, Scripted(items(), until=NOW, fails="at the end"), RANGE)
    assert day(context, 2)["deployment_frequency"] == 0
    run_all(context, Scripted(items()[:4], until=end), RANGE)
    assert [day(context, number)["deployment_frequency"] for number in range(6)] == [1, 0, 1, 0, 0, 0]
