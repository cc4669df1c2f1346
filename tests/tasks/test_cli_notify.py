"""`notify` and `slack test` against a local stand-in for Slack: who is told what, and what a person is told to do."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from alerting.incidents import Facts, Incident, Key, Kind, Report
from alerting.standin.server import StandIn
from alerting.store import Store
from config import settings
from tasks import cli
from tasks.context import Context

COMMAND = [sys.executable, "-m", "tasks.cli"]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def slack() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture
def config(database: str, tmp_path: Path, slack: StandIn, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """A project whose notifier talks to the stand-in."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", slack.token)
    path = tmp_path / "touchstone.toml"
    path.write_text(f'[slack]\nbase_url = "{slack.base_url}"\nchannel = "#data-quality"\n', encoding="utf-8")
    return path


def run(config: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, "--config", str(config), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def opened(context: Context, check: str = "rows") -> Incident:
    report = Report(
        Key("silver.deployments", "acme/api", check), datetime.now(UTC), failed=True, kind=Kind.FINDING,
        window=date(2026, 11, 3), facts=Facts(f"{check} is broken"),
    )  # fmt: skip
    (incident,) = Store.of(context.db, context.settings).fold([report])
    return incident


def test_once_delivers_what_is_owed_and_ends(config: Path, slack: StandIn, context: Context) -> None:
    incident = opened(context)
    ran = run(config, "notify", "--once")
    assert (ran.returncode, "1 told, 0 failed, 0 still owed." in ran.stderr) == (0, True), ran.stderr
    (message,) = slack.messages
    assert (message.metadata or {})["event_payload"]["incident"] == incident.id
    again = run(config, "notify", "--once")
    assert (again.returncode, len(slack.messages)) == (0, 1), again.stderr


def test_a_notifier_tells_at_once_and_ends_well_when_asked_to(config: Path, slack: StandIn, context: Context) -> None:
    """What systemd sees: it starts, each event is a JSON line, SIGTERM ends it with 0."""
    command = [*COMMAND, "--config", str(config), "notify", "--log-format", "json"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            first, second = opened(context, "first"), opened(context, "second")
            slack.wait_for(lambda: len(slack.messages) == 2, 60)
            process.send_signal(signal.SIGTERM)
            _, printed = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, printed
    lines = [json.loads(line) for line in printed.splitlines()]
    assert {line["incident"] for line in lines if line["event"] == "told"} == {first.id, second.id}
    assert slack.token not in printed


@pytest.mark.parametrize(
    ("environment", "text", "told"),
    [
        ({}, "", "nobody can be told. Set SLACK_BOT_TOKEN"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "", "no channel to tell it in"),
        ({"SLACK_BOT_TOKEN": ""}, '[slack]\nchannel = "#x"\n', "nobody can be told"),
        ({}, '[slack]\ntoken_file = "absent"\nchannel = "#x"\n', "absent cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [("notify",), ("notify", "--once"), ("slack", "test")])
def test_without_anybody_to_tell_it_refuses_at_once(  # noqa: PLR0917 - a table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    text: str,
    told: str,
    command: tuple[str, ...],
) -> None:
    """A service that runs and tells nobody would be the silence that it is there against."""
    for name in ("SLACK_BOT_TOKEN", "TOUCHSTONE_SLACK_TOKEN", "TOUCHSTONE_SLACK_WEBHOOK_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "touchstone.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv(settings.CONFIG_VARIABLE, str(path))
    monkeypatch.setattr(sys, "argv", ["touchstone", *command])
    settings.load.cache_clear()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    settings.load.cache_clear()
    printed = capsys.readouterr().err
    assert (ended.value.code, told in printed) == (2, True), printed


def test_a_trial_goes_all_the_way_and_leaves_one_resolved_message(config: Path, slack: StandIn) -> None:
    ran = run(config, "slack", "test")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    lines = ran.stdout.splitlines()
    assert all(line.startswith(("ok ", "- ")) for line in lines), ran.stdout
    for step in ("token: ", "scope chat:write: ", "post a message: ", "find it again", "edit it", "answer in its t",
                 "put a chart into the thread"):  # fmt: skip
        assert any(line.startswith(f"ok  {step}") for line in lines), step
    root, reply = (one for one in slack.messages if one.text)
    assert (root.thread_ts, reply.thread_ts, root.edited_at is not None) == (None, root.ts, True)
    assert slack.token not in ran.stdout
    assert [len(one.files) for one in slack.messages] == [0, 0, 1]


def test_what_is_missing_is_named_with_what_it_is_for(config: Path, slack: StandIn) -> None:
    """Whoever sets it up learns of every gap in one go, not of one after the other in the nights to come."""
    slack.workspace.scopes -= {"channels:history", "files:write"}
    ran = run(config, "slack", "test")
    assert ran.returncode == 1
    for line in (
        "no  scope channels:history is missing: ", "no  scope files:write is missing: ", "ok  post a message: ",
        "no  find it again: Slack says missing_scope; add the scope", "ok  edit it: ", "ok  answer in its thread",
        "no  put a chart into the thread: Slack says missing_scope",
    ):  # fmt: skip
        assert any(told.startswith(line) for told in ran.stdout.splitlines()), (line, ran.stdout)


def test_a_channel_without_the_bot_and_a_wrong_token_are_told_with_what_to_do(
    config: Path, slack: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.workspace.add_channel("#elsewhere", member=False)
    ran = run(config, "slack", "test", "--channel", "#elsewhere")
    assert ran.returncode == 1
    assert (
        "no  post a message: Slack says not_in_channel; invite the bot: /invite @touchstone in #elsewhere" in ran.stdout
    )
    assert slack.messages == []
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-wrong")
    ran = run(config, "slack", "test")
    assert (ran.returncode, "no  token: Slack says invalid_auth; the token is wrong" in ran.stdout) == (1, True)


def test_a_webhook_is_tried_as_far_as_it_goes(config: Path, slack: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLACK_BOT_TOKEN")
    monkeypatch.setenv("TOUCHSTONE_SLACK_WEBHOOK_URL", slack.webhook_url)
    ran = run(config, "slack", "test")
    assert (ran.returncode, len(slack.messages)) == (0, 2), ran.stdout
    assert "a webhook cannot edit" in ran.stdout
    assert slack.webhook_url not in ran.stdout
