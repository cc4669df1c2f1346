"""The embedded MongoDB: a single-node replica set on loopback, for trying out and for tests.

All commands that use one state folder share one mongod. The first starts it, and when the last is gone, however it
ended, `mongod_supervisor` stops it. It asks for no password, so every user of this machine can reach it.
"""

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from config import mongod_supervisor as supervisor
from config.mongod_errors import MongodError, ending, explained, failure
from config.mongod_launch import ADDRESS_IN_USE, DATA, find_binary, launch

__all__ = ["Embedded", "MongodError", "embedded", "find_binary"]

PATIENCE_SECONDS = 60.0
"""For everything from asking to a writable primary; usual is 0.5 s, and 1 s more if one is just being stopped."""

ORPHAN_SECONDS = 10.0
"""A mongod that should stop, or has lost its supervisor, is killed after this."""

TICK_SECONDS = 0.005
LOOK_MILLISECONDS = 100
LAUNCHES = 3

NOT_YET_INITIALIZED = 94
TRY_AGAIN = {ADDRESS_IN_USE, 0, -signal.SIGTERM, -signal.SIGKILL, None}
"""Exit codes of a mongod that is not to blame: its port was taken meanwhile, or somebody stopped it."""


@dataclass(frozen=True)
class Embedded:
    """A running server: a writable primary when it was handed out."""

    uri: str
    port: int
    pid: int
    data: Path


@contextmanager
def embedded(state: Path, *, binary: Path | None = None) -> Iterator[Embedded]:
    """Hold the embedded replica set that keeps its data under state/mongod, starting it if nobody has.

    It is shared with all other holders, and stops once the last has left or ended; leaving does not wait for that.
    A child forked inside is a holder too, until it ends. Raises MongodError if there is no writable primary in 60 s.
    """
    home = state.resolve() / "mongod"
    deadline = time.monotonic() + PATIENCE_SECONDS
    with explained(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        users = supervisor.open_lock(home / supervisor.USERS)
    try:
        with explained(home):
            _lock(users, fcntl.LOCK_SH, deadline, f"the MongoDB in {home} has been stopping")
            server = _join(home, binary, deadline)
        yield server
    finally:
        os.close(users)  # and no LOCK_UN, which would leave in the name of every forked process too


def _join(home: Path, binary: Path | None, deadline: float) -> Embedded:
    """The one server of this folder, as a writable primary. The caller holds USERS, so nobody stops it meanwhile."""
    launches = 0
    stopping_since = None
    with _starting(home, deadline):
        while (now := time.monotonic()) < deadline:
            if _is_held(home / supervisor.SERVING):
                stopping_since = None
                if server := _ready(home, deadline):
                    return server
            elif _is_held(home / supervisor.SERVER):
                stopping_since = stopping_since or now
                if now - stopping_since > ORPHAN_SECONDS:
                    _kill(home)
            else:
                exit_code = supervisor.read_record(home).get("exit")
                if launches and (launches == LAUNCHES or exit_code not in TRY_AGAIN):
                    raise failure(home, f"mongod did not start ({ending(exit_code)})")
                launch(home, find_binary(binary))
                launches += 1
            time.sleep(TICK_SECONDS)
    raise failure(home, f"mongod did not become a writable primary in {PATIENCE_SECONDS:g} s")


def _kill(home: Path) -> None:
    """End a mongod that does not stop, or has lost its supervisor. It lives, for it holds SERVER: the pid is its."""
    if pid := supervisor.read_record(home).get("pid"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ready(home: Path, deadline: float) -> Embedded | None:
    """The server, once it is a writable primary; None if it ended before that."""
    record = supervisor.read_record(home)
    if "pid" not in record:
        return None
    port, data = record["port"], home / DATA

    def serving() -> bool:
        return time.monotonic() < deadline and _is_held(home / supervisor.SERVING)

    while not _is_listening(port):
        if not serving():
            return None
        time.sleep(TICK_SECONDS)
    # each look is short: mongod may have ended, or a stranger who never answers may have got the port before it
    client: MongoClient[dict[str, Any]] = MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=LOOK_MILLISECONDS
    )
    with client:
        while not _is_primary(client, data, f"127.0.0.1:{port}"):
            if not serving():
                return None
            time.sleep(TICK_SECONDS)
    uri = f"mongodb://127.0.0.1:{port}/?replicaSet=rs0&directConnection=true"
    return Embedded(uri, port, record["pid"], data) if serving() else None


def _is_primary(client: MongoClient[dict[str, Any]], data: Path, host: str) -> bool:
    """Whether this is the mongod of these data, and writable. If it lacks a configuration that fits, it gets one."""
    try:
        options = client.admin.command("getCmdLineOpts")["parsed"]
        if options.get("storage", {}).get("dbPath") != str(data):
            return False
        if "replication" not in options:
            _move(client, host)
            return False
        hello = client.admin.command("hello")
        if "setName" not in hello:
            _configure(client, host)
        return hello.get("isWritablePrimary") is True
    except PyMongoError:
        return False  # not yet; why it never will be is in mongod's log


def _move(client: MongoClient[dict[str, Any]], host: str) -> None:
    """Write the new address where the replica set will look for it, and end this mongod.

    Source: MongoDB's manual, "Change Hostnames in a Self-Managed Replica Set", the way with the set offline.
    """
    client["local"]["system.replset"].update_one({}, {"$set": {"members.0.host": host}, "$inc": {"version": 1}})
    client.admin.command("shutdown")


def _configure(client: MongoClient[dict[str, Any]], host: str) -> None:
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": host}]})
        return
    if config["members"][0]["host"] != host:  # the start that was to move it was cut short
        config["members"] = [{"_id": 0, "host": host}]
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_held(path: Path) -> bool:
    descriptor = supervisor.open_lock(path)
    try:
        if not supervisor.try_lock(descriptor):
            return True
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child forked by another thread just now must not keep it
        return False
    finally:
        os.close(descriptor)


@contextmanager
def _starting(home: Path, deadline: float) -> Iterator[None]:
    """Only one at a time starts the server and makes it a primary."""
    descriptor = supervisor.open_lock(home / "start.lock")
    try:
        _lock(descriptor, fcntl.LOCK_EX, deadline, f"another command has been starting the MongoDB in {home}")
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock(descriptor: int, how: int, deadline: float, what: str) -> None:
    while not supervisor.try_lock(descriptor, how):
        if time.monotonic() > deadline:
            raise MongodError(f"{what} for {PATIENCE_SECONDS:g} s; see which process holds the locks there (lsof)")
        time.sleep(TICK_SECONDS)
