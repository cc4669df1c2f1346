"""MongoDB is gone: that is said once, in Slack directly, and taken back when it answers again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerting import direct
from alerting.pace import Pace
from alerting.slack.client import Client
from alerting.standin import faults
from alerting.standin.server import StandIn
from alerting.standin.workspace import Message
from config import mongo, mongod, settings
from tests.alerting.notifying import Clock, configured, eventually, key, of, report, running, store_of


@pytest.fixture
def watch(told: settings.Settings, clock: Clock) -> direct.Watch:
    return direct.Watch(told, Client(told.slack), clock, grace_seconds=0.0)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(direct, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(direct, "FOLLOWER_SECONDS", 0.0)


def standing(slack: StandIn) -> list[Message]:
    """Those that say that MongoDB does not answer."""
    return [one for one in slack.messages if "does not answer" in one.text]


def test_it_is_said_once_however_long_it_lasts_and_taken_back_once(watch: direct.Watch, slack: StandIn) -> None:
    for _ in range(3):
        watch.failed()
    assert len(standing(slack)) == len(slack.messages) == 1
    for _ in range(3):
        watch.well(leads=True)
    assert not standing(slack)
    [message] = slack.messages
    assert "answers again" in message.text
    assert slack.counts["chat.update"] == 1


def test_what_passes_within_the_grace_is_not_said(told: settings.Settings, slack: StandIn, clock: Clock) -> None:
    """An election takes up to 12 s."""
    watch = direct.Watch(told, Client(told.slack), clock)
    watch.failed()
    watch.well(leads=True)
    watch.failed()
    assert slack.counts.total() == 0


def test_of_several_notifiers_one_says_it(told: settings.Settings, slack: StandIn, clock: Clock) -> None:
    watches = [direct.Watch(told, Client(told.slack), clock, 0.0) for _ in range(3)]
    for watch in watches:
        watch.failed()
    assert len(slack.messages) == 1
    for watch, leads in zip(watches, (False, True, False), strict=True):
        watch.well(leads=leads)
    assert not standing(slack)
    watches[0].well(leads=True)
    watches[2].well(leads=True)
    assert len(slack.messages) == 1


def test_who_did_not_lead_waits_longer(
    told: settings.Settings, slack: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "FOLLOWER_SECONDS", 60.0)
    watch = direct.Watch(told, Client(told.slack), clock, 0.0)
    watch.failed()
    assert not slack.messages
    watch.well(leads=True)
    watch.failed()
    assert len(slack.messages) == 1


def test_the_next_outage_is_said_anew(
    watch: direct.Watch, told: settings.Settings, slack: StandIn, clock: Clock
) -> None:
    """Also by a notifier that was started since, and finds the message of the last one."""
    watch.failed()
    watch.well(leads=True)
    direct.Watch(told, Client(told.slack), clock, 0.0).failed()
    assert len(slack.messages) == 2
    assert len(standing(slack)) == 1


def test_who_comes_after_a_notifier_that_died_takes_back_what_it_said(
    watch: direct.Watch, told: settings.Settings, slack: StandIn, clock: Clock
) -> None:
    watch.failed()
    later = direct.Watch(told, Client(told.slack), clock)
    later.well(leads=True, doubtful=True)
    assert not standing(slack)
    calls = slack.counts.total()
    later.well(leads=True)
    assert slack.counts.total() == calls


def test_a_lost_answer_does_not_double_it(watch: direct.Watch, slack: StandIn) -> None:
    slack.fail("chat.postMessage", faults.dropped())
    watch.failed()
    watch.failed()
    assert len(slack.messages) == 1
    slack.fail("chat.update", faults.server_error())
    watch.well(leads=True)
    watch.well(leads=True)
    assert not standing(slack)


def test_where_the_channel_cannot_be_read_it_is_said_all_the_same(watch: direct.Watch, slack: StandIn) -> None:
    slack.workspace.scopes.discard("channels:history")
    watch.failed()
    assert len(standing(slack)) == 1


def test_a_webhook_says_both(told: settings.Settings, slack: StandIn, clock: Clock) -> None:
    watch = direct.Watch(told, Client(slack.settings(webhook=True)), clock, 0.0)
    watch.failed()
    watch.failed()
    watch.well(leads=True)
    assert ["again" in one.text for one in slack.messages] == [False, True]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mongod.Embedded]:
    """A MongoDB of one's own."""
    with mongod.embedded(tmp_path) as one:
        monkeypatch.setenv("TOUCHSTONE_MONGO_URI", one.uri)
        monkeypatch.setenv("TOUCHSTONE_MONGO_DATABASE", "outage")
        monkeypatch.setenv("TOUCHSTONE_MONGO_TIMEOUT_SECONDS", "0.3")
        settings.load.cache_clear()
        yield one
        settings.load.cache_clear()
        mongo.close()


def test_an_outage_is_said_once_by_two_notifiers_and_nothing_that_is_owed_is_lost(
    server: mongod.Embedded, tmp_path: Path, slack: StandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mongod that is killed, and started again on the same data and port; an incident was being delivered."""
    monkeypatch.setattr(direct.Watch.__init__, "__defaults__", (0.2,))
    told = configured(slack)
    store = store_of(told)
    slack.decide = lambda call: (
        faults.server_error() if call.method == "chat.postMessage" and is_incident(call.arguments) else None
    )
    [incident] = store.fold([report(key(), clock())], clock())
    with running(told, clock, pace=Pace(0.05)), running(told, clock, pace=Pace(0.05)):
        slack.wait_for(lambda: slack.counts["chat.postMessage"])
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: standing(slack))
        with mongod.embedded(tmp_path) as again:
            assert again.uri == server.uri
            slack.decide = lambda _: None
            slack.wait_for(lambda: not standing(slack), 30)
            slack.wait_for(lambda: of(slack, incident), 30)
            eventually(lambda: not store.owed(clock()))
    assert len(of(slack, incident)) == 1
    assert len(slack.messages) == 2


def is_incident(arguments: dict[str, object]) -> bool:
    """Whether it is the message of an incident, and not one that is told directly."""
    return "direct" not in str(arguments.get("metadata"))
