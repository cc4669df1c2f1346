"""`check`, `quarantine` and `history` as a person runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import EVENTS, commit, tag

BACKFILL = ("backfill", "--from", "2024-01-01", "--to", "2024-01-06")
BAD = tag("v3", "b", 3.5) | {"target": "nonsense"}
GOOD = tag("v3", "b", 3.5)


@pytest.fixture
def project(tmp_path: Path, database: str) -> Callable[..., Any]:  # noqa: ARG001 - names the database
    """Runs a command on a project whose events are written anew by `write`."""
    config = tmp_path / "touchstone.toml"
    source = '[[sources]]\nname = "history"\ntype = "replay"\npaths = ["events.jsonl"]\n'

    def run(*arguments: str, events: list[Any] | None = None, more: str = "") -> subprocess.CompletedProcess[str]:
        config.write_text(source + more, encoding="utf-8")
        if events is not None:
            lines = [one if isinstance(one, str) else json.dumps(one) for one in events]
            (tmp_path / "events.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "tasks.cli", "--config", str(config), *arguments],
            capture_output=True, text=True, timeout=120, check=False,
            env=os.environ | {"COLUMNS": "200", "TOUCHSTONE_VALIDATOR_LINGER": "20"},
        )  # fmt: skip

    return run


def test_a_bad_row_is_listed_shown_and_replayed_once_its_rule_is_gone(project: Callable[..., Any]) -> None:
    """Replayed too early it comes back, and is said to; its story stays, and the numbers say why they moved."""
    ran = project(*BACKFILL, events=[*EVENTS, BAD])
    assert ran.returncode == 0
    assert "1 records are set aside" in ran.stderr
    (record,) = json.loads(project("quarantine", "list", "--json").stdout)
    assert (record["dataset"], record["rule"], record["path"], record["value"]) == (
        "silver.deployments", "target", "target", "nonsense",
    )  # fmt: skip
    (whole,) = json.loads(project("quarantine", "show", record["_id"][:6], "--json").stdout)
    assert whole["item"]["payload"] == BAD

    again = project("quarantine", "replay", record["_id"])
    assert (again.returncode, "1 are set aside again" in again.stderr) == (1, True)
    dropped = '[[suites]]\ndataset = "silver.deployments"\ndrop = ["target"]\n'
    done = project("quarantine", "replay", record["_id"], more=dropped)
    assert (done.returncode, "1 went on; 0 are set aside again" in done.stderr) == (0, True)
    assert project("quarantine", "list", more=dropped).stdout == "Nothing is set aside.\n"
    story = project("quarantine", "show", record["_id"], more=dropped).stdout
    assert story.count("replayed") == 2
    assert "released" in story
    history = project("history", "silver.deployments:acme/api:rows", "--date", "2024-01-04", "--json", more=dropped)
    statements = json.loads(history.stdout)[0]["statements"]
    assert [(one["value"], one["cause"]) for one in statements] == [(0, "first"), (1, "quarantine replay")]
    assert (
        "quarantine replay" in project("history", "gold.dora_daily:acme/api:deployment_frequency", more=dropped).stdout
    )


def test_a_discarded_record_no_longer_counts_and_is_kept(project: Callable[..., Any]) -> None:
    """A torn line made its day unknown; a person says that it is nothing, and the zero is proven again."""
    torn = '{"type": "tag", "repo": "acme/api", "tag_ts": 1704153600, "na'
    project(*BACKFILL, events=[*EVENTS, torn])
    day = ("metrics", "--from", "2024-01-02", "--to", "2024-01-02", "--format", "json")
    assert json.loads(project(*day).stdout)[0]["trust"] == "unknown"
    nameless = project("quarantine", "discard", "--reason", "test")
    assert nameless.returncode == 2
    done = project("quarantine", "discard", "--rule", "readable", "--reason", "cut by hand")
    assert (done.returncode, "1 records discarded" in done.stderr) == (0, True)
    (row,) = json.loads(project(*day).stdout)
    assert (row["trust"], row["deployment_frequency"]) == ("proven", 0)
    assert project("run").returncode == 0
    (record,) = json.loads(project("quarantine", "list", "--state", "discarded", "--json").stdout)
    assert record["trace"][-1]["reason"] == "cut by hand"


def test_what_is_held_back_fails_the_run_and_is_told_until_it_is_mended(project: Callable[..., Any]) -> None:
    rule = (
        '[[suites]]\ndataset = "gold.dora_daily"\n[[suites.rules]]\nname = "few"\njudges = "partition"\n'
        'expectation = "expect_column_values_to_be_between"\n'
        'arguments = { column = "deployment_frequency", max_value = 1 }\nwhy = "more than one a day cannot be"\n'
    )
    assert project(*BACKFILL, events=EVENTS, more=rule).returncode == 0
    late = [*EVENTS, commit("c", "b", 2.6), tag("v2.1", "c", 2.7)]
    for _ in range(2):
        ran = project(*BACKFILL, events=late, more=rule)
        assert ran.returncode == 1
        assert "gold.dora_daily acme/api 2024-01-03 is blocked by few" in ran.stderr
    checked = project("check", "gold.dora_daily", "--date", "2024-01-03", more=rule)
    assert checked.returncode == 1
    assert "deployment_frequency = 2" in checked.stdout
    assert "more than one a day cannot be" in checked.stdout
    assert "1 blocked" in project("check", "gold.dora_daily", more=rule).stdout
    status = json.loads(project("status", "--json", more=rule).stdout)
    assert status["datasets"]["gold.dora_daily"]["blocked"] == 1
    assert project(*BACKFILL, events=late).returncode == 0
    assert project("check", "gold.dora_daily").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("check", "silver.nothing"), "there are: "),
        (("quarantine", "show", "zzz"), "no record begins with 'zzz'"),
        (
            ("history", "gold.dora_daily:acme/api:deployments"),
            "near to it: gold.dora_daily:acme/api:deployment_frequency",
        ),
    ],
)
def test_a_wrong_name_is_told_with_the_right_ones(
    project: Callable[..., Any], arguments: tuple[str, ...], told: str
) -> None:
    project(*BACKFILL, events=EVENTS)
    ran = project(*arguments)
    assert (ran.returncode, told in ran.stderr.replace("\n", " ")) == (2, True), ran.stderr
