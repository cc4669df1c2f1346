"""The numbers are right: real histories against oracles that were made with git, sort and awk only."""

import csv
from datetime import date, timedelta
from pathlib import Path

import pytest

from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tasks.transforms.gold import METRICS
from tests.harness import DATA, REPOSITORIES, gold, run_all


def same(value: float | None, text: str, digits: int) -> bool:
    """Whether `value` rounds to the oracle's text; null is the empty text."""
    return (value is None) if text == "" else value is not None and f"{value:.{digits}f}" == text


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_every_day_of_the_oracle_comes_out_equal(context: Context, repository: str) -> None:
    """0 differences in tags, changes shipped, lead times, both fail rates and recovery times, over all of history."""
    folder = DATA / "git_events" / repository
    oracle = read(folder / "daily.csv")
    days = (date.fromisoformat(oracle[0]["utc_day"]), date.fromisoformat(oracle[-1]["utc_day"]) + timedelta(days=1))
    run_all(context, ReplaySource("history", [str(folder / "events.jsonl.gz")]), days)

    rows = {day: row for (_, day), row in gold(context).items()}
    recoveries: dict[str, list[int]] = {}
    for failure in read(folder / "failures.csv"):
        day = str(date(1970, 1, 1) + timedelta(seconds=int(failure["failed_tag_ts"])))
        recoveries.setdefault(day, []).extend([int(failure["restore_seconds"])] if failure["restore_seconds"] else [])
    differences = []
    for line in oracle:
        row = rows.pop(date.fromisoformat(line["utc_day"]))
        equal = (
            row["trust"] == "proven"
            and row["deployment_frequency"] == int(line["tags"])
            and row["changes_shipped"] == int(line["commits_first_shipped"])
            and same(row["change_lead_time_median_seconds"], line["lead_median_s"], 1)
            and same(row["change_lead_time_mean_seconds"], line["lead_mean_s"], 3)
            and same(row["change_fail_rate_revert_before_next"], line["cfr_before_next"], 6)
            and same(row["change_fail_rate_revert_ever"], line["cfr_ever"], 6)
            and row["failed_deployments_revert_ever"] == int(line["tags_failed_ever"])
            and row["failed_deployment_recovery_time_median_seconds"] == median(recoveries.get(line["utc_day"], []))
        )
        if not equal:
            differences.append((line, row))
    assert differences == []
    assert len(oracle) > 1000
    # days that the oracle leaves out had no event: proven zeros, and nothing else
    assert all(row["deployment_frequency"] == row["changes_shipped"] == 0 for row in rows.values())
    assert all(row["trust"] == "proven" for row in rows.values())
    assert sum(len(found) for found in recoveries.values()) > 1


def test_every_metric_is_in_every_document(context: Context) -> None:
    """A missing number is null, not an absent field."""
    folder = DATA / "git_events" / "spotify__luigi"
    run_all(context, ReplaySource("history", [str(folder / "events.jsonl.gz")]), (date(2014, 5, 17), date(2014, 6, 17)))
    assert all(metric in row for row in gold(context).values() for metric in METRICS)
    assert len(gold(context)) == 31


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def median(values: list[int]) -> float | None:
    if not values:
        return None
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
