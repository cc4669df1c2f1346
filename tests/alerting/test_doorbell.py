"""The doorbell rings for what may be owed, goes on where it stopped, and says when its history is lost."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from alerting import doorbell as doorbells
from alerting.doorbell import LOST, NAME, Doorbell
from alerting.folding import attach
from alerting.store import Store
from config import mongo, mongod, schema, settings
from config.mongod_launch import OPTIONS
from tests.alerting.notifying import eventually, key, report


@pytest.fixture(scope="module")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that can be told to fail."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(mongod.find_binary(None)), "--dbpath", str(folder), "--port", str(port), "--replSet", "rs0"]
    command += [*OPTIONS, "--setParameter", "enableTestCommands=1"]
    with Path(folder, "log").open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        with MongoClient[Any](uri, serverSelectionTimeoutMS=30_000) as client:
            client.admin.command(
                "replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
            )
            eventually(lambda: client.admin.command("hello")["isWritablePrimary"])
        yield f"mongodb://127.0.0.1:{port}/?replicaSet=rs0&directConnection=true"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that moves on sooner though nothing happens."""
    monkeypatch.setattr(doorbells, "AWAIT_MILLISECONDS", 50)


@pytest.fixture
def db(database: str) -> schema.Db:  # noqa: ARG001 - names the database
    return mongo.database(settings.load())


@pytest.fixture
def bell() -> threading.Event:
    return threading.Event()


@pytest.fixture
def doorbell(db: schema.Db, bell: threading.Event) -> Iterator[Doorbell]:
    one = Doorbell(db, bell)
    one.start()
    bell.clear()
    yield one
    one.stop()


def now() -> datetime:
    return datetime.now(UTC)


def test_it_rings_when_an_incident_opens_changes_or_becomes_owed(
    db: schema.Db, bell: threading.Event, doorbell: Doorbell
) -> None:
    store = Store(db)
    for observed in ("one", "two"):
        store.fold([report(key(), now(), observed=observed)])
        assert bell.wait(20), observed
        bell.clear()
    [incident] = store.listed()
    store.defer(incident, now())
    assert bell.wait(20)
    assert doorbell.lost() == []


def test_it_does_not_ring_for_what_leaves_nothing_owed(
    db: schema.Db, bell: threading.Event, doorbell: Doorbell
) -> None:
    """Told that in order: the ring for the last write comes after what came before it."""
    store = Store(db)
    [incident] = store.fold([report(key(), now())])
    assert bell.wait(20)
    bell.clear()
    store.change(incident.id, lambda one: attach(one, "another-1"))
    db[schema.INCIDENTS].update_one({"_id": incident.id}, {"$set": {"told": {"chart": True}}})
    token = doorbell._token
    db["elsewhere"].insert_one({})
    eventually(lambda: doorbell._token != token)
    assert not bell.is_set()


def test_it_goes_on_where_it_stopped(db: schema.Db, bell: threading.Event, doorbell: Doorbell) -> None:
    eventually(lambda: doorbell._token is not None)
    doorbell.save()
    doorbell.stop()
    assert doorbell._thread is not None
    doorbell._thread.join()
    Store(db).fold([report(key(), now())])
    later = Doorbell(db, bell)
    bell.clear()
    later.start()
    assert bell.wait(20)
    later.stop()
    assert later.lost() == []


@pytest.mark.parametrize("command", ["aggregate", "getMore"])
@pytest.mark.parametrize("code", sorted(LOST))
def test_where_history_is_lost_it_begins_anew_and_says_so(
    db: schema.Db, bell: threading.Event, doorbell: Doorbell, code: int, command: str
) -> None:
    """When it opens the stream with its token, and while it follows it."""
    if command == "aggregate":
        eventually(lambda: doorbell._token is not None)
        doorbell.save()
        doorbell.stop()
        assert doorbell._thread is not None
        doorbell._thread.join()
        doorbell = Doorbell(db, bell)
    failing(db, code, command)
    if command == "aggregate":
        doorbell.start()
    eventually(lambda: doorbell._lost)
    assert doorbell.lost() == [LOST[code]]
    assert doorbell.lost() == []
    eventually(lambda: doorbell._token is not None)
    bell.clear()
    Store(db).fold([report(key(), now())])
    assert bell.wait(20)
    doorbell.stop()


@pytest.mark.parametrize("token", [{"_data": "8260"}, {"_data": "no token"}, {"other": 1}, "text", {}])
def test_a_token_that_is_damaged_costs_no_more_than_a_sweep(db: schema.Db, bell: threading.Event, token: Any) -> None:
    """MongoDB has a different answer for each."""
    db[schema.META].update_one({"_id": NAME}, {"$set": {"token": token}}, upsert=True)
    doorbell = Doorbell(db, bell)
    doorbell.start()
    assert doorbell.lost()
    assert bell.is_set()
    doorbell.stop()


def test_a_collection_that_is_dropped_is_history_lost(db: schema.Db, bell: threading.Event, doorbell: Doorbell) -> None:
    Store(db).fold([report(key(), now())])
    assert bell.wait(20)
    db[schema.INCIDENTS].drop()
    eventually(lambda: doorbell._lost)
    assert set(doorbell.lost()) == {LOST[260]}
    eventually(lambda: doorbell._token is not None)
    bell.clear()
    Store(db).fold([report(key("acme/web"), now())])
    assert bell.wait(20)
    doorbell.check()


def test_another_error_ends_it_and_is_raised_where_it_is_looked_at(
    db: schema.Db, bell: threading.Event, doorbell: Doorbell
) -> None:
    failing(db, 13, "getMore", "aggregate", times=2)
    eventually(lambda: doorbell._error)
    assert bell.is_set()
    with pytest.raises(OperationFailure):
        doorbell.check()


def failing(db: schema.Db, code: int, *commands: str, times: int = 1) -> None:
    """Let the next ones of these commands to the incidents fail."""
    data = {"failCommands": commands, "errorCode": code, "namespace": f"{db.name}.{schema.INCIDENTS}"}
    db.client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})
