"""What a problem makes untrustworthy: which metrics. Pure.

The names are those of the Gold rows; the map says what each layer's rows go into, as `tasks.transforms.gold` does.
"""

from collections.abc import Iterable
from typing import Final

from config import catalog, scopes
from config.settings import Settings

LEAD_TIMES: Final = (
    "changes_shipped",
    "change_lead_time_median_seconds",
    "change_lead_time_mean_seconds",
    "change_lead_time_p90_seconds",
)
FAIL_RATES: Final = (
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
ALL: Final = ("deployment_frequency", *LEAD_TIMES, *FAIL_RATES)

_OF: Final = {
    catalog.DEPLOYMENTS.name: ALL,
    catalog.DELIVERIES.name: ALL,
    catalog.CHANGES.name: (*LEAD_TIMES, *FAIL_RATES),
    catalog.FAILURES.name: FAIL_RATES,
    catalog.BUILDS.name: (),
}

TASKS: Final = "tasks"
"""The dataset of incidents about tasks and runs rather than data."""
WATCH: Final = "Watch"
"""The task that looks at a collection which Touchstone did not make; its place names the collection."""


def metrics(dataset: str, column: str = "") -> tuple[str, ...]:
    """The metrics that trouble in `dataset` makes untrustworthy, in the order of the Gold rows.

    column: what of Gold is in trouble, if it is known. Of a watched collection it is the collection itself.
    """
    if dataset == catalog.DORA_DAILY.name:
        return (column,) if column in ALL else ALL
    if dataset in {catalog.SWEEP, TASKS}:
        return ALL
    if dataset.startswith(catalog.BRONZE):
        fed = {metric for one in catalog.ENTITIES if dataset in one.upstream for metric in _OF[one.name]}
        return tuple(metric for metric in ALL if metric in fed)
    return _OF.get(dataset, (dataset,))


def of_place(place: str) -> tuple[str, ...]:
    """The metrics that a task's failure makes untrustworthy; of one that watches a collection, that collection."""
    family, _, about = place.partition(" ")
    return metrics(about) if family == WATCH else ALL


def reached(settings: Settings, dataset: str, of: Iterable[str]) -> tuple[str, ...]:
    """The scopes `of` trouble in `dataset`, and those of Gold that are made from them: services and teams."""
    named = tuple(of)
    if scopes.is_plain(settings) or dataset == catalog.DORA_DAILY.name:
        return named
    ours = dataset.startswith(catalog.LAYERS) or dataset in {catalog.SWEEP, TASKS}
    more = (more for one in named for more in scopes.reached(settings, one)) if ours else ()
    return tuple(dict.fromkeys((*named, *more)))
