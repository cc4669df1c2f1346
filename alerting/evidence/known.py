"""Whether a rule on the measures of a partition had something to judge there: missing data passes nothing.

A rule that reads a null says nothing of the data. What was counted in our own work (items handed over, rows accounted
for) is known in any case; what was counted in the data is known as far as the receipt proves that all of it was seen.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from alerting.evidence.view import View, is_watched
from alerting.reports import Key
from config import catalog, schema
from quality.findings import Rule
from quality.receipts import Proof

ACCOUNTS: Final = frozenset({"accounted", "quarantined", "quarantine_ratio"})
"""What we count of our own work, besides what the receipt tells."""
EVIDENCE: Final = ("receipt.", "proven_")
"""How the measures begin that say what was seen."""
FIELDS: Final = ("row_id", "trust", "reasons")
"""What of a partition is needed beside its window, report and proof."""
_ROWS: Final = "rows"
_SHARE: Final = "quarantine_ratio"
"""Is recorded where it is not 0: there is none of no rows."""


def is_about_gaps(rule: Rule) -> bool:
    """Whether it says that data is missing: it reads how many rows there are, or what was seen of them."""
    return any(name == _ROWS or name in ACCOUNTS or name.startswith(EVIDENCE) for name in rule.reads())


def tellable(
    view: View, key: Key, rule: Rule, documents: Sequence[Mapping[str, Any]], *, later: bool
) -> list[Mapping[str, Any]]:
    """Those of `documents`, ledger documents of the dataset and scope of `key`, on which `rule` had a value to judge.

    later: they are to mend another window. Its own is mended, too, where what the rule reads is known not to exist: a
    median of nothing, the nulls of no rows.
    """
    columns = _judged(rule)
    if not columns:  # it judges it knows not what: then it has judged
        return list(documents)
    if key.dataset == catalog.DORA_DAILY.name:
        return _of_gold(view, columns, documents, later=later)
    accounts = any(_is_account(name) for name in columns)
    known = [one for one in documents if _is_whole(key.dataset, one, accounts=accounts)]
    measured = [name for name in columns if name != _ROWS and not _is_account(name)]
    if not measured and _SHARE not in columns:
        return known
    empty = not later and not is_watched(key.dataset)
    asked = [one["window"] for one in known if one["report"]["rows"]]
    values = [values_of(view, key, name, asked) for name in measured]
    return [
        one
        for one in known
        if (all(value.get(one["window"]) is not None for value in values) if one["report"]["rows"] else empty)
    ]


def _judged(rule: Rule) -> tuple[str, ...]:
    """The columns whose values it judges; those that it reads besides only say when it applies."""
    named = tuple(name for name in rule.reads() if name not in rule.columns)
    return named or rule.columns


def _is_account(column: str) -> bool:
    return column in ACCOUNTS or column.startswith(EVIDENCE)


def _is_whole(dataset: str, document: Mapping[str, Any], *, accounts: bool) -> bool:
    """Whether its measures are those of all that there is. No receipt speaks of a watched collection: it needs rows."""
    state = document.get("proof", {}).get("state")
    if is_watched(dataset):
        return bool(document["report"]["rows"]) and state != Proof.PARTIAL
    if accounts:
        return bool(state != Proof.PARTIAL)
    return bool(state == Proof.PROVEN)


def _of_gold(
    view: View, columns: Sequence[str], documents: Sequence[Mapping[str, Any]], *, later: bool
) -> list[Mapping[str, Any]]:
    metrics = [name for name in columns if not _is_account(name)]
    known = [
        one
        for one in documents
        if not metrics
        or (one.get("trust", "unknown") != "unknown" and not set(metrics) & set(one.get("reasons") or ()))
    ]
    if not later or not metrics:
        return known
    where = {"_id": {"$in": [one["row_id"] for one in known if "row_id" in one]}}
    rows = {one["_id"]: one for one in view.db[schema.GOLD_ROWS].find(where, dict.fromkeys(metrics, 1))}
    return [one for one in known if all(rows.get(one.get("row_id"), {}).get(name) is not None for name in metrics)]


def values_of(view: View, key: Key, measure: str, windows: Sequence[datetime]) -> dict[datetime, float | int | None]:
    """What was said last of the measure in each of `windows`; one of which nothing was said has no number."""
    if not windows:
        return {}
    series = {"series.dataset": key.dataset, "series.scope": key.scope, "series.measure": measure}
    found = view.db[schema.OBSERVATIONS].find(
        {**series, "at": {"$in": list(windows)}}, {"at": 1, "value": 1}, sort=[("recorded_at", 1), ("_id", 1)]
    )
    return {one["at"]: one["value"] for one in found}
