"""The DORA metrics of a day, computed from delivery rows by one MongoDB aggregation pipeline. Pure.

This is the one place where the metrics are defined; `DEFINITIONS` says each in words, with its source.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from config import schema

VERSION: Final = "dora-git/1"

DEFINITIONS: Final[Mapping[str, str]] = {
    "deployment_frequency": "Deployments of the day. For git-derived data each tag that peels to a commit is one.",
    "changes_shipped": "Changes (commits, merges included) whose first deployment is one of the day.",
    "change_lead_time": "Deployment time - author time over those changes, seconds, not clamped; median (mean of the "
    "two middle values if even), arithmetic mean, and p90 by linear interpolation between closest ranks.",
    "change_fail_rate_revert_before_next": "Share of the day's deployments of which a delivered change was reverted, "
    "after the deployment and before the next one.",
    "change_fail_rate_revert_ever": "The same without the upper bound.",
    "failed_deployments_revert_ever": "How many those are.",
    "failed_deployment_recovery_time": "Time from a failed deployment of the day to the first one that delivers the "
    "revert, in seconds; median over its reverts that were delivered.",
    "deployment_rework_rate": "Share of the day's deployments that are the first to deliver such a revert.",
}
"""Sources: the five metrics of dora.dev/guides/dora-metrics (2025); the git rules are spelled out in
`tasks.transforms.deliveries`."""

METRICS: Final = (
    "deployment_frequency",
    "changes_shipped",
    "change_lead_time_median_seconds",
    "change_lead_time_mean_seconds",
    "change_lead_time_p90_seconds",
    "change_fail_rate_revert_before_next",
    "change_fail_rate_revert_ever",
    "failed_deployments_revert_ever",
    "failed_deployment_recovery_time_median_seconds",
    "deployment_rework_rate",
)

_COUNTS: Final = ("deployment_frequency", "changes_shipped", "failed_deployments_revert_ever")
_RATES: Final = (
    "change_fail_rate_revert_before_next",
    "change_fail_rate_revert_ever",
    "deployment_rework_rate",
)
_ON_CHANGES: Final = tuple(
    metric for metric in METRICS if metric.startswith("change_lead") or metric == "changes_shipped"
)
_ON_FAILURES: Final = (*_RATES, "failed_deployments_revert_ever", "failed_deployment_recovery_time_median_seconds")

_TORN: Final = (
    "the history behind a deployment of the day, or behind an earlier one, is not whole, or has a date that cannot be"
)

Stage = dict[str, Any]


class Spine(TypedDict):
    """A day that gets a document, whether anything was deployed on it or not."""

    partition: str
    """Key of its delivery rows."""
    scope: str
    day: datetime
    changes: Mapping[str, Any]
    deployments: Mapping[str, Any]
    failures: Mapping[str, Any]
    """What the receipts of the day's three streams are worth: state, coverage, reason."""


def pipeline(spine: Sequence[Spine]) -> list[Stage]:
    """For `db.aggregate`: one document per day of `spine`, without `_id`."""
    partitions = [day["partition"] for day in spine]
    return [
        {"$documents": {"$literal": [{"_id": day["partition"], "spine": day} for day in spine]}},
        {
            "$unionWith": {
                "coll": schema.DELIVERY_ROWS,
                "pipeline": [{"$match": {"partition": {"$in": partitions}}}, _per_day()],
            }
        },
        {"$group": {"_id": "$_id", "parts": {"$mergeObjects": "$$ROOT"}}},
        {"$replaceRoot": {"newRoot": "$parts"}},
        {"$set": {name: {"$ifNull": [f"${name}", empty]} for name, empty in _NOTHING.items()}},
        {"$set": _values()},
        {"$set": {"why": _why()}},
        {"$replaceRoot": {"newRoot": _document()}},
        {"$sort": {"scope": 1, "day": 1}},
    ]


_NOTHING: Final[Mapping[str, Any]] = {
    "deployed": 0, "failed_before_next": 0, "failed_ever": 0, "reworked": 0, "torn": 0, "leads": [], "recoveries": [],
}  # fmt: skip


def _per_day() -> Stage:
    return {
        "$group": {
            "_id": "$partition",
            "deployed": _count({"$eq": ["$kind", "deployment"]}),
            "failed_before_next": _count("$failed_before_next"),
            "failed_ever": _count("$failed_ever"),
            "reworked": _count("$rework"),
            "torn": _count({"$eq": ["$whole", False]}),
            "leads": {"$push": "$lead_seconds"},
            "recoveries": {"$push": "$recovery_seconds"},
        }
    }


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
        "change_fail_rate_revert_before_next": _share("$failed_before_next"),
        "change_fail_rate_revert_ever": _share("$failed_ever"),
        "failed_deployments_revert_ever": "$failed_ever",
        "failed_deployment_recovery_time_median_seconds": _quantile(recoveries, 0.5),
        "deployment_rework_rate": _share("$reworked"),
    }


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


def _share(count: str) -> Stage:
    return {"$cond": [{"$eq": ["$deployed", 0]}, None, {"$divide": [count, "$deployed"]}]}


def _why() -> Stage:
    """Per metric why it cannot be told, or null if it can."""
    deployments = _unknown("deployments")
    changes = {
        "$ifNull": [
            deployments,
            {
                "$ifNull": [
                    _unknown("changes"),
                    {
                        "$cond": [
                            {"$gt": ["$torn", 0]},
                            _TORN,
                            None,
                        ]
                    },
                ]
            },
        ]
    }
    failures = {"$ifNull": [changes, _unknown("failures")]}
    reasons = {
        metric: failures if metric in _ON_FAILURES else changes if metric in _ON_CHANGES else deployments
        for metric in METRICS
    }
    for metric in METRICS:  # nothing needs proof: that none was seen says nothing where not all was seen
        streams = _STREAMS if metric in _ON_FAILURES else _STREAMS[:2] if metric in _ON_CHANGES else _STREAMS[:1]
        nothing = [None, 0] if metric in (*_COUNTS, *_RATES) else [None]
        unproven_zero = {"$and": [{"$in": [f"${metric}", nothing]}, _any_partial(streams)]}
        zero = {"$cond": [unproven_zero, _first_partial_reason(streams), None]}
        reasons[metric] = {"$ifNull": [reasons[metric], zero]}
    return reasons


_STREAMS: Final = ("deployments", "changes", "failures")


def _unknown(stream: str) -> Stage:
    """The reason, if nothing can be said about the stream on that day."""
    known = {"$in": [f"$spine.{stream}.state", ["proven", "partial"]]}
    return {"$cond": [known, None, {"$ifNull": [f"$spine.{stream}.reason", "no receipt"]}]}


def _any_partial(streams: Sequence[str]) -> Stage:
    return {"$or": [{"$eq": [f"$spine.{stream}.state", "partial"]} for stream in streams]}


def _first_partial_reason(streams: Sequence[str]) -> Stage:
    return {
        "$ifNull": [
            *({"$cond": [{"$eq": [f"$spine.{s}.state", "partial"]}, f"$spine.{s}.reason", None]} for s in streams),
            "the window is not proven",
        ]
    }


def _document() -> Stage:
    proven = {"$and": [{"$eq": [f"$spine.{s}.state", "proven"]} for s in _STREAMS] + [{"$eq": ["$torn", 0]}]}
    reasons = {
        "$arrayToObject": {"$filter": {"input": {"$objectToArray": "$why"}, "cond": {"$ne": ["$$this.v", None]}}}
    }
    return {
        "scope": "$spine.scope",
        "day": "$spine.day",
        **{metric: {"$cond": [{"$eq": [f"$why.{metric}", None]}, f"${metric}", None]} for metric in METRICS},
        "trust": {
            "$switch": {
                "branches": [
                    {"case": proven, "then": "proven"},
                    {"case": {"$ne": [_unknown("deployments"), None]}, "then": "unknown"},
                ],
                "default": "partial",
            }
        },
        "coverage": {"$avg": [f"$spine.{s}.coverage" for s in _STREAMS]},
        "reasons": reasons,
        "definitions": {"$literal": VERSION},
    }
