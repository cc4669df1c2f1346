"""The commands as a user runs them: processes, exit codes, what they print."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.report import COLUMNS
from tests.harness import DATA, EVENTS, gold, make_context, snapshot, tag

ROOT = Path(__file__).parent.parent.parent
LUIGI = DATA / "git_events" / "spotify__luigi" / "events.jsonl.gz"
COMMAND = [sys.executable, "-m", "tasks.cli"]


@pytest.fixture
def project(tmp_path: Path, database: str) -> Callable[..., Path]:  # noqa: ARG001 - names the database
    """Writes a configuration with one replay source, and returns its path."""

    def write(paths: str | None = None, extra: str = "") -> Path:
        (tmp_path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EVENTS), encoding="utf-8")
        path = tmp_path / "touchstone.toml"
        name = paths or "events.jsonl"
        path.write_text(
            f'[[sources]]\nname = "history"\ntype = "replay"\npaths = ["{name}"]\n{extra}', encoding="utf-8"
        )
        return path

    return write


def touchstone(config: Path, *arguments: str, command: Sequence[str] = COMMAND) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"TOUCHSTONE_CONFIG": str(config), "COLUMNS": "200", "TOUCHSTONE_VALIDATOR_LINGER": "20"}
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


BACKFILL = ("backfill", "--from", "2024-01-01", "--to", "2024-01-06")


def test_backfill_then_metrics_as_csv(project: Callable[..., Path]) -> None:
    """The columns are those that the documentation names, in that order; nulls are empty, seconds unrounded."""
    config = project()
    done = touchstone(config, *BACKFILL)
    assert (done.returncode, done.stdout) == (0, "")
    printed = touchstone(config, "metrics", "--from", "2024-01-01", "--to", "2024-01-06", "--format", "csv")
    assert printed.stdout.splitlines()[0] == ",".join(COLUMNS) == (
        "scope,day,deployment_frequency,changes_shipped,change_lead_time_median_seconds,change_lead_time_mean_seconds,"
        "change_lead_time_p90_seconds,change_fail_rate,change_fail_rate_explicit,change_fail_rate_revert_before_next,"
        "change_fail_rate_revert_ever,change_fail_rate_window,change_fail_rate_last_deployment,"
        "failed_deployments_revert_ever,failed_deployment_recovery_time_median_seconds,deployment_rework_rate,trust,"
        "incidents"
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert [row["deployment_frequency"] for row in rows] == ["1", "0", "1", "0", "0", "0"]
    assert rows[0]["change_lead_time_median_seconds"] == "34560.0"
    assert rows[1]["change_lead_time_median_seconds"] == ""
    assert {row["trust"] for row in rows} == {"proven"}


def test_metrics_of_days_that_never_ran_are_unknown(project: Callable[..., Path]) -> None:
    """They are there, with a reason: a gap in the output would look like nothing happened."""
    config = project()
    touchstone(config, *BACKFILL)
    printed = touchstone(config, "metrics", "--from", "2024-01-06", "--to", "2024-01-07", "--format", "json")
    known, unknown = json.loads(printed.stdout)
    assert known["trust"] == "proven"
    assert (unknown["trust"], unknown["deployment_frequency"]) == ("unknown", None)
    assert "not computed" in unknown["reasons"]["deployment_frequency"]


def test_run_for_one_day_is_exact_by_itself(project: Callable[..., Path]) -> None:
    """A single day of a long history needs no backfill first: 2.0.0 of luigi, with what it shipped since 1.3.0."""
    config = project(str(LUIGI))
    assert touchstone(config, "run", "--date", "2014-08-28").returncode == 0
    printed = touchstone(config, "metrics", "--from", "2014-08-28", "--to", "2014-08-28", "--format", "json")
    (row,) = json.loads(printed.stdout)
    assert (row["deployment_frequency"], row["changes_shipped"]) == (1, 144)
    assert (row["change_lead_time_median_seconds"], row["trust"]) == (4615921.0, "proven")


def test_status_and_explain_say_why(project: Callable[..., Path]) -> None:
    config = project()
    touchstone(config, *BACKFILL)
    state = json.loads(touchstone(config, "status", "--json").stdout)
    assert state["datasets"]["gold.dora_daily"] | {"why": {}} == {
        "complete": 6, "stale": 0, "missing": 0, "failed": 0, "blocked": 0, "unproven": 0, "why": {},
    }  # fmt: skip
    assert state["scopes"] == ["acme/api"]
    told = touchstone(config, "explain", "gold.dora_daily", "2024-01-03").stdout
    assert "gold.dora_daily|acme/api|2024-01-03: complete" in told
    assert "made from silver.deliveries @" in told
    assert "code_version" in told
    assert "receipt.covered_until" in touchstone(config, "explain", "bronze.git.tags", "2024-01-03").stdout
    nothing = touchstone(config, "explain", "gold.dora_daily", "1999-01-01")
    assert nothing.returncode == 1
    assert "no window 1999-01-01" in nothing.stdout


def test_late_data_shows_as_stale_until_the_next_run(project: Callable[..., Path], tmp_path: Path) -> None:
    """And `run` without a date repairs it, whatever its day."""
    config = project("*.jsonl")
    touchstone(config, *BACKFILL)
    (tmp_path / "late.jsonl").write_text(json.dumps(tag("v1.1", "b", 2.3)) + "\n", encoding="utf-8")
    assert touchstone(config, "run", "--date", "2024-01-05").returncode == 0
    printed = touchstone(config, "metrics", "--from", "2024-01-03", "--to", "2024-01-03", "--format", "json")
    assert json.loads(printed.stdout)[0]["deployment_frequency"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("backfill", "--from", "2024-01-06", "--to", "2024-01-01"), 2, "lies before"),
        (("backfill", "--from", "2024-01-01", "--to", "2999-01-01"), 2, "lies in the future"),
        (("run", "--date", "yesterday"), 2, "not a day"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    project: Callable[..., Path], arguments: Sequence[str], code: int, told: str
) -> None:
    done = touchstone(project(), *arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_configuration_is_exit_code_2(project: Callable[..., Path]) -> None:
    done = touchstone(project(extra="colour = 'red'\n"), *BACKFILL)
    assert done.returncode == 2
    assert "sources.0.colour: unknown key" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mongodb://127.0.0.1:9/?replicaSet=rs0&serverSelectionTimeoutMS=300", "does not answer"),
        ("postgres://user:hunter2@127.0.0.1/db", "not a valid MongoDB URI"),
    ],
)
def test_no_mongodb_is_exit_code_3(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, uri: str, told: str
) -> None:
    """And never the embedded one in its place."""
    monkeypatch.setenv("TOUCHSTONE_MONGO_URI", uri)
    monkeypatch.setenv("TOUCHSTONE_MONGO_TIMEOUT_SECONDS", "0.5")
    config = project()
    done = touchstone(config, *BACKFILL)
    assert done.returncode == 3
    assert told in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not (config.parent / ".touchstone").exists()


def test_a_failing_source_is_exit_code_1_and_the_others_go_on(project: Callable[..., Path], tmp_path: Path) -> None:
    """The one that works is complete; the one that does not is named, in words."""
    gone = f'{{origin = "acme/gone", url = "{tmp_path}/gone"}}'
    broken = f'[[sources]]\nname = "code"\ntype = "git"\nrepositories = [{gone}]\n'
    config = project(extra=broken)
    done = touchstone(config, *BACKFILL)
    assert done.returncode == 1
    assert "code" in done.stderr
    assert "gone" in done.stderr
    assert "Traceback" not in done.stderr
    rows = gold(make_context())
    assert {row["trust"] for (scope, _), row in rows.items() if scope == "acme/api"} == {"proven"}
    assert {row["trust"] for (scope, _), row in rows.items() if scope == "acme/gone"} == {"unknown"}


def test_luigi_itself_runs_the_tasks(project: Callable[..., Path]) -> None:
    """`luigi --module tasks`, with the exit codes that luigi.cfg sets."""
    config = project()
    command = [sys.executable, "-m", "luigi", "--module", "tasks"]
    arguments = ("Backfill", "--start", "2024-01-01", "--end", "2024-01-06", "--local-scheduler")
    done = touchstone(config, *arguments, command=command)
    assert done.returncode == 0, done.stderr
    assert len(gold(make_context())) == 6
    (config.parent / "events.jsonl").unlink()
    assert touchstone(config, *arguments, command=command).returncode == 30


def test_three_workers_and_two_processes_at_once_end_the_same(project: Callable[..., Path]) -> None:
    """Byte-identical with one worker in one process."""
    config = project(str(LUIGI), "[pipeline]\nchunk_windows = 100\nlease_seconds = 5\n")
    arguments = ("backfill", "--from", "2014-05-17", "--to", "2016-05-17")
    assert touchstone(config, *arguments).returncode == 0
    expected = snapshot(make_context())
    make_context().db.client.drop_database(make_context().db.name)
    environment = os.environ | {"TOUCHSTONE_CONFIG": str(config)}
    processes = [
        subprocess.Popen([*COMMAND, *arguments, "--workers", "3"], cwd=ROOT, env=environment) for _ in range(2)
    ]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    assert snapshot(make_context()) == expected


def test_an_interrupted_backfill_goes_on_where_it_was(project: Callable[..., Path]) -> None:
    """Killed with -9 in the middle; the next one ends exact, and what was finished keeps its fence."""
    config = project(str(LUIGI), "[pipeline]\nchunk_windows = 100\nlease_seconds = 0.5\n")
    arguments = ("backfill", "--from", "2014-05-17", "--to", "2018-05-17")
    environment = os.environ | {"TOUCHSTONE_CONFIG": str(config)}
    with subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environment) as process:
        ledger = make_context().db["ledger"]
        published: dict[str, Any] = {"dataset": "gold.dora_daily", "revision": {"$exists": True}}
        deadline = time.monotonic() + 100
        while ledger.count_documents(published) < 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    finished = published | {"unobserved": {"$exists": False}}
    before = {one["_id"]: one["fence"] for one in ledger.find(finished)}
    assert 100 <= len(before) < 1400
    assert touchstone(config, *arguments).returncode == 0
    after = {one["_id"]: one["fence"] for one in ledger.find(published)}
    assert len(after) == 1462
    assert {key: after[key] for key in before} == before


def test_version_says_what_it_stands_on(project: Callable[..., Path]) -> None:
    printed = touchstone(project(), "version").stdout
    for name in ("touchstone", "luigi", "pymongo", "great-expectations", "scikit-learn", "slack-sdk"):
        assert f"{name} " in printed


def test_planning_loads_no_heavy_library() -> None:
    """A run without news must not pay for Great Expectations, scikit-learn or pandas."""
    heavy = "('great_expectations', 'sklearn', 'pandas')"
    code = f"import sys, tasks.running, tasks.report; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
