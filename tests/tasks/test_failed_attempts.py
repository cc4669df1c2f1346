"""An attempt that failed is over once what was made before is found to stand: nothing is left to be made again."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from alerting import evidence
from alerting.store import Store
from config import schema
from config.settings import Suite
from tasks import entities, links, metrics, pipeline
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, NOW, at, make_context, run_all, snapshot

RANGE = (date(2024, 1, 1), date(2024, 1, 7))
SCOPE = "acme/api"


def new_rule(dataset: str, judges: str, column: str) -> Suite:
    arguments = {"column": column, "min_value": 0}
    rule = {
        "name": "new",
        "expectation": "expect_column_values_to_be_between",
        "arguments": arguments,
        "judges": judges,
    }
    return Suite.model_validate({"dataset": dataset, "rules": [rule]})


def reconciled(context: Context, hours: float) -> list[str]:
    """What is open after a look, so many hours later."""
    evidence.reconcile(context.db, context.settings, NOW + timedelta(hours=hours))
    return sorted(one.key.dataset for one in Store.of(context.db, context.settings).listed())


@pytest.mark.parametrize(
    ("module", "name", "suite"),
    [
        (entities, "_fold", new_rule("silver.deployments", "partition", "rows")),
        (links, "_link", new_rule("silver.deliveries", "partition", "rows.deployment")),
        (metrics, "_compute", new_rule("gold.dora_daily", "partition", "deployment_frequency")),
    ],
    ids=["entities", "links", "metrics"],
)
@pytest.mark.usefixtures("database")
def test_a_change_that_is_taken_back_leaves_no_error(
    recorded: Callable[..., ReplaySource], monkeypatch: pytest.MonkeyPatch, module: Any, name: str, suite: Suite
) -> None:
    """A rule is deployed that nothing can be judged by, and taken back: what is published is made from today's all."""
    source = recorded(EVENTS)
    run_all(make_context(), source, RANGE)
    before, published = snapshot(make_context()), published_at(make_context())

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("a defect of the new rule")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, broken)
        with pytest.raises(RuntimeError, match="new rule"):
            run_all(make_context(suites=[suite]), source, RANGE)
    context = make_context()
    assert {one["dataset"] for one in failed(context)} == {suite.dataset}
    assert set(reconciled(context, 1)) == {suite.dataset}
    work(context)
    assert failed(context) == []
    assert reconciled(context, 2) == []
    assert snapshot(context) == before
    assert published_at(context) == published, "nothing was made again"


def work(context: Context) -> None:
    """What the tasks of a unit do that has no news."""
    unit = pipeline.Unit(source="s", unit="u", start=RANGE[0], end=RANGE[1] - schema.DAY, run_id=context.ledger.run_id)
    for layer in (unit._folds, unit._links, unit._metrics):
        for task in layer(SCOPE):
            assert not task.complete()  # type: ignore[no-untyped-call]
            task.run()  # type: ignore[no-untyped-call]
            assert task.complete()  # type: ignore[no-untyped-call]


def failed(context: Context) -> list[schema.Document]:
    return list(context.db[schema.LEDGER].find({"error": {"$exists": True}}))


def published_at(context: Context) -> dict[str, Any]:
    return {
        one["_id"]: one.get("published_at") for one in context.db[schema.LEDGER].find({"dataset": {"$ne": "sweep"}})
    }


def test_the_error_of_a_window_whose_bronze_is_held_back_stays(
    recorded: Callable[..., ReplaySource], context: Context
) -> None:
    """It cannot be told whether it stands: what it is to be made from is not let through."""
    run_all(context, recorded(EVENTS), RANGE)
    day = f"|{SCOPE}|2024-01-03"
    context.db[schema.LEDGER].update_one({"_id": f"silver.changes{day}"}, {"$set": {"error": "no", "failed_at": NOW}})
    context.db[schema.LEDGER].update_one({"_id": f"bronze.git.commits{day}"}, {"$set": {"blocked": {"first": False}}})
    work(at(context, NOW))
    assert [one["_id"] for one in failed(context)] == [f"silver.changes{day}"]
