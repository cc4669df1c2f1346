"""Runs as Luigi works on them: what raises, what is killed, what never ends, and what is told of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from rich.console import Console

from alerting import evidence
from alerting.incidents import Incident, State
from alerting.store import Store
from config import schema, settings
from tasks import life, pipeline, running
from tests.harness import EVENTS, gold, make_context

ROOT: Final = Path(__file__).parent.parent.parent
BACKFILL: Final = ("backfill", "--from", "2024-01-01", "--to", "2024-01-06")
LUIGI: Final = (sys.executable, "-m", "luigi", "--module", "tasks", "Backfill", "--local-scheduler",
                "--start", "2024-01-01", "--end", "2024-01-06")  # fmt: skip
DAYS: Final = (date(2024, 1, 1), date(2024, 1, 6))


@pytest.fixture
def config(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """A configuration with one file of events as its source."""
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in EVENTS), encoding="utf-8")
    path = tmp_path / "touchstone.toml"
    path.write_text('[[sources]]\nname = "history"\ntype = "replay"\npaths = ["events.jsonl"]\n', encoding="utf-8")
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(path))
    monkeypatch.setenv("TOUCHSTONE_VALIDATOR_LINGER", "20")
    settings.load.cache_clear()
    return path


def process(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def touchstone(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return process(sys.executable, "-m", "tasks.cli", *arguments)


def killing(where: str, function: str, how: str, *, workers: int) -> "subprocess.CompletedProcess[str]":
    """A backfill in which `how` happens in the place of a function of a module."""
    code = f"""
import os, signal, sys
from datetime import date
from rich.console import Console
from tasks import {where}, running
def instead(*_, **__):
    {how}
{where}.{function} = instead
outcome = running.run(date(2024, 1, 1), date(2024, 1, 6), workers={workers}, console=Console(stderr=True))
print(*outcome.failures, sep="\\n")
sys.exit(1 if outcome.failures else 0)
"""
    return process(sys.executable, "-c", code)


def incidents(where: dict[str, Any] | None = None) -> dict[str, Incident]:
    """By scope and check."""
    context = make_context()
    found = Store.of(context.db, context.settings).listed(where)
    return {f"{one.key.dataset} {one.key.scope} {one.key.check}": one for one in found}


def only_run() -> schema.Document:
    (run,) = make_context().db[schema.RUNS].find()
    return run


def test_a_run_notes_its_life_and_leaves_no_incident(config: Path) -> None:  # noqa: ARG001
    assert touchstone(*BACKFILL).returncode == 0
    run = only_run()
    assert run["kind"] == "Backfill"
    assert run["well"]
    assert run["started_at"] <= run["alive_at"] <= run["ended_at"]
    assert incidents({}) == {}


@pytest.mark.parametrize(
    "command", [(sys.executable, "-m", "tasks.cli", *BACKFILL), LUIGI], ids=["touchstone", "luigi"]
)
def test_a_source_that_cannot_be_read_is_one_incident_until_it_can(config: Path, command: Sequence[str]) -> None:
    """The unit that failed with it, and the windows without a receipt, hang on the sweep."""
    events = config.parent / "events.jsonl"
    hidden = events.rename(config.parent / "hidden")
    assert process(*command).returncode in {1, 30}
    found = incidents()
    root = found["sweep history/files sweep"]
    assert found["tasks Unit history/files failed"].cause == root.id
    assert [one.id for one in found.values() if one.cause is None] == [root.id]
    assert only_run()["ended_at"]
    hidden.rename(events)
    assert process(*command).returncode == 0
    assert incidents() == {}
    assert {one.state for one in incidents({}).values()} == {State.RESOLVED}


def test_a_task_that_raises_is_an_incident_until_its_place_is_finished(config: Path) -> None:  # noqa: ARG001
    """With the error, without a secret."""
    how = "raise RuntimeError('no answer from mongodb://me:hunter2@db/x')"
    done = killing("metrics", "compute", how, workers=1)
    assert done.returncode == 1
    found = incidents()
    assert list(found) == ["tasks Metrics acme/api failed"]
    incident = found["tasks Metrics acme/api failed"]
    assert "no answer" in incident.facts.observed
    assert "hunter2" not in done.stdout + str(make_context().db[schema.INCIDENTS].find_one())
    assert "hunter2" not in str(only_run())
    assert touchstone(*BACKFILL).returncode == 0
    assert incidents() == {}


def test_a_worker_that_is_killed_is_a_recorded_failure(config: Path) -> None:  # noqa: ARG001
    """A real SIGKILL of a real child: it can say nothing itself, and nothing waits for it."""
    how = "os.kill(os.getpid(), signal.SIGKILL)"
    done = killing("metrics", "compute", how, workers=2)
    assert done.returncode == 1
    assert "its process is gone" in done.stdout
    found = incidents()
    assert list(found) == ["tasks Metrics acme/api failed"]
    assert "exit code -9" in found["tasks Metrics acme/api failed"].facts.observed
    assert only_run()["ended_at"]
    assert touchstone(*BACKFILL).returncode == 0
    assert incidents() == {}
    assert len(gold(make_context())) == 6


def reconcile_in(seconds: float) -> list[Incident]:
    context = make_context()
    return evidence.reconcile(context.db, context.settings, datetime.now(UTC) + timedelta(seconds=seconds))


def test_a_run_that_is_killed_is_an_incident_until_a_later_one_ends_well(config: Path) -> None:  # noqa: ARG001
    """A minute after its last sign of life; nobody had to run for that."""
    done = killing("metrics", "compute", "os.kill(os.getpid(), signal.SIGKILL)", workers=1)
    assert done.returncode == -signal.SIGKILL
    assert "ended_at" not in only_run()
    assert reconcile_in(30) == []
    (killed,) = reconcile_in(75)
    assert (killed.key.dataset, killed.key.scope, killed.key.check) == ("tasks", "Backfill", "killed")
    assert str(killed.severity) == "critical"
    assert reconcile_in(90) == []
    context = make_context()  # it was a minute ago
    past = datetime.now(UTC) - timedelta(minutes=5)
    context.db[schema.RUNS].update_one({}, {"$set": {"started_at": past, "alive_at": past}})
    context.db[schema.INCIDENTS].delete_many({})
    reconcile_in(0)
    assert list(incidents()) == ["tasks Backfill killed"]
    assert touchstone(*BACKFILL).returncode == 0
    assert incidents() == {}
    assert reconcile_in(0) == []


def test_a_run_that_is_interrupted_was_not_killed(config: Path) -> None:  # noqa: ARG001
    """Ctrl-C is an end too."""
    done = killing("metrics", "compute", "os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(30)", workers=1)
    assert done.returncode != 0
    assert only_run()["ended_at"]
    assert "well" not in only_run()
    assert reconcile_in(120) == []


def test_an_effect_waits_for_its_cause_to_be_mended_all_the_way_up(config: Path) -> None:
    """While a run is at work what hangs on a cause that is over is not told: the run may be about to mend it too."""
    touchstone(*BACKFILL)
    (config.parent / "events.jsonl").rename(config.parent / "hidden")
    touchstone("backfill", "--from", "2024-01-07", "--to", "2024-01-08")
    context = make_context()
    sweep = incidents()["sweep history/files sweep"]
    context.db[schema.LEDGER].update_one(
        {"dataset": "sweep"}, {"$unset": {"error": ""}, "$set": {"published_at": datetime.now(UTC)}}
    )
    assert {one.cause for one in incidents().values()} == {None, sweep.id}
    with life.alive(context, "Backfill"):
        context.db[schema.RUNS].update_one({"_id": context.ledger.run_id}, {"$set": {"well": True}})
        reconcile_in(0)
        found = incidents()
        assert "sweep history/files sweep" not in found
        assert found["tasks Unit history/files failed"].cause == sweep.id
        assert not [one for one in found.values() if one.cause is None]
    reconcile_in(0)
    assert [name for name, one in incidents().items() if one.cause is None] == ["tasks Unit history/files failed"]


def test_a_run_whose_incidents_cannot_be_brought_up_to_date_says_so(
    config: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And fails, with all that it was asked for published."""

    def broken(*_: object) -> list[Incident]:
        raise RuntimeError("disk full at mongodb://me:hunter2@db/x")

    monkeypatch.setattr(evidence, "reconcile", broken)
    outcome = running.run(*DAYS, workers=1, console=Console(quiet=True))
    (failure,) = outcome.failures
    assert "the incidents could not be brought up to date: RuntimeError: disk full" in failure
    assert "hunter2" not in failure
    assert len(gold(make_context())) == 6


def test_signs_of_life_are_given_while_it_runs(
    config: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(life, "BEAT_SECONDS", 0.05)
    context = make_context()
    with life.alive(context, "Daily"):
        first = only_run()["alive_at"]
        assert until(lambda: only_run()["alive_at"] > first)
        assert "ended_at" not in only_run()
    assert only_run()["ended_at"]


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_run_of_another_process_is_left_to_it(config: Path) -> None:  # noqa: ARG001
    """A worker of the same run on another machine gives no signs of life for it, nor ends it."""
    context = make_context()
    now = datetime.now(UTC)
    other = {"_id": context.ledger.run_id, "kind": "Backfill", "started_at": now, "alive_at": now, "pid": os.getppid()}
    context.db[schema.RUNS].insert_one(other)
    with life.alive(context, "Backfill"):
        assert only_run()["pid"] == os.getppid()
    assert "ended_at" not in only_run()


def saying(code: str) -> "subprocess.CompletedProcess[str]":
    """A process that runs `code`, and shows what its run has told it of failures."""
    return process(sys.executable, "-c", code)


UNDER_LUIGI: Final = """
import luigi
from tasks import pipeline
def bad(*_): raise RuntimeError("no answer from mongodb://me:hunter2@db/x")
pipeline.{where} = bad
luigi.run(["{kind}", "--local-scheduler", *{arguments}])
"""
DAYS_OF_LUIGI: Final = ["--start", "2024-01-01", "--end", "2024-01-06"]


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("Daily.requires", "Daily"),
        ("Backfill.requires", "Backfill"),
        ("Unit.complete", "Unit history/files"),
        ("Fold.complete", "Unit history/files"),  # which asks for it while it works
        ("registry.configured", "Backfill"),
    ],
)
def test_what_raises_while_luigi_plans_is_an_incident_until_it_does_not(config: Path, where: str, place: str) -> None:  # noqa: ARG001
    """There is no task at work yet that could say so."""
    kind = "Daily" if place == "Daily" else "Backfill"
    arguments = [] if place == "Daily" else DAYS_OF_LUIGI
    saying(UNDER_LUIGI.format(where=where, kind=kind, arguments=arguments))
    found = incidents()
    assert list(found) == [f"tasks {place} failed"]
    assert "no answer" in found[f"tasks {place} failed"].facts.observed
    assert only_run()["ended_at"]
    assert "hunter2" not in str(only_run())
    assert (
        process(sys.executable, "-m", "luigi", "--module", "tasks", kind, "--local-scheduler", *arguments).returncode
        == 0
    )
    assert incidents() == {}


def test_what_raises_before_the_first_task_is_an_incident(config: Path) -> None:  # noqa: ARG001
    done = saying("""
from datetime import date
from rich.console import Console
from tasks import checks, running
def bad(*_): raise RuntimeError("the validator cannot start: token=hunter2hunter2")
checks.warm = bad
running.run(date(2024, 1, 1), date(2024, 1, 6), workers=1, console=Console(stderr=True))
""")
    assert "RuntimeError: the validator cannot start" in done.stderr
    found = incidents()
    assert list(found) == ["tasks Backfill failed"]
    assert found["tasks Backfill failed"].facts.observed == "RuntimeError: the validator cannot start: token=***"
    assert only_run()["ended_at"]
    assert touchstone(*BACKFILL).returncode == 0
    assert incidents() == {}


@pytest.mark.parametrize(
    "command", [(sys.executable, "-m", "tasks.cli", *BACKFILL), LUIGI], ids=["touchstone", "luigi"]
)
def test_a_scheduler_that_does_not_answer_is_one_incident(
    config: Path, command: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Luigi raises through everything."""
    patient = config.parent / "luigi.cfg"
    patient.write_text(
        "[core]\nrpc_retry_attempts = 1\nrpc_retry_wait = 0\ndefault_scheduler_port = 9\n", encoding="utf-8"
    )
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(patient))
    good = config.read_text(encoding="utf-8")
    config.write_text(f'{good}[scheduler]\nurl = "http://127.0.0.1:9"\n', encoding="utf-8")
    assert process(*(word for word in command if word != "--local-scheduler")).returncode != 0
    found = incidents()
    assert list(found) == ["tasks Backfill failed"]
    assert "RPCError" in found["tasks Backfill failed"].facts.observed
    (failure,) = only_run()["failures"]
    assert failure["place"] == "Backfill"
    config.write_text(good, encoding="utf-8")
    assert process(*command).returncode == 0
    assert incidents() == {}


def test_a_run_that_just_ends_has_failed_and_one_that_is_interrupted_has_not(config: Path) -> None:  # noqa: ARG001
    """Whatever ended it: nothing says that all is there."""
    code = """
import luigi, sys
from luigi.worker import Worker
from tasks import pipeline
def ends(self): raise {error}
Worker.run = ends
try:
    luigi.run(["Backfill", "--local-scheduler", "--start", "2024-01-01", "--end", "2024-01-06"])
except OSError:
    sys.exit(40)
"""
    saying(code.format(error="KeyboardInterrupt"))
    assert only_run()["ended_at"]
    assert reconcile_in(0) == []
    make_context().db[schema.RUNS].delete_many({})
    assert saying(code.format(error="OSError")).returncode == 40
    found = incidents()
    assert list(found) == ["tasks Backfill failed"]
    assert found["tasks Backfill failed"].facts.observed == life.UNTOLD


def test_failures_in_a_row_are_made_incidents_together(
    config: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first at once, the others at the end of the run or by the notifier: each look reads all of the ledger."""
    looks = []
    monkeypatch.setattr(evidence, "reconcile", lambda *_: looks.append(1))
    context = make_context()
    context.db[schema.RUNS].insert_one({"_id": "r"})
    task = pipeline.Link(scope="acme/api", run_id="r")
    for _ in range(5):
        task.note_failure("no")
    assert len(looks) == 1
    long_ago = datetime.now(UTC) - life.PAUSE - timedelta(seconds=1)
    context.db[schema.RUNS].update_one({"_id": "r"}, {"$set": {"settled_at": long_ago}})
    task.note_failure("no")
    assert len(looks) == 2
    assert len(only_run()["failures"]) == 6
