"""`incidents` as a person on call runs it: what is listed, what is shown, what is kept of who did what."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from alerting import folding
from alerting.incidents import Facts, Incident, Key, Kind, Report, State, Told
from alerting.store import Store
from config import mongo, schema
from quality.findings import Severity
from tasks import cli_incidents
from tasks.cli_common import whoami
from tasks.context import Context
from tests.tasks.calling import Ran, Run, caller

NOW = datetime.now(UTC)


@pytest.fixture
def run(
    database: str,  # noqa: ARG001 - names the database
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    monkeypatch.setattr(cli_incidents, "out", Console(width=300, highlight=False))
    return caller(monkeypatch, capsys, tmp_path)


@pytest.fixture
def store(context: Context) -> Store:
    return Store.of(context.db, context.settings)


def opened(store: Store, check: str, severity: str = "critical", *, hours: float = 1.0, **more: Any) -> Incident:
    """An incident that was opened so many hours ago."""
    of = {"dataset": "silver.deployments", "scope": "acme/api", "days": (3,), "kind": Kind.FINDING, **more}
    title = of.get("title", f"{check} is broken")
    reports = [
        Report(
            Key(of["dataset"], of["scope"], check),
            NOW - timedelta(hours=hours),
            failed=True,
            kind=of["kind"],
            window=date(2026, 11, day),
            severity=Severity(severity),
            facts=Facts(title, "at most 1", "7", "more cannot be", "touchstone check silver.deployments", ("v3: 7",)),
            metrics=("deployment_frequency",),
            scopes=of.get("scopes", ("acme/api",)),
        )
        for day in of["days"]
    ]
    (incident,) = store.fold(reports, NOW)
    return incident


def ids(ran: Ran) -> list[str]:
    assert ran.code == 0, ran.err
    return [one["id"] for one in json.loads(ran.out)]


def test_open_incidents_that_are_no_effects_are_listed_the_worst_first(run: Run, store: Store) -> None:
    """Who is called at night reads the first line; effects and what is over would push it away."""
    warning = opened(store, "mild", "warning", hours=1)
    old, new = opened(store, "old", hours=9), opened(store, "new", hours=2)
    effect, over = opened(store, "effect"), opened(store, "over")
    store.change(effect.id, lambda one: folding.attach(one, old.id))
    store.change(over.id, lambda one: folding.resolve(one, "me", NOW, "done"))
    assert ids(run("incidents", "list", "--json")) == [new.id, old.id, warning.id]
    assert "3 incidents. 1 more are attached to others" in run("incidents", "list").out
    assert set(ids(run("incidents", "list", "--all", "--json"))) == {new.id, old.id, warning.id, effect.id, over.id}
    assert ids(run("incidents", "list", "--cause", old.id[:6], "--json")) == [effect.id]
    cut = run("incidents", "list", "--limit", "1")
    assert (new.id in cut.out, old.id in cut.out, "3 incidents, 2 more" in cut.out) == (True, False, True)


def test_what_a_digest_tells_is_listed_and_the_digest_is_not(run: Run, store: Store) -> None:
    """A digest is only the way that warnings are told; they are open problems as others are."""
    warning = opened(store, "mild", "warning")
    digest = opened(store, "digest", "warning", dataset="notifier", scope="#data-quality", kind=Kind.DIGEST)
    store.change(warning.id, lambda one: folding.attach(one, digest.id))
    ran = run("incidents", "list")
    assert (warning.id in ran.out, digest.id in ran.out, ran.out.splitlines()[-1]) == (True, False, "1 incidents.")
    assert set(ids(run("incidents", "list", "--all", "--json"))) == {warning.id, digest.id}


def test_an_empty_list_is_no_failure(run: Run) -> None:
    assert run("incidents", "list") == (0, "No incidents.\n", "")
    assert run("incidents", "list", "--json").out == "[]\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--dataset", "silver.deployments"], {"a"}),
        (["--dataset", "bronze.*"], {"b", "c"}),
        (["--dataset", "bronze"], set()),  # a name, not the start of one
        (["--scope", "acme/web"], {"c"}),  # what it makes untrustworthy counts too
        (["--scope", "git"], {"c"}),
        (["--severity", "warning"], {"b"}),
        (["--severity", "info"], set()),
        (["--dataset", "bronze.*", "--severity", "critical"], {"c"}),
        (["--scope", "\udcff"], set()),  # bytes that are no UTF-8
    ],
)
def test_the_list_is_narrowed_by_what_is_asked(run: Run, store: Store, options: list[str], expected: set[str]) -> None:
    opened(store, "a")
    opened(store, "b", "warning", dataset="bronze.git.tags")
    opened(store, "c", dataset="bronze.git.commits", scope="git", scopes=("acme/web",))
    listed = json.loads(run("incidents", "list", "--json", *options).out)
    assert {one["key"]["check"] for one in listed} == expected


def test_how_an_incident_stands_is_one_word(run: Run, store: Store) -> None:
    names = ("open", "ack", "silenced", "attached", "resolved")
    by_name = {name: opened(store, f"rule-{name}", days=(3, 4)) for name in names}
    run("incidents", "ack", by_name["ack"].id)
    run("incidents", "silence", by_name["silenced"].id, "--for", "2h", "--reason", "known")
    store.change(by_name["attached"].id, lambda one: folding.attach(one, by_name["open"].id))
    run("incidents", "resolve", by_name["resolved"].id, "--reason", "test data")
    lines = run("incidents", "list", "--all").out.splitlines()
    for name, incident in by_name.items():
        (line,) = [one for one in lines if one.startswith(incident.id)]
        windows = "-" if name == "resolved" else "2, last 2026-11-04"
        expected = rf"critical {name} [0-9.]+ h {windows} rule-{name} is broken"
        assert re.fullmatch(expected, " ".join(line.split()[1:]))


def test_an_incident_is_shown_whole(run: Run, store: Store) -> None:
    """What is wrong, since when, what follows, who said what, what was told where: nobody has to ask a database."""
    root = opened(store, "root", title="the sweep failed")
    incident = opened(store, "many", days=(1, 2, 3, 4))
    told = Told(1, State.OPEN, Severity.CRITICAL, NOW, "C012345", "1700000000.000100", NOW)

    def lived(one: Incident) -> Incident:
        one = folding.attach(replace(one, told=told), root.id)
        return folding.with_effects(one, ("gold.dora_daily acme/api",), NOW)

    store.change(incident.id, lived)
    run("incidents", "ack", incident.id, "--note", "looking", "--by", "kim")
    run("incidents", "silence", incident.id, "--for", "1d", "--reason", "vendor", "--by", "ada")
    shown = run("incidents", "show", incident.id[:8])
    assert shown.code == 0
    for expected in (
        f"{incident.id}  critical  attached  many is broken", "dataset: silver.deployments", "scope: acme/api",
        "expected: at most 1", "observed: 7", "why: more cannot be", "example: v3: 7",
        "failing windows: 4: 2026-11-01, 2026-11-02, 2026-11-03, 2026-11-04",
        "metrics not to trust: deployment_frequency", "next step: touchstone check silver.deployments",
        f"caused by: {root.id}: the sweep failed", "causes: gold.dora_daily acme/api",
        "by kim: looking", "by ada", ": vendor", "opened: many is broken", "acknowledged (kim): looking",
        "told: revision 1 of 4 (open, critical)", "in C012345, message 1700000000.000100", "reminded: ",
    ):  # fmt: skip
        assert expected in shown.out, shown.out
    (whole,) = json.loads(run("incidents", "show", incident.id, "--json").out)
    assert (whole["id"], whole["told"]["ts"], whole["acknowledged"]["by"]) == (incident.id, told.ts, "kim")
    assert datetime.fromisoformat(whole["opened_at"]) == incident.opened_at
    assert "attached: 1 open incidents" in run("incidents", "show", root.id).out
    assert "told: never" in run("incidents", "show", root.id).out


def test_what_data_says_cannot_steer_the_terminal(run: Run, store: Store) -> None:
    incident = opened(store, "\x1b]0;owned\x07", title="\x1b[2Jall \u202ewell\r\n[red]fine[/red]", scope="a\x9bb")
    for arguments in (("list", "--all"), ("show", incident.id), ("ack", incident.id), ("ack", "\x1b[2J")):
        ran = run("incidents", *arguments)
        assert not set(ran.out + ran.err) & set("\x1b\x07\x9b\r\u202e")
    assert "\\x1b[2Jall \\u202ewell\\r\\n[red]fine[/red]" in run("incidents", "show", incident.id).out


def test_what_is_done_is_kept_with_who_when_and_why(run: Run, store: Store) -> None:
    incident = opened(store, "mine")
    before = datetime.now(UTC) - timedelta(seconds=1)
    done = run("incidents", "ack", incident.id[:6], "--note", "at it: https://ada:hunter2@host/")
    assert done == (0, "", f"{incident.id} acknowledged by {whoami()}: mine is broken\n")
    kept = store.find(incident.id)
    assert kept.acknowledged
    assert (kept.acknowledged.by, kept.acknowledged.note) == (whoami(), "at it: https://***@host/")
    assert before < kept.acknowledged.at <= datetime.now(UTC)

    run("incidents", "silence", incident.id, "--for", "1h30m", "--reason", "known", "--by", "kim")
    quiet = store.find(incident.id).silenced
    assert quiet is not None
    assert (quiet.by, quiet.reason) == ("kim", "known")
    assert abs(quiet.until - datetime.now(UTC) - timedelta(minutes=90)) < timedelta(minutes=1)

    run("incidents", "resolve", incident.id, "--reason", "a test", "--by", "ada")
    over = store.find(incident.id)
    assert (over.state, over.story[-1].by, over.story[-1].text) == (State.RESOLVED, "ada", "a test")
    assert [(event.what, event.by) for event in over.story] == [
        ("opened", ""), ("acknowledged", whoami()), ("silenced", "kim"), ("resolved", "ada"),
    ]  # fmt: skip


def test_an_answer_is_owed_to_the_channel_at_once(run: Run, store: Store) -> None:
    """Who reads the channel sees that somebody is at it, though the last message is fresh."""
    incident = opened(store, "mine")
    told = Told(1, State.OPEN, Severity.CRITICAL, datetime.now(UTC), "C1", "1.0")
    store.change(incident.id, lambda one: replace(one, told=told))
    assert store.owed(datetime.now(UTC)) == []
    run("incidents", "ack", incident.id)
    assert [one.id for one in store.owed(datetime.now(UTC))] == [incident.id]


def test_all_are_tried_though_one_cannot_be_done(run: Run, store: Store) -> None:
    first, over, last = opened(store, "first"), opened(store, "over"), opened(store, "last")
    store.change(over.id, lambda one: folding.resolve(one, "me", NOW, "done"))
    ran = run("incidents", "ack", first.id, "zzz", over.id, last.id, last.id[:9])
    assert ran.code == 1
    assert "no incident begins with 'zzz'" in ran.err
    assert f"{over.id} is resolved, not open" in ran.err
    assert all(store.find(one.id).acknowledged for one in (first, last))
    assert len(store.find(last.id).story) == 2  # named twice, done once


@pytest.mark.parametrize(
    "arguments", [("resolve", "--reason", "x"), ("silence", "--for", "1h", "--reason", "x"), ("ack",)]
)
def test_what_is_over_is_said_to_be(run: Run, store: Store, arguments: tuple[str, ...]) -> None:
    incident = opened(store, "over")
    run("incidents", "resolve", incident.id, "--reason", "done")
    ran = run("incidents", arguments[0], incident.id, *arguments[1:])
    assert (ran.code, "is resolved, not open" in ran.err) == (1, True)


def test_the_start_of_an_id_must_name_one_incident(run: Run, context: Context, store: Store) -> None:
    one = opened(store, "one")
    twin = schema.Document(context.db[schema.INCIDENTS].find_one({"_id": one.id}) or {})
    context.db[schema.INCIDENTS].insert_one(twin | {"_id": f"{one.id[:-1]}2", "open": False})
    assert (run("incidents", "show", one.id[:5]).code, run("incidents", "show", one.id).code) == (1, 0)
    assert "more than one incident begins with" in run("incidents", "show", one.id[:5]).err
    assert run("incidents", "show", "").code == 1
    assert run("incidents", "show", "\udcff").code == 1
    assert (run("incidents", "list", "--cause", "zzz").code) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "either --until or --for"),
        (("--for", "1h", "--until", "2999-01-01T00:00Z"), "either --until or --for"),
        (("--for", "0m"), "is past"),
        (("--for", "-1h"), "is not a length of time"),
        (("--for", "soon"), "is not a length of time"),
        (("--for", "999999w"), "366 days at most"),
        (("--until", "2020-01-01T00:00Z"), "is past"),
        (("--until", "2027-01-01T08:00"), "with its time zone"),
        (("--until", "9999-12-31T23:59-10:00"), "with its time zone"),
        (("--until", "2999-01-01T00:00Z"), "366 days at most"),
    ],
)
def test_a_silence_has_an_end_that_makes_sense(run: Run, store: Store, arguments: tuple[str, ...], told: str) -> None:
    incident = opened(store, "loud")
    ran = run("incidents", "silence", incident.id, "--reason", "x", *arguments)
    assert (ran.code, told in " ".join(ran.err.replace("│", "").split())) == (2, True), ran.err
    assert store.find(incident.id).silenced is None


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_a_reason_is_a_few_words(run: Run, store: Store, reason: str) -> None:
    assert run("incidents", "resolve", opened(store, "loud").id, "--reason", reason).code == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90m", 1.5), ("2h", 2), ("3d", 72), ("1w", 168), ("1h30m", 1.5), ("1d1h", 25)],
)
def test_a_span_is_read_as_it_is_written(text: str, expected: float) -> None:
    assert cli_incidents.parse_span(text) == timedelta(hours=expected)


@pytest.mark.parametrize("text", ["", "h", "1", "1.5h", "1y", "2h ", "٣h", "1h-"])
def test_another_span_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        cli_incidents.parse_span(text)


def test_a_silence_can_be_lifted_by_a_short_one(run: Run, store: Store) -> None:
    incident = opened(store, "loud")
    run("incidents", "silence", incident.id, "--for", "3d", "--reason", "known")
    run("incidents", "silence", incident.id, "--for", "1m", "--reason", "not so known")
    later = datetime.now(UTC) + timedelta(minutes=2)
    assert not store.find(incident.id).is_silenced(later)
    assert [one.id for one in store.owed(later)] == [incident.id]


def test_reading_changes_nothing(run: Run, context: Context, store: Store) -> None:
    opened(store, "one")
    before = list(context.db[schema.INCIDENTS].find())
    run("incidents", "list", "--all")
    run("incidents", "show", before[0]["_id"], "--json")
    assert list(mongo.database(context.settings)[schema.INCIDENTS].find()) == before
