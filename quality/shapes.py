"""Shapes: which fields, of which types, the objects in payloads were seen to have, and since when. Pure.

A payload is a tree of objects and lists. Each object is looked at by itself, as one of all objects at its path: so a
field of an absent, null or new object is no news beside the object, and an empty list says nothing of its elements.

Paths are keys joined by dots, `path[]` for the elements of a list, `path.*` for the values of an object whose keys are
data, `path....` for all that lies more than DEPTH levels deep. A key that could be mistaken for these is in quotes.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

DEPTH: Final = 32
"""Levels of objects and lists that are looked at."""
MOST_SHAPES: Final = 2_000
"""Distinct shapes that are held in memory before they should be merged."""
MOST_KEYS: Final = 1_000
"""An object of more keys, or all objects of one path together, is a map: its keys are data."""
SHORT: Final = 200
"""Characters of an example."""

ELEMENTS: Final = "[]"
VALUES: Final = "*"
BELOW: Final = "..."

Path: TypeAlias = tuple[str, ...]
"""Steps from the payload inwards: names of fields, ELEMENTS, VALUES, BELOW. The payload itself is ()."""

_PLAIN: Final = re.compile(r'[^\x00-\x1f\x7f.\[\]*"\\\ud800-\udfff]{1,100}')
_LONGEST_KEY: Final = 100
_LONGEST_INT: Final = 128
_SHOWN: Final = 5
_MOST_TYPES: Final = 1_000
_QUOTED: Final = json.JSONEncoder(ensure_ascii=False).encode


class Type(StrEnum):
    """What a value is. JSON has one type of number: 1 and 1.5 are the same."""

    NULL = "null"
    """Present, and of no type yet."""
    BOOL = "bool"
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    BYTES = "bytes"
    OBJECT = "object"
    LIST = "list"
    OTHER = "other"


class Seen(NamedTuple):
    """One field of a shape. The same name stands there once for each type that it has, e.g. in a list."""

    name: str
    type: str
    example: str


@dataclass(frozen=True, slots=True)
class Shape:
    """Objects (or lists) at one path that have the same fields of the same types: the earliest that was seen."""

    path: Path
    of: str
    """Type.OBJECT or Type.LIST."""
    fields: tuple[Seen, ...]
    window: datetime
    scope: str
    item: str

    @property
    def names(self) -> set[str]:
        """The names of the fields."""
        return {one.name for one in self.fields}

    def example(self, name: str, kind: str | None = None) -> str:
        """A value that the field had, of the type `kind` if given; empty if it has none."""
        return next((one.example for one in self.fields if one.name == name and kind in (None, one.type)), "")


class _At(NamedTuple):
    """An item, and its window."""

    window: datetime
    scope: str
    item: str


@dataclass(slots=True)
class _Entry:
    """A shape as it is being collected."""

    at: _At
    fields: tuple[Seen, ...]
    inner: tuple[tuple[Any, "_Node"], ...] = ()
    """Keys under which there are objects or lists, and where these belong."""


@dataclass(slots=True)
class _Node:
    """All objects and lists at one path."""

    path: Path
    objects: dict[Any, _Entry] = field(default_factory=dict)
    lists: dict[frozenset[type], _Entry] = field(default_factory=dict)
    children: dict[str, "_Node"] = field(default_factory=dict)
    keys: set[Any] = field(default_factory=set)

    def child(self, name: str) -> "_Node":
        if name not in self.children:
            self.children[name] = _Node((*self.path, name))
        return self.children[name]


class Shapes:
    """Collects the shapes of payloads during a sweep, in little memory: of each shape one item, as short text."""

    def __init__(self) -> None:
        self._roots: dict[str, _Node] = {}
        self._held = 0

    @property
    def full(self) -> bool:
        """Whether it is time to merge, and to go on with a new one."""
        return self._held >= MOST_SHAPES

    def add(self, dataset: str, scope: str, window: datetime, item_id: str, payload: Mapping[str, Any]) -> None:
        """Look at one item. Tombstones are not for here: what they lack is not missing."""
        root = self._roots.get(dataset)
        if root is None:
            root = self._roots[dataset] = _Node(())
        self._object(root, payload, _At(window, scope, item_id))

    def collected(self) -> dict[str, list[Shape]]:
        """The shapes by dataset, in order of time, outer ones before inner ones."""
        return {dataset: sorted(_shapes(root), key=in_order) for dataset, root in self._roots.items()}

    def _object(self, node: _Node, value: Mapping[Any, Any], at: _At) -> None:
        if len(value) > MOST_KEYS or len(node.keys) > MOST_KEYS:
            self._values(node, node.objects, VALUES, list(value.values()), at)
            return
        signature = (tuple(value), tuple(map(type, value.values())))
        entry = node.objects.get(signature)
        if entry is None:
            node.keys.update(signature[0])
            inner = tuple((key, node.child(step(key))) for key, one in value.items() if type_of(one) in _INNER)
            entry = node.objects[signature] = _Entry(at, _fields(value), inner)
            self._held += 1
        elif at.window < entry.at.window:
            entry.at, entry.fields = at, _fields(value)
        for key, child in entry.inner:
            self._inner(child, value[key], at)

    def _values(self, node: _Node, held: dict[Any, _Entry], name: str, values: Sequence[Any], at: _At) -> None:
        """Look at values that are all of one path: elements of a list, or values of a map."""
        signature = frozenset(map(type, values))
        entry = held.get(signature)
        if entry is None:
            inner = ((name, node.child(name)),) if any(type_of(value) in _INNER for value in values) else ()
            entry = held[signature] = _Entry(at, _kinds(name, values), inner)
            self._held += 1
        elif at.window < entry.at.window:
            entry.at, entry.fields = at, _kinds(name, values)
        for _, child in entry.inner:
            for value in values:
                if type_of(value) in _INNER:
                    self._inner(child, value, at)

    def _inner(self, node: _Node, value: Any, at: _At) -> None:
        if len(node.path) >= DEPTH:
            if value:
                self._values(node, node.lists, BELOW, (None,), at)
        elif isinstance(value, Mapping):
            self._object(node, value, at)
        else:
            self._values(node, node.lists, ELEMENTS, value, at)


def in_order(shape: Shape) -> tuple[datetime, int, Path, str, tuple[Seen, ...]]:
    """Sorts shapes by time, outer ones before inner ones."""
    return shape.window, len(shape.path), shape.path, shape.of, shape.fields


def written(path: Path) -> str:
    """`path` as people read it."""
    return "".join(one if one == ELEMENTS or not place else f".{one}" for place, one in enumerate(path))


@lru_cache(maxsize=10_000)
def step(key: Any) -> str:
    """A key as a step of a path: in quotes where it is not plain, cut (and told apart by a hash) where it is long."""
    text = key if isinstance(key, str) else repr(key)
    if _PLAIN.fullmatch(text):
        return text
    if len(text) > _LONGEST_KEY:
        text = f"{text[:_LONGEST_KEY]}#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return safe(_QUOTED(text))


def safe(text: str) -> str:
    """`text` as MongoDB can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()


def type_of(value: Any) -> Type:
    """What a value is; the same for all values of one Python type."""
    kind = type(value)
    if kind not in _known_types:
        if len(_known_types) > _MOST_TYPES:
            _known_types.clear()
        _known_types[kind] = next((name for name, kinds in _TYPES if issubclass(kind, kinds)), Type.OTHER)
    return _known_types[kind]


def shown(value: Any, depth: int = 0) -> str:
    """`value` as a short text in the manner of JSON, whatever it is."""
    kind = type_of(value)
    if kind is Type.TEXT:
        text = _QUOTED(value[:SHORT])
    elif kind is Type.NUMBER and isinstance(value, int) and value.bit_length() > _LONGEST_INT:
        text = f"a whole number of {value.bit_length()} bits"
    elif kind in (Type.NULL, Type.BOOL, Type.NUMBER):
        text = {None: "null", True: "true", False: "false"}[value] if kind is not Type.NUMBER else repr(value)
    elif kind is Type.DATE:
        text = value.isoformat()
    elif kind is Type.BYTES:
        text = f"{len(value)} bytes: {bytes(value[:16]).hex()}"
    elif kind is Type.OBJECT:
        some = [] if depth > 1 else [f"{shown(key, 2)}: {shown(value[key], depth + 1)}" for key in _first(value)]
        text = "{" + ", ".join([*some, *["…"][: len(value) - len(some)]]) + "}"
    elif kind is Type.LIST:
        some = [] if depth > 1 else [shown(one, depth + 1) for one in _first(value)]
        text = "[" + ", ".join([*some, *["…"][: len(value) - len(some)]]) + "]"
    else:
        text = f"<{type(value).__name__}>"
    return safe(text)[:SHORT]


_INNER: Final = frozenset({Type.OBJECT, Type.LIST})
_TYPES: Final[tuple[tuple[Type, Any], ...]] = (
    (Type.TEXT, str),
    (Type.BOOL, bool),
    (Type.NUMBER, (int, float)),
    (Type.NULL, type(None)),
    (Type.BYTES, (bytes, bytearray, memoryview)),
    (Type.OBJECT, Mapping),
    (Type.LIST, (list, tuple)),
    (Type.DATE, date),
)
_known_types: Final[dict[type, Type]] = {}


def _fields(value: Mapping[Any, Any]) -> tuple[Seen, ...]:
    return tuple(Seen(step(key), type_of(one), shown(one)) for key, one in value.items())


def _kinds(name: str, values: Sequence[Any]) -> tuple[Seen, ...]:
    """One field for each type that there is among the values, with its first example."""
    examples: dict[type, Any] = {}
    for value in values:
        examples.setdefault(type(value), value)
    kinds = {type_of(value): value for value in reversed(examples.values())}
    return tuple(Seen(name, kind, shown(value)) for kind, value in kinds.items())


def _first(values: Iterable[Any]) -> list[Any]:
    return [value for value, _ in zip(values, range(_SHOWN), strict=False)]


def _shapes(node: _Node) -> Iterator[Shape]:
    """The shapes at a path and within; those that differ only in the order of keys are one."""
    for of, entries in ((Type.OBJECT, node.objects.values()), (Type.LIST, node.lists.values())):
        found: dict[frozenset[tuple[str, str]], Shape] = {}
        for entry in entries:
            same = frozenset((one.name, one.type) for one in entry.fields)
            if same not in found or entry.at.window < found[same].window:
                fields = tuple(sorted(entry.fields))
                found[same] = Shape(node.path, of, fields, entry.at.window, safe(entry.at.scope), safe(entry.at.item))
        yield from found.values()
    for child in node.children.values():
        yield from _shapes(child)
