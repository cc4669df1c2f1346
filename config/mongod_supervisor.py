"""The process that owns the embedded mongod, and stops it as soon as nobody uses it any more.

It is run as a program, by file name, and imports only the standard library: it is up in some 20 ms and depends on
nobody's sys.path. What is true is said by locks, which the kernel drops however a process ends:

- USERS: shared by every process inside `mongod.embedded()`; exclusive by a supervisor that stops its server.
- SERVER: held by supervisor and mongod together, from before the start to the end of both: the data is in use.
- SERVING: held by the supervisor for as long as its server is meant to stay, once RECORD tells port and pid.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

USERS, SERVER, SERVING, RECORD = "users.lock", "server.lock", "serving.lock", "server.json"

SHUTDOWN_SECONDS = 20.0
"""For a clean shutdown, which takes up to 1 s (replication's threads look up once a second); then mongod is killed."""

ALREADY = 75
"""Exit code: another supervisor has the server. EX_TEMPFAIL of sysexits.h."""

PR_SET_PDEATHSIG = 1
"""prctl(2): have the kernel signal this process when its parent ends."""


def main(home: Path, port: int, command: list[str]) -> int:
    """Start `command`, a mongod on this port, and own it. Returns in the caller's child once SERVER is held."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a caller that waits for signals has them blocked, and we inherit
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    server = open_lock(home / SERVER)
    if not try_lock(server):
        return ALREADY
    write_record(home, port=port)
    if os.fork() == 0:
        os.set_inheritable(server, True)  # noqa: FBT003 - the one descriptor that mongod keeps
        _own(home, port, command)
    return 0


def open_lock(path: Path) -> int:
    """A descriptor on a lock file, made if need be; programs that are exec'ed do not inherit it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_record(home: Path, **facts: int) -> None:
    """Replace RECORD. Only who holds SERVER writes it, so one name for the new file is enough."""
    fresh = home / f"{RECORD}.new"
    fresh.write_text(json.dumps(facts), encoding="utf-8")
    fresh.replace(home / RECORD)


def read_record(home: Path) -> dict[str, Any]:
    """The port, then also pid, then instead of it the exit code; {} where there was never a server."""
    try:
        record = json.loads((home / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # ValueError: a machine that lost power may leave an empty file
        return {}
    return record if isinstance(record, dict) else {}


def _own(home: Path, port: int, command: list[str]) -> None:
    die_with_parent = _death_wish()
    supervisor = os.getpid()
    mongod = os.fork()
    if mongod == 0:
        _become(command, supervisor, die_with_parent)
    write_record(home, port=port, pid=mongod)
    serving = open_lock(home / SERVING)
    fcntl.flock(serving, fcntl.LOCK_EX)

    def stop(*_: object) -> None:
        fcntl.flock(serving, fcntl.LOCK_UN)
        os.kill(mongod, signal.SIGTERM)

    def stop_when_unused() -> None:
        fcntl.flock(open_lock(home / USERS), fcntl.LOCK_EX)  # kept to the end: newcomers wait until mongod is gone
        stop()
        time.sleep(SHUTDOWN_SECONDS)
        os.kill(mongod, signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    threading.Thread(target=stop_when_unused, daemon=True).start()
    _, status = os.waitpid(mongod, 0)
    write_record(home, port=port, exit=os.waitstatus_to_exitcode(status))
    os._exit(0)  # there may be a thread that waits for a lock


def _become(command: list[str], supervisor: int, die_with_parent: Callable[[], None]) -> None:
    try:
        die_with_parent()
        if os.getppid() == supervisor:  # else it ended before the wish was made
            os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _death_wish() -> Callable[[], None]:
    """A function that has the calling process killed when its parent ends; it does nothing where that is unknown."""
    if os.uname().sysname != "Linux":
        return lambda: None
    import ctypes  # noqa: PLC0415 - its import is 10 ms, and this module is imported by every command

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
