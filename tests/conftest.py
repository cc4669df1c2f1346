"""One real mongod for the session, and one fresh database for each test."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from config import mongo, mongod, settings
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tests.harness import make_context


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """No test hands its environment on: a command run in this process may name a configuration, gone a test later."""
    before = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    yield
    after = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    if after != before:
        for name in after.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        settings.load.cache_clear()


@pytest.fixture(scope="session")
def shared_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongod.Embedded]:
    """A real server, or a failure: never a skip."""
    with mongod.embedded(tmp_path_factory.mktemp("state")) as embedded:
        yield embedded


@pytest.fixture(scope="session")
def mongo_uri(shared_mongod: mongod.Embedded) -> str:
    """Where it is."""
    return shared_mongod.uri


@pytest.fixture
def database(shared_mongod: mongod.Embedded, mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a database of one's own, which the environment names too."""
    _end_if_gone(shared_mongod)
    name = f"test_{secrets.token_hex(6)}"
    monkeypatch.setenv("TOUCHSTONE_MONGO_URI", mongo_uri)
    monkeypatch.setenv("TOUCHSTONE_MONGO_DATABASE", name)
    settings.load.cache_clear()
    yield name
    settings.load.cache_clear()
    mongo.close()
    with MongoClient[Any](mongo_uri) as client:
        client.drop_database(name)


def _end_if_gone(server: mongod.Embedded) -> None:
    """End the whole session: without its server each further test would only wait for it until it is timed out."""
    if not Path(f"/proc/{server.pid}").exists():
        last = (server.data.parent / "mongod.log").read_text(errors="replace").splitlines()[-5:]
        free = shutil.disk_usage(server.data).free / 2**30
        pytest.exit("\n".join(["the server of the tests is gone", *last, f"free on its disk: {free:.1f} GiB"]), 1)


@pytest.fixture
def context(database: str) -> Context:  # noqa: ARG001 - names the database
    return make_context()


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., ReplaySource]:
    """Makes a source of the given events, all in one file that is written anew each time."""

    def write(lines: Sequence[Any], name: str = "events.jsonl") -> ReplaySource:
        path = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        return ReplaySource("history", [str(path)])

    return write
