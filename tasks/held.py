"""Gold that the detector holds back: days that are an anomaly, or are made from one, where the user asked for that."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

from config import schema
from config.catalog import DORA_DAILY, upstream
from quality.detector import said
from quality.detector.recorded import Name, Terms
from quality.detector.said import Said, Says
from quality.detector.verdicts import State
from quality.findings import Finding, Judges, Report, Severity
from tasks.context import Context

RULE = "anomaly"
"""Of the finding that holds a day back; its incident is that of the anomaly."""
INPUT = "verdicts"
"""Name of the input of a day that is held back: what it is held back by."""

Holding = Mapping[date, Sequence[schema.Document]]
"""The verdicts that hold back days, in order of name."""


def blocking(context: Context) -> list[str]:
    """The datasets whose anomalies hold back Gold."""
    if not (context.settings.detector.enabled and context.checks):
        return []
    datasets = {DORA_DAILY.name, *upstream(DORA_DAILY.name)}
    lines = {name: context.settings.detector.of(name) for name in datasets}
    return sorted(name for name, line in lines.items() if line.judge and line.block_on_anomaly)


def holding(context: Context, scope: str, made_of: Mapping[date, str]) -> dict[date, list[schema.Document]]:
    """The verdicts that hold back days of Gold, by day.

    made_of: the days in question, and the digest of what each is computed from (see `made_of`). A verdict on Gold that
    was made of something else says nothing; nor does one on what it is made from, once somebody has said otherwise.
    """
    names = blocking(context)
    if not names or not made_of:
        return {}
    keys = [f"{name}|{scope}|{day.isoformat()}" for name in names for day in made_of]
    heard: dict[str, list[Said]] = defaultdict(list)
    for told in said.heard(context.db, scope=scope):
        heard[told.dataset].append(told)
    found: dict[date, list[schema.Document]] = defaultdict(list)
    for one in context.db[schema.VERDICTS].find({"_id": {"$in": keys}, "state": str(State.ANOMALY)}).sort("_id"):
        day = one["window"].date()
        is_gold = one["dataset"] == DORA_DAILY.name
        if one["made_of"] == made_of[day] if is_gold else not _spoken(heard[one["dataset"]], day, one["judged_at"]):
            found[day].append(one)
    return dict(found)


def inputs(verdicts: Collection[schema.Document]) -> dict[str, str]:
    """What is among the inputs of a day that is held back by `verdicts`."""
    return {INPUT: schema.digest([[one["_id"], one["of"]] for one in verdicts])} if verdicts else {}


def noted(report: Report, verdicts: Sequence[schema.Document]) -> Report:
    """`report`, and that the day is held back by `verdicts`, if there are any."""
    return replace(report, findings=(*report.findings, _finding(verdicts))) if verdicts else report


def _finding(verdicts: Sequence[schema.Document]) -> Finding:
    where = ", ".join(dict.fromkeys(one["dataset"] for one in verdicts))
    worst = max(one["rarity"] for one in verdicts)
    return Finding(
        RULE, Judges.PARTITION, Severity.CRITICAL, broke=False, rows=1, of=1,
        expected="no anomaly in what it is made from, nor in itself",
        observed=f"an anomaly in {where}, {worst:,.1f} times rarer than the budget of false alarms allows",
        why="`block_on_anomaly` is set: it is published once that is repaired, or somebody says that it was expected",
    )  # fmt: skip


def made_of(context: Context, scope: str, links: Mapping[date, str], code: str) -> dict[date, str]:
    """Digest of what Gold of each day is computed from, and of the terms under which that is judged.

    links: the revision of each day's deliveries. code: version of the definitions.
    """
    name = Name(DORA_DAILY.name, scope)
    terms = Terms(context.settings, said.heard(context.db, *name))
    return {day: schema.digest([terms.digest(name, day), revision, code]) for day, revision in links.items()}


def _spoken(heard: Sequence[Said], day: date, since: datetime) -> bool:
    """Whether somebody said since that the day is no anomaly."""
    return any(one.at > since and one.covers(day) and one.says is not Says.FAULT for one in heard)
