"""What is judged, when it is judged again, and what the verdict is; with the real engine and a real database."""

import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from config import schema
from config.detector import Detector, Event, Judging
from quality import observations
from quality.detector import engine, judging, news, recorded, verdicts
from quality.detector.news import Candidates
from quality.detector.recorded import Name
from quality.detector.said import Said, Says, say
from quality.detector.verdicts import State, Verdict
from quality.observations import Observation, Series
from tasks.context import Context
from tests.harness import NOW

TODAY = NOW.date()
LAST = TODAY - timedelta(days=1)
NAME = Name("silver.changes", "acme/api")
GOLD = Name("gold.dora_daily", "acme/api")
Told = dict[date, dict[str, float]]


def day(back: int) -> date:
    """So many days before yesterday."""
    return LAST - timedelta(days=back)


def usual(days: int = 90, seed: int = 1) -> Told:
    """Weekdays of about 60 rows, weekends of about 10."""
    rnd = random.Random(seed)  # noqa: S311 - no secret
    told: Told = {}
    for back in range(days):
        rows = round(rnd.gauss(60 if day(back).weekday() < 5 else 10, 3))
        told[day(back)] = {"rows": rows, "null_ratio.author": round(rnd.uniform(0, 0.05), 3)}
    return told


def record(context: Context, told: Mapping[date, Mapping[str, float | None]], name: Name = NAME) -> None:
    made = [
        Observation(Series(*name, measure), schema.start_of(window), value)
        for window, values in told.items()
        for measure, value in values.items()
    ]
    observations.append(context.db, made, run_id="run", recorded_at=datetime.now(UTC))


def under(context: Context, **detector: Any) -> Context:
    return replace(context, settings=context.settings.model_copy(update={"detector": Detector(**detector)}))


def judge(context: Context, candidates: Candidates | None = None, run_id: str = "run") -> list[Verdict]:
    """As the task does."""
    asked = (context.db, context.settings, context.now)
    found = news.news(*asked, run_id=run_id, candidates=candidates)
    made = judging.judge(*asked, run_id, found, candidates) if found.windows else []
    news.mark(context.db, context.settings, found)
    return made


def verdict(context: Context, back: int = 0, name: Name = NAME) -> Verdict:
    (one,) = verdicts.find(context.db, *name, (day(back), day(back) + timedelta(days=1)))
    return one


def content(context: Context) -> list[schema.Document]:
    """All verdicts, but for when they were made."""
    return list(context.db[schema.VERDICTS].find({}, {"judged_at": 0, "was.judged_at": 0}, sort=[("_id", 1)]))


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("out of wood: mongodb://user:secret@host/db")


def test_recent_windows_are_judged_once_and_older_ones_never(context: Context) -> None:
    record(context, usual())
    made = judge(context)
    assert {one.window for one in made} == {day(back) for back in range(35)}
    assert {one.state for one in made} == {State.NORMAL}
    assert judge(context) == []
    record(context, {day(50): {"rows": 0}})
    assert judge(context) == []


def test_a_volume_that_falls_to_nothing_is_an_anomaly_that_explains_itself(context: Context) -> None:
    told = usual()
    told[day(2)] = {"rows": 0}
    record(context, told)
    judge(context)
    one = verdict(context, 2)
    assert one.state is State.ANOMALY
    assert one.rarity > 1
    strangest = one.cells[0]
    assert (strangest.measure, strangest.observed, strangest.nature) == ("rows", 0.0, "count")
    assert strangest.low is not None
    assert strangest.expected is not None
    assert strangest.high is not None
    assert 0 < strangest.low < strangest.expected < strangest.high
    assert strangest.history > 50
    assert not one.blocks
    assert [verdict(context, back).state for back in (3, 1, 0)] == [State.NORMAL] * 3


@pytest.mark.parametrize(("fall", "state"), [(1, State.ANOMALY), (4, State.NORMAL)])
def test_sources_that_all_fall_on_a_friday_had_a_day_off_and_one_alone_did_not(
    context: Context, fall: int, state: State
) -> None:
    names = [Name(dataset, "all") for dataset in ("builds", "merges", "tickets", "deploys")]
    for seed, name in enumerate(names):
        told = usual(seed=seed)
        if seed < fall:
            told[day(1)] |= {"rows": 9}
        record(context, told, name)
    judge(context)
    one = verdict(context, 1, names[0])
    assert (one.state, bool(one.together)) == (state, fall > 1)
    assert verdict(context, 2, names[0]).together == ""


def test_the_last_days_may_be_judged_one_by_one_or_at_once(context: Context) -> None:
    """What comes in later does not change what was said before: all of it was judged by what was known before it."""
    told = usual()
    told[day(2)] = {"rows": 0}
    record(context, told)
    judge(under(context, judge_days=5))
    at_once = [one.state for one in verdicts.find(context.db, *NAME)]
    context.db[schema.VERDICTS].delete_many({})
    context.db[schema.OBSERVATIONS].delete_many({})
    context.db[schema.META].delete_many({"_id": news.MARK})
    record(context, {window: values for window, values in told.items() if window < day(4)})
    for back in range(4, -1, -1):
        record(context, {day(back): told[day(back)]})
        judge(under(replace(context, now=NOW - timedelta(days=back)), judge_days=5))
    recent = verdicts.find(context.db, *NAME, (day(4), TODAY))
    assert [one.state for one in recent] == at_once


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_recording_does_not_matter(context: Context, seed: int) -> None:
    told = usual(60)
    told[day(1)] = {"rows": 0}
    record(context, told)
    judge(context)
    expected = content(context)
    for name in (schema.VERDICTS, schema.OBSERVATIONS):
        context.db[name].delete_many({})
    context.db[schema.META].delete_many({"_id": news.MARK})
    windows = list(told)
    random.Random(seed).shuffle(windows)  # noqa: S311 - no secret
    for at in range(0, len(windows), 13):
        record(context, {window: told[window] for window in windows[at : at + 13]})
    judge(context)
    assert content(context) == expected


def test_a_repair_is_judged_again_and_what_was_said_before_is_kept(context: Context) -> None:
    told = usual()
    record(context, told | {day(1): {"rows": 0}})
    judge(context)
    assert verdict(context, 1).state is State.ANOMALY
    record(context, {day(1): told[day(1)]})
    assert [one.window for one in judge(context)] == [day(1), day(0)]  # whose history is another one now
    assert [verdict(context, back).state for back in (1, 0)] == [State.NORMAL] * 2
    (kept,) = context.db[schema.VERDICTS].find({"_id": verdict(context, 1).key})
    assert [one["state"] for one in kept["was"]] == ["anomaly"]


def test_the_same_numbers_once_more_are_no_news(context: Context) -> None:
    record(context, usual())
    judge(context)
    record(context, {day(0): usual()[day(0)] | {"min.size": 3.0, "null_ratio.other": None}})
    assert judge(context) == []


def test_too_little_history_is_blind_with_words_and_a_backfill_ends_it_at_once(context: Context) -> None:
    """Also by windows that are too old to be judged themselves."""
    short = under(context, judge_days=3)
    told = usual()
    record(context, {window: values for window, values in told.items() if window > day(3)})
    assert {one.state for one in judge(short)} == {State.BLIND}
    assert verdict(context).missing == "3 more windows with a number: 2 of 5"
    assert judge(short) == []
    record(context, {window: values for window, values in told.items() if window <= day(3)})
    assert {one.state for one in judge(short)} == {State.NORMAL}
    assert len(verdicts.find(context.db, *NAME)) == 3
    assert judge(short) == []


def test_what_comes_after_a_blind_window_does_not_make_it_due_again(context: Context) -> None:
    """Only something older does: else all that follows would be judged anew with each day that comes in."""
    record(context, usual(days=20))
    assert State.BLIND in {one.state for one in judge(context)}
    context.db[schema.META].delete_many({"_id": news.MARK})
    assert judge(context) == []
    record(context, {day(20): {"rows": 60.0}})
    assert len(judge(context)) == 21


def test_a_window_without_a_number_is_blind(context: Context) -> None:
    record(context, usual())
    judge(context)
    candidates = Candidates({GOLD: {day(0): {"deployment_frequency": None}}}, {(GOLD, day(0)): "links"})
    judge(context, candidates)
    assert verdict(context, name=GOLD).missing == "a number: there is none in it"
    assert judge(context, candidates) == []


@pytest.mark.parametrize("name", ["silver.changes", "silver.*"])
def test_whether_it_blocks_is_for_the_configuration_to_say(context: Context, name: str) -> None:
    record(context, usual() | {day(0): {"rows": 0}})
    judge(under(context, datasets=(Judging(dataset=name, block_on_anomaly=True),)))
    assert verdict(context).blocks
    assert not verdict(context, 1).blocks


def test_what_is_not_to_be_judged_is_not(context: Context) -> None:
    record(context, usual())
    assert judge(under(context, enabled=False)) == []
    assert judge(under(context, datasets=(Judging(dataset="silver.*", judge=False),))) == []
    assert len(judge(context)) == 35


@pytest.mark.parametrize(
    ("says", "state"), [(Says.EXPECTED, State.NORMAL), (Says.FAULT, State.ANOMALY), (Says.NORMAL, None)]
)
def test_what_people_say_is_heard_at_once(context: Context, says: Says, state: State | None) -> None:
    record(context, usual() | {day(0): {"rows": 0}})
    judge(context)
    say(context.db, Said(says, *NAME, day(0), day(0), (), "ann", datetime.now(UTC)))
    assert [one.window for one in judge(context)] == [day(0)]
    if state is not None:
        assert verdict(context).state is state
    assert judge(context) == []


def test_an_anomaly_under_an_open_incident_does_not_change_what_is_expected(context: Context) -> None:
    told = usual()
    record(context, told)
    judge(context)
    before = verdict(context).cells
    document = {
        "fingerprint": "f", "open": True, "kind": "anomaly", "severity": "warning", "scopes": [],
        "key": {"dataset": NAME.dataset, "scope": NAME.scope, "check": "anomaly", "measure": ""},
        "failing": [day(7).isoformat()],
    }  # fmt: skip
    context.db[schema.INCIDENTS].insert_one(document)
    found = []
    for rows in (0, 1000):
        context.db[schema.VERDICTS].delete_many({})
        context.db[schema.META].delete_many({"_id": news.MARK})
        record(context, {day(7): {"rows": rows}})
        judge(under(context, judge_days=1))
        found.append(next(cell for cell in verdict(context).cells if cell.measure == "rows"))
    normal = next(cell for cell in before if cell.measure == "rows")
    assert found[0].expected == pytest.approx(found[1].expected)
    assert found[0].expected == pytest.approx(normal.expected, rel=0.05)


@pytest.mark.parametrize(
    "change",
    [{"false_alarms_per_series_per_quarter": 3.0}, {"events": (Event(name="off", start=day(0)),)}, {"country": "GB"}],
)
def test_under_other_terms_it_is_judged_again(context: Context, change: dict[str, Any]) -> None:
    record(context, usual())
    judge(under(context, judge_days=3))
    windows = [one.window for one in judge(under(context, judge_days=3, **change))]
    assert windows == ([day(0)] if "events" in change else [day(2), day(1), day(0)])
    assert judge(under(context, judge_days=3, **change)) == []


def test_a_detector_that_fails_says_so_and_is_tried_again_by_the_next_run(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(context, usual())
    with monkeypatch.context() as patch:
        patch.setattr(engine, "judge", broken)
        judge(context)
    one = verdict(context)
    assert one.state is State.BROKEN
    assert one.error.startswith("RuntimeError: out of wood")
    assert "secret" not in one.error
    assert judge(context) == []
    assert len(judge(context, run_id="next")) == 35
    assert verdict(context).state is State.NORMAL


def test_windows_that_may_still_grow_wait(context: Context) -> None:
    record(context, usual() | {TODAY: {"rows": 1}})
    ledger = {"dataset": NAME.dataset, "scope": NAME.scope, "window": schema.start_of(day(0))}
    proof = {"state": "partial", "reason": "the window is still open: seen until 10:00 UTC"}
    context.db[schema.LEDGER].insert_one({**ledger, "proof": proof})
    assert max(one.window for one in judge(context)) == day(1)
    context.db[schema.LEDGER].delete_many({})
    record(context, {day(0): usual()[day(0)]})  # as a sweep that closes it does
    assert [one.window for one in judge(context)] == [day(0)]


def test_a_crash_before_the_end_is_mended_by_judging_again(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    record(context, usual())
    put = verdicts.put

    def crash(db: schema.Db, made: Sequence[Verdict]) -> None:
        put(db, made[:7])
        broken()

    with monkeypatch.context() as patch:
        patch.setattr(verdicts, "put", crash)
        with pytest.raises(RuntimeError):
            judge(context)
    assert len(verdicts.find(context.db, *NAME)) == 7
    assert len(judge(context)) == 28
    left = content(context)
    context.db[schema.VERDICTS].delete_many({})
    context.db[schema.META].delete_many({"_id": news.MARK})
    judge(context)
    assert content(context) == left


def test_gold_is_judged_before_it_is_published_and_not_once_more_after(context: Context) -> None:
    told = {window: {"deployment_frequency": values["rows"]} for window, values in usual().items()}
    new = told.pop(day(0)) | {"deployment_frequency": 0.0}
    record(context, told, GOLD)
    candidates = Candidates({GOLD: {day(0): new | {"coverage": 1.0}}}, {(GOLD, day(0)): "links"})
    assert len(judge(context, candidates)) == 35
    one = verdict(context, name=GOLD)
    assert (one.state, one.made_of) == (State.ANOMALY, "links")
    assert judge(context, candidates) == []
    record(context, {day(0): new}, GOLD)
    assert judge(context) == []
    other = Candidates({GOLD: {day(0): new}}, {(GOLD, day(0)): "other links"})
    assert [one.made_of for one in judge(context, other)] == ["other links"]


def test_what_is_published_of_a_day_that_is_held_back_says_nothing_of_it(context: Context) -> None:
    told = {window: {"deployment_frequency": values["rows"]} for window, values in usual().items()}
    record(context, told, GOLD)
    judge(context)
    candidates = Candidates({GOLD: {day(0): {"deployment_frequency": 0}}}, {(GOLD, day(0)): "links"})
    judge(context, candidates)
    held = {
        "dataset": GOLD.dataset,
        "scope": GOLD.scope,
        "window": schema.start_of(day(0)),
        "blocked": {"first": False},
    }
    context.db[schema.LEDGER].insert_one(held)
    assert judge(context) == []
    assert verdict(context, name=GOLD).state is State.ANOMALY


def test_that_there_is_nothing_to_judge_is_known_without_numpy() -> None:
    code = (
        "import sys\nfrom quality.detector import news, recorded, said, verdicts\nfrom tasks import judge, pipeline\n"
        "print({'numpy', 'sklearn'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_a_look_that_finds_nothing_reads_no_numbers(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of what was recorded is read once a day at most, and after that only what was recorded since."""
    record(context, usual())
    judge(context)
    later = datetime.now(UTC) + news.OVERLAP * 2
    context.db[schema.META].update_one({"_id": news.MARK}, {"$set": {"at": later}})
    asked: list[Any] = []
    read = recorded.windows

    def listening(db: schema.Db, days: recorded.Days, names: Any) -> Any:
        asked.append(names)
        return read(db, days, names)

    monkeypatch.setattr(recorded, "windows", listening)
    assert not news.news(context.db, context.settings, context.now).windows
    context.db[schema.META].update_one({"_id": news.MARK}, {"$set": {"at": datetime.now(UTC) - timedelta(days=1)}})
    assert not news.news(context.db, context.settings, context.now).windows
    assert asked == [set(), None]
