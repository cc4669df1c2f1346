"""A replica set of three on loopback, whose members can be killed and come back."""

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from config.mongod_launch import OPTIONS, REPLICA_SET, find_binary

MEMBERS: Final = 3
ELECTION_MILLISECONDS: Final = 2000
PATIENCE_SECONDS: Final = 60.0
TICK_SECONDS: Final = 0.05


class Replicas:
    """Three members, of which each may be gone for a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = _free_ports()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def uri(self) -> str:
        """Of all members."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"mongodb://{hosts}/?replicaSet=rs0"

    def __enter__(self) -> Self:
        """Start them, and wait for a primary."""
        try:
            for port in self._ports:
                self._start(port)
            members = [{"_id": n, "host": f"127.0.0.1:{port}"} for n, port in enumerate(self._ports)]
            settings = {"electionTimeoutMillis": ELECTION_MILLISECONDS, "heartbeatIntervalMillis": 500}
            self._initiate({"_id": "rs0", "members": members, "settings": settings})
            self.primary()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End them all."""
        self._end()

    def primary(self) -> int:
        """The port of the primary; waits for one. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for port, process in self._processes.items():
                if process.poll() is None and _is_primary(port):
                    return port
            time.sleep(TICK_SECONDS)
        raise TimeoutError("the replica set has no primary")

    def kill_primary(self) -> int:
        """Kill it with SIGKILL; returns which it was."""
        port = self.primary()
        self._processes[port].kill()
        self._processes[port].wait()
        return port

    def restart(self, port: int) -> None:
        """Bring a killed one back, on the data that it left."""
        self._start(port)

    def _start(self, port: int) -> None:
        data = self._folder / f"replica {port}"
        data.mkdir(parents=True, exist_ok=True)
        command = [str(find_binary(None)), "--dbpath", str(data), "--port", str(port), *OPTIONS, *REPLICA_SET]
        with (self._folder / f"replica {port}.log").open("ab") as log:
            self._processes[port] = subprocess.Popen(command, stdout=log, stderr=log)

    def _initiate(self, config: dict[str, Any]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with _client(self._ports[0]) as client:
                    client.admin.command("replSetInitiate", config)
            except PyMongoError:
                if time.monotonic() > end:
                    raise
                time.sleep(TICK_SECONDS)
            else:
                return

    def _end(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()


def _client(port: int) -> "MongoClient[dict[str, Any]]":
    return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000)


def _is_primary(port: int) -> bool:
    try:
        with _client(port) as client:
            return client.admin.command("hello").get("isWritablePrimary") is True
    except PyMongoError:
        return False


def _free_ports() -> list[int]:
    """Ports that nobody listens on, all held until all are found."""
    held = [socket.socket() for _ in range(MEMBERS)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()
