"""What the tests share: a pipeline that runs without Luigi around it, and ways to look at what it left."""

import gzip
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from config import mongo, schema, settings
from config.catalog import DORA_DAILY, ENTITIES
from tasks import bronze, scoping, settle
from tasks.context import Context
from tasks.ledger import Ledger
from tasks.sources.contract import Source

DATA: Final = Path(__file__).parent / "data"
NOW: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
REPOSITORIES: Final = ("alphagov__collections", "psf__requests", "spotify__luigi")


def make_context(now: datetime = NOW, *, suites: Sequence[settings.Suite] = (), **pipeline: Any) -> Context:
    """A worker of its own on the test's database; `suites` as a user would declare them."""
    loaded = settings.load()
    changed = {"pipeline": loaded.pipeline.model_copy(update=pipeline), "suites": (*loaded.suites, *suites)}
    loaded = loaded.model_copy(update=changed)
    lease = timedelta(seconds=loaded.pipeline.lease_seconds)
    return Context(
        loaded, mongo.database(loaded), Ledger(mongo.database(loaded), run_id=secrets.token_hex(4), lease=lease), now
    )


@contextmanager
def own_database(uri: str, name: str) -> Iterator[None]:
    """A database for all cases of a module, which each begins by emptying: making one takes longer than most cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOUCHSTONE_MONGO_URI", uri)
        patch.setenv("TOUCHSTONE_MONGO_DATABASE", name)
        settings.load.cache_clear()
        make_context().db.client.drop_database(name)
        schema.ensure(make_context().db)
        yield
        make_context().db.client.drop_database(name)
    settings.load.cache_clear()
    mongo.close()


def at(context: Context, now: datetime) -> Context:
    """The same worker at another time."""
    return replace(context, now=now)


def run_all(context: Context, source: Source, days: tuple[date, date]) -> str | None:
    """What Luigi would run, in one thread: sweep, fold, link, compute. Returns why the sweep failed, if it did."""
    error = None
    alone: list[str] = []
    for unit in source.units():
        error = bronze.sweep(context, source, unit, days, lambda: context.now) or error
        for scope in bronze.scopes(context, source, unit):
            for dataset in ENTITIES:
                settle.entities_of(context, dataset, scope)
        alone += scoping.alone(context, source.name, bronze.scopes(context, source, unit))
    finish(context, days, alone)
    return error


def finish(context: Context, days: tuple[date, date], alone: Sequence[str] = ()) -> None:
    """Link and compute what is in Silver: of `alone`, then of the services and teams of the configuration."""
    known = scoping.known(context)
    shared = [name for name, one in known.links.items() if not one.is_alone]
    for name in dict.fromkeys([*alone, *shared]):
        settle.links_of(context, name, ENTITIES)
    for name in dict.fromkeys([*alone, *(name for name in known.gold if known.is_shared(name))]):
        settle.gold_of(context, name, days, missing=True)
        settle.gold_of(context, name, (date.min, date.max), missing=False)


def gold(context: Context) -> dict[tuple[str, date], dict[str, Any]]:
    """What a reader of the view sees."""
    return {(row["scope"], row["day"].date()): row for row in context.db[DORA_DAILY.name].find()}


def silver(context: Context) -> dict[str, list[dict[str, Any]]]:
    """All entities, and the delivery rows that count."""
    return {dataset.name: list(context.db[dataset.name].find(sort=[("_id", 1)])) for dataset in ENTITIES}


def snapshot(context: Context) -> bytes:
    """Silver and Gold as bytes: equal if and only if all of it is equal."""
    rows = [[list(key), row] for key, row in sorted(gold(context).items(), key=lambda pair: str(pair[0]))]
    return schema.canonical([silver(context), rows])


def events(repository: str) -> list[dict[str, Any]]:
    """The recorded events of one of REPOSITORIES."""
    with gzip.open(DATA / "git_events" / repository / "events.jsonl.gz") as lines:
        return [json.loads(line) for line in lines]


def commit(name: str, parents: str = "", day: float = 0, *, authored: float | None = None) -> dict[str, Any]:
    """A commit event; `parents` are names apart by blanks, days count from 2024-01-01."""
    seconds, author = moment(day), moment(day if authored is None else authored)
    return {
        "type": "commit", "repo": "acme/api", "sha": sha(name), "parents": [sha(parent) for parent in parents.split()],
        "author_ts": author, "author_tz": "+0000", "commit_ts": seconds, "commit_tz": "+0000", "author": "a" * 32,
        "subject": f"commit {name}",
    }  # fmt: skip


def tag(name: str, target: str, day: float) -> dict[str, Any]:
    """A tag event on the commit named `target`."""
    return {
        "type": "tag", "repo": "acme/api", "name": name, "target": sha(target), "annotated": True,
        "tag_ts": moment(day), "tag_tz": "+0000", "tag_time_source": "tagger",
    }  # fmt: skip


def revert(by: str, reverted: str, day: float) -> dict[str, Any]:
    """A revert event: the commit named `by` reverts the one named `reverted`."""
    return {
        "type": "revert", "repo": "acme/api", "sha": sha(by), "commit_ts": moment(day),
        "reverted_sha_raw": sha(reverted), "reverted_sha": sha(reverted), "resolved": True,
    }  # fmt: skip


def moment(day: float) -> int:
    """Epoch seconds of so many days after 2024-01-01."""
    return int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() + day * 86_400)


def sha(name: str) -> str:
    """A stable sha for a short name."""
    return schema.digest(name) + "0" * 8


EVENTS: Final = [
    commit("a", "", 0.1), commit("b", "a", 2.1), commit("end", "b", 5.9), tag("v1", "a", 0.5), tag("v2", "b", 2.5),
]  # fmt: skip
"""Six days of a small repository: two deployments, of one change each."""
