"""Running the pipeline from the command line: Luigi underneath, a progress bar on top, and one honest outcome."""

import threading
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import luigi
from luigi.execution_summary import LuigiStatusCode
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from config import mongo, schema, settings
from config.catalog import DORA_DAILY
from tasks.context import Context
from tasks.pipeline import Backfill, new_run_id
from tasks.sources import registry

WAIT_SECONDS: Final = "0.05"
"""How long an idle worker waits before it asks for work again; Luigi's default is 1 s."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    failures: list[str]
    notes: list[str]


def first_day() -> date | None:
    """The first day that was ever published."""
    loaded = settings.load()
    document = mongo.database(loaded)[schema.LEDGER].find_one(
        {"dataset": DORA_DAILY.name, "window": {"$type": "date"}}, sort=[("window", 1)]
    )
    return document["window"].date() if document else None


def run(start: date, end: date, *, workers: int, console: Console) -> Outcome:
    """Complete the days from `start` to `end`, both included. Raises ConfigError, MongoError."""
    loaded = settings.load()
    registry.configured(loaded)
    run_id = new_run_id()
    context = Context.open(run_id)
    with _Watch(context, console):
        result = _build(Backfill(start=start, end=end, run_id=run_id), workers, loaded.scheduler.url)
    noted = context.db[schema.RUNS].find_one({"_id": run_id}) or {}
    notes = _notes(context, start, end)
    if result.status not in (LuigiStatusCode.SUCCESS, LuigiStatusCode.SUCCESS_WITH_RETRY):
        return Outcome(list(noted.get("failures", [])) or [result.one_line_summary], notes)
    return Outcome([], notes)


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
    unknown = {"dataset": DORA_DAILY.name, "window": window, "trust": "unknown"}
    notes = []
    if days := context.db[schema.LEDGER].count_documents(unknown):
        notes.append(f"{days:,} days are unknown: `touchstone metrics --from {start} --to {end}` says why")
    if records := context.db[schema.QUARANTINE].estimated_document_count():
        notes.append(f"{records:,} records are set aside: see `touchstone status`")
    return notes


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
