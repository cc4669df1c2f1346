"""What the detector is given of the stored history, and what of it may teach."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import bson
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import schema
from config.detector import Detector, Event, Judging
from config.settings import Collection, Settings
from quality import observations
from quality.detector import columns, history, natures
from quality.detector.history import Panelled, Window
from quality.detector.panel import Harm, Nature
from quality.detector.recorded import Name
from quality.detector.said import Said, Says, say
from quality.observations import Observation, Series
from tasks.context import Context
from tests.harness import NOW

TODAY = NOW.date()
LAST = TODAY - timedelta(days=1)
DATASET, SCOPE = "silver.changes", "acme/api"
NAME = Name(DATASET, SCOPE)


def day(back: int) -> date:
    """So many days before yesterday."""
    return LAST - timedelta(days=back)


def record(
    context: Context, told: Mapping[date, Mapping[str, float | None]], name: Name = NAME, at: datetime = NOW
) -> None:
    made = [
        Observation(Series(*name, measure), schema.start_of(window), value)
        for window, values in told.items()
        for measure, value in values.items()
    ]
    observations.append(context.db, made, run_id="run", recorded_at=at)


def weeks(count: int = 4, **values: float) -> dict[date, dict[str, float]]:
    return {day(back): {"rows": 10.0 + back % 3, **values} for back in range(7 * count)}


def streams(context: Context, **asked: Any) -> list[Panelled]:
    return history.streams(context.db, context.settings, **{"until": LAST, "now": NOW, **asked})


def only(found: Iterable[Panelled]) -> Panelled:
    (one,) = found
    return one


def column(of: Panelled, measure: str) -> list[float]:
    names = [one.name for one in of.stream.measures]
    return list(of.stream.values[:, names.index(measure)])


def teaches(of: Panelled, window: date, measure: str = "rows") -> bool:
    names = [one.name for one in of.stream.measures]
    row = of.row(window)
    assert of.stream.teaches is not None
    assert row is not None
    return bool(of.stream.teaches[row, names.index(measure)])


def under(context: Context, **detector: Any) -> Context:
    return replace(context, settings=context.settings.model_copy(update={"detector": Detector(**detector)}))


def incident(context: Context, kind: str, windows: Iterable[date], severity: str = "warning") -> None:
    document = {
        "fingerprint": kind, "open": True, "kind": kind, "severity": severity, "scopes": [SCOPE],
        "key": {"dataset": DATASET, "scope": SCOPE, "check": "x", "measure": ""},
        "failing": sorted(window.isoformat() for window in windows),
    }  # fmt: skip
    context.db[schema.INCIDENTS].insert_one(document)


def test_a_stream_begins_with_its_first_number_and_ends_with_the_day_asked_for(context: Context) -> None:
    record(context, {day(9): {"rows": 4}, day(7): {"rows": 0, "freshness_seconds": 60.0}})
    of = only(streams(context))
    assert (of.dataset, of.scope, of.stream.start, of.stream.windows) == (DATASET, SCOPE, day(9), 10)
    assert [of.row(day(10)), of.row(day(9)), of.row(day(0)), of.row(TODAY)] == [None, 0, 9, None]
    assert column(of, "freshness_seconds")[2] == 60.0
    assert np.isnan(column(of, "freshness_seconds")[:2]).all()
    assert of.states[:4] == (Window.KNOWN, Window.UNKNOWN, Window.KNOWN, Window.UNKNOWN)


@pytest.mark.parametrize("seed", range(3))
def test_the_newest_statement_counts_in_whatever_order_they_were_recorded(context: Context, seed: int) -> None:
    told = [(value, NOW - timedelta(hours=value)) for value in range(6)]
    random.Random(seed).shuffle(told)  # noqa: S311 - no secret
    for value, at in told:
        record(context, {day(1): {"rows": value}, day(0): {"rows": value, "duplicate_ratio": 0.5}}, at=at)
    record(context, {day(0): {"duplicate_ratio": None}}, at=NOW + timedelta(hours=1))
    of = only(streams(context))
    assert column(of, "rows") == [0.0, 0.0]
    latest = observations.latest(context.db, Series(*NAME, "rows"))
    assert [one.value for one in latest] == column(of, "rows")
    assert "duplicate_ratio" not in {one.name for one in of.stream.measures}


def test_what_is_not_judged_is_left_out(context: Context) -> None:
    record(context, weeks(1, **{"min.size": 1, "max.size": 9, "receipt.coverage": 1, "coverage": 1, "mean.size": 3}))
    assert [one.name for one in only(streams(context)).stream.measures] == ["mean.size", "rows"]
    assert streams(under(context, datasets=(Judging(dataset="silver.*", judge=False),))) == []
    assert len(streams(context, datasets=[DATASET], scopes=[SCOPE])) == 1
    assert streams(context, datasets=["gold.dora_daily"]) == []
    assert streams(context, scopes=["other"]) == []


def test_only_so_many_days_are_looked_at(context: Context) -> None:
    record(context, weeks(6))
    assert only(streams(context)).stream.windows == 42
    assert only(streams(context, days=10)).stream.start == day(9)
    assert only(streams(under(context, history_days=28))).stream.windows == 28


def test_rows_of_a_kind_that_are_not_told_were_none(context: Context) -> None:
    """A sweep records what it counted; that it counted none of a kind goes without saying."""
    record(context, {day(2): {"rows": 2, "rows.deployment": 2}, day(1): {"rows": 0}, day(0): {"rows": 3}})
    assert column(only(streams(context)), "rows.deployment") == [2.0, 0.0, 0.0]


def test_windows_between_two_that_a_sweep_recorded_had_no_row(context: Context) -> None:
    """Of windows that nobody asks for only those are recorded that have rows: else no window would ever be empty."""
    sparse = {day(9): {"rows": 5.0}, day(6): {"rows": 7.0}, day(5): {"rows": 4.0}}
    record(context, sparse)
    record(context, sparse, Name("shop.orders", "all"))
    watched, swept = streams(context)
    assert column(swept, "rows")[:5] == [5.0, 0.0, 0.0, 7.0, 4.0]
    assert swept.states[1] is Window.UNKNOWN
    assert np.isnan(column(watched, "rows")[1:3]).all()
    assert np.isnan(column(swept, "rows")[5:]).all()


@pytest.mark.parametrize(
    ("values", "nature"),
    [([1.0] * 20, Nature.DURATION), ([-1.0] * 2 + [5.0] * 18, Nature.NUMBER), ([-1.0] + [5.0] * 200, Nature.DURATION)],
)
def test_an_amount_that_is_hardly_ever_negative_is_a_duration(
    context: Context, values: list[float], nature: Nature
) -> None:
    record(context, {day(back): {"rows": 3, "mean.size": value} for back, value in enumerate(values)})
    of = only(streams(context))
    assert {one.name: one.nature for one in of.stream.measures}["mean.size"] is nature


def test_every_measure_says_what_is_behind_it(context: Context) -> None:
    record(context, weeks(1, **{"null_ratio.author": 0.1}), Name("bronze.git.commits", SCOPE))
    record(context, {day(0): {"deployment_rework_rate": 0.5}}, Name("gold.dora_daily", SCOPE))
    bronze, gold = streams(context)
    nulls, rows = bronze.stream.measures
    assert (nulls.nature, nulls.behind, nulls.harm) == (Nature.RATIO, "rows", Harm.RISE)
    assert (rows.nature, rows.behind, rows.volume) == (Nature.COUNT, None, True)
    assert gold.stream.measures[0].behind is None  # there are no deployments to be behind it


def test_whose_rows_they_are_is_an_independent_witness(context: Context) -> None:
    names = ["bronze.git.tags", "silver.changes", "gold.dora_daily", "shop.orders"]
    for name in names:
        measure = "deployment_frequency" if name.startswith("gold") else "rows"
        record(context, {day(0): {measure: 1.0}}, Name(name, SCOPE))
    assert {of.dataset: of.stream.source for of in streams(context)} == {
        "bronze.git.tags": "git", "silver.changes": "git", "gold.dora_daily": "git", "shop.orders": "shop.orders",
    }  # fmt: skip


def test_calendar_and_what_people_said_are_handed_on(context: Context) -> None:
    record(context, weeks())
    said = Said(Says.NORMAL, *NAME, day(3), None, (), "ann", NOW)
    say(context.db, said)
    freeze = Event(name="freeze", start=day(5), end=day(4))
    stream = only(streams(under(context, events=(freeze,)))).stream
    assert stream.holidays == {day(5), day(4)}
    assert [change.day for change in stream.changes] == [day(3)]


def test_windows_that_may_still_grow_are_left_out(context: Context) -> None:
    record(context, {**weeks(1), TODAY: {"rows": 1.0}})
    ledger = {"dataset": DATASET, "scope": SCOPE, "window": schema.start_of(day(2))}
    proof = {"state": "partial", "reason": "the window is still open: seen until 10:00 UTC"}
    context.db[schema.LEDGER].insert_one({**ledger, "proof": proof})
    of = only(streams(context, until=TODAY))
    assert of.stream.windows == 8
    assert [of.states[-1], of.states[-4], of.states[-2]] == [Window.OPEN, Window.OPEN, Window.KNOWN]
    assert np.isnan(column(of, "rows")[-4])
    assert not teaches(of, day(2))


@pytest.mark.parametrize("state", ["partial", "unproven", "failed"])
def test_what_is_not_proven_is_judged_and_teaches_nothing(context: Context, state: str) -> None:
    for dataset in (DATASET, "silver.deliveries", "shop.orders"):
        record(context, weeks(1), Name(dataset, SCOPE))
        if dataset != "silver.deliveries":  # has no proof of its own: what it is made of has
            ledger = {"dataset": dataset, "scope": SCOPE, "window": schema.start_of(day(2))}
            proof = {"state": state, "reason": "a page is missing"}
            context.db[schema.LEDGER].insert_one({**ledger, "proof": proof})
    watched = Collection(name="shop.orders", collection="orders", time="at")
    changed = replace(context, settings=context.settings.model_copy(update={"datasets": (watched,)}))
    found = {of.dataset: of for of in streams(changed)}
    for dataset in (DATASET, "silver.deliveries"):
        assert found[dataset].states[-3] is Window.DOUBTED
        assert [teaches(found[dataset], day(back)) for back in (1, 2, 3)] == [True, False, True]
    assert teaches(found["shop.orders"], day(2)) is (state != "partial")  # nothing ever proves it


def test_windows_with_rows_set_aside_teach_nothing(context: Context) -> None:
    record(context, weeks(1))
    for state, back in (("open", 2), ("released", 3)):
        row = {"dataset": DATASET, "origin": SCOPE, "window": schema.start_of(day(back)), "state": state}
        context.db[schema.QUARANTINE].insert_one(row)
    of = only(streams(context))
    assert [teaches(of, day(back)) for back in (2, 3)] == [False, True]


@pytest.mark.parametrize(
    ("kind", "severity", "stretch", "taught"),
    [
        ("anomaly", "critical", 20, False),
        ("anomaly", "critical", 21, True),  # the new normal, whoever has looked at it
        ("finding", "warning", 20, False),
        ("finding", "warning", 21, True),
        ("finding", "critical", 21, False),
        ("receipt", "warning", 21, False),
        ("drift", "critical", 3, True),  # says nothing of the numbers
    ],
)
def test_windows_under_an_open_incident_teach_nothing_until_that_is_the_new_normal(
    context: Context, kind: str, severity: str, stretch: int, *, taught: bool
) -> None:
    record(context, weeks())
    incident(context, kind, [day(back) for back in range(stretch)], severity)
    of = only(streams(context))
    assert teaches(of, day(2)) is taught
    assert teaches(of, day(25))


def test_a_stretch_is_not_ended_by_windows_without_an_opinion(context: Context) -> None:
    record(context, weeks(7))
    incident(context, "anomaly", [day(back) for back in (*range(10), *range(15, 26))])
    assert teaches(only(streams(context)), day(2))
    incident(context, "finding", [day(back) for back in (*range(10), *range(35, 46))])
    assert not teaches(only(streams(context)), day(2))


@pytest.mark.parametrize(
    ("says", "measures", "taught"),
    [
        (Says.EXPECTED, (), (True, True)),
        (Says.EXPECTED, ("rows",), (True, False)),
        (Says.FAULT, (), (False, False)),
    ],
)
def test_what_is_expected_teaches_though_its_incident_is_open(
    context: Context, says: Says, measures: tuple[str, ...], taught: tuple[bool, bool]
) -> None:
    record(context, weeks(freshness_seconds=60.0))
    incident(context, "anomaly", [day(1), day(0)])
    say(context.db, Said(says, *NAME, day(1), day(1), measures, "ann", NOW))
    of = only(streams(context))
    assert (teaches(of, day(1)), teaches(of, day(1), "freshness_seconds")) == taught
    assert not teaches(of, day(0))


def test_what_is_the_new_normal_teaches_as_far_as_it_was_seen(context: Context) -> None:
    """Older windows no longer teach: without these there would be nothing to learn the level from."""
    record(context, weeks())
    incident(context, "anomaly", [day(back) for back in range(9)])
    said_at = schema.start_of(day(2))
    say(context.db, Said(Says.NORMAL, *NAME, day(5), None, (), "ann", said_at))
    of = only(streams(context))
    assert [teaches(of, day(back)) for back in (6, 5, 2, 1)] == [False, True, True, False]


def test_a_stream_that_cannot_be_judged_does_not_keep_the_others_from_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(context, weeks())
    record(context, weeks(), Name("silver.changes", "other"))
    panelled = history._panelled

    def refusing(settings: Settings, name: Name, *args: Any) -> history.Panelled:
        if name.scope == "other":
            raise ValueError("a ratio is within 0..1")
        return panelled(settings, name, *args)

    monkeypatch.setattr(history, "_panelled", refusing)
    refused: dict[Name, str] = {}
    found = history.streams(context.db, context.settings, until=day(0), now=context.now, refused=refused)
    assert [one.scope for one in found] == [NAME.scope]
    assert refused == {Name("silver.changes", "other"): "a ratio is within 0..1"}


def test_a_fault_never_teaches_also_when_its_incident_is_over_or_has_lasted(context: Context) -> None:
    record(context, weeks())
    say(context.db, Said(Says.FAULT, *NAME, day(30), day(5), (), "ann", NOW))
    incident(context, "anomaly", [day(back) for back in range(28)])
    of = only(streams(context))
    assert [teaches(of, day(back)) for back in (27, 5, 4)] == [False, False, True]


def test_candidates_count_instead_of_what_is_recorded(context: Context) -> None:
    name = Name("gold.dora_daily", SCOPE)
    record(context, {day(1): {"deployment_frequency": 3, "deployment_rework_rate": 0.5}}, name)
    told = {name: {day(1): {"deployment_frequency": 1, "coverage": 1.0}, day(0): {"deployment_frequency": 2}}}
    of = only(streams(context, candidates=told))
    assert [one.name for one in of.stream.measures] == ["deployment_frequency"]
    assert column(of, "deployment_frequency") == [1.0, 2.0]


def test_a_table_that_is_judged_and_one_that_the_server_is_asked_for_are_the_same() -> None:
    for measure in ("rows", "rows.change", "null_ratio.a.b", "distinct.key", "mean.x", "min.x", "quarantine_ratio"):
        assert (natures.kind(measure) is not None) is (measure not in {"min.x", "quarantine_ratio"})


@given(values=st.lists(st.floats(allow_infinity=False, allow_nan=False), max_size=1200), whole=st.booleans())
def test_columns_are_what_bson_decodes(values: list[float], *, whole: bool) -> None:
    content = [bson.Int64(int(value) % 2**62) for value in values] if whole else values
    ((name, array),) = columns.members(bson.encode({"values": content}))
    assert name == "values"
    assert columns.column(array).tolist() == content


@pytest.mark.parametrize("values", [[1.0, None], ["a"], [1.0] * 10 + [2], [True]])
def test_a_column_of_something_else_is_an_error(values: list[Any]) -> None:
    ((_, array),) = columns.members(bson.encode({"values": values}))
    with pytest.raises(TypeError):
        columns.column(array)


def test_dates_are_milliseconds() -> None:
    at = datetime(1969, 12, 31, 23, tzinfo=UTC)
    ((_, array),) = columns.members(bson.encode({"values": [at]}))
    assert columns.column(array).tolist() == [-3_600_000]
