"""Laws: order, chunks and repeats do not matter; late items re-open exactly what they touch."""

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import schema
from config.catalog import DORA_DAILY
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tasks.transforms.deliveries import Change, Deployment, Failure, History, deliver
from tests.harness import commit, gold, make_context, revert, run_all, snapshot, tag

FIRST, DAYS = date(2024, 1, 1), 8
RANGE = (FIRST, FIRST + timedelta(days=DAYS))


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A small repository: a DAG of commits, tags on any of them, reverts of any by any."""
    instants = st.integers(0, DAYS * 24 - 1).map(lambda hour: hour / 24)
    count = draw(st.integers(1, 10))
    events = []
    for number in range(count):
        parents = draw(st.lists(st.integers(0, number - 1), max_size=2, unique=True)) if number else []
        events.append(commit(f"c{number}", " ".join(f"c{p}" for p in parents), draw(instants), authored=draw(instants)))
    names = st.sampled_from(
        ["v1", "v10", "v9", "V2", "Ä", "rc", "v1-rc"]
    )  # bytewise order is neither of the obvious ones
    tags = draw(
        st.lists(st.tuples(names, st.integers(0, count - 1), instants), max_size=5, unique_by=lambda one: one[0])
    )
    events += [tag(name, f"c{target}", instant) for name, target, instant in tags]
    for _ in range(draw(st.integers(0, 3))):
        by, what = draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))
        when = next(event["commit_ts"] for event in events if event["subject"] == f"commit c{by}")
        events.append(revert(f"c{by}", f"c{what}", 0) | {"commit_ts": when})
    return events


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=histories(), seed=st.integers(0, 2**32), chunk=st.integers(1, 9), parts=st.integers(1, 4))
def test_any_order_chunking_and_repetition_ends_the_same(  # noqa: PLR0917 - fixtures and draws
    database: str, tmp_path: Path, events: list[dict[str, Any]], seed: int, chunk: int, parts: int
) -> None:
    """Byte-identical Silver and Gold: once in order, or shuffled, in pieces, with ranges out of order and repeats."""
    shuffled = random.Random(seed)  # noqa: S311 - a reproducible shuffle, not a secret
    plain = fresh(database)
    span = [commit("start", "", 0), commit("end", "", DAYS - 0.01)]  # so that every order covers the same days
    run_all(plain, write(tmp_path / "plain", [[*span, *events]]), RANGE)
    expected = snapshot(plain)

    other = fresh(database, chunk_windows=chunk)
    pieces: list[list[dict[str, Any]]] = [list(span)] + [[] for _ in range(parts)]
    for event in shuffled.sample(events, len(events)):
        pieces[shuffled.randrange(len(pieces))].append(event)
    for seen in range(1, len(pieces) + 1):
        source = write(tmp_path / "other", pieces[:seen])
        day = FIRST + timedelta(days=shuffled.randrange(DAYS))
        for _ in range(shuffled.choice([1, 2])):
            run_all(other, source, (day, day + timedelta(days=1)))
    run_all(other, write(tmp_path / "other", pieces), RANGE)
    assert snapshot(other) == expected


def fresh(database: str, **pipeline: Any) -> Context:
    context = make_context(**pipeline)
    context.db.client.drop_database(database)
    schema.ensure(context.db)
    return make_context(**pipeline)


def write(folder: Path, pieces: list[list[dict[str, Any]]]) -> ReplaySource:
    folder.mkdir(exist_ok=True)
    for stale in folder.iterdir():
        stale.unlink()
    for number, piece in enumerate(pieces):
        (folder / f"{number}.jsonl").write_bytes(b"".join(schema.canonical(event) + b"\n" for event in piece))
    return ReplaySource("history", [str(folder / "*.jsonl")])


@settings(max_examples=300, deadline=None)
@given(events=histories())
def test_deliveries_agree_with_the_definition_taken_literally(events: list[dict[str, Any]]) -> None:
    """The one-pass walk equals, for each commit, the first tag in order of all tags that contain it."""
    changes = [Change(e["sha"], e["parents"], e["author_ts"]) for e in events if e["type"] == "commit"]
    tags = [Deployment(e["name"], e["target"], e["tag_ts"]) for e in events if e["type"] == "tag"]
    failures = [Failure(e["sha"], e["reverted_sha_raw"], e["commit_ts"]) for e in events if e["type"] == "revert"]
    rows = [row for day in deliver(History(changes, tags, failures)).values() for row in day]

    parents = {change.id: change.parents for change in changes}

    def contains(deployment: Deployment, change: str) -> bool:
        reached, pending = set(), [deployment.target]
        while pending:
            at = pending.pop()
            if at not in reached:
                reached.add(at)
                pending.extend(parents[at])
        return change in reached

    order = sorted(tags, key=lambda one: (one.deployed_ts, one.id.encode()))
    first = {c.id: next((n for n, one in enumerate(order) if contains(one, c.id)), None) for c in changes}
    delivered = {(c.id, order[n].id, order[n].deployed_ts - c.authored_ts)
                 for c in changes if (n := first[c.id]) is not None}  # fmt: skip
    assert {(r["change"], r["deployment"], r["lead_seconds"]) for r in rows if r["kind"] == "change"} == delivered

    pairs = set()
    for failure in failures:
        i, j = first[failure.reverted], first[failure.reverted_by]
        if i is not None and failure.reverted_ts >= order[i].deployed_ts and (j is None or j > i):
            soon = i + 1 == len(order) or failure.reverted_ts < order[i + 1].deployed_ts
            recovery = None if j is None else order[j].deployed_ts - order[i].deployed_ts
            pairs.add((order[i].id, failure.reverted, failure.reverted_by, soon, recovery))
    assert {
        (r["deployment"], r["change"], r["reverted_by"], r["rule"] == "revert_before_next", r["recovery_seconds"])
        for r in rows
        if r["kind"] == "failure"
    } == pairs


BASE = [
    commit("a", "", 0.1), commit("b", "a", 1.1), commit("c", "b", 2.1), commit("d", "c", 4.1),
    tag("v1", "a", 0.5), tag("v2", "d", 5.5), commit("end", "d", 7.9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("late", "touched"),
    [
        ([tag("v1.1", "c", 3.5)], {3, 5}),  # takes b and c from v2
        ([commit("e", "", 3.3)], set()),  # never delivered: no number changes
        ([commit("r", "d", 6.1), revert("r", "a", 6.1)], {0}),  # v1 failed after all
        ([tag("v0", "a", 0.3)], {0}),  # a was delivered earlier, on the same day
        ([BASE[1], BASE[4]], set()),  # seen before
    ],
)
def test_late_data_moves_exactly_the_days_it_touches(
    context: Context, tmp_path: Path, late: list[dict[str, Any]], touched: set[int]
) -> None:
    """The other days keep the revision they had: nothing is recomputed for nothing."""
    run_all(context, write(tmp_path / "files", [BASE]), RANGE)
    before = revisions(context)
    run_all(context, write(tmp_path / "files", [BASE, late]), RANGE)
    after = revisions(context)
    assert {day for day in after if after[day] != before[day]} == {FIRST + timedelta(days=n) for n in touched}
    assert len(after) == DAYS


def test_late_data_is_repaired_whatever_day_is_asked_for(context: Context, tmp_path: Path) -> None:
    """The run that happens to meet it mends the old day, though it was asked for another one."""
    run_all(context, write(tmp_path / "files", [BASE]), RANGE)
    last = (RANGE[1] - timedelta(days=1), RANGE[1])
    run_all(context, write(tmp_path / "files", [BASE, [tag("v1.1", "c", 3.5)]]), last)
    assert gold(context)["acme/api", FIRST + timedelta(days=3)]["changes_shipped"] == 2
    assert gold(context)["acme/api", FIRST + timedelta(days=5)]["changes_shipped"] == 1


def revisions(context: Context) -> dict[date, tuple[str, int]]:
    """Revision and fence of each Gold day: the fence tells whether anybody so much as claimed it again."""
    windows = context.ledger.windows(DORA_DAILY.name, "acme/api", ("revision", "fence"))
    return {row["window"].date(): (row["revision"], row["fence"]) for row in windows}


def test_a_changed_definition_recomputes_gold_without_fetching(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gold is made again from Silver though the files are gone; unchanged content keeps its revision."""
    from tasks import metrics, settle  # noqa: PLC0415

    run_all(context, write(tmp_path / "files", [BASE]), RANGE)
    before, numbers = revisions(context), gold(context)
    monkeypatch.setattr(metrics, "code", lambda _: "another")
    assert len(metrics.stale(context, "acme/api", RANGE)) == DAYS
    settle.gold_of(context, "acme/api", RANGE, missing=True)
    assert metrics.stale(context, "acme/api", RANGE) == []
    assert {day: one[0] for day, one in revisions(context).items()} == {day: one[0] for day, one in before.items()}
    assert gold(context) == numbers
