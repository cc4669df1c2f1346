"""What all tasks have in common: each notes in the document of its run what it is through with, and why it failed."""

import logging
import os
import traceback
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import luigi
from pymongo.errors import PyMongoError

from config import mongo, schema
from config.redaction import redacted
from tasks import life
from tasks.context import Context

log = logging.getLogger(__name__)

ABOUT: Final = ("source", "unit", "scope", "dataset")
"""Parameters that say what a task is about."""


@lru_cache(maxsize=4)
def _context(run_id: str, pid: int) -> Context:  # noqa: ARG001 - a forked worker needs connections of its own
    return Context.open(run_id)


class NotedTask(luigi.Task):
    """A task of a run."""

    run_id: str = luigi.Parameter(default="")
    """Of which run: a central scheduler must not take a task for that of another run, which may wait or fail."""

    @property
    def context(self) -> Context:
        """The connections of this process."""
        return _context(self.run_id, os.getpid())

    def place(self) -> str:
        """What it is about, whatever the days: of one place the last failure counts, until it is finished."""
        about = [str(self.param_kwargs[name]) for name in ABOUT if name in self.param_kwargs]
        return f"{self.task_family} {'/'.join(about)}".strip()

    def scopes(self) -> list[str]:
        """Of which scopes it is, as far as it says so itself."""
        return [self.param_kwargs["scope"]] if "scope" in self.param_kwargs else []

    def on_failure(self, exception: BaseException) -> str:
        """Note the failure for whoever started the run; what the scheduler shows and mails holds no credential."""
        self.note_failure(redacted(str(exception)))
        return redacted("".join(traceback.format_exception(exception)))

    def note_failure(self, error: str) -> None:
        """Keep it with the run, and make an incident of it soon: the run may go on for long."""
        where = ", ".join(str(value) for name, value in self.param_kwargs.items() if name != "run_id")
        try:
            life.note_failure(
                self.context, task=self.task_family, where=where, place=self.place(), scopes=self.scopes(), error=error
            )
            life.settle_soon(self.context)
        except (PyMongoError, mongo.MongoError) as told:
            log.error("failure could not be noted", extra={"failure": error, "error": redacted(str(told))})  # noqa: TRY400

    def _say(self, message: str, share: float = 1.0) -> None:
        """Show on the scheduler's page how far the task is; there is none when a task is run by hand."""
        if callable(self.set_status_message) and callable(self.set_progress_percentage):
            self.set_status_message(message)
            self.set_progress_percentage(round(100 * share))

    def _finished(self, part: str) -> Any:
        """What this run has noted about `part`, if anything."""
        name = schema.digest(part)
        run = self.context.db[schema.RUNS].find_one({"_id": self.run_id}, {f"finished.{name}": 1}) or {}
        return run.get("finished", {}).get(name)

    def _finish(self, part: str, note: Any, *places: str, **more: Any) -> None:
        """Note that this run is through with `part`, and that all is well with `places`."""
        change: dict[str, Any] = {"$set": {f"finished.{schema.digest(part)}": note, **more}}
        if places:
            change["$push"] = {"passed": {"places": list(places), "at": datetime.now(UTC)}}
        self.context.db[schema.RUNS].update_one({"_id": self.run_id}, change, upsert=True)


def _gone(task: luigi.Task, error: str) -> None:
    """The process of a worker was killed and could say nothing itself; told in the process that runs the workers."""
    if isinstance(task, NotedTask):
        task.note_failure(f"its process is gone: {error}")


def _broken(task: luigi.Task, error: Exception) -> None:
    """What it requires could not be found out, or the scheduler could not be told of it."""
    if isinstance(task, NotedTask):
        task.note_failure(life.told(error))


def _unanswered(task: luigi.Task) -> None:
    """Whether it is complete could not be found out. Luigi keeps the exception to itself: it is asked for again."""
    if not isinstance(task, NotedTask):
        return
    try:
        task.complete()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        task.note_failure(life.told(error))
    else:
        task.note_failure("whether it is complete could not be found out; the log says why")


_HANDLERS: Final = {
    luigi.Event.PROCESS_FAILURE: _gone,
    luigi.Event.TIMEOUT: _gone,
    luigi.Event.BROKEN_TASK: _broken,
    luigi.Event.DEPENDENCY_MISSING: _unanswered,
}
for _event, _handler in _HANDLERS.items():
    NotedTask.event_handler(_event)(_handler)  # type: ignore[no-untyped-call]
