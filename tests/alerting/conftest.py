"""The stand-in for Slack, settings that point at it, and a clock."""

from collections.abc import Iterator

import pytest

from alerting.slack.client import Client
from alerting.standin.server import StandIn
from alerting.store import Store
from config import settings
from tests.alerting.notifying import Clock, configured, store_of


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Takes messages as fast as they come; nothing of the environment stands between it and a client."""
    for name in ("SLACK_BOT_TOKEN", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with StandIn() as standin:
        yield standin


@pytest.fixture
def client(slack: StandIn) -> Client:
    return Client(slack.settings(timeout=5))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(database: str, slack: StandIn) -> settings.Settings:  # noqa: ARG001 - names the database
    return configured(slack)


@pytest.fixture
def store(told: settings.Settings) -> Store:
    return store_of(told)
