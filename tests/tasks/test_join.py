"""What is made from several units is made once, after all of them, whatever becomes of one."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import schema
from config.catalog import DELIVERIES, Dataset
from tasks import joint, links, metrics, settle
from tasks.context import Context
from tests.harness import commit, gold, make_context, tag
from tests.tasks.calling import Run, caller

DAY = date(2024, 1, 1)
CONFIG = """
[[sources]]
type = "replay"
name = "one"
paths = ["one.jsonl"]
[[sources]]
type = "replay"
name = "two"
paths = ["two.jsonl"]
[[services]]
name = "shop"
repositories = ["acme/api", "acme/web"]
[[teams]]
name = "all"
scopes = ["*"]
"""


@pytest.fixture
def touchstone(
    database: str,  # noqa: ARG001 - names the database
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    run = caller(monkeypatch, capsys, tmp_path)
    (tmp_path / "touchstone.toml").write_text(CONFIG, encoding="utf-8")
    span = [commit("z", "", 5.5)]
    write(tmp_path / "one.jsonl", [commit("a", "", 0.1), tag("v1", "a", 0.5), *span], "acme/api")
    write(tmp_path / "two.jsonl", [commit("b", "", 0.2), tag("v1", "b", 1.5), *span], "acme/web")
    return run


def write(path: Path, events: Sequence[dict[str, Any]], repository: str) -> None:
    path.write_text("".join(json.dumps(one | {"repo": repository}) + "\n" for one in events), encoding="utf-8")


def numbers(scope: str) -> list[Any]:
    found = gold(make_context())
    return [found.get((scope, DAY + timedelta(days=n)), {}).get("deployment_frequency") for n in range(3)]


def test_a_service_is_linked_once_by_a_run_and_not_again_without_news(
    touchstone: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = settle.links_of

    def links_of(context: Context, scope: str, datasets: Sequence[Dataset]) -> None:
        calls.append(scope)
        real(context, scope, datasets)

    monkeypatch.setattr(settle, "links_of", links_of)
    ended = touchstone("backfill", "--from", "2024-01-01", "--to", "2024-01-03")
    assert ended.code == 0, ended.err
    assert calls == ["service:shop"]
    assert (numbers("service:shop"), numbers("team:all")) == ([1, 1, 0], [1, 1, 0])
    assert (numbers("acme/api"), numbers("acme/web")) == ([1, 0, 0], [0, 1, 0])
    assert touchstone("backfill", "--from", "2024-01-01", "--to", "2024-01-03").code == 0
    assert calls == ["service:shop"]
    assert not make_context().db[schema.LEDGER].find_one({"dataset": DELIVERIES.name, "scope": "acme/api"})


def test_a_unit_that_fails_does_not_hold_up_what_the_others_bring(touchstone: Run, tmp_path: Path) -> None:
    assert touchstone("backfill", "--from", "2024-01-01", "--to", "2024-01-03").code == 0
    (tmp_path / "two.jsonl").unlink()
    write(tmp_path / "one.jsonl", [commit("a", "", 0.1), tag("v1", "a", 0.5), tag("v2", "a", 0.6)], "acme/api")
    ended = touchstone("backfill", "--from", "2024-01-01", "--to", "2024-01-03")
    assert ended.code == 1
    assert numbers("service:shop")[0] == 2


def test_what_broke_off_in_the_join_is_mended_by_the_next_run(touchstone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "compute", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        assert touchstone("backfill", "--from", "2024-01-01", "--to", "2024-01-03").code == 1
    assert numbers("service:shop") == [None] * 3
    assert links.is_stale(make_context(), "service:shop") is None
    assert touchstone("backfill", "--from", "2024-01-01", "--to", "2024-01-03").code == 0
    assert numbers("team:all") == [1, 1, 0]


@pytest.mark.parametrize(
    ("run", "over"),
    [
        ({}, False),
        ({"finished": {schema.digest("Unit_1"): {}}}, True),
        ({"failures": [{"place": "Sweep one/*"}]}, True),
        ({"failures": [{"place": "Fold acme/api", "scopes": ["acme/api"]}]}, True),
        ({"failures": [{"place": "Fold acme/web", "scopes": ["acme/web"]}]}, False),
    ],
)
def test_a_unit_is_over_once_it_is_through_or_something_of_it_has_failed(run: dict[str, Any], *, over: bool) -> None:
    assert joint._is_over(run, "Unit one/*", "Unit_1", ["acme/api"]) == over
