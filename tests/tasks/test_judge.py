"""The detector in the run: what is new is judged before Gold is published, and holds it back where that is asked."""

import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from rich.console import Console

from config import schema, settings
from config.catalog import DORA_DAILY
from config.detector import Judging
from quality import observations
from quality.detector import engine, verdicts
from quality.detector.said import Said, Says, say
from quality.detector.verdicts import State, Verdict
from quality.observations import Series
from tasks import held, inspection, judge, metrics, running
from tasks.context import Context
from tasks.judge import Judge
from tests.harness import commit, gold, make_context, tag

DAYS: Final = 42
TODAY: Final = datetime.now(UTC).date()
FIRST: Final = TODAY - timedelta(days=DAYS)
OFFSET: Final = (FIRST - date(2024, 1, 1)).days
"""Days of the harness count from 2024-01-01."""
SCOPE: Final = "acme/api"
BAD: Final = DAYS - 3
"""Number of the day on which something is missing."""
BAD_DAY: Final = FIRST + timedelta(days=BAD)


def history(*, days: int = DAYS, missing: Iterable[int] = ()) -> list[dict[str, Any]]:
    """From 12 to 20 deployments a day, each of a commit of its own; on `missing` days only the commits."""
    events, last = [], ""
    for day in range(days):
        rnd = random.Random(day)  # noqa: S311 - no secret
        for number, share in enumerate(sorted(rnd.random() for _ in range(deployments(day)))):
            name, at = f"c{day}.{number}", OFFSET + day + 0.9 * share
            events.append(commit(name, last, at))
            last = name
            if day not in missing:
                events.append(tag(f"v{day}.{number}", name, at + 0.05 * rnd.random()))
    return [*events, commit("end", last, OFFSET + days - 0.001)]


def deployments(day: int) -> int:
    """How many there are on a day on which none is missing."""
    return random.Random(day).randint(12, 20)  # noqa: S311 - no secret


@pytest.fixture
def folder(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # noqa: ARG001
    """Where the recordings of two sources lie, with a configuration that knows them."""
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(tmp_path / "touchstone.toml"))
    declare(tmp_path)
    yield tmp_path
    settings.load.cache_clear()


def declare(folder: Path, *blocking: str, names: Sequence[str] = ("history",)) -> None:
    lines = [f'[[detector.datasets]]\ndataset = "{name}"\nblock_on_anomaly = true\n' for name in blocking]
    lines += [f'[[sources]]\nname = "{name}"\ntype = "replay"\npaths = ["{name}.jsonl"]\n' for name in names]
    (folder / "touchstone.toml").write_text("".join(lines), encoding="utf-8")
    settings.load.cache_clear()


def write(folder: Path, events: Iterable[dict[str, Any]], name: str = "history") -> None:
    (folder / f"{name}.jsonl").write_bytes(b"".join(schema.canonical(event) + b"\n" for event in events))


def run(workers: int = 1) -> list[str]:
    """A backfill of all days; what failed of it."""
    last = FIRST + timedelta(days=DAYS - 1)
    return running.run(FIRST, last, workers=workers, console=Console(quiet=True)).failures


def context() -> Context:
    return make_context(datetime.now(UTC))


def day(number: int = BAD) -> dict[str, Any]:
    return gold(context())[SCOPE, FIRST + timedelta(days=number)]


def said(dataset: str, number: int = BAD) -> Verdict:
    of = FIRST + timedelta(days=number)
    (one,) = verdicts.find(context().db, dataset, SCOPE, (of, of + timedelta(days=1)))
    return one


def feedback(says: Says, *datasets: str) -> None:
    for dataset in datasets:
        say(context().db, Said(says, dataset, SCOPE, BAD_DAY, BAD_DAY, (), "ann", datetime.now(UTC)))


def judged_then_held(dataset: str) -> bool:
    """Whether the verdict on the bad day was there before its Gold was held back."""
    found = context().ledger.windows(DORA_DAILY.name, SCOPE, ("blocked.at",), (BAD_DAY, BAD_DAY + timedelta(days=1)))
    (gold_day,) = found
    return bool(said(dataset).judged_at < gold_day["blocked"]["at"])


def test_an_anomaly_in_silver_holds_back_the_gold_made_from_it_until_somebody_says_it_was_expected(
    folder: Path,
) -> None:
    declare(folder, "silver.deployments")
    write(folder, history(missing=[BAD]))
    (failure,) = run()
    assert f"{DORA_DAILY.name} {SCOPE} {BAD_DAY} is blocked by anomaly" in failure
    assert said("silver.deployments").state is State.ANOMALY
    assert said("silver.deployments").blocks
    assert judged_then_held("silver.deployments")
    assert day()["trust"] == "unknown"
    assert day()["reasons"]["deployment_frequency"].startswith("blocked by the rule anomaly: an anomaly in silver")
    for number in (BAD - 1, BAD + 1):
        assert day(number)["deployment_frequency"] == deployments(number)
    (failure,) = run()
    assert "blocked by anomaly" in failure

    feedback(Says.FAULT, "silver.deployments")
    assert len(run()) == 1
    feedback(Says.EXPECTED, "silver.deployments")
    assert run() == []
    assert said("silver.deployments").state is State.NORMAL
    assert (day()["trust"], day()["deployment_frequency"]) == ("proven", 0)
    assert inspection.held_back(context()) == []


def test_an_anomaly_in_gold_itself_holds_it_back_before_anybody_sees_it_until_it_is_repaired(folder: Path) -> None:
    declare(folder, DORA_DAILY.name)
    write(folder, history(days=BAD))
    run()
    write(folder, history(missing=[BAD]))
    assert f"{BAD_DAY} is blocked by anomaly" in run()[0]
    assert (said(DORA_DAILY.name).state, said(DORA_DAILY.name).cells[0].observed) == (State.ANOMALY, 0.0)
    assert judged_then_held(DORA_DAILY.name)
    assert day()["trust"] == "unknown"
    series = Series(DORA_DAILY.name, SCOPE, "deployment_frequency")
    assert BAD_DAY not in {one.at.date() for one in observations.latest(context().db, series) if one.value is not None}
    write(folder, history())
    assert run() == []
    assert (day()["trust"], day()["deployment_frequency"]) == ("proven", deployments(BAD))
    assert said(DORA_DAILY.name).state is State.NORMAL


def test_without_block_on_anomaly_it_is_told_and_published(folder: Path) -> None:
    write(folder, history(missing=[BAD]))
    assert run() == []
    assert said("silver.deployments").state is State.ANOMALY
    assert (day()["trust"], day()["deployment_frequency"]) == ("proven", 0)
    assert said(DORA_DAILY.name).state is State.ANOMALY  # once there was a history to know it by
    kinds = context().db[schema.INCIDENTS].distinct("kind", {"open": True})
    assert kinds == ["anomaly"]


def test_what_was_published_before_stays_while_it_is_held_back(folder: Path) -> None:
    declare(folder, "silver.deployments")
    write(folder, history())
    assert run() == []
    context().db[schema.VERDICTS].update_one(
        {"_id": said("silver.deployments").key}, {"$set": {"state": "anomaly", "rarity": 3.0}}
    )
    assert run() == []
    assert day()["deployment_frequency"] == deployments(BAD)


@pytest.mark.parametrize("released", ["blocks no more", "off"])
def test_gold_is_released_when_nothing_is_to_be_held_back_any_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch, released: str
) -> None:
    declare(folder, "silver.deployments")
    write(folder, history(missing=[BAD]))
    assert len(run()) == 1
    if released == "off":
        monkeypatch.setenv("TOUCHSTONE_DETECTOR_ENABLED", "false")
        settings.load.cache_clear()
    else:
        declare(folder)
    assert run() == []
    assert (day()["trust"], day()["deployment_frequency"]) == ("proven", 0)


@pytest.mark.parametrize("breaks", ["the engine", "all of it"])
def test_a_detector_that_fails_holds_nothing_up(folder: Path, monkeypatch: pytest.MonkeyPatch, breaks: str) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("no wood: mongodb://me:hunter2@host/db")

    declare(folder, "silver.*", DORA_DAILY.name)
    write(folder, history(missing=[BAD]))
    with monkeypatch.context() as patch:
        patch.setattr(*((engine, "judge") if breaks == "the engine" else (judge, "_judge")), broken)
        run()
    assert day()["deployment_frequency"] == 0
    if breaks == "the engine":
        assert said("silver.deployments").state is State.BROKEN
        assert "no wood" in said("silver.deployments").error
        assert "hunter2" not in said("silver.deployments").error
    else:
        (one,) = context().db[schema.RUNS].find()
        assert {failure["place"] for failure in one["failures"]} == {"Judge"}
        assert "hunter2" not in str(one["failures"])
    run()
    assert said("silver.deployments").state is State.ANOMALY
    assert day()["deployment_frequency"] == 0  # it was published


def test_a_source_that_cannot_be_read_does_not_keep_the_others_from_being_judged(folder: Path) -> None:
    write(folder, history(missing=[BAD]))
    run()
    assert said("silver.deployments").state is State.ANOMALY
    feedback(Says.EXPECTED, "silver.deployments")
    declare(folder, names=("history", "gone"))
    assert run()
    assert said("silver.deployments").state is State.NORMAL


def test_a_detector_that_fails_releases_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(folder, "silver.deployments")
    write(folder, history(missing=[BAD]))
    run()
    feedback(Says.FAULT, "silver.deployments")
    monkeypatch.setattr(engine, "judge", lambda *_, **__: 1 / 0)
    for _ in range(2):
        run()
        assert (day()["trust"], day()["deployment_frequency"]) == ("unknown", None)


def test_a_run_that_dies_between_verdict_and_gold_is_finished_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(folder, "silver.deployments")
    write(folder, history(missing=[BAD]))

    def dies(*_: Any) -> Any:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "compute", dies)
        assert any("the disk is full" in failure for failure in run())
    assert gold(context()) == {}
    assert said("silver.deployments").state is State.ANOMALY
    (failure,) = run()
    assert "blocked by anomaly" in failure
    assert day()["trust"] == "unknown"


def test_two_workers_judge_all_units_together(folder: Path) -> None:
    declare(folder, "silver.deployments", names=["history", "other"])
    write(folder, history(missing=[BAD]))
    other = [{**event, "repo": "acme/web"} for event in history()]
    write(folder, other, "other")
    (failure,) = run(workers=2)
    assert f"{SCOPE} {BAD_DAY} is blocked by anomaly" in failure
    assert judged_then_held("silver.deployments")
    assert len(gold(context())) == 2 * DAYS
    moments = {one["judged_at"] for one in context().db[schema.VERDICTS].find({"dataset": "silver.deployments"})}
    assert len(moments) == 1
    assert not judge.is_due(context())


def test_two_runs_at_once_say_the_same(folder: Path) -> None:
    write(folder, history(missing=[BAD]))
    run()
    kept = states()
    context().db[schema.VERDICTS].delete_many({})
    context().db[schema.META].delete_many({"_id": "judged"})
    threads = [threading.Thread(target=judge.bring, args=(context(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states() == kept


def states() -> dict[str, str]:
    return {one["_id"]: one["state"] for one in context().db[schema.VERDICTS].find()}


def test_a_run_with_nothing_new_judges_nothing_and_loads_no_forest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, history())
    run()
    monkeypatch.setattr(engine, "judge", None)
    before = list(context().db[schema.VERDICTS].find())
    assert run() == []
    assert list(context().db[schema.VERDICTS].find()) == before
    assert not judge.is_due(context())


@pytest.mark.parametrize(
    ("dataset", "made_of", "says", "holds"),
    [
        (DORA_DAILY.name, "these links", None, True),
        (DORA_DAILY.name, "other links", None, False),
        ("bronze.git.tags", "", None, True),
        ("bronze.git.tags", "", Says.EXPECTED, False),
        ("bronze.git.tags", "", Says.NORMAL, False),
        ("bronze.git.tags", "", Says.FAULT, True),
        ("shop.orders", "", None, False),
    ],
)
def test_which_anomalies_hold_back_a_day_of_gold(
    folder: Path, dataset: str, made_of: str, says: Says | None, *, holds: bool
) -> None:
    declare(folder, "*")
    earlier = datetime.now(UTC) - timedelta(hours=1)
    anomaly = Verdict(dataset, SCOPE, BAD_DAY, State.ANOMALY, earlier, "run", "digest", 2.0, made_of=made_of)
    verdicts.put(context().db, [anomaly, replace(anomaly, dataset="silver.changes", state=State.NORMAL)])
    if says:
        feedback(says, dataset)
    assert bool(held.holding(context(), SCOPE, {BAD_DAY: "these links"})) is holds
    assert held.holding(context(), "other", {BAD_DAY: "these links"}) == {}


class TestWaiting:
    """For the units that other workers are at."""

    def test_units_that_are_under_way_are_waited_for(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG002
        one = make_context()
        judge.set_out(one, "Unit git/a")
        judge.set_out(one, "Unit git/b", ["acme/b"])
        judge.set_out(one, "Watch orders")
        times: list[int] = []
        gone = iter(["Unit git/a", "Watch orders", "Unit git/b"])

        def sleep(_: float) -> None:
            times.append(1)
            judge.arrive(one, next(gone))

        monkeypatch.setattr(judge, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
        judge._wait(one)
        assert len(times) == 3

    @pytest.mark.parametrize(
        "failure", [{"place": "Sweep git/a"}, {"place": "Fold acme/a", "scopes": ["acme/a"]}, {"place": "Unit git/a"}]
    )
    def test_those_that_have_failed_are_not(self, database: str, failure: dict[str, Any]) -> None:  # noqa: ARG002
        one = make_context()
        judge.set_out(one, "Unit git/a", ["acme/a"])
        one.db[schema.RUNS].update_one({"_id": one.ledger.run_id}, {"$push": {"failures": failure}})
        judge._wait(one)

    def test_and_not_for_ever(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG002
        one = make_context()
        judge.set_out(one, "Unit git/a")
        monkeypatch.setattr(judge, "PATIENCE_SECONDS", 0.05)
        judge._wait(one)


def test_it_is_the_last_that_a_worker_takes() -> None:
    assert Judge.priority < 0


def test_only_recent_days_are_waited_for_and_only_where_gold_is_judged(folder: Path) -> None:
    write(folder, history())
    run()
    one = context()
    one.db[schema.VERDICTS].delete_many({})
    one.db[schema.LEDGER].update_many({"dataset": DORA_DAILY.name}, {"$set": {"again": "a test"}})
    assert len(judge.awaited(one, SCOPE)) == 35
    for change in ({"enabled": False}, {"datasets": (Judging(dataset=DORA_DAILY.name, judge=False),)}):
        detector = one.settings.detector.model_copy(update=change)
        other = replace(one, settings=one.settings.model_copy(update={"detector": detector}))
        assert judge.awaited(other, SCOPE) == []
