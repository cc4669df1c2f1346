"""GitHub, Jira and Jenkins on loopback, one configuration that names them, and the command line over it."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from config import settings
from tasks import cli, cli_sources
from tests.tasks.calling import caller
from tests.tasks.sources.exchanges import Response
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.github.hub import Hub, Repo
from tests.tasks.sources.jenkins.controller import Controller
from tests.tasks.sources.jira.board import TOKEN, USER, Board

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from tests.tasks.calling import Ran, Run
    from tests.tasks.sources.exchanges import Request

    App = Callable[[Request], Response]

TOKENS: Final = {
    "GITHUB_TOKEN": "c4nary+of/the=hub.0123456789", "JIRA_TOKEN": TOKEN,
    "JENKINS_TOKEN": "11c4naryOfJenkinsThatIsSecret",
}  # fmt: skip
READER: Final = "metrics"
INSTALLED: Final = "Bearer ghs_installation_"
"""How the tokens of installations that the hub gives begin, before their number."""
NAMES: Final = ("hub", "ops", "ci")
CONFIG: Final = """
[[sources]]
type = "github"
name = "hub"
since = {since}
base_url = "{hub}"
repositories = {repositories}
requests = {requests}

[[sources]]
type = "jira"
name = "ops"
since = {since}
base_url = "{ops}"
user = "{user}"
projects = {projects}
requests = {requests}

[[sources]]
type = "jenkins"
name = "ci"
since = {since}
base_url = "{ci}"
user = "{reader}"
jobs = {jobs}
requests = {requests}
"""
SERVICE: Final = """
[[services]]
name = "shop"
repositories = ["acme/api"]
jobs = ["deploy/*"]
projects = ["OPS"]
"""


def today() -> datetime:
    """Midnight (UTC) before now: the clock of the pipeline is that of the machine."""
    return datetime.combine(datetime.now(UTC).date(), datetime.min.time(), UTC)


@dataclass
class Trio:
    """The three servers, which can go wrong, and what they serve."""

    folder: Path
    run: Run
    servers: dict[str, FaultyServer]
    repo: Repo
    hub: Hub
    board: Board
    jenkins: Controller
    more: str = SERVICE
    told: dict[str, Any] = field(default_factory=dict)
    """What of the configuration is otherwise."""

    def configure(self, **told: Any) -> str:
        """Write the configuration; what is told stays so."""
        self.told |= told
        usual: dict[str, Any] = {
            "since": since(), "repositories": '["acme/api"]', "projects": '["OPS"]', "jobs": '["deploy/*"]',
            "requests": "{retries = 0, timeout_seconds = 5.0, longest_wait_seconds = 0.0}", "user": USER,
            "reader": READER,
        }  # fmt: skip
        urls = {name: server.url for name, server in self.servers.items()}
        text = CONFIG.format(**usual | urls | self.told) + self.more
        (self.folder / "touchstone.toml").write_text(text, encoding="utf-8")
        settings.load.cache_clear()
        return text

    def __call__(self, *arguments: str) -> Ran:
        """Run a command under the present configuration."""
        self.configure()
        return self.run(*arguments)

    def json(self, *arguments: str) -> Any:
        """What a command prints."""
        return json.loads(self(*arguments).out)


def ago(days: float) -> float:
    """Epoch seconds of so many days before today."""
    return (today() - timedelta(days=days)).timestamp()


def fill(three: Trio) -> None:
    """Put something of each stream there, much of which counts."""
    repo = three.repo
    first = repo.commit("a", ago(8))
    repo.pull(1, ago(7), merged=ago(7))
    repo.pull(2, ago(6))
    repo.deployment(1, ago(6), ("success", ago(6) + 60))["sha"] = first
    repo.deployment(2, ago(5), ("failure", ago(5) + 60))["environment"] = "staging"
    repo.run(7, ago(5), name="Deploy to production")
    repo.run(8, ago(5), name="checks of each push that take a long time and have a long name")
    repo.release(1, ago(4))
    repo.tag("v1", first)
    repo.issue(9, ago(3), labels=["incident"])
    repo.issue(10, ago(3), labels=["bug"])
    three.board.now = today()
    three.board.make(today() - timedelta(days=2))
    three.board.make(today() - timedelta(days=2), kind="Story")
    job = three.jenkins.job("deploy/api")
    job.run(today() - timedelta(days=2))
    job.run(today() - timedelta(days=1), result="FAILURE")


def since() -> date:
    """Ten days ago: the first day of the configuration."""
    return (today() - timedelta(days=10)).date()


@contextmanager
def trio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Iterator[Trio]:
    """All three, with tokens in the environment, until the end of the block; `sources` prints 100 columns."""
    for name, token in TOKENS.items():
        monkeypatch.setenv(name, token)
    monkeypatch.setattr(cli_sources, "out", Console(highlight=False, width=100))
    monkeypatch.setattr(cli, "out", Console(highlight=False, width=200))
    repo, board, jenkins = Repo(), Board(), Controller()
    hub = Hub(repo)
    board.before = lambda request: _by_the_clock(board, request)
    run = caller(monkeypatch, capsys, folder)
    with ExitStack() as stack:
        basic = b64encode(f"{READER}:{TOKENS['JENKINS_TOKEN']}".encode()).decode()
        hubs = (f"Bearer {TOKENS['GITHUB_TOKEN']}", INSTALLED)
        apps: dict[str, App] = {"hub": guarded(hub, *hubs), "ops": board, "ci": guarded(jenkins, f"Basic {basic}")}
        servers = {name: stack.enter_context(FaultyServer(app)) for name, app in apps.items()}
        made = Trio(folder, run, servers, repo, hub, board, jenkins)
        made.configure()
        yield made
        settings.load.cache_clear()


def guarded(app: App, *credentials: str) -> App:
    """`app` for those who have one of `credentials`; anybody may ask for the token of an installation."""

    def answer(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if request.method != "POST" and given.rstrip("0123456789") not in credentials and given not in credentials:
            return Response(401, json={"message": "Bad credentials"})
        return app(request)

    return answer


def _by_the_clock(board: Board, _: Request) -> None:
    board.now = datetime.now(UTC)
