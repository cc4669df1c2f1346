"""What a person does with the quarantine: look, try again, or say that it is no data.

Trying again flows through the normal stages: the window is made again, and whatever no longer breaks a rule goes on.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bson import json_util
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import schema
from config.catalog import BRONZE, SWEEP
from config.settings import ConfigError
from quality import quarantine
from quality.observations import Cause
from quality.quarantine import State
from tasks.context import Context

SHORT: Final = 10
"""Characters of an id that the list shows; any start of an id that is unique will do."""


def listed(where: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """What was set aside, newest first, without the items. Raises ConfigError, MongoError."""
    collection = Context.open("read").db[schema.QUARANTINE]
    hidden = {"item": 0, "raw": 0}
    return list(collection.find(dict(where), hidden, sort=[("set_aside_at", -1), ("_id", 1)], limit=limit))


def count(where: Mapping[str, Any]) -> int:
    """How many there are."""
    return Context.open("read").db[schema.QUARANTINE].count_documents(dict(where))


def filters(dataset: str | None, rule: str | None, scope: str | None, state: str | None) -> dict[str, Any]:
    """As a query; None asks for any."""
    asked = {"dataset": dataset, "rule": rule, "origin": scope, "state": state}
    return {key: value for key, value in asked.items() if value is not None}


def found(ids: Sequence[str]) -> list[dict[str, Any]]:
    """The documents whose ids begin as in `ids`, with all of their bytes.

    Raises ConfigError if one names none, or several.
    """
    db = Context.open("read").db
    collection = db[schema.QUARANTINE]
    documents = []
    for text in ids:
        matching = list(collection.find({"_id": {"$gte": text, "$lt": text + "\uffff"}}, limit=2))
        if len(matching) != 1:
            many = "several records begin" if matching else "no record begins"
            raise ConfigError(f"quarantine: {many} with {text!r}; `touchstone quarantine list` shows their ids")
        documents += [one | {"raw": quarantine.whole(db, one)} if "parts" in one else one for one in matching]
    return documents


def replay(documents: Sequence[Mapping[str, Any]], context: Context) -> int:
    """Have these tried again by the next run; returns how many are open, and so will be."""
    open_ = [one for one in documents if one["state"] == State.OPEN]
    quarantine.note(context.db, [one["_id"] for one in open_], "replayed", context.now)
    _make_again(context, open_)
    return len(open_)


def discard(documents: Sequence[Mapping[str, Any]], reason: str, context: Context) -> int:
    """Say that these are no data: they no longer count against their windows; returns how many were open."""
    discarded = quarantine.discard(context.db, [one["_id"] for one in documents], reason, context.now)
    # also of those that an earlier attempt has discarded, and was then cut short
    _make_again(context, [one for one in documents if one["state"] in (State.OPEN, State.DISCARDED)])
    return discarded


def _make_again(context: Context, documents: Sequence[Mapping[str, Any]]) -> None:
    """Have the windows of `documents` made again, and what could not be read, read again."""
    ledger = context.db[schema.LEDGER]
    # whoever is at it has not heard of this: a new fence makes them begin again
    fenced: dict[str, Any] = {"$inc": {"fence": 1}}
    free = {"owner": "", "lease_until": ""}
    for one in documents:
        again = {"$set": {"again": str(Cause.REPLAY)}, "$unset": free, **fenced}
        if sweep := one.get("sweep"):
            # without its cursor the source hands over everything; as interrupted, all windows are looked at
            update = {"$set": {"under_way": True}, "$unset": {"cursor": "", "progress": "", **free}, **fenced}
            ledger.update_one({"dataset": SWEEP, "scope": sweep}, update)
            if one["origin"] and one["stream"] and one["updated_on"]:
                window = schema.start_of(one["updated_on"].date())
                dataset = {"$regex": r"^bronze\.[^.]+\." + str(one["stream"]).replace(".", r"\.") + "$"}
                ledger.update_many({"dataset": dataset, "scope": one["origin"], "window": window}, again)
            continue
        ledger.update_one({"dataset": one["dataset"], "scope": one["origin"], "window": one["window"]}, again)
        if one["dataset"].startswith(BRONZE):
            looked_at = {"$set": {"under_way": True}, "$unset": free, **fenced}
            ledger.update_many({"dataset": SWEEP, "feeds.origin": one["origin"]}, looked_at)


def print_list(documents: Sequence[Mapping[str, Any]], total: int, console: Console) -> None:
    """One line each."""
    table = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 1, 0, 0))
    for heading in ("id", "state", "set aside", "rule", "where", "reason"):
        table.add_column(heading, no_wrap=heading not in ("reason", "where"))
    for one in documents:
        style = "red" if one["state"] == State.OPEN else "dim"
        table.add_row(
            one["_id"][:SHORT], Text(one["state"], style), f"{one['set_aside_at']:%Y-%m-%d %H:%M}", one["rule"],
            Text(_where(one)), Text(str(one["reason"])),
        )  # fmt: skip
    if documents:
        console.print(table)
    more = f", {total - len(documents):,} more" if total > len(documents) else ""
    console.print(f"{total:,} records{more}." if total else "Nothing is set aside.")


def print_one(document: Mapping[str, Any], console: Console) -> None:
    """All of it: why, its story, and the whole item."""
    console.print(Text.assemble((document["_id"], "bold"), "  ", document["state"]))
    for name in ("dataset", "origin", "window", "place", "rule", "path", "value", "reason"):
        if document.get(name) is not None:
            console.print(f"  {name}: {document[name]}", markup=False, soft_wrap=True)
    for one in document.get("also", ()):
        console.print(f"  also {one['rule']}: {one['reason']}", markup=False, soft_wrap=True)
    for step in document.get("trace", ()):
        more = ", ".join(f"{key} {value}" for key, value in step.items() if key not in ("at", "what"))
        console.print(f"  {step['at']:%Y-%m-%d %H:%M} {step['what']} ({more})", markup=False, soft_wrap=True)
    if "item" in document:
        console.print(json_util.dumps(document["item"], indent=1, ensure_ascii=False), markup=False, soft_wrap=True)
    elif document.get("raw") is not None:
        told = document["raw"].decode("utf-8", "backslashreplace")
        console.print(f"  {document['bytes']:,} bytes:", markup=False)
        console.print(told, markup=False, soft_wrap=True)


def as_json(documents: Sequence[Mapping[str, Any]]) -> str:
    """For programs: MongoDB's relaxed extended JSON."""
    return json_util.dumps(list(documents), json_options=json_util.RELAXED_JSON_OPTIONS, indent=1)


def _where(document: Mapping[str, Any]) -> str:
    if document.get("place"):
        return str(document["place"])
    window = document.get("window")
    return f"{document.get('dataset')} {document.get('origin')}" + (f" {window:%Y-%m-%d}" if window else "")
