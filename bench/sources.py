"""How fast a source is read: pull requests with their details, from a server with latency. See `make bench`.

Usage: python -m bench.sources [--pulls N] [--concurrency N] [--latency MS]. Everything is measured in one run: the time
against what latency and concurrency allow, the CPU of a record against decoding its JSON and inserting it, the memory,
and how many requests a refresh without news costs.
"""

import argparse
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx2
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from bench import slow_hub
from config import mongo, mongod, settings
from config.sources import GitHub, GitHubRepository, Requests
from tasks import bronze
from tasks.context import Context
from tasks.sources.github.source import GitHubSource

DAYS: Final = (date(2026, 10, 31), date(2026, 11, 1))
MIB: Final = 1024
Line = tuple[str, str, str, str]


@contextmanager
def hub(pulls: int, latency: float) -> Iterator[str]:
    """The address of a server of that many pull requests; latency in milliseconds."""
    words = [sys.executable, "-m", "bench.slow_hub", str(pulls), str(latency)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline()) if process.stdout else 0}/"
        finally:
            process.terminate()


def figures(uri: str, pulls: int, concurrency: int, latency: float) -> list[Line]:
    """What was measured: title, figure, ratio, and what was promised."""
    os.environ |= {"TOUCHSTONE_MONGO_URI": uri, "TOUCHSTONE_MONGO_DATABASE": f"bench_{secrets.token_hex(5)}"}
    settings.load.cache_clear()
    context = Context.open("bench")
    with hub(pulls, latency) as address:
        source = GitHubSource(
            GitHub(
                type="github", name="hub", base_url=address, since=date(2020, 1, 1), token=SecretStr("bench"),
                repositories=(GitHubRepository(repository="acme/api", origin="acme/api"),), streams=("pull_requests",),
                requests=Requests(concurrency=concurrency),
            ),
            None,
        )  # fmt: skip
        _begin(source)
        early = _peak()
        before, cpu, wall = _asked(address), time.process_time(), time.perf_counter()
        error = bronze.sweep(context, source, "acme/api", DAYS, lambda: datetime.now(UTC))
        wall, cpu, asked = time.perf_counter() - wall, time.process_time() - cpu, _asked(address) - before
        stored = context.db["bronze.github.pull_requests"].count_documents({})
        if error or stored != pulls:
            raise RuntimeError(error or f"{stored} of {pulls} were stored")
        peak = _peak()
        bronze.sweep(context, source, "acme/api", DAYS, lambda: datetime.now(UTC))
        again = _asked(address) - before - asked
        bare = _bare(context, address, pulls, concurrency)
    ideal = asked * latency / 1000 / concurrency
    floor = _floor(context, pulls)
    context.db.client.drop_database(context.db.name)
    mongo.close()
    return [
        (
            f"(i) {pulls:,} pull requests with details, {asked:,} requests / latency x requests / concurrency",
            f"{wall:.1f} s; {ideal:.1f} s", f"{wall / ideal:.2f} x", "at most 1.3 x",
        ),
        (
            "(j) CPU of a pull request / decoding its JSON and inserting it",
            f"{cpu / pulls * 1000:.2f} ms; {floor / pulls * 1000:.2f} ms",
            f"{cpu / floor:.2f} x",
            "at most 2 x",
        ),
        (
            "(k) the same / a bare loop over httpx2 that fetches, decodes and inserts it",
            f"{cpu / pulls * 1000:.2f} ms; {bare / pulls * 1000:.2f} ms",
            f"{cpu / bare:.2f} x",
            "at most 2 x",
        ),
        (
            "(l) peak memory after all; after the first 200",
            f"{peak:.0f} MiB; {early:.0f} MiB",
            f"{peak / early:.2f} x",
            "flat",
        ),
        ("(m) requests of a refresh without news", str(again), "", "1 for each stream"),
    ]  # fmt: skip


def _begin(source: GitHubSource) -> None:
    """A sweep that breaks off: imports, connections and buffers are there when the clock starts."""
    deque(islice(source.sweep("acme/api", None, datetime.now(UTC)), 200), maxlen=0)


def _floor(context: Context, pulls: int) -> float:
    """CPU seconds of decoding the JSON of so many pull requests with details, and inserting them, by this process."""
    sample = min(pulls, 2_000)
    bodies = [
        json.dumps([slow_hub.pull(n, pulls) for n in range(at, at + 100)]).encode() for at in range(0, sample, 100)
    ]
    parts = [json.dumps(slow_hub.details(7, what)).encode() for what in ("commits", "reviews")]
    collection = context.db["floor"]
    started = time.process_time()
    for body in bodies:
        documents: list[dict[str, Any]] = [
            {"pull": one, "commits": json.loads(parts[0]), "reviews": json.loads(parts[1])} for one in json.loads(body)
        ]
        collection.insert_many(documents, ordered=False)
    return (time.process_time() - started) * pulls / sample


def _bare(context: Context, address: str, pulls: int, concurrency: int) -> float:
    """CPU seconds of a loop that fetches, decodes and inserts the same, and does nothing else."""
    collection, place = context.db["bare"], f"{address}repos/acme/api/pulls"
    started = time.process_time()
    with httpx2.Client() as client, ThreadPoolExecutor(concurrency) as pool:

        def one(pull: dict[str, Any]) -> dict[str, Any]:
            commits, reviews = (
                client.get(f"{place}/{pull['number']}/{what}").json() for what in ("commits", "reviews")
            )
            return {"pull": pull, "commits": commits, "reviews": reviews}

        for number in range(1, -(-pulls // 100) + 1):
            page = client.get(place, params={"per_page": 100, "page": number}).json()
            collection.insert_many(list(pool.map(one, page)), ordered=False)
    return time.process_time() - started


def _asked(address: str) -> int:
    with urllib.request.urlopen(f"{address}asked") as answer:  # noqa: S310 - loopback
        return int(answer.read())


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.sources")
    parser.add_argument("--pulls", type=int, default=3_000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds")
    asked = parser.parse_args()
    table = Table("what", "figure", "ratio", "promised")
    with tempfile.TemporaryDirectory() as folder, mongod.embedded(Path(folder)) as server:
        for line in figures(server.uri, asked.pulls, asked.concurrency, asked.latency):
            table.add_row(*line)
    Console().print(table)


if __name__ == "__main__":
    main()
