"""`touchstone sources check|preview` over stand-ins of all three: what a person reads before the first run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.trio import NAMES, TOKENS, Trio, ago, fill, trio

NOWHERE = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Trio]:
    """Something of each stream; and no MongoDB, which neither command needs."""
    monkeypatch.setenv("TOUCHSTONE_MONGO_URI", NOWHERE)
    with trio(monkeypatch, capsys, tmp_path) as three:
        fill(three)
        yield three


def marked(text: str) -> list[str]:
    """What is not well."""
    return [line.removeprefix("  no  ") for line in text.splitlines() if line.startswith("  no  ")]


def test_all_is_well(three: Trio) -> None:
    told = three("sources", "check")
    assert (told.code, marked(told.out), told.err) == (0, [], "")
    lines = told.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "hub (github)", "ops (jira)", "ci (jenkins)", "all 3 sources are well",
    ]  # fmt: skip
    for line in (
        "  ok  acme/api deployments: readable", "  ok  project OPS: visible, with about 2 issues",
        "  ok  job deploy/*: 1 jobs: deploy/api",
    ):  # fmt: skip
        assert line in lines
    assert not [token for token in TOKENS.values() if token in told.out]
    assert not {path.name for path in three.folder.rglob("*") if path.is_file()} - {"touchstone.toml", "pseudonym.key"}


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("401", "answered 401: Bad credentials: renew the token"),
        ("date_hours_off", "s ahead of"),
        ("302_login", "login page"),
        ("429_absurd", "limit"),
    ],
)
def test_what_is_wrong_with_all_of_a_source_is_told_of_each(three: Trio, fault: str, what: str) -> None:
    """And the others are looked at all the same."""
    for server in three.servers.values():
        server.inject(fault, every=True)
    told = three("sources", "check")
    assert told.code == 1
    assert len(marked(told.out)) == 3, told.out
    assert all(what in line for line in marked(told.out)), told.out
    assert told.out.endswith("not well: hub, ops, ci; mend what is marked no, and check again\n")
    assert not [one for server in three.servers.values() for one in server.strays]


@pytest.mark.parametrize("command", ["check", "preview"])
def test_a_person_is_not_kept_waiting_for_what_a_run_would_sit_out(three: Trio, command: str) -> None:
    three.configure(requests="{retries = 20, timeout_seconds = 5.0}")
    three.servers["ops"].inject("503_for_hours", every=True)
    three.servers["hub"].inject("500_lasting", every=True)
    assert three("sources", command, "ops", "hub").code == 1
    asked = 1 if command == "check" else 8
    assert len(three.servers["hub"].requests) == 2 * asked, "each question twice"
    assert len(three.servers["ops"].requests) == 1


def test_one_that_nobody_answers_for_leaves_the_others_alone(three: Trio) -> None:
    three.servers["ops"].stop_listening()
    told = three("sources", "check", "ops", "hub")
    assert told.code == 1
    (line,) = marked(told.out)
    assert "rest/api/3/myself: the connection was refused: check address, network and proxy" in line
    assert "not well: ops;" in told.out
    assert three("sources", "check", "hub").code == 0


def test_a_scope_that_lacks(three: Trio) -> None:
    three.hub.scopes, three.repo.private = "read:org", True
    told = three("sources", "check", "hub")
    assert told.code == 1
    assert marked(told.out) == ["acme/api: acme/api is visible, private; the token lacks the scope repo"]


def test_what_is_not_visible_is_named(three: Trio) -> None:
    three.more = ""
    three.configure(repositories='["acme/none"]', projects='["NONE"]', jobs='["none", "deploy/*"]')
    told = three("sources", "check")
    assert told.code == 1
    assert [line.split(": ")[0] for line in marked(told.out)] == ["acme/none", "project NONE", "job none"]


def test_without_a_token_it_is_said_where_to_put_it(three: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOKENS:
        monkeypatch.delenv(name)
    told = three("sources", "check")
    assert told.code == 1
    hub, ops, ci = marked(told.out)
    assert "set GITHUB_TOKEN" in hub
    assert "set JIRA_TOKEN" in ops
    assert ci.startswith("token: "), "a Jenkins may be open to all, so it is asked"
    assert not three.servers["hub"].requests
    assert not three.servers["ops"].requests


def test_a_token_file_that_is_not_there_is_told_by_its_key(three: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JENKINS_TOKEN")
    three.configure(reader='metrics"\ntoken_file = "gone.txt')
    told = three("sources", "check", "ci")
    assert (told.code, len(marked(told.out))) == (1, 1)
    assert "sources.ci.token_file" in told.out
    assert "No such file" in told.out


@pytest.mark.parametrize("command", ["check", "preview"])
def test_an_unknown_name_is_wrong_usage(three: Trio, command: str) -> None:
    told = three("sources", command, "hub", "nope")
    assert (told.code, told.out) == (2, "")
    assert "there is none of the name 'nope'; there are: ci, hub, ops" in told.err


def test_check_for_programs(three: Trio) -> None:
    three.servers["ci"].inject("401", every=True)
    told = three.json("sources", "check", "--json")
    assert {one["source"] for one in told} == {*NAMES}
    assert [(one["source"], one["what"]) for one in told if not one["ok"]] == [("ci", "token")]
    assert three("sources", "check", "--json").code == 1


def test_preview_shows_what_each_pattern_fits(three: Trio) -> None:
    told = three("sources", "preview")
    assert (told.code, told.err) == (0, "")
    for line in (
        "other deployment: failure (1), production deployment: success (1)", "not merged (1), merged pull request (1)",
        'none counts: "workflows" is not in counts.deployments', "not a failure (1), failure (1)", "Incident (1)",
        "build (2), production deployment: ",
    ):  # fmt: skip
        assert line in told.out, told.out
    tables = [line for line in told.out.splitlines() if line.startswith("    ")]
    assert max(map(len, tables)) <= 100
    assert "..." in told.out, "a long name is cut where one sees it"


def test_preview_for_programs(three: Trio) -> None:
    told = three.json("sources", "preview", "--json", "--limit", "1")
    by: dict[str, Any] = {f"{one['source']} {one['stream']}": one for one in told}
    assert {name for name in by if not by[name]["records"]} == {"hub reverts"}
    assert {one["records"] for one in told} == {0, 1}
    assert by["hub workflow_runs"]["ignored"] == "workflows"
    assert by["ops issues"]["patterns"][0]["pattern"].startswith("(?i)^(incident")
    assert not [one["problem"] for one in told if one["problem"]]


def test_preview_follows_the_patterns_of_the_configuration(three: Trio) -> None:
    three.configure(jobs='["deploy/*"]\ncounts = {deployments = "ship", production = "(?!)"}')
    (builds,) = three.json("sources", "preview", "ci", "--json")
    assert builds["becomes"] == {"build": 2, "not a deployment": 2}
    assert builds["patterns"][0]["others"] == {"deploy/api": 2}


def test_preview_tells_once_what_concerns_a_whole_source(three: Trio) -> None:
    """A stream that cannot be read leaves the others alone; a credential that is refused does not."""
    three.servers["hub"].inject("403_refused", path="/deployments", every=True)
    told = three.json("sources", "preview", "hub", "--json")
    assert [one["stream"] for one in told if one["problem"]] == ["deployments"]
    assert len(told) == 8
    three.servers["hub"].inject("401", every=True)
    said = three("sources", "preview")
    assert said.code == 1
    assert said.out.count("Bad credentials") == 1
    assert "nothing else of hub was asked for" in said.out
    assert "Incident (1)" in said.out


def test_a_record_of_another_shape_is_told_and_stops_nothing(three: Trio) -> None:
    three.board.issues["10000"]["fields"]["issuetype"] = {"name": ["not", "a", "text"]}
    (told,) = three.json("sources", "preview", "ops", "--json")
    assert told["records"] == 2
    assert [name for name in told["becomes"] if name.startswith("unreadable for silver.failures: ")]
    assert told["patterns"][0]["others"] == {"Story": 1}


def test_nothing_that_steers_a_terminal_gets_there(three: Trio) -> None:
    three.repo.deployment(3, ago(1), ("success", ago(1)))["environment"] = "prod\x1b]0;owned\x07"
    told = three("sources", "preview", "hub")
    assert "\x1b" not in told.out
    assert "prod\\x1b]0;owned" in told.out


@pytest.mark.parametrize("fault", ["item_null", "item_text", "item_without_id", "list_for_object", "null"])
def test_answers_of_another_shape_are_told_without_a_traceback(three: Trio, fault: str) -> None:
    """Such as those of another server. What a sweep sets aside, and what it does not, nobody needs to know here."""
    for server in three.servers.values():
        server.inject(fault, every=True)
    for command in ("check", "preview"):
        told = three("sources", command)
        assert told.code in {0, 1}
        assert "Traceback" not in told.out + told.err
        assert "ci" in told.out, "all were asked"
