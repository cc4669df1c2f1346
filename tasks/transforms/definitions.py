"""What each metric is, in words, with its source. Pure; `tasks.transforms.gold` says the same to MongoDB."""

from collections.abc import Mapping
from typing import Final

VERSION: Final = "dora/2"

DEFINITIONS: Final[Mapping[str, str]] = {
    "deployment_frequency": "Deployments of the day that reached production and succeeded. For git-derived data each "
    "tag that peels to a commit is one.",
    "changes_shipped": "Changes whose first deployment is one of the day: merged pull requests where a source fetches "
    "them, else commits (merges included); `dora.changes` chooses.",
    "change_lead_time": "Deployment time - author time over those changes, seconds, not clamped (of a pull request: "
    "that of its first commit); median (mean of the two middle values if even), arithmetic mean, and p90 by linear "
    "interpolation between closest ranks.",
    "change_fail_rate": "Share of the day's deployments that failed by the rule that `dora.change_fail_rate` names "
    "(the document's `change_fail_rate_rule`); by revert_before_next where nothing tells of incidents.",
    "change_fail_rate_explicit": "Share of the day's deployments that an incident names as the one that failed.",
    "change_fail_rate_window": "Share of the day's deployments that ended no longer than `dora.window_hours` before an "
    "incident began, and were the last one before it.",
    "change_fail_rate_last_deployment": "Share of the day's deployments that were the last one of the service to end "
    "before an incident began (Apache DevLake's rule).",
    "change_fail_rate_revert_before_next": "Share of the day's deployments of which a delivered change was reverted, "
    "after the deployment and before the next one.",
    "change_fail_rate_revert_ever": "The same without the upper bound.",
    "failed_deployments_revert_ever": "How many those are.",
    "failed_deployment_recovery_time": "Where the rule is by revert: time from a failed deployment of the day to the "
    "first one that delivers the revert, in seconds; median over its reverts that were delivered. Where it is by "
    "incident: time from the end of the failed deployment to the incident's resolution; median over the incidents that "
    "the rule lays to deployments of the day, and that are resolved.",
    "deployment_rework_rate": "Share of the day's deployments that are the first to deliver such a revert, or that "
    "mended an incident: the last one of the failed deployment's line that began after the incident did, and ended "
    "before it was resolved.",
}
"""Sources: the five metrics of dora.dev/guides/dora-metrics (2025), which has the recovery time as that from a failed
deployment until service is restored, and rework as unplanned deployments because of an incident in production; the
rules are spelled out in `tasks.transforms.deliveries` and `tasks.transforms.incidents`."""

METRICS: Final = (
    "deployment_frequency",
    "changes_shipped",
    "change_lead_time_median_seconds",
    "change_lead_time_mean_seconds",
    "change_lead_time_p90_seconds",
    "change_fail_rate",
    "change_fail_rate_explicit",
    "change_fail_rate_revert_before_next",
    "change_fail_rate_revert_ever",
    "change_fail_rate_window",
    "change_fail_rate_last_deployment",
    "failed_deployments_revert_ever",
    "failed_deployment_recovery_time_median_seconds",
    "deployment_rework_rate",
)
