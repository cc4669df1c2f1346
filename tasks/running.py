"""Running the pipeline from the command line: Luigi underneath, a progress bar on top, and one honest outcome."""

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import luigi
from luigi.execution_summary import LuigiStatusCode
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from config import mongo, schema, settings
from config.catalog import DORA_DAILY, SWEEP
from quality import drift, findings
from quality.findings import Severity
from quality.quarantine import State
from tasks import checks, inspection, judge, life
from tasks.context import Context
from tasks.pipeline import Backfill, new_run_id
from tasks.sources import registry

HELD_TOLD: Final = 10
DRIFTS_TOLD: Final = 10

WAIT_SECONDS: Final = "0.05"
"""How long an idle worker waits before it asks for work again; Luigi's default is 1 s."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    failures: list[str]
    notes: list[str]


def first_day() -> date | None:
    """The first day that was ever published, of the metrics or of a watched collection."""
    loaded = settings.load()
    names = [DORA_DAILY.name, *(dataset.name for dataset in loaded.datasets)]
    document = mongo.database(loaded)[schema.LEDGER].find_one(
        {"dataset": {"$in": names}, "window": {"$type": "date"}}, sort=[("window", 1)]
    )
    return document["window"].date() if document else None


def run(start: date, end: date, *, workers: int, console: Console) -> Outcome:
    """Complete the days from `start` to `end`, both included. Raises ConfigError, MongoError."""
    loaded = settings.load()
    registry.configured(loaded)
    run_id = new_run_id()
    context = Context.open(run_id)
    with life.alive(context, Backfill.__name__):
        if not context.db[schema.LEDGER].find_one({"dataset": SWEEP, "cursor": {"$exists": True}}, {"_id": 1}):
            checks.warm(context)  # all will be new: the validator takes longer to start than the first sweep
        with _Watch(context, console):
            result = _build(Backfill(start=start, end=end, run_id=run_id), workers, loaded.scheduler.url)
    ended_well = result.status in (LuigiStatusCode.SUCCESS, LuigiStatusCode.SUCCESS_WITH_RETRY)
    if not ended_well:
        judge.bring(context)  # the end of the run, which does, was not reached: what is there is judged all the same
    failures = [] if ended_well else _noted(context, result.one_line_summary)
    hindered = life.settle(context)
    notes = [*_notes(context, start, end), *([silent] if (silent := life.tell(context)) else [])]
    return Outcome([*failures, *_held(context), *([hindered] if hindered else [])], notes)


def _noted(context: Context, summary: str) -> list[str]:
    """What the tasks have said of themselves; where none could say anything, what Luigi says of them."""
    run = context.db[schema.RUNS].find_one({"_id": context.ledger.run_id}, {"failures": 1}) or {}
    told = [
        f"{one['task']}({one['where']}): {one['error']}"
        for one in run.get("failures", ())
        if one["error"] != life.UNTOLD
    ]
    return told or [summary]


def _build(task: luigi.Task, workers: int, scheduler: str | None) -> Any:
    config = luigi.configuration.get_config()  # type: ignore[no-untyped-call]
    if not config.has_option("worker", "wait_interval"):
        config.set("worker", "wait_interval", WAIT_SECONDS)
    config.set("core", "no_configure_logging", "true")  # the command line has said how to log
    where: dict[str, Any] = {"scheduler_url": scheduler} if scheduler else {"local_scheduler": True}
    return luigi.build([task], workers=workers, detailed_summary=True, no_lock=True, **where)  # type: ignore[no-untyped-call]


def _notes(context: Context, start: date, end: date) -> list[str]:
    """What is no failure, and yet to be known."""
    window = {"$gte": schema.start_of(start), "$lte": schema.start_of(end)}
    ledger = context.db[schema.LEDGER]
    notes = []
    if days := ledger.count_documents({"dataset": DORA_DAILY.name, "window": window, "trust": "unknown"}):
        notes.append(f"{days:,} days are unknown: `touchstone metrics --from {start} --to {end}` says why")
    if records := context.db[schema.QUARANTINE].count_documents({"state": State.OPEN}):
        notes.append(f"{records:,} records are set aside: see `touchstone quarantine list`")
    run = context.ledger.run_id
    warned = {"run_id": run, "report.outcome": {"$in": [str(findings.Outcome.WARNED), str(findings.Outcome.BROKEN)]}}
    for dataset, number in sorted(Counter(one["dataset"] for one in ledger.find(warned, {"dataset": 1})).items()):
        notes.append(f"{number:,} windows of {dataset} have findings: see `touchstone check {dataset}`")
    return [*notes, *(f"schema drift: {one}" for one in drift.of_run(context.db, run)[:DRIFTS_TOLD])]


def _held(context: Context) -> list[str]:
    """What must not be published, whichever run made it: until it is mended, no run has done what it should."""
    held = inspection.held_back(context)
    told = []
    for one in held[:HELD_TOLD]:
        rules = sorted({finding["rule"] for finding in one.findings if finding["severity"] == Severity.CRITICAL})
        told.append(f"{one.dataset} {one.scope} {one.day} is blocked by {', '.join(rules)}: `touchstone check "
                    f"{one.dataset} --date {one.day}`")  # fmt: skip
    return [*told, *([f"{len(held) - HELD_TOLD:,} more windows are blocked"] if len(held) > HELD_TOLD else [])]


class _Watch:
    """A progress bar that follows the run's document, whichever processes work on it."""

    def __init__(self, context: Context, console: Console) -> None:
        self._context = context
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("windows"), TimeElapsedColumn(), console=console, disable=not console.is_terminal,
            transient=True,
        )  # fmt: skip

    def __enter__(self) -> None:
        if self._bar.disable:
            return
        self._bar.start()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._bar.disable:
            return
        self._stop.set()
        self._thread.join()
        self._bar.stop()

    def _follow(self) -> None:
        bar = self._bar.add_task("looking", total=None)
        while not self._stop.wait(0.2):
            run = self._context.db[schema.RUNS].find_one({"_id": self._context.ledger.run_id})
            if run and "planned" in run:
                self._bar.update(bar, description="working", total=run["planned"], completed=run.get("done", 0))
