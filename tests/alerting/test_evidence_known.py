"""Missing data passes nothing: a rule on measures is passed only by a window on which it had a value to judge."""

from datetime import timedelta
from typing import Any, Final

import pytest

from alerting import evidence
from alerting.store import Store
from config import schema, settings
from quality.observations import Observation, Series, append
from tasks.context import Context
from tests.alerting.test_evidence import DAY, NOW, PROVEN, finding, partition, proof, report

LATER: Final = DAY + timedelta(days=1)
LEAD: Final = "change_lead_time_median_seconds"
ORDERS: Final = settings.Suite.model_validate({
    "dataset": "shop.orders",
    "rules": [
        {"name": "enough", "expectation": "expect_column_values_to_be_between", "judges": "partition",
         "arguments": {"column": "rows", "min_value": 3}, "severity": "warning"},
        {"name": "filled", "expectation": "expect_column_values_to_be_between", "judges": "partition",
         "arguments": {"column": "null_ratio.amount", "max_value": 0.1}, "severity": "warning"},
    ],
})  # fmt: skip


def is_mended(
    context: Context, dataset: str, rule: str, after: dict[str, Any], measured: dict[str, float | None], *, later: bool
) -> bool:
    """Whether a warning of `rule` is over once the same or a later window is as `after` and `measured` say."""
    loaded = context.settings.model_copy(update={"suites": (ORDERS,)})
    broken = PROVEN | {"trust": "proven", "reasons": {}}
    partition(context, dataset, **broken, **report(finding(rule, "warning", judges="partition")))
    evidence.reconcile(context.db, loaded, NOW)
    assert len(Store(context.db).listed()) == 1
    day = LATER if later else DAY
    partition(context, dataset, day, published_at=NOW, run_id="r2", row_id="g1", **after)
    context.db[schema.GOLD_ROWS].insert_one({"_id": "g1", **measured})
    told = [
        Observation(Series(dataset, "acme/api", name), schema.start_of(day), value) for name, value in measured.items()
    ]
    if told:
        append(context.db, told, run_id="r2", recorded_at=NOW)
    evidence.reconcile(context.db, loaded, NOW)
    return Store(context.db).listed() == []


@pytest.mark.parametrize(
    ("after", "measured", "mends"),
    [
        (report() | PROVEN, {"null_ratio.author": 0.1}, "own later"),
        (report() | PROVEN, {}, ""),
        (report() | PROVEN, {"null_ratio.author": None}, ""),
        (report() | proof("unproven"), {"null_ratio.author": 0.1}, ""),
        (report(rows=0) | proof("failed"), {}, ""),
        (report(rows=0) | PROVEN, {}, "own"),
    ],
    ids=["known", "not measured", "not known any more", "unproven", "failed", "proven to be empty"],
)
@pytest.mark.parametrize("which", ["own", "later"])
def test_silver_is_passed_by_what_is_measured_and_proven(
    context: Context,
    which: str,
    after: dict[str, Any],
    measured: dict[str, float | None],
    mends: str,
) -> None:
    """That a proven window is empty says that what broke the rule there is gone, and nothing of other windows."""
    found = is_mended(context, "silver.changes", "authors_known", after, measured, later=which == "later")
    assert found is (which in mends)


@pytest.mark.parametrize(
    ("after", "value", "mends"),
    [
        ({"trust": "proven", "reasons": {}}, 60.0, "own later"),
        ({"trust": "partial", "reasons": {"changes_shipped": "no receipt"}}, 60.0, "own later"),
        ({"trust": "proven", "reasons": {}}, None, "own"),
        ({"trust": "partial", "reasons": {LEAD: "no receipt"}}, None, ""),
        ({"trust": "unknown", "reasons": {"deployment_frequency": "no receipt"}}, 60.0, ""),
        ({}, None, ""),
    ],
    ids=["known", "another is not", "nothing shipped", "not known", "unknown", "of an older version"],
)
@pytest.mark.parametrize("which", ["own", "later"])
def test_gold_is_passed_by_a_day_whose_metric_is_known(
    context: Context,
    which: str,
    after: dict[str, Any],
    value: float | None,
    mends: str,
) -> None:
    """A day that is unknown has a null there, which breaks no rule."""
    after = report(rows=1) | after
    found = is_mended(context, "gold.dora_daily", "lead_time_positive", after, {LEAD: value}, later=which == "later")
    assert found is (which in mends)


@pytest.mark.parametrize(
    ("rule", "after", "mended"),
    [
        ("enough", (3, None), True),
        ("enough", (0, None), False),
        ("filled", (3, 0.0), True),
        ("filled", (3, None), False),
        ("filled", (0, None), False),
    ],
)
@pytest.mark.parametrize("which", ["own", "later"])
def test_a_watched_collection_is_passed_by_rows_only(
    context: Context,
    which: str,
    rule: str,
    after: tuple[int, float | None],
    mended: bool,  # noqa: FBT001
) -> None:
    """No receipt says that it is whole: that there is nothing may be the fault itself."""
    rows, nulls = after
    left = report(rows=rows) | proof("unproven", "watched, not extracted")
    found = is_mended(context, "shop.orders", rule, left, {"null_ratio.amount": nulls}, later=which == "later")
    assert found is mended


def test_a_quiet_time_does_not_hide_a_window_that_passed(context: Context) -> None:
    """Of the many later days most have nothing to judge: the one that has counts."""
    for number in range(2, 60):
        day = DAY + timedelta(days=number)
        partition(
            context, "gold.dora_daily", day, published_at=NOW, run_id="r2", trust="proven", reasons={}, **report()
        )
    after = {"trust": "proven", "reasons": {}}
    assert is_mended(context, "gold.dora_daily", "lead_time_positive", report() | after, {LEAD: 1.0}, later=True)
