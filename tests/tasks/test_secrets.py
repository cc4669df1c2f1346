"""Canary tokens of all three sources are put wherever tokens may be, and looked for wherever anything is told.

What is looked through: what commands print, logs at their most talkative with tracebacks, errors with all that they
were caused by, all of MongoDB, Luigi's parameters, incidents, what goes to Slack, files, settings as texts, and docs.
"""

import json
import logging
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import bson
import luigi.scheduler
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from alerting.notifier import Notifier
from alerting.standin.server import StandIn
from config import mongo, settings
from config.settings import ConfigError
from config.sources import Jenkins, Jira
from tasks.sources import people, registry
from tasks.sources.contract import SourceError
from tasks.sources.http import failures
from tests.alerting.notifying import configured
from tests.tasks.canaries import Told, forms
from tests.tasks.sources.jira.board import USER
from tests.tasks.trio import INSTALLED, NAMES, READER, TOKENS, Trio, fill, since, today, trio

ROOT: Final = Path(__file__).parent.parent.parent
KEY: Final = "pseudonymsAreMadeWithThisC4nary"
FAULTS: Final = (
    "401_that_tells_the_token", "302_login", "307_elsewhere", "not_json", "error_object", "next_page_elsewhere",
)  # fmt: skip
"""Of each class one; that nobody listens is another."""
PLACES: Final = ("environment", "file", "configuration", "app")


@pytest.fixture
def told() -> Told:
    made = Told()
    users = {"JIRA_TOKEN": USER, "JENKINS_TOKEN": READER}
    for name, token in TOKENS.items():
        made.canaries |= forms(token, users.get(name, ""))
    made.canaries |= forms(KEY) | forms(INSTALLED.removeprefix("Bearer "))
    return made


@pytest.fixture
def three(
    database: str,  # noqa: ARG001 - names the database
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Trio]:
    with trio(monkeypatch, capsys, tmp_path) as three:
        fill(three)
        three.more += f'[privacy]\npseudonym_key = "{KEY}"\n'
        three.configure(requests="{retries = 0, timeout_seconds = 0.5, longest_wait_seconds = 0.0}")
        yield three


@pytest.fixture
def parameters(monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    """What Luigi's scheduler is told of tasks and shows on its pages: names, parameters, and why something failed."""
    original = luigi.scheduler.Scheduler.add_task

    def add_task(self: luigi.scheduler.Scheduler, *given: Any, **named: Any) -> Any:
        told.add("luigi's scheduler", repr((given, named)))
        return original(self, *given, **named)

    monkeypatch.setattr(luigi.scheduler.Scheduler, "add_task", add_task)


def put(three: Trio, place: str, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    """The tokens where they are to be."""
    if place == "environment":
        return
    if place == "app":
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (three.folder / "app.pem").write_bytes(pem)
        told.canaries |= {line for line in pem.decode().splitlines() if not line.startswith("-") and len(line) > 20}
        monkeypatch.delenv("GITHUB_TOKEN")
        three.configure(
            repositories='["acme/api"]\napp = {id = "Iv1.something", installation = 42, key_file = "app.pem"}'
        )
        return
    keys = dict(zip(NAMES, ("repositories", "projects", "jobs"), strict=True))
    usual = {"repositories": '["acme/api"]', "projects": '["OPS"]', "jobs": '["deploy/*"]'}
    for name, variable in zip(NAMES, TOKENS, strict=True):
        monkeypatch.delenv(variable)
        (three.folder / f"{name}.txt").write_text(f"{TOKENS[variable]}\n", encoding="utf-8")
        more = f'token_file = "{name}.txt"' if place == "file" else f'token = "{TOKENS[variable]}"'
        three.configure(**{keys[name]: f"{usual[keys[name]]}\n{more}"})


def say(three: Trio, told: Told, *arguments: str) -> int:
    """Run a command; what it prints is told."""
    ran = three(*arguments)
    told.add(f"printed by {' '.join(arguments)}", f"{ran.out}\n{ran.err}")
    return ran.code


def deliver(slack: StandIn, told: Told) -> None:
    """Tell the incidents that are open."""
    Notifier(configured(slack)).once()
    told.add("Slack", repr(slack.messages))
    for message in slack.messages:
        for file in message.files:
            told.add("Slack", file.content)


def look_around(three: Trio, told: Told) -> None:
    """What is stored and shown after runs."""
    database = mongo.database(settings.load())
    for name in database.list_collection_names():
        for document in database[name].find():
            told.add(f"MongoDB {name}", bson.encode(document))
            told.add(f"MongoDB {name}", repr(document))
    own = {"touchstone.toml", "app.pem", *(f"{name}.txt" for name in NAMES)}
    for path in three.folder.rglob("*"):
        if path.is_file() and path.name not in own:
            told.add(f"file {path.name}", path.read_bytes())
    loaded = settings.load()
    for shown in (repr(loaded), str(loaded), loaded.model_dump_json(), str(loaded.model_dump()), *map(repr, loaded)):
        told.add("settings", shown)
    for source in registry.configured(loaded):
        told.add("sources", repr(source) + str(source))


def errors(three: Trio, told: Told) -> None:
    """What each source raises, as code of others would see it."""
    for source in registry.configured(settings.load()):
        for unit in source.units():
            try:
                for part in source.sweep(unit, None, today()):
                    told.add(f"sweep of {source.name}", repr(part))
            except SourceError as error:
                told.error(f"error of {source.name}", error)
    assert three


def spoil(three: Trio, fault: str) -> None:
    for server in three.servers.values():
        server.heal()
        server.inject(fault, every=True)


@pytest.mark.usefixtures("parameters")
@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_told_anywhere(
    three: Trio, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """Well, in each class of failure, and when a connector breaks."""
    put(three, place, monkeypatch, told)
    whole = place == "environment"
    if not whole:
        caplog.set_level(logging.INFO, "pymongo")
    days = ("--from", str(since() if whole else today().date()), "--to", str(today().date()))
    with caplog.at_level(logging.DEBUG), StandIn() as slack:
        assert say(three, told, "sources", "check") == 0
        assert say(three, told, "sources", "preview") == 0
        assert say(three, told, "--verbose", "backfill", *days) == 0
        for number, fault in enumerate(FAULTS if whole else FAULTS[:1]):
            spoil(three, fault)
            assert say(three, told, "sources", "check", *([] if number else ["--json"])) == 1 or "page" in fault
            say(three, told, "sources", "preview")
            errors(three, told)
            if number < 2:
                assert say(three, told, "--verbose", "run") == 1
        deliver(slack, told)
        if whole:
            _unreachable(three, told)
            _crash(three, told, monkeypatch)
            deliver(slack, told)
            for command in (("status",), ("status", "--json"), ("incidents", "list", "--json"), ("metrics", *days)):
                say(three, told, *command)
        look_around(three, told)
        told.add("log", caplog.text)
        told.add("log records", "".join(str(vars(record)) for record in caplog.records))
        assert slack.messages
    assert ("ZeroDivisionError" in caplog.text) == whole, "the traceback of a crash is told"
    assert {where.split()[0] for where, _ in told.texts} >= {"printed", "error", "MongoDB", "Slack", "luigi's", "log"}
    if place == "app":
        assert three.hub.proofs
        told.canaries |= {proof.removeprefix("Bearer ") for proof in three.hub.proofs}
    assert not told.hits()
    for server in three.servers.values():
        assert any("authorization" in one.headers for one in server.requests), "or nothing was at stake"
        assert not [one for one in server.strays if "authorization" in one.headers]


def _unreachable(three: Trio, told: Told) -> None:
    for server in three.servers.values():
        server.heal()
        server.stop_listening()
    assert say(three, told, "--verbose", "run") == 1
    errors(three, told)


def _crash(three: Trio, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours, in the middle of each connector."""
    for server in three.servers.values():
        server.heal()
    three.repo.pull(3, today().timestamp())
    three.jenkins.job("deploy/api").run(today())
    three.board.edit("10000")
    with monkeypatch.context() as broken:
        broken.setattr(people, "_walk", lambda *_: 1 // 0)
        assert say(three, told, "--verbose", "run") == 1


@pytest.mark.parametrize(
    "mistake",
    [
        lambda token: f'token = ["{token}"]',
        lambda token: f'tokn = "{token}"',
        lambda token: f'token = "{token}',
        lambda token: f'token_variable = "{token}"',
        lambda token: f'token = {{value = "{token}"}}',
        lambda token: f'base_url = "https://me:{token}@ci.example/"',
        lambda token: f'base_url = "http://ci.example/?token={token}"',
        lambda token: f'base_url = "https://ci.example/?token={token}"',
        lambda token: f'base_url = "https://ci.example/#{token}"',
        lambda token: f'canary = {{token = "{token}"}}',
    ],
)
def test_a_mistake_in_the_configuration_is_told_without_what_it_is_about(
    three: Trio, told: Told, mistake: Callable[[str], str]
) -> None:
    """A token that is in the wrong place is a token."""
    text = three.configure().replace('type = "jenkins"', f'type = "jenkins"\n{mistake(TOKENS["JENKINS_TOKEN"])}')
    if "base_url" in mistake(""):
        text = text.replace(f'base_url = "{three.servers["ci"].url}"\n', "")
    (three.folder / "touchstone.toml").write_text(text, encoding="utf-8")
    settings.load.cache_clear()
    with pytest.raises(ConfigError) as error:
        settings.load()
    told.error("configuration", error.value)
    ran = three.run("status")
    told.add("printed", ran.out + ran.err)
    assert ran.code == 2
    assert not told.hits()


@pytest.mark.parametrize("token", [f"{TOKENS['JIRA_TOKEN']}\nX-Evil: 1", f"{TOKENS['JIRA_TOKEN']}\u00df"])
def test_a_token_that_no_header_can_hold_is_not_told(
    three: Trio, told: Told, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    for name in TOKENS:
        monkeypatch.setenv(name, token)
    assert say(three, told, "sources", "check") == 1
    assert say(three, told, "--verbose", "backfill", "--from", str(today().date()), "--to", str(today().date())) == 1
    errors(three, told)
    look_around(three, told)
    assert not told.hits()


def test_a_key_that_is_none_is_not_told(three: Trio, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes the token into the file of the App's key."""
    put(three, "app", monkeypatch, told)
    (three.folder / "app.pem").write_text(TOKENS["GITHUB_TOKEN"], encoding="utf-8")
    assert say(three, told, "sources", "check") == 1
    assert say(three, told, "sources", "preview") == 1
    assert [text for _, text in told.texts if b"holds no private key" in text]
    assert not told.hits()


def test_sections_tell_no_token(told: Told) -> None:
    for kind, more in ((Jira, {"projects": ["OPS"], "user": USER}), (Jenkins, {"jobs": ["a"]})):
        token = TOKENS[f"{kind.__name__.upper()}_TOKEN"]
        base = {"name": "a", "since": "2026-01-01", "base_url": "https://a.example/", "token": token}
        made = kind.model_validate({"type": kind.__name__.lower(), **base, **more})
        told.add("section", f"{made!r} {made} {made.model_dump()} {made.model_dump_json()} {vars(made)}")
        assert made.secret() == os.environ.get(made.variable, token)
    assert not told.hits()


def test_nothing_that_people_read_holds_a_token_of_the_tests(told: Told) -> None:
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*"), *ROOT.glob("config/*.toml")):
        told.add(str(path), path.read_bytes())
    assert len(told.texts) > 10
    assert not told.hits()


def test_the_search_finds_what_leaks(three: Trio, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one line taken out that hides what servers repeat, the canaries are all over the place."""
    monkeypatch.setattr(failures, "shown", lambda text, *_: text)
    spoil(three, "401_that_tells_the_token")
    say(three, told, "sources", "check")
    say(three, told, "--verbose", "backfill", "--from", str(since()), "--to", str(today().date()))
    errors(three, told)
    with StandIn() as slack:
        deliver(slack, told)
    look_around(three, told)
    where = told.hits()
    assert {one.split()[0] for one in where} >= {"printed", "error", "MongoDB", "Slack"}
    assert {one for one in where if one.startswith("error")} == {f"error of {name}" for name in NAMES}


@pytest.mark.parametrize("name", [*TOKENS])
def test_the_search_knows_each_form(told: Told, name: str) -> None:
    token = TOKENS[name]
    user = {"JIRA_TOKEN": USER, "JENKINS_TOKEN": READER}.get(name, "me")
    for written in (
        token, quote(token, safe=""), json.dumps({"a": token}), b64encode(token.encode()).decode(),
        b64encode(f"{user}:{token}".encode()).decode(), b64encode(f"x{token}!".encode()).decode(), token.encode().hex(),
    ):  # fmt: skip
        told.texts.clear()
        told.add("here", f"<{written}>")
        assert told.hits() == {"here"}, written
