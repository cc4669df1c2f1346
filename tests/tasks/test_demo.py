"""The demo as a person runs it: what is printed, what arrives in Slack, and whether the commands that it names work."""

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo import MongoClient
from rich.console import Console

from alerting.standin.server import StandIn
from config import settings
from tasks import demonstration_place, demonstration_stage, demonstration_story
from tasks.demonstration_stage import PAGE
from tests.alerting.notifying import part

ROOT = Path(__file__).parent.parent.parent
Demo = Callable[..., str]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Of one commit and one tag."""
    path = tmp_path / "repository"
    path.mkdir()
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "one"], ["tag", "v1"]):
        subprocess.run(["git", *words], cwd=path, check=True)
    return path


@pytest.fixture
def folder(tmp_path: Path, mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like a checkout, and nothing of ours in the environment but the server."""
    for name in [name for name in os.environ if name.startswith(("TOUCHSTONE_", "SLACK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TOUCHSTONE_MONGO_URI", mongo_uri)
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "checkout"
    path.mkdir()
    (path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(path)
    settings.load.cache_clear()
    yield path
    settings.load.cache_clear()
    with MongoClient[Any](mongo_uri) as client:
        for name in client.list_database_names():
            if name.startswith("demo_"):
                client.drop_database(name)


@pytest.fixture
def demo(folder: Path, repository: Path) -> Demo:
    """Runs it there and returns what it prints."""

    def run(**environment: str) -> str:
        words = (sys.executable, "-m", "tasks.cli", "demo", "--repo", str(repository))
        done = touchstone(folder, words, environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def touchstone(folder: Path, words: tuple[str, ...], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)


def printed(text: str) -> list[tuple[str, ...]]:
    """The commands that `text` ends with."""
    lines = text[text.index("Try next:") :].splitlines()
    return [tuple(shlex.split(line)) for line in lines if line.startswith("  touchstone ")]


def test_one_problem_is_one_message_that_ends_resolved(demo: Demo, folder: Path) -> None:
    """With a token and a channel it is told in the real Slack; and every command that is named works."""
    with StandIn() as slack:
        way = {"SLACK_BOT_TOKEN": slack.token, "TOUCHSTONE_SLACK_BASE_URL": slack.base_url}
        text = demo(**way, SLACK_CHANNEL="#alerts")
        (root,) = slack.roots()
        assert slack.name_of(root.channel) == "#alerts"
        before = str(root.versions[0]["blocks"])
        assert "2: 2026-05-13 to 2026-05-14" in before
        assert "all metrics of `psf/requests`" in before
        assert "Critical" in root.versions[0]["text"]
        assert "Resolved" in root.text
        chart, resolved = slack.thread(root)
        assert (len(chart.files), "Resolved" in resolved.text) == (1, True)
        assert {part(one)[0] for one in (root, resolved)} == {incident(text)}
        assert slack.token not in text

        def try_(words: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
            once = ("--once",) if words[-1] == "notify" else ()  # it would go on until stopped
            module = (sys.executable, "-m", "tasks.cli", *words[1:], *once)
            return touchstone(folder, module, {**way, "TOUCHSTONE_SLACK_CHANNEL": "#alerts"})

        commands = printed(text)
        assert commands[-2][-2:] == ("slack", "test")
        with ThreadPoolExecutor(3) as pool:
            for words, done in zip(commands, pool.map(try_, commands), strict=True):
                assert done.returncode == 0, (words, done.stderr)
                assert done.stdout or words[-1] == "notify"
        assert len(slack.roots()) == 2, "slack test posts one, and notify has nothing to tell"


def incident(text: str) -> str:
    """The id that the commands name, which is that of the Gold document."""
    (name,) = re.findall(r"incidents show (\S+)$", text, re.MULTILINE)
    assert f'incidents: ["{name}"]' in text
    return str(name)


def test_told_on_this_machine_and_told_again_it_is_the_same_story(demo: Demo, folder: Path) -> None:
    """The numbers are null with a reason, and come back as other means have counted them.

    A token without a channel is not used, nor sent to the stand-in, which would refuse it.
    """
    token = "xoxb-of-somebody"  # noqa: S105
    again = demo(SLACK_BOT_TOKEN=token, TOUCHSTONE_SLACK_BASE_URL="http://127.0.0.1:9/")
    text = demo()
    assert timeless(text) == timeless(again)
    assert token not in again
    name = incident(text)
    assert "No incidents." in text
    assert text.count("counts 0 releases on 2026-05-13") == 1
    for line in ("deployment_frequency: null", 'trust: "unknown"', "of this window could not be read"):
        assert line in text
    assert text.count("🔴 Critical: bronze.git.tags psf/requests") == 1
    assert text.count("│ ✅ Resolved: bronze.git.tags psf/requests") == 1
    assert text.index("🔴 Critical") < text.index("bronze.git.tags|psf/requests|2026-05-14") < text.index("✅ Resolved")
    assert "56 of 56 days equal" in text
    assert re.search(r"2026-05-14 +1 +2 .*proven", text)
    kept = (folder / PAGE).read_text(encoding="utf-8")
    assert name in kept
    assert "data:image/png" in kept


def timeless(text: str) -> list[str]:
    """The lines of the story without what differs from one telling to the next."""
    story = text[text.index("What happens when") :]
    return re.sub(r"\d\d:\d\d(:\d\d)?|[\d.]+ seconds|(run_id|published_at|revision): \S+.*", "-", story).splitlines()


def test_a_slack_that_does_not_answer_is_replaced(folder: Path) -> None:
    file = io.StringIO()
    assert folder.exists()
    with StandIn() as slack:
        wrong = slack.settings().model_copy(update={"token": SecretStr("xoxb-wrong")})
        with demonstration_stage.prepared(Console(file=file), wrong) as stage:
            assert stage.standin is not None
            assert stage.notifier.once().leader
        assert not slack.messages
    assert "Your Slack says invalid_auth" in file.getvalue()


def test_an_installed_package_has_no_story_to_tell(demo: Demo, folder: Path) -> None:
    """What it shows of a repository is there all the same."""
    (folder / "tests").unlink()
    text = demo()
    assert "is left out: it is told with a recorded history" in text
    assert "DORA metrics of repository" in text
    assert ("touchstone", "slack", "test") in printed(text)


def test_a_database_of_somebody_else_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_MONGO_DATABASE", "production")
    file = io.StringIO()
    assert folder.exists()
    assert demonstration_story.tell(Console(file=file, width=200), None) is None
    assert "TOUCHSTONE_MONGO_DATABASE names another one" in file.getvalue()


@pytest.mark.parametrize(
    ("environment", "channel"),
    [
        ({}, None),
        ({"SLACK_CHANNEL": "#a"}, None),  # without a token nobody is told
        ({"SLACK_BOT_TOKEN": "x"}, None),  # nor without a channel
        ({"SLACK_BOT_TOKEN": "x", "TOUCHSTONE_SLACK_CHANNEL": "#b"}, "#b"),
        ({"SLACK_BOT_TOKEN": "x", "SLACK_CHANNEL": "#a", "TOUCHSTONE_SLACK_CHANNEL": "#b"}, "#a"),
    ],
)
def test_the_real_slack_takes_a_token_and_a_channel(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], channel: str | None
) -> None:
    assert folder.exists()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.load.cache_clear()
    slack = demonstration_stage.slack_of_user()
    assert (slack.channel if slack else None) == channel


def test_a_command_is_fit_for_a_shell(folder: Path) -> None:
    """A program that is not where a checkout has it is looked for on the path."""
    path = Path("a b/touchstone.toml")
    assert demonstration_place.command(path, "metrics", "--scope", "x y") == (
        "touchstone --config 'a b/touchstone.toml' metrics --scope 'x y'"
    )
    program = folder / demonstration_place.PROGRAM
    program.parent.mkdir(parents=True)
    program.touch()
    assert demonstration_place.command(None, "status") == ".venv/bin/touchstone status"
