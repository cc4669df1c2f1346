"""A stand-in of GitHub on loopback, and a source that asks it."""

from collections.abc import Callable, Iterator

import pytest

from config.sources import GitHub
from tasks.sources.github.source import GitHubSource
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Hub, Repo

TOKEN = "ghp_canaryCanaryCanary0123456789"  # noqa: S105 - of nobody
KEY = b"a key of pseudonyms"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)


@pytest.fixture
def repo() -> Repo:
    return Repo()


@pytest.fixture
def hub(repo: Repo) -> Hub:
    return Hub(repo)


@pytest.fixture
def server(hub: Hub) -> Iterator[FaultyServer]:
    with FaultyServer(hub) as server:
        yield server


@pytest.fixture
def source(server: FaultyServer) -> Callable[..., GitHubSource]:
    """Makes one with these settings."""

    def make(page_size: int = 100, key: bytes | None = KEY, **settings: object) -> GitHubSource:
        section = GitHub.model_validate({
            "type": "github", "name": "hub", "base_url": server.url, "repositories": ["acme/api"],
            "since": "2026-10-01", "requests": {"retries": 1}, **settings,
        })  # fmt: skip
        return GitHubSource(section, key, sleep=lambda _: None, page_size=page_size)

    return make
