"""A crash at any write: never a wrong or mixed Gold visible, and the next run ends exact.

Each case is a real process that is really killed (or stopped, to wake up as a zombie) at one write to MongoDB. The
writes are enumerated: the case numbers go up until the process gets through.
"""

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
from pymongo.collection import Collection

from config import settings
from tasks.context import Context
from tasks.ledger import LeaseLostError, Ledger
from tests.harness import commit, gold, make_context, revert, run_all, snapshot, tag
from tests.tasks.test_laws import FIRST, fresh, write

DAYS = 6
RANGE = (FIRST, FIRST + timedelta(days=DAYS))
LEASE = 0.4
WRITES = ("insert_one", "insert_many", "update_one", "update_many", "replace_one", "delete_many", "bulk_write")
MOST_WRITES = 200
Mode = Literal["before", "half", "stop"]
"""What happens at a write. That the process is killed right after one is the case before the next one."""

OLD = [
    commit("a", "", 0.1), commit("b", "a", 1.1), commit("c", "b", 2.1), commit("d", "c", 4.1), commit("end", "d", 5.9),
    tag("v1", "a", 0.5), tag("v2", "d", 5.5),
]  # fmt: skip
NEW = [tag("v1.1", "b", 2.5), commit("r", "d", 5.2), revert("r", "a", 5.2), tag("v0", "a", 0.2)]
NEWER = [tag("v1.2", "c", 3.5), tag("v1.0.1", "b", 1.9), tag("v1", "b", 2.2)]


def forked(work: Callable[[], object]) -> int:
    """Run `work` in a child process; its pid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of threads; the child makes its own client
        pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:  # noqa: BLE001 - a child of a test ends here, whatever happens
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def interrupt_at(number: int, mode: Mode) -> None:
    """From now on the write with this number (from 0) is where this process is killed or stopped."""
    numbers = count()

    def wrapped(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def write(self: Any, *args: Any, **kwargs: Any) -> Any:
            if next(numbers) != number:
                return original(self, *args, **kwargs)
            if mode == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
                return original(self, *args, **kwargs)
            if mode == "half" and name == "bulk_write" and len(args[0]) > 1:
                original(self, args[0][: len(args[0]) // 2], **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        return write

    for name in WRITES:
        setattr(Collection, name, wrapped(getattr(Collection, name), name))


def states(database: str, folder: Path) -> tuple[dict[Any, Any], dict[Any, Any], bytes]:
    """Gold before and after the new data, and all of Silver and Gold after it, as an undisturbed run makes them."""
    context = fresh(database)
    run_all(context, write(folder, [OLD]), RANGE)
    before = gold(context)
    run_all(context, write(folder, [OLD, NEW]), RANGE)
    after, expected = gold(context), snapshot(context)
    assert before != after
    assert before.keys() == after.keys()
    return before, after, expected


def worker(*, checks: bool = True) -> Context:
    """One with short leases, that works in several chunks."""
    context = make_context(lease_seconds=LEASE, chunk_windows=4)
    return replace(context, settings=context.settings.model_copy(update={"quality": settings.Quality(checks=checks)}))


def prepare(database: str, folder: Path, *, checks: bool = True) -> Any:
    fresh(database)
    context = worker(checks=checks)
    run_all(context, write(folder, [OLD]), RANGE)
    return context, write(folder, [OLD, NEW])


def writes_of_a_run(database: str, folder: Path, *, checks: bool = True) -> list[int]:
    """The writes that the run on the new data makes when nothing disturbs it: of how many operations each consists."""
    context, source = prepare(database, folder, checks=checks)
    writes: list[int] = []

    def counted(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def write(*args: Any, **kwargs: Any) -> Any:
            writes.append(len(args[1]) if name == "bulk_write" else 1)
            return original(*args, **kwargs)

        return write

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(Collection, name, counted(getattr(Collection, name), name))
        run_all(context, source, RANGE)
    return writes


def crash(  # noqa: PLR0917 - a case
    database: str,
    folder: Path,
    number: int,
    mode: Mode,
    workers: int,
    checks: bool,  # noqa: FBT001
) -> Iterator[Any]:
    """Crash one of `workers` at a write; yields the context afterwards, nothing if the process got through."""
    _, source = prepare(database, folder, checks=checks)

    def work() -> None:
        while True:
            try:
                run_all(worker(checks=checks), source, RANGE)
            except LeaseLostError:  # on a slow machine a short lease may run out: look again, as the tasks do
                continue
            return

    def doomed() -> None:
        interrupt_at(number, mode)
        work()

    pids = [forked(doomed), *(forked(work) for _ in range(workers - 1))]
    results = [os.waitpid(pid, 0)[1] for pid in pids]
    assert all(result == 0 for result in results[1:]), "an undisturbed worker failed"
    if os.WIFSIGNALED(results[0]):
        yield worker(checks=checks), source
    else:
        assert results[0] == 0, f"the worker failed before write {number}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["before", "half"])
@pytest.mark.parametrize(("workers", "checks"), [(1, True), (3, False)])
def test_a_crash_at_any_write_leaves_old_or_new_and_the_next_run_mends_it(
    database: str,
    tmp_path: Path,
    mode: Mode,
    workers: int,
    checks: bool,  # noqa: FBT001 - a table
) -> None:
    """For every write of a run on late data; with three workers without checks, whose writes are of the same kinds."""
    folder = tmp_path / "files"
    before, after, expected = states(database, folder)
    writes = writes_of_a_run(database, folder, checks=checks)
    cases = [number for number, operations in enumerate(writes) if mode == "before" or operations > 1]
    crashes = 0
    for number in cases:
        for context, source in crash(database, folder, number, mode, workers, checks):
            crashes += 1
            visible = gold(context)
            wrong = [key for key, row in visible.items() if row not in (before[key], after[key])]
            assert not wrong, f"after a crash {mode} write {number}: {[visible[key] for key in wrong]}"
            assert visible.keys() == before.keys()
            run_all(context, source, RANGE)
            assert snapshot(context) == expected, f"after a crash {mode} write {number}"
    # with one worker every case is a crash; with three the others may do the work first
    assert crashes == len(cases) if workers == 1 else crashes > 1


def zombie(database: str, folder: Path, number: int) -> Any:
    """A worker stops at a write; newer data comes, another worker brings it in; the first one wakes up and goes on."""
    _, source = prepare(database, folder)

    def doomed() -> None:
        interrupt_at(number, "stop")
        run_all(worker(), source, RANGE)

    pid = forked(doomed)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        return None
    time.sleep(LEASE)
    context = worker()
    run_all(context, write(folder, [OLD, NEW, NEWER]), RANGE)
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)  # it may give up, or find that all is done: what counts is what it leaves
    return context


def newest(database: str, folder: Path) -> tuple[dict[Any, Any], bytes]:
    context = fresh(database)
    run_all(context, write(folder, [OLD, NEW, NEWER]), RANGE)
    return gold(context), snapshot(context)


@pytest.mark.timeout(600)
def test_a_worker_that_lost_its_lease_changes_nothing_when_it_wakes_up(database: str, tmp_path: Path) -> None:
    """Without a further run: what the zombie leaves is the newest state, whichever write it slept before."""
    folder = tmp_path / "files"
    expected, everything = newest(database, folder)
    for number in range(MOST_WRITES):
        context = zombie(database, folder, number)
        if context is None:
            break
        assert gold(context) == expected, f"stopped at write {number}"
        assert snapshot(context) == everything, f"stopped at write {number}"
    assert number > 10


@pytest.mark.timeout(600)
def test_without_the_fence_a_zombie_overwrites_newer_gold(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: take the fence away, and there is a write at which it does."""
    folder = tmp_path / "files"
    expected, _ = newest(database, folder)

    def unfenced(_: Ledger, keys: list[str], fence: int) -> dict[str, Any]:  # noqa: ARG001 - as the original
        return {"_id": {"$in": keys}}

    monkeypatch.setattr(Ledger, "_held", unfenced)
    for number in reversed(range(len(writes_of_a_run(database, folder)))):  # Gold is published towards the end
        context = zombie(database, folder, number)
        if context is not None and gold(context) != expected:
            return
    pytest.fail("no write was found at which the missing fence shows")
