"""Work on a range of windows until all of it is done, by this worker or by another one that holds the rest."""

import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final, TypeVar

from config.catalog import Dataset
from tasks import entities, links, metrics, scoping
from tasks.context import POLL_SECONDS, Context
from tasks.ledger import LeaseLostError, RetryLaterError

Days = tuple[date, date]
T = TypeVar("T")

ROUNDS: Final = 100
"""How often a range may be found stale right after it was done, before that is taken for a defect."""


class UnsettledError(RuntimeError):
    """Windows stay stale however often they are made: a defect, or a source that changes faster than we work."""


def entities_of(context: Context, dataset: Dataset, scope: str, days: Days | None = None) -> None:
    """Fold the stale windows of `dataset`; those in [first, last) if `days` is given."""
    _settle(
        context,
        lambda: list(entities.stale(context, dataset, scope, days)),
        lambda windows: entities.fold(context, dataset, scope, windows),
        f"{dataset.name} of {scope}",
    )


def links_of(context: Context, scope: str, datasets: Sequence[Dataset]) -> None:
    """Bring the links of `scope` up to its origins' entities, folding what became stale meanwhile."""
    for _ in range(ROUNDS):
        try:
            links.link(context, scope)
        except RetryLaterError:
            time.sleep(POLL_SECONDS)
            for origin in scoping.link(context, scope).origins:
                for dataset in datasets:
                    entities_of(context, dataset, origin)
        else:
            return
    raise UnsettledError(f"the links of {scope} did not settle in {ROUNDS} rounds; is its source changing constantly?")


def gold_of(context: Context, scope: str, days: Days, *, missing: bool) -> None:
    """Compute the stale days in [first, last); without `missing` only those that were published once."""
    _settle(
        context,
        lambda: metrics.stale(context, scope, days, missing=missing),
        lambda windows: metrics.compute(context, scope, windows),
        f"gold of {scope}",
    )


def _settle(context: Context, stale: Callable[[], list[T]], work: Callable[[list[T]], int], what: str) -> None:
    windows = stale()
    context.plan(len(windows))
    rounds = 0
    while windows:
        try:
            done = sum(work(windows[at : at + context.chunk]) for at in range(0, len(windows), context.chunk))
        except LeaseLostError:
            done = 0
        if done == len(windows):
            return
        if done:
            rounds += 1
        else:  # others hold all that is left: until they are done, or their leases run out
            time.sleep(POLL_SECONDS)
        if rounds > ROUNDS:
            raise UnsettledError(f"{what}: {len(windows)} windows stay stale though they were made {rounds} times")
        windows = stale()
