"""The DORA metrics of a day, computed from delivery rows by one MongoDB aggregation pipeline. Pure.

This is the one place where the metrics are defined; `DEFINITIONS` (beside it) says each in words, with its source.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypedDict

from config import schema
from tasks.proofs import ABSENT, INCIDENTS
from tasks.transforms import incidents
from tasks.transforms.definitions import DEFINITIONS, METRICS, VERSION

_COUNTS: Final = ("deployment_frequency", "changes_shipped", "failed_deployments_revert_ever")
_BAND: Final = {f"change_fail_rate_{rule}": rule for rule in incidents.RULES}
_RATES: Final = (*(metric for metric in METRICS if metric.startswith("change_fail_rate")), "deployment_rework_rate")
_CHOSEN: Final = ("change_fail_rate", "failed_deployment_recovery_time_median_seconds")
"""Those that follow the chosen rule."""

STREAMS: Final = ("deployments", "changes", "failures")
"""What every scope may have; "failures" are reverts."""

_TORN: Final = (
    "the history behind a deployment of the day, or behind an earlier one, is not whole, or has a date that cannot be"
)

Stage = dict[str, Any]


class Spine(TypedDict):
    """A day that gets a document, whether anything was deployed on it or not."""

    key: str
    """What its rows are found by: the partition of its delivery rows, or its date if it is made of several."""
    day: datetime
    proofs: Mapping[str, Any]
    """What the receipts of the day's streams are worth: state, coverage, reason."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all days of a scope have in common."""

    scope: str
    kind: str
    rule: str
    """By which deployments fail and are mended."""
    incidents: bool = False
    """Something tells of incidents."""
    mixed: bool = False
    """And of some of its parts nothing does: these have `OTHERWISE` as their rule."""
    absent: frozenset[str] = field(default_factory=frozenset)
    """The streams that nothing brings."""
    streams: tuple[str, ...] = STREAMS
    """Those that count."""

    @property
    def by_incident(self) -> bool:
        """Whether the rule is about incidents."""
        return self.incidents and self.rule in incidents.RULES

    @property
    def rule_told(self) -> str:
        """The rule, in words where there are two."""
        return f"{self.rule}, {OTHERWISE} where nothing tells of incidents" if self._is_both else self.rule

    @property
    def _is_both(self) -> bool:
        return self.mixed and self.by_incident and self.rule != OTHERWISE

    def needs(self, metric: str) -> Sequence[str]:
        """The streams that a metric is made from."""
        reverts = tuple(one for one in STREAMS if one not in self.absent)
        if metric == "deployment_frequency":
            return STREAMS[:1]
        if metric.startswith("change_lead") or metric == "changes_shipped":
            return STREAMS[:2]
        if metric in _BAND:
            return ("deployments", INCIDENTS)
        if metric in _CHOSEN and self.by_incident:
            return (*reverts, INCIDENTS) if self.mixed else ("deployments", INCIDENTS)
        if metric == "deployment_rework_rate" and self.incidents:
            return (*reverts, INCIDENTS)
        return STREAMS


OTHERWISE: Final = "revert_before_next"


def terms(scope: str, kind: str, rule: str, days: Collection[Mapping[str, Any]], *, mixed: bool = False) -> Terms:
    """The terms of a scope; `days`: the proofs of each."""
    tracked = any(INCIDENTS in one for one in days)
    absent = frozenset(s for s in STREAMS if days and all(one[s]["state"] == ABSENT for one in days))
    streams = tuple(one for one in (*STREAMS, *((INCIDENTS,) if tracked else ())) if one not in absent)
    return Terms(scope, kind, rule if tracked else OTHERWISE, tracked, mixed and tracked, absent, streams)


def pipeline(spine: Sequence[Spine], of: Terms, rows: Stage | None = None) -> list[Stage]:
    """For `db.aggregate`: one document per day of `spine`, without `_id`.

    rows: which delivery rows, of scopes of several parts, and then by date; absent: those of the spine's partitions.
    """
    match = rows or {"partition": {"$in": [day["key"] for day in spine]}}
    return [
        {"$documents": {"$literal": [{"_id": day["key"], "spine": day} for day in spine]}},
        {
            "$unionWith": {
                "coll": schema.DELIVERY_ROWS,
                "pipeline": [{"$match": match}, _per_day(of, "$partition" if rows is None else _DATE)],
            }
        },
        {"$group": {"_id": "$_id", "parts": {"$mergeObjects": "$$ROOT"}}},
        {"$replaceRoot": {"newRoot": "$parts"}},
        {"$set": {name: {"$ifNull": [f"${name}", empty]} for name, empty in _nothing(of).items()}},
        {"$set": {**_values(), **(_judged() if of.incidents else {})}},
        {"$set": {"why": _why(of) if of.incidents or of.absent else _why()}},
        {"$replaceRoot": {"newRoot": _document(of)}},
        {"$sort": {"day": 1}},
    ]


_DATE: Final[Stage] = {"$substrCP": [{"$arrayElemAt": [{"$split": ["$partition", "|"]}, -1]}, 0, 10]}
"""Of the partition of a delivery row: see `schema.delivery_key`."""


def _nothing(of: Terms) -> dict[str, Any]:
    counts = ("deployed", "failed_before_next", "failed_ever", "reworked", "torn")
    band = ("failed", *(f"{what}_{rule}" for what in ("failed", "judged") for rule in incidents.RULES))
    lists = ("leads", "recoveries")
    return {**dict.fromkeys((*counts, *(band if of.incidents else ())), 0), **{name: [] for name in lists}}


def _per_day(of: Terms, key: Any) -> Stage:
    return {
        "$group": {
            "_id": key,
            "deployed": _count({"$eq": ["$kind", "deployment"]}),
            "failed_before_next": _count("$failed_before_next"),
            "failed_ever": _count("$failed_ever"),
            "reworked": _count({"$or": ["$rework", f"$rework_{of.rule}"]} if of.by_incident else "$rework"),
            "torn": _count({"$eq": ["$whole", False]}),
            "leads": {"$push": "$lead_seconds"},
            "recoveries": {"$push": _recovery(of)},
            **(_band(of) if of.incidents else {}),
        }
    }


def _band(of: Terms) -> Stage:
    """How many failed by each rule on incidents, of how many of which that can be told."""
    otherwise = f"$failed_{OTHERWISE.removeprefix('revert_')}"
    chosen: Any = f"$failed_{of.rule.removeprefix('revert_')}"
    return {
        "failed": _count({"$ifNull": [chosen, otherwise]}),
        **{f"failed_{rule}": _count(f"$failed_{rule}") for rule in incidents.RULES},
        **{f"judged_{rule}": _count({"$eq": [{"$type": f"$failed_{rule}"}, "bool"]}) for rule in incidents.RULES},
    }


def _recovery(of: Terms) -> Any:
    """Of a row of a failure the time that it took to mend; null of what is not over, or failed by another rule."""
    if not of.by_incident:
        return "$recovery_seconds"
    laid = {"$in": [of.rule, {"$ifNull": ["$rules", []]}]}
    return {"$cond": [laid, "$restore_seconds", {"$cond": ["$beside", None, "$recovery_seconds"]}]}


def _count(condition: Any) -> Stage:
    return {"$sum": {"$cond": [condition, 1, 0]}}


def _values() -> Stage:
    recoveries = {"$filter": {"input": "$recoveries", "cond": {"$ne": ["$$this", None]}}}
    return {
        "deployment_frequency": "$deployed",
        "changes_shipped": {"$size": "$leads"},
        "change_lead_time_median_seconds": _quantile("$leads", 0.5),
        "change_lead_time_mean_seconds": {"$avg": "$leads"},
        "change_lead_time_p90_seconds": _quantile("$leads", 0.9),
        "change_fail_rate": _share("$failed_before_next"),
        "change_fail_rate_revert_before_next": _share("$failed_before_next"),
        "change_fail_rate_revert_ever": _share("$failed_ever"),
        **dict.fromkeys(_BAND),
        "failed_deployments_revert_ever": "$failed_ever",
        "failed_deployment_recovery_time_median_seconds": _quantile(recoveries, 0.5),
        "deployment_rework_rate": _share("$reworked"),
    }


def _judged() -> Stage:
    """What is told otherwise where something tells of incidents."""
    band = {metric: _share(f"$failed_{rule}", f"$judged_{rule}") for metric, rule in _BAND.items()}
    return {"change_fail_rate": _share("$failed"), **band}


def _quantile(values: Any, q: float) -> Stage:
    """Linear interpolation between closest ranks (Hyndman and Fan's type 7); null of nothing."""
    at = {"$multiply": [{"$subtract": [{"$size": "$$sorted"}, 1]}, q]}
    low = {"$arrayElemAt": ["$$sorted", {"$toInt": {"$floor": "$$at"}}]}
    high = {"$arrayElemAt": ["$$sorted", {"$toInt": {"$ceil": "$$at"}}]}
    share = {"$subtract": ["$$at", {"$floor": "$$at"}]}
    between = {"$add": [low, {"$multiply": [share, {"$subtract": [high, low]}]}]}
    return {
        "$let": {
            "vars": {"sorted": {"$sortArray": {"input": values, "sortBy": 1}}},
            "in": {
                "$cond": [
                    {"$eq": [{"$size": "$$sorted"}, 0]},
                    None,
                    {"$let": {"vars": {"at": at}, "in": between}},
                ]
            },
        }
    }


def _share(count: str, of: str = "$deployed") -> Stage:
    return {"$cond": [{"$eq": [of, 0]}, None, {"$divide": [count, of]}]}


PLAIN: Final = Terms("", "", OTHERWISE)


def _why(of: Terms = PLAIN) -> Stage:
    """Per metric why it cannot be told, or null if it can."""
    reasons: Stage = {}
    for metric in METRICS:
        streams = of.needs(metric)
        if INCIDENTS in streams and not of.incidents:  # it is not defined here
            reasons[metric] = None
            continue
        # nothing needs proof: that none was seen says nothing where not all was seen
        nothing = [None, 0] if metric in (*_COUNTS, *_RATES) else [None]
        unproven_zero = {"$and": [{"$in": [f"${metric}", nothing]}, _any_partial(streams)]}
        zero = {"$cond": [unproven_zero, _first_partial_reason(streams), None]}
        torn = [{"$cond": [{"$gt": ["$torn", 0]}, _TORN, None]}] if "changes" in streams else []
        unknown = [_unknown(stream) for stream in streams]
        reasons[metric] = {"$ifNull": [*unknown[:2], *torn, *unknown[2:], zero]}
    return reasons


def _unknown(stream: str) -> Stage:
    """The reason, if nothing can be said about the stream on that day."""
    proof = f"$spine.proofs.{stream}"
    known = {"$in": [f"{proof}.state", ["proven", "partial"]]}
    return {"$cond": [known, None, {"$ifNull": [f"{proof}.reason", "no receipt"]}]}


def _any_partial(streams: Sequence[str]) -> Stage:
    return {"$or": [{"$eq": [f"$spine.proofs.{stream}.state", "partial"]} for stream in streams]}


def _first_partial_reason(streams: Sequence[str]) -> Stage:
    proofs = [f"$spine.proofs.{stream}" for stream in streams]
    return {
        "$ifNull": [
            *({"$cond": [{"$eq": [f"{one}.state", "partial"]}, f"{one}.reason", None]} for one in proofs),
            "the window is not proven",
        ]
    }


def _document(of: Terms) -> Stage:
    proven = {"$and": [{"$eq": [f"$spine.proofs.{s}.state", "proven"]} for s in of.streams] + [{"$eq": ["$torn", 0]}]}
    reasons = {
        "$arrayToObject": {"$filter": {"input": {"$objectToArray": "$why"}, "cond": {"$ne": ["$$this.v", None]}}}
    }
    return {
        "scope": {"$literal": of.scope},
        "day": "$spine.day",
        "kind": {"$literal": of.kind},
        **{metric: {"$cond": [{"$eq": [f"$why.{metric}", None]}, f"${metric}", None]} for metric in METRICS},
        "change_fail_rate_rule": {"$literal": of.rule_told},
        "trust": {
            "$switch": {
                "branches": [
                    {"case": proven, "then": "proven"},
                    {"case": {"$ne": [_unknown("deployments"), None]}, "then": "unknown"},
                ],
                "default": "partial",
            }
        },
        "coverage": {"$avg": [f"$spine.proofs.{s}.coverage" for s in of.streams]},
        "reasons": reasons,
        "definitions": {"$literal": VERSION},
    }


__all__ = ["DEFINITIONS", "METRICS", "STREAMS", "VERSION", "Spine", "Terms", "pipeline", "terms"]
