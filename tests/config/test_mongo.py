"""The connections of a process: of many that ask at once all get the same, and a child makes its own."""

import multiprocessing
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from config import mongo, settings

THREADS = 8


@pytest.mark.usefixtures("database")
def test_threads_that_ask_at_once_share_one_client() -> None:
    """What they would make each, nobody would close."""
    loaded = settings.load()
    together = threading.Barrier(THREADS)

    def ask(_: int) -> object:
        together.wait()
        return mongo.database(loaded).client

    with ThreadPoolExecutor(THREADS) as pool:
        clients = list(pool.map(ask, range(THREADS)))
    assert len({id(one) for one in clients}) == 1


@pytest.mark.usefixtures("database")
def test_a_child_that_is_forked_while_a_thread_connects_can_connect() -> None:
    """Of the parent's threads only the one that forks goes on in it: nobody would ever let go."""
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with mongo._first:  # as `database` does while it connects
            held.set()
            enough.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(target=mongo.database, args=(settings.load(),))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of threads; that is what is tried here
            child.start()
        child.join(60)
        assert child.exitcode == 0
    finally:
        enough.set()
        thread.join()
        child.kill()
