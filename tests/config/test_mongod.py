"""The embedded MongoDB, with real servers and real processes that are really killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern

from config import mongod, mongod_launch
from config import mongod_supervisor as supervisor
from config.mongod import Embedded, MongodError, embedded, find_binary

SECONDS_TO_STOP = 3.0  # mongod's own shutdown takes up to 1 s

USER = """
import os, signal, subprocess, sys
from pathlib import Path
from config.mongod import embedded

def wait(): sys.stdin.readline()
def say(*words): print(*words, flush=True)

say("imported")
wait()
{before}
with embedded(Path(sys.argv[1])) as server:
    say(server.pid, server.port)
    wait()
{inside}
say("left")
wait()
"""


class User:
    """Another process that uses the server: it goes on when told, and tells how far it is."""

    def __init__(self, state: Path, before: str = "", inside: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER.format(before=before, inside=textwrap.indent(inside, "    ")), str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(mongod.__file__).parents[1])},
        )

    def hears(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def go_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def enter(self) -> tuple[int, int]:
        self.is_ready()
        self.go_on()
        return self.entered()

    def is_ready(self) -> None:
        assert self.hears() == "imported\n"

    def entered(self) -> tuple[int, int]:
        """The server's pid and port."""
        pid, port = self.hears().split()
        return int(pid), int(port)

    def leave(self) -> None:
        self.go_on()
        assert self.hears() == "left\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


MakeUser = Callable[..., User]


@pytest.fixture(scope="module")
def states() -> Iterator[list[Path]]:
    """All state folders; after the tests the servers of all have to be gone, with their supervisors."""
    folders: list[Path] = []
    yield folders
    try:
        wait_until(lambda: not any(map(running, folders)), SECONDS_TO_STOP)
    finally:
        for folder in folders:
            for pid in running(folder):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def state(tmp_path: Path, states: list[Path]) -> Path:
    states.append(tmp_path / "state")
    return states[-1]


@pytest.fixture
def user(state: Path) -> Iterator[MakeUser]:
    """Make a process that uses the server."""
    with ExitStack() as stack:

        def make(**parts: str) -> User:
            user = User(state, **parts)
            stack.callback(user.kill)
            return user

        yield make


def running(state: Path, program: str = "") -> list[int]:
    """The processes that belong to a server of this state, by what the system says; zombies have no command line."""
    data = os.fsencode(state.resolve() / "mongod" / "data")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if data in words and os.fsencode(program) in words[0]:
            found.append(int(process.name))
    return found


def supervisor_of(server: Embedded, state: Path) -> int:
    (pid,) = set(running(state)) - {server.pid}
    return pid


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


def wait_until_gone(state: Path) -> None:
    wait_until(lambda: not running(state), SECONDS_TO_STOP)


def crash(server: Embedded, state: Path) -> None:
    """The quick way to have it gone; a clean shutdown takes 1 s."""
    os.kill(server.pid, signal.SIGKILL)
    wait_until_gone(state)


def write(uri: str, value: str) -> None:
    """An acknowledged majority write, the strength that all promises are made for."""
    with client(uri) as connection:
        majority = WriteConcern("majority", j=True)
        connection["proof"].get_collection("values", write_concern=majority).insert_one({"_id": value})


def values(uri: str) -> set[str]:
    with client(uri) as connection:
        return set(connection["proof"]["values"].distinct("_id"))


def client(uri: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=5000)


def test_data_and_port_outlive_the_server(state: Path) -> None:
    """What one command wrote the next one finds, on the same port, although the server was gone in between."""
    with embedded(state) as first:
        assert running(state, "mongod") == [first.pid]
        write(first.uri, "kept")
    wait_until_gone(state)
    with embedded(state) as second:
        assert second.pid != first.pid
        assert second.port == first.port
        assert values(second.uri) == {"kept"}


def test_it_is_a_private_writable_replica_set_on_loopback_only(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change streams need a replica set; nobody else may read its files, reach its port from outside, or find secrets.

    Of the command's environment it gets nothing: no token, and no locale that is not installed here.
    """
    monkeypatch.setenv("TOUCHSTONE_SLACK_TOKEN", "xoxb-secret")
    monkeypatch.setenv("LC_ALL", "xx_XX.not-installed")
    with embedded(state) as server, client(server.uri) as connection:
        hello = connection.admin.command("hello")
        assert (hello["isWritablePrimary"], hello["setName"]) == (True, "rs0")
        assert "compression" not in hello
        options = connection.admin.command("getCmdLineOpts")["parsed"]
        assert options["net"]["bindIp"] == "127.0.0.1"
        assert options["net"]["unixDomainSocket"] == {"enabled": False}
        assert (state / "mongod").stat().st_mode & 0o777 == 0o700
        assert server.data == state / "mongod" / "data"
        assert b"xoxb-secret" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_commands_share_one_server_until_the_last_has_left(state: Path, user: MakeUser) -> None:
    """The first one started it, but its leaving must not take it from the second."""
    first, second = user(), user()
    pid, port = first.enter()
    assert second.enter() == (pid, port)
    first.leave()
    first.kill()
    time.sleep(0.3)  # a server that were told to stop would refuse connections by now
    assert running(state, "mongod") == [pid]
    write(f"mongodb://127.0.0.1:{port}/?directConnection=true", "still served")
    second.leave()
    wait_until_gone(state)


def test_commands_that_start_at_the_same_instant_get_the_same_server(state: Path, user: MakeUser) -> None:
    """Five race to start it; all are served, by one."""
    users = [user() for _ in range(5)]
    for each in users:
        each.is_ready()
    for each in users:
        each.go_on()
    served = {each.entered() for each in users}
    assert len(served) == 1
    assert running(state, "mongod") == [pid for pid, _ in served]
    assert not (state / "mongod" / "mongod.log.1").exists(), "nobody else tried to start it"


def test_server_stops_when_its_last_user_is_killed(state: Path, user: MakeUser) -> None:
    """`kill -9` leaves no time to tidy up, and still nothing may linger."""
    first, second = user(), user()
    pid, _ = first.enter()
    assert second.enter()[0] == pid
    first.kill()
    time.sleep(0.3)
    assert running(state, "mongod") == [pid]
    second.kill()
    wait_until_gone(state)


def test_mongod_does_not_outlive_its_supervisor(state: Path) -> None:
    """With its supervisor killed mongod goes too, at once; the next start finds the data."""
    with embedded(state) as server:
        write(server.uri, "kept")
        kept_open = [file.resolve() for file in Path(f"/proc/{server.pid}/fd").iterdir()]
        assert state / "mongod" / "server.lock" in kept_open, "so nobody starts another while it lives"
        os.kill(supervisor_of(server, state), signal.SIGKILL)
        began = time.monotonic()
        with embedded(state) as after:  # at once, while the old one may still be dying
            assert time.monotonic() - began < mongod.ORPHAN_SECONDS / 2
            assert after.pid != server.pid
            assert values(after.uri) == {"kept"}
            assert running(state, "mongod") == [after.pid]


def test_a_killed_mongod_is_replaced_with_its_data(state: Path) -> None:
    """A crash of the server: its supervisor ends, and acknowledged writes are there after the next start."""
    with embedded(state) as server:
        for number in range(20):
            write(server.uri, f"kept {number}")
        crash(server, state)
        with embedded(state) as after:
            assert after.pid != server.pid
            assert values(after.uri) == {f"kept {number}" for number in range(20)}
            assert values(server.uri) == values(after.uri), "whoever held the old one goes on with the new one"


def test_a_taken_port_is_replaced_and_the_node_is_still_primary(state: Path) -> None:
    """The set's configuration names the port, so a new port needs a new configuration. The stranger never answers."""
    with embedded(state) as first:
        write(first.uri, "kept")
        crash(first, state)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", first.port))
        stranger.listen()
        began = time.monotonic()
        with embedded(state) as second:
            assert time.monotonic() - began < 10
            assert second.port != first.port
            write(second.uri, "writable")
            assert values(second.uri) == {"kept", "writable"}
            crash(second, state)
    with embedded(state) as third:
        assert third.port == second.port, "it stays where it has moved to"


def test_a_move_to_another_port_that_was_cut_short_is_finished(state: Path) -> None:
    """The new port was chosen and written down, but the replica set's configuration still names the old one."""
    with embedded(state) as first:
        write(first.uri, "kept")
        crash(first, state)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (state / "mongod" / "server.json").write_text(f'{{"port": {port}}}')
    with embedded(state) as second:
        assert second.port == port
        write(second.uri, "writable")
        assert values(second.uri) == {"kept", "writable"}


def test_a_strangers_mongod_on_our_port_is_not_taken_for_ours(
    state: Path, states: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look at the port and our mongod's, another one got it: ours moves on, and nobody writes there."""
    states.append(state.with_name("other"))
    with embedded(states[-1]) as other:
        looked: list[int] = []

        def first_look_is_too_early(port: int) -> bool:
            looked.append(port)
            return len(looked) == 1 or can_listen(port)

        can_listen = mongod_launch._can_listen
        monkeypatch.setattr(mongod_launch, "_can_listen", first_look_is_too_early)
        (state / "mongod").mkdir(parents=True)
        (state / "mongod" / "server.json").write_text(f'{{"port": {other.port}}}')
        with embedded(state) as server:
            assert looked[0] == other.port
            assert server.port != other.port
            write(server.uri, "ours")
            assert values(other.uri) == set()


def test_leaving_and_arriving_never_meets_a_dying_server(state: Path, states: list[Path]) -> None:
    """Arrivals at any moment of a shutdown get either the old server, staying, or a new one, never a dying one."""

    def come_and_go(folder: Path, pauses: tuple[float, ...]) -> int:
        """How many servers it met."""
        pids: list[int] = []
        for pause in pauses:
            with embedded(folder) as server:
                write(server.uri, f"{len(pids)}")
                pids.append(server.pid)
            time.sleep(pause)
        with embedded(folder) as server:
            assert values(server.uri) == {str(number) for number in range(len(pids))}
        return len({*pids, server.pid})

    folders = [state, state.with_name("other")]
    states.append(folders[1])
    with ThreadPoolExecutor() as threads:  # two at a time, for most of it is waiting
        met = threads.map(come_and_go, folders, [(0, 0.001, 0.01, 0.3, 1.0), (0, 0.003, 0.1, 0.7, 0)])
        assert min(met) > 3, "shutdowns were met"


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.4])
def test_a_start_cut_short_does_not_hinder_the_next(state: Path, user: MakeUser, seconds: float) -> None:
    """The command that starts the server is killed half-way; one that waits for it, or comes next, is served."""
    starter, other = user(), user()
    starter.is_ready()
    other.is_ready()
    starter.go_on()
    wait_until(lambda: bool(running(state)), 5)
    time.sleep(seconds)
    if seconds == 0.2:
        other.go_on()  # it waits while the starter is killed
    starter.kill()
    if seconds != 0.2:
        other.go_on()
    _, port = other.entered()
    write(f"mongodb://127.0.0.1:{port}/?directConnection=true", "written")


FORK = """
if (child := os.fork()) == 0:
    sys.exit()  # through the context manager
say(os.waitpid(child, 0)[1])
wait()
"""

EXEC = """
nothing = subprocess.DEVNULL
say(subprocess.Popen(["sleep", "60"], stdin=nothing, stdout=nothing, stderr=nothing, close_fds=False).pid)
"""


def test_a_forked_child_that_ends_does_not_release_the_server(state: Path, user: MakeUser) -> None:
    """Luigi forks its workers inside; the end of one is not the end of the command."""
    holder = user(inside=FORK)
    pid, port = holder.enter()
    holder.go_on()
    assert holder.hears() == "0\n", "the child has ended"
    time.sleep(0.3)  # a server that were told to stop would refuse connections by now
    assert running(state, "mongod") == [pid]
    write(f"mongodb://127.0.0.1:{port}/?directConnection=true", "still served")
    holder.leave()
    wait_until_gone(state)


def test_a_program_started_inside_does_not_keep_the_server(state: Path, user: MakeUser) -> None:
    """A git, or anything else that was exec'ed, inherits nothing that would count as a user."""
    holder = user(inside=EXEC)
    holder.enter()
    holder.go_on()
    sleeper = int(holder.hears())
    try:
        holder.kill()
        wait_until_gone(state)
        os.kill(sleeper, 0)  # it was there all the time
    finally:
        os.kill(sleeper, signal.SIGKILL)


def test_a_supervisor_that_is_told_to_end_ends_its_server(state: Path, user: MakeUser) -> None:
    """As at the end of a service or a session, and although the command that started it had all signals blocked."""
    holder = user(
        before="signal.pthread_sigmask(signal.SIG_BLOCK, [*signal.Signals])\nsignal.signal(signal.SIGCHLD, 1)"
    )
    pid, _ = holder.enter()
    (owner,) = set(running(state)) - {pid}
    os.kill(owner, signal.SIGTERM)
    wait_until_gone(state)
    assert supervisor.read_record(state / "mongod")["exit"] == 0, "a clean shutdown, and waited for"


def test_a_mongod_that_does_not_stop_is_killed_by_the_next_start(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs in its shutdown, or was left alone by its supervisor, blocks nobody for good."""
    monkeypatch.setattr(mongod, "ORPHAN_SECONDS", 0.3)
    with embedded(state) as server:
        write(server.uri, "kept")
        os.kill(server.pid, signal.SIGSTOP)
        os.kill(supervisor_of(server, state), signal.SIGTERM)
        with embedded(state) as after:
            assert after.pid != server.pid
            assert values(after.uri) == {"kept"}


def test_without_any_mongod_it_says_how_to_get_one(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commonest first error: the message is the installation guide. A half-made folder does no harm later."""
    with monkeypatch.context() as bare:
        bare.setattr(sys, "path", [str(tmp_path)])
        bare.setenv("PATH", str(tmp_path))
        with (
            pytest.raises(MongodError, match=re.escape("pip install 'touchstone-dq[embedded]'")) as caught,
            embedded(state),
        ):
            pass
        assert "TOUCHSTONE_MONGO_URI" in str(caught.value)
    with embedded(state) as server:
        write(server.uri, "works after all")


def test_binary_is_the_configured_one_then_the_wheels_then_that_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names a program means it; the wheel that was tested goes before whatever the system has."""
    own, wheel, system = (
        tmp_path / "own" / "mongod",
        tmp_path / "fiftyone" / "db" / "bin" / "mongod",
        tmp_path / "mongod",
    )
    for program in (own, wheel, system):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "nothing"), str(tmp_path)])
    assert find_binary(own) == own
    assert find_binary(None) == wheel
    wheel.chmod(0o644)
    assert find_binary(None) == system
    with pytest.raises(MongodError, match=r"nowhere.*TOUCHSTONE_MONGO_MONGOD"):
        find_binary(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("script", "advice"),
    [
        ("echo 'libcurl.so.4: cannot open shared object file' >&2; exit 127", "apt-get install libcurl4"),
        ("echo 'libcrypto.so.3: cannot open shared object file' >&2; exit 127", "apt-get install libssl3"),
        ("echo 'No space left on device' >&2; exit 14", "free some space"),
        ("kill -ILL $$", "AVX"),
        ("exit 62", "another version of MongoDB"),
        ("exit 0", "exit code 0"),
    ],
)
def test_a_mongod_that_cannot_run_is_explained(state: Path, tmp_path: Path, script: str, advice: str) -> None:
    """What the system or mongod said is told with what to do about it, and soon."""
    program = tmp_path / "mongod"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    began = time.monotonic()
    with pytest.raises(MongodError, match=advice) as caught, embedded(state, binary=program):
        pass
    assert time.monotonic() - began < 5
    assert str(state / "mongod") in str(caught.value)
    if said := re.search("'(.*)'", script):
        assert said[1] in str(caught.value).splitlines()[-1]


def test_data_that_mongod_rejects_are_explained_and_left_alone(state: Path) -> None:
    """Data of another version, and damaged ones: which it is, from mongod's own log. Put right, they work again."""
    with embedded(state) as server:
        write(server.uri, "kept")
        crash(server, state)
    turtle = server.data / "WiredTiger.turtle"
    sound = turtle.read_bytes()
    for wrong, advice in (
        (re.sub(rb"major=\d+", b"major=99", sound), "another version of MongoDB wrote these data"),
        (b"damaged", "the data are damaged"),
    ):
        turtle.write_bytes(wrong)
        with pytest.raises(MongodError, match=advice), embedded(state):
            pass
    turtle.write_bytes(sound)
    with embedded(state) as again:
        assert values(again.uri) == {"kept"}


def test_a_state_that_cannot_be_a_folder_is_explained(state: Path) -> None:
    """A file in the way is an error about that path, not a traceback from the depths."""
    state.write_text("")
    with pytest.raises(MongodError, match=re.escape(str(state)) + ".*name another state folder"), embedded(state):
        pass
