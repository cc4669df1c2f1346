"""What `touchstone metrics --explain` shows to people."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.report import duration, number, percent
from tasks.transforms.definitions import METRICS
from tasks.transforms.incidents import RULES

SHOWN: Final = 40
"""Rows of a table; all are in `--format json`."""

Row = Mapping[str, Any]


def show(explained: Mapping[str, Any], console: Console) -> None:
    """The numbers, then the deployments, changes and failures that they count."""
    title = f"{explained['scope']} on {explained['day']} ({explained['kind']}): {explained['trust']}"
    console.print(Text(title, "bold"), f"- change fail rate by {explained['change_fail_rate_rule']}", markup=False)
    if not explained["is_current"]:
        console.print("These numbers are not of today's data, rules or configuration: the next run makes them anew.")
    _print(console, ("metric", "value", "counts"), (_metric(explained, metric) for metric in METRICS))
    for what, headings, line in (
        ("deployments", ("deployment", "at (UTC)", "environment", "failed by", "rework", "name"), _deployment),
        ("changes", ("change", "delivered by", "rule", "lead", "subject"), _change),
        ("failures", ("failure", "laid to", "rule", "mended by", "after", "title"), _failure),
    ):
        rows = explained[what]
        console.print(Text(f"{len(rows):,} {what}", "bold"))
        _print(console, headings, (line(row) for row in rows[:SHOWN]))
        if len(rows) > SHOWN:
            console.print(f"{len(rows) - SHOWN:,} more: see `--format json`.")


def _print(console: Console, headings: Iterable[str], lines: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    if table.row_count:
        console.print(table)


def _metric(explained: Mapping[str, Any], metric: str) -> tuple[str, ...]:
    value = explained["metrics"][metric]
    if value is None:
        return metric, "unknown" if metric in explained["reasons"] else "-", explained["reasons"].get(metric, "")
    told = duration(value) if metric.endswith("_seconds") else percent(value) if "rate" in metric else number(value)
    return metric, told, f"{len(explained['behind'][metric]):,}"


def _deployment(row: Row) -> tuple[str, ...]:
    reverts = {"failed_before_next": "revert_before_next", "failed_ever": "revert_ever"}
    failed = [name for flag, name in (reverts | {f"failed_{rule}": rule for rule in RULES}).items() if row.get(flag)]
    rework = row["rework"] or any(row.get(f"rework_{rule}") for rule in RULES)
    doubt = " (not whole)" if row["whole"] is False else ""
    name = row.get("about", {}).get("name", "")
    return (row["ref"] + doubt, row["deployed_at"][:19].replace("T", " "), row.get("environment", ""),
            ", ".join(failed), "yes" if rework else "", name)  # fmt: skip


def _change(row: Row) -> tuple[str, ...]:
    subject = str(row.get("about", {}).get("subject", ""))[:80]
    return row["ref"], row["deployment_ref"], row.get("rule", ""), duration(row["lead_seconds"]), subject


def _failure(row: Row) -> tuple[str, ...]:
    if "incident" not in row:
        took = duration(row["recovery_seconds"])
        return f"revert {row['ref']}", row["deployment_ref"], row["rule"], row["recovered_by"] or "", took, ""
    title = str(row.get("about", {}).get("title", ""))[:80]
    rules = ", ".join(row["rules"])
    mended = row["mended_by"] or ""
    return row["incident"], row["deployment_ref"], rules, mended, duration(row["restore_seconds"]), title
