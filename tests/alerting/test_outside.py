"""What the world outside sees of a notifier: a dead man's switch, and metrics."""

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr, ValidationError

from alerting import deadman
from alerting.exposition import Exposition
from alerting.incidents import Kind
from alerting.notifier import Notifier
from alerting.pace import Pace
from alerting.standin import faults
from alerting.standin.server import StandIn
from alerting.store import Store
from config import mongo, settings
from tests.alerting.notifying import CHANNEL, Clock, configured, eventually, key, of, report, running, store_of

QUICK = 0.05
OK = b"HTTP/1.0 204 No Content\r\n\r\n"


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives every request the same answer; its address, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/ping/s3cr3t", asked
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def with_deadman(slack: StandIn, url: str) -> settings.Settings:
    return configured(slack, notifier={"deadman_url": SecretStr(url)})


@pytest.mark.usefixtures("database")
def test_the_dead_man_is_asked_while_all_is_well(slack: StandIn, clock: Clock) -> None:
    with answering(OK) as (url, asked), running(with_deadman(slack, url), clock):
        eventually(lambda: asked)
    assert asked[0].startswith(b"GET /ping/s3cr3t ")


@pytest.mark.usefixtures("database")
def test_a_run_by_cron_asks_the_dead_man_too(slack: StandIn) -> None:
    with answering(OK) as (url, asked):
        Notifier(with_deadman(slack, url)).once()
        assert asked


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.0 500 No\r\n\r\n"], ids=["garbage", "none", "500"]
)
def test_an_answer_that_is_none_stops_nothing_and_its_address_is_told_to_nobody(
    database: str, slack: StandIn, clock: Clock, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert database
    with answering(answer) as (url, asked):
        told = with_deadman(slack, url)
        with running(told, clock, pace=Pace(QUICK)):
            eventually(lambda: asked)
            [incident] = store_of(told).fold([report(key(), clock())], clock())
            slack.wait_for(lambda: of(slack, incident))
        eventually(lambda: not deadman._asking.locked())
    assert "s3cr3t" not in caplog.text


@pytest.mark.usefixtures("database")
def test_the_dead_man_is_not_asked_while_no_message_arrives(slack: StandIn, clock: Clock) -> None:
    slack.fail("chat.postMessage", faults.server_error(), times=1000)
    with answering(OK) as (url, asked):
        told = with_deadman(slack, url)
        store_of(told).fold([report(key(), clock())], clock())
        pace = Pace(QUICK)
        pace._failures[CHANNEL] = 5
        with running(told, clock, pace=pace):
            eventually(lambda: slack.counts["chat.postMessage"] > 1)
        assert asked == []


@pytest.mark.parametrize(
    "url", ["ftp://example.com/s3cr3t", "https:///s3cr3t", "s3cr3t", "https://exa mple.com/s3cr3t"]
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings.Notifier(deadman_url=SecretStr(url))
    assert "s3cr3t" not in str(refused.value)


def test_a_sign_of_life_cannot_be_asked_for_more_often_than_it_is_given() -> None:
    with pytest.raises(ValidationError, match="heartbeat_seconds"):
        settings.Notifier(heartbeat_seconds=4, lease_seconds=12)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.usefixtures("database")
def test_metrics_are_there_while_it_runs_and_only_then(slack: StandIn, clock: Clock) -> None:
    """A run that stands in, and one by cron beside it, need no port of their own."""
    port = free_port()
    told = configured(slack, notifier={"metrics_port": port})
    mongo.database(told)
    address = f"http://127.0.0.1:{port}/metrics"
    with running(told, clock, pace=Pace(QUICK)):
        Store.of(mongo.database(told), told).fold([report(key(), clock())], clock())
        slack.wait_for(lambda: slack.messages)
        assert Notifier(told).once().leader is False

        def shown() -> str:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read(), "utf-8")

        eventually(lambda: 'touchstone_messages_told_total{reason="opened"} 1.0' in shown())
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


def test_a_port_that_is_taken_is_a_mistake_in_the_configuration() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(settings.ConfigError, match="metrics_port"):
        Exposition(server.getsockname()[1])


@pytest.mark.usefixtures("database")
def test_trouble_with_the_default_channel_is_told_in_another_one(slack: StandIn, clock: Clock) -> None:
    told = configured(slack, routes=(settings.Route(scope="alerts/*", channel="#alerts"),))
    slack.workspace.channels.pop(slack.id_of(CHANNEL))
    store = store_of(told)
    store.fold([report(key("acme/api"), clock())], clock())
    with running(told, clock, pace=Pace(QUICK)):
        slack.wait_for(lambda: slack.messages)
        [trouble] = store.listed({"kind": str(Kind.DELIVERY)})
        assert slack.name_of(of(slack, trouble)[0].channel) == "#alerts"
