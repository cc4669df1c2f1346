"""Rows of watched collections as the quarantine keeps them: whole if they fit, and never a failure if they do not.

They are kept as their own bytes, so that what cannot be decoded without loss (a date after the year 9999, a text that
is no UTF-8) is kept as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from bson import ObjectId, json_util
from bson.binary import Binary
from bson.raw_bson import RawBSONDocument

from config import schema
from quality import quarantine
from quality.gate import Break

MOST_BYTES: Final = 15_500_000
"""MongoDB's limit is 16 MiB (16,777,216) for a document; the rest is for what the quarantine says of it."""
MOST_LEVELS: Final = 151
"""MongoDB stores 180 levels; the quarantine's document and the command that writes it are some of them."""
VALUE_LEVELS: Final = 21
LONGEST_ID: Final = 500


def row(scope: str, window: datetime, value: Mapping[str, Any], raw: bytes, breaks: Sequence[Break]) -> quarantine.Row:
    """What is set aside of the row that `raw` is, decoded as `value`.

    A row that moves to another window is another record: its old window releases the old one.
    """
    name = text_of(value.get("_id")) if "_id" in value else schema.digest(raw)
    item: dict[str, Any] = {
        "_id": f"{scope}|{window:%Y-%m-%d}|{name}",
        "origin": scope,
        "window": window,
        "key": name,
    }
    if len(raw) > MOST_BYTES:
        item |= {"raw": Binary(raw[:MOST_BYTES]), "bytes": len(raw)}
    elif schema.is_deeper(value, MOST_LEVELS):
        item |= {"raw": Binary(raw), "bytes": len(raw)}
    else:
        item["document"] = RawBSONDocument(raw)
    return quarantine.Row(item, [_flat(one) for one in breaks])


def text_of(identity: Any) -> str:
    """An `_id` of any type as text; different ones have different texts, unless they are very long."""
    plain = identity if isinstance(identity, str) else str(identity) if isinstance(identity, ObjectId) else None
    text = plain if plain is not None else json_util.dumps(identity, json_options=json_util.CANONICAL_JSON_OPTIONS)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= LONGEST_ID else f"{text[:LONGEST_ID]}#{schema.digest(text)}"


def _flat(one: Break) -> Break:
    """With a value that can be kept beside the item."""
    value = one.value
    return (
        replace(one, value=repr(value))
        if isinstance(value, Mapping | list) and schema.is_deeper(value, VALUE_LEVELS)
        else one
    )
