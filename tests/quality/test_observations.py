"""What was stated last is what is known; what was stated before stays to be read."""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Final

import pytest
from bson import Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.schema import DAY, OBSERVATIONS
from quality import observations
from quality.observations import (
    Cause,
    Number,
    Observation,
    Series,
    Statement,
    append,
    known_on,
    latest,
    parse_series,
    restatements,
    series,
)
from tasks.context import Context

FIRST: Final = datetime(2024, 1, 1, tzinfo=UTC)
ROWS: Final = Series("bronze.git.commits", "acme/api", "rows")
NULLS: Final = ROWS._replace(measure="null_ratio.payload.author")


def moment(hour: float) -> datetime:
    """When something was recorded."""
    return datetime(2024, 6, 1, tzinfo=UTC) + timedelta(hours=hour)


def state(context: Context, hour: float, *values: Number, cause: Cause = Cause.FIRST, of: Series = ROWS) -> None:
    """Append one value for each day from FIRST on."""
    stated = (Observation(of, FIRST + n * DAY, value, cause) for n, value in enumerate(values))
    assert append(context.db, stated, run_id=f"run-{hour}", recorded_at=moment(hour)) == len(values)


def told(statements: Iterable[Statement]) -> list[tuple[Number, str]]:
    return [(one.value, one.run_id) for one in statements]


def test_the_newest_statement_about_each_window_is_what_is_known(context: Context) -> None:
    state(context, 1, 10, 20, 30)
    state(context, 3, 11, cause=Cause.LATE_DATA)
    state(context, 2, 99, 21, cause=Cause.REPAIR)  # appended last, but recorded before
    assert latest(context.db, ROWS) == [
        Statement(FIRST, 11, moment(3), "run-3", Cause.LATE_DATA),
        Statement(FIRST + DAY, 21, moment(2), "run-2", Cause.REPAIR),
        Statement(FIRST + 2 * DAY, 30, moment(1), "run-1", Cause.FIRST),
    ]
    assert told(latest(context.db, ROWS, FIRST + DAY)) == [(21, "run-2"), (30, "run-1")]
    assert told(latest(context.db, ROWS, FIRST + DAY, FIRST + 2 * DAY)) == [(21, "run-2")]
    assert told(latest(context.db, ROWS, until=FIRST + DAY)) == [(11, "run-3")]


def test_what_a_reader_would_have_seen_on_a_date(context: Context) -> None:
    """Why did last week's report say 20? Because of what was known then."""
    state(context, 1, 10, 20)
    state(context, 3, None, 21, cause=Cause.REPAIR)
    assert told(known_on(context.db, ROWS, moment(0.9))) == []
    assert told(known_on(context.db, ROWS, moment(1))) == [(10, "run-1"), (20, "run-1")]
    assert told(known_on(context.db, ROWS, moment(2.9))) == [(10, "run-1"), (20, "run-1")]
    assert told(known_on(context.db, ROWS, moment(3))) == [(None, "run-3"), (21, "run-3")]


def test_the_history_of_a_window_tells_what_changed_when_and_why(context: Context) -> None:
    """A run that crashed after it had appended says the same again: that is no change. A value that returns is one."""
    state(context, 1, 10, 5)
    state(context, 2, 10, 5)
    state(context, 3, 12, 5, cause=Cause.LATE_DATA)
    state(context, 4, None, 5, cause=Cause.DEFINITION)
    state(context, 5, None, 5, cause=Cause.DEFINITION)
    state(context, 6, 10, 5, cause=Cause.REPLAY)
    first = [
        Statement(FIRST, 10, moment(1), "run-1", Cause.FIRST),
        Statement(FIRST, 12, moment(3), "run-3", Cause.LATE_DATA),
        Statement(FIRST, None, moment(4), "run-4", Cause.DEFINITION),
        Statement(FIRST, 10, moment(6), "run-6", Cause.REPLAY),
    ]
    second = [Statement(FIRST + DAY, 5, moment(1), "run-1", Cause.FIRST)]
    assert restatements(context.db, ROWS) == {FIRST: first, FIRST + DAY: second}
    assert restatements(context.db, ROWS, FIRST + DAY) == {FIRST + DAY: second}
    assert restatements(context.db, ROWS, FIRST + 9 * DAY) == {}


statements = st.lists(
    st.tuples(
        st.sampled_from([ROWS, NULLS, ROWS._replace(scope="acme"), ROWS._replace(dataset="bronze.git")]),
        st.integers(0, 2),
        st.one_of(st.none(), st.integers(0, 2), st.sampled_from([0.5, 1.0])),
        st.integers(0, 2),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stated=statements, batch=st.integers(1, 4))
def test_reading_agrees_with_a_plain_loop_over_all_that_was_said(
    context: Context, stated: list[tuple[Series, int, Number, int]], batch: int
) -> None:
    """Whatever the batches, and in whatever order of recording: of what was recorded at one time, the last counts."""
    context.db[OBSERVATIONS].delete_many({})
    said: dict[tuple[Series, datetime], list[tuple[datetime, int, Number]]] = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observations, "BATCH", batch)
        for hour, group in groupby(enumerate(stated), key=lambda one: one[1][3]):
            chosen = []
            for number, (of, day, value, _) in group:
                chosen.append(Observation(of, FIRST + day * DAY, value))
                said[of, chosen[-1].at].append((moment(hour), number, value))
            append(context.db, chosen, run_id="run", recorded_at=moment(hour))
    assert series(context.db) == sorted({of for of, _ in said})
    for of in {of for of, _ in said}:
        mine = {at: [value for *_, value in sorted(said[of, at], key=order)] for one, at in sorted(said) if one == of}
        assert [(one.at, one.value) for one in latest(context.db, of)] == [
            (at, said_[-1]) for at, said_ in mine.items()
        ]
        told_ = {at: [one.value for one in history] for at, history in restatements(context.db, of).items()}
        assert told_ == {at: [value for value, _ in groupby(values)] for at, values in mine.items()}
        early = {at: [value for when, _, value in sorted(said[of, at], key=order) if when <= moment(1)] for at in mine}
        seen = [(one.at, one.value) for one in known_on(context.db, of, moment(1))]
        assert seen == [(at, values[-1]) for at, values in early.items() if values]


def order(one: tuple[datetime, int, Number]) -> tuple[datetime, int]:
    return one[:2]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0, 0), (-7, -7), (2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)), (2**31, 2**31), (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1), (2**63, float(2**63)), (10**400, None), (0.1, 0.1), (-0.0, 0.0), (5e-324, 5e-324),
        (1.7e308, 1.7e308), (None, None), (math.nan, None), (math.inf, None), (-math.inf, None), (True, 1),
        (Int64(5), 5), (Int64(2**62), 2**62),
    ],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_a_number_is_kept_as_it_is_and_what_is_none_as_null(context: Context, value: Number, kept: Number) -> None:
    """NaN would compare unequal to itself for ever after, and no chart can show an infinity.

    What MongoDB counts comes as Int64, and must not take a second each.
    """
    state(context, 1, value)
    (found,) = latest(context.db, ROWS)
    assert (found.value, isinstance(found.value, float)) == (kept, isinstance(kept, float))


def test_documents_have_the_shape_that_others_read(context: Context) -> None:
    """They are encoded by hand; a reader with another driver must find what the schema says, and an order."""
    state(context, 1, 0.5, 1)
    first, second = context.db[OBSERVATIONS].find(sort=[("at", 1)])
    assert first.pop("_id") < second["_id"]
    assert first == {
        "at": FIRST, "series": {"dataset": "bronze.git.commits", "scope": "acme/api", "measure": "rows"}, "value": 0.5,
        "recorded_at": moment(1), "run_id": "run-1", "cause": "first",
    }  # fmt: skip


def test_any_name_and_any_date_can_be_observed(context: Context) -> None:
    """Scopes come from data: they may hold anything but what BSON cannot."""
    strange = Series("d", "é$|:\n\0/🙂", "null_ratio.$where")
    dates = [datetime(year, 1, 1, tzinfo=UTC) for year in (1, 1969, 1970, 2039, 9999)]
    append(context.db, [Observation(strange, date, 1) for date in dates], run_id="r", recorded_at=moment(1))
    assert [one.at for one in latest(context.db, strange)] == dates
    assert series(context.db) == [strange]
    with pytest.raises(TypeError, match="naive"):
        append(context.db, [Observation(ROWS, datetime(2024, 1, 1), 1)], run_id="r", recorded_at=moment(1))  # noqa: DTZ001


def test_more_than_a_batch_is_appended_whole_and_in_order(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observations, "BATCH", 10)
    state(context, 1, *range(35))
    assert [one.value for one in latest(context.db, ROWS)] == list(range(35))
    ids = [one["_id"] for one in context.db[OBSERVATIONS].find(sort=[("at", 1)])]
    assert all(one < next_ for one, next_ in pairwise(ids))
    assert append(context.db, [], run_id="r", recorded_at=moment(1)) == 0


def test_the_series_that_there_are(context: Context) -> None:
    other = Series("silver.changes", "acme/web", "rows")
    for of in (ROWS, NULLS, other):
        state(context, 1, 1, of=of)
    assert series(context.db) == [NULLS, ROWS, other]
    assert series(context.db, "silver.changes") == [other]
    assert series(context.db, scope="acme/api") == [NULLS, ROWS]
    assert series(context.db, "silver.changes", "acme/api") == []


KNOWN: Final = [
    ROWS, NULLS, Series("d", "https://host:80/x", "a:b"), Series("d", "x:y", "z"), Series("d", "x", "y:z"),
]  # fmt: skip


@pytest.mark.parametrize("of", KNOWN[:3])
def test_a_series_is_found_by_the_text_it_is_written_as(of: Series) -> None:
    """Scopes and measures may hold the colon that parts them."""
    assert parse_series(str(of), KNOWN) == of


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("d:x:y:z", r"can be read in 2 ways: dataset 'd', scope 'x', measure 'y:z'; dataset 'd', scope 'x:y'"),
        ("bronze.git.commits:acme/api:row", "near to it: bronze.git.commits:acme/api:rows"),
        ("bronze.git.commit:acme/api:rows", "near to it: bronze.git.commits:acme/api:rows"),
        ("%%%", r"there is no series '%%%' \(DATASET:SCOPE:MEASURE\)$"),
    ],
)
def test_a_text_that_is_no_series_or_several_is_an_error_that_helps(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_series(text, KNOWN)


def test_before_the_first_run_the_error_says_that_there_is_nothing() -> None:
    with pytest.raises(ValueError, match="there are no observations yet"):
        parse_series(str(ROWS), [])
