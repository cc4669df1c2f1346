"""What the shapes of a stream tell about its drift. Pure.

The order is that of windows, not of arrival. What the objects at a path have in the first window that has such an
object is their baseline (so the stream's, for the payload itself). After it:

* `new`: a field whose first window is later. What lies within a new object is part of the news, no record of its own.
* `missing`: a field that every object had so far, in the first window in which an object lacks it. Null is not missing.
* `type`: every type of a field after its first one (in a tie the first by name). Null is no type.
* `map`: the objects have more than MAP_KEYS keys that come and go, or MOST_KEYS in all: the keys are data. From then on
  they are one path.
* `overflow`: the stream has MOST_PATHS paths, and no further ones are recorded.

Not seen: that a field goes missing which is no part of the baseline, and drift within the baseline's window.

What is remembered are *witnesses*: shapes that were the first to have a field or a type, or the first to lack a field.
A shape that tells nothing earlier than these do is not remembered. A set that only grows, in which the earliest wins,
is the same in whatever order and however often it is added to. So with items that come in order of time any division
into merges ends in the same records. Late items can only add: what was reported on less knowledge (a field called new
that older items turn out to have) stays, and its first window may move back. A map that is found late leaves the
records of its first keys behind, and which paths are beyond an overflow depends on which came first.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from config import schema
from quality.shapes import BELOW, ELEMENTS, MOST_KEYS, SHORT, VALUES, Path, Shape, Type, in_order, written

MAP_KEYS: Final = 100
"""Keys of the objects at one path that not all of them have; keys that all have are a wide record, not a map."""
MOST_PATHS: Final = 2_000
"""Per dataset."""

_STEPS: Final = frozenset({ELEMENTS, VALUES, BELOW})

Place: TypeAlias = tuple[Path, str]
"""A path, and whether we mean the objects or the lists there."""


class Kind(StrEnum):
    """What happened to a path."""

    NEW = "new"
    MISSING = "missing"
    TYPE = "type"
    MAP = "map"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Drift:
    """One record. Dataset, path, kind and type are its identity."""

    dataset: str
    path: str
    """As in quality.shapes; of all records of kind `overflow` it is empty."""
    kind: str
    type: str | None
    """The type that came, for the kind `type`."""
    before: tuple[str, ...]
    """The types that the path had before, in order of time."""
    first_window: datetime
    scope: str
    item: str
    """The id of an item that shows it, in `scope` and `first_window`."""
    example: str
    """A value as short text: of the item; for `missing` one that the field used to have; for a map or overflow keys."""
    seen_at: datetime
    run_id: str

    @property
    def key(self) -> str:
        """The `_id` in the database."""
        return schema.digest([self.dataset, self.path, self.kind, self.type])


class _Fact(NamedTuple):
    """A drift as far as the history knows it."""

    kind: Kind
    path: Path
    by: Shape
    example: str
    before: tuple[str, ...] = ()
    type: str | None = None


@dataclass(slots=True)
class _Objects:
    """What is known of all objects, or all lists, at one path: the earliest shape for each fact."""

    begin: Shape
    have: dict[str, Shape] = field(default_factory=dict)
    lack: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, dict[str, Shape]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def are_map(self) -> bool:
        """Whether the keys are data."""
        return len(self.lack) > MAP_KEYS or len(self.have) > MOST_KEYS or VALUES in self.have

    def learn(self, shape: Shape) -> bool:
        """Take in one more; whether it is news."""
        news, names = shape is self.begin, shape.names
        if shape.of == Type.OBJECT and VALUES not in self.have:
            self.lack.update(dict.fromkeys(names - self.have.keys(), self.begin) if not news else {})
            news |= _lower(self.lack, self.have.keys() - names, shape)
        news |= _lower(self.have, names, shape)
        for seen in shape.fields:
            news |= seen.type != Type.NULL and _lower(self.types[seen.name], {seen.type}, shape)
        if shape.window < self.begin.window:
            self.begin, news = shape, True
        return news

    def typed(self, name: str) -> list[tuple[datetime, str]]:
        """The types of a field with their first windows, in order of time."""
        return sorted((shape.window, kind) for kind, shape in self.types[name].items())

    def drift(self, path: Path) -> Iterator[_Fact]:
        """Yield what has drifted since the first window."""
        begin = self.begin.window
        for name, first in self.have.items():
            here, types, lack = (*path, name), self.typed(name), self.lack.get(name)
            if name not in _STEPS and first.window > begin:
                yield _Fact(Kind.NEW, here, first, first.example(name))
            if lack and lack.window > begin:
                before = tuple(kind for window, kind in types if window < lack.window)
                yield _Fact(Kind.MISSING, here, lack, first.example(name), before)
            for place, (window, kind) in enumerate(types):
                if place and window > begin:
                    by = self.types[name][kind]
                    before = tuple(kind for _, kind in types[:place])
                    yield _Fact(Kind.TYPE, here, by, by.example(name, kind), before, kind)


class History:
    """What the shapes of one dataset tell, in any order; without MongoDB."""

    def __init__(self, shapes: Iterable[Shape] = ()) -> None:
        self.overflow: Shape | None = None
        """The first shape that had no room."""
        self._all: dict[Place, _Objects] = {}
        self._maps: dict[Path, Shape] = {}
        self._learned: list[Shape] = []
        self._paths = 0
        for shape in sorted(shapes, key=in_order):
            self.learn(shape)

    def learn(self, shape: Shape) -> Shape | None:
        """Return what is to be remembered of `shape`: all of it, what there is room for, or None if it is no news."""
        shape = self._resolved(shape)
        if self._paths >= MOST_PATHS and not self._is_known(shape.path):
            self.overflow = self.overflow or shape
            return None
        shape = self._fit(shape)
        objects = self._all.setdefault((shape.path, shape.of), _Objects(shape))
        paths = len(objects.have)
        if not objects.learn(shape):
            return None
        self._paths += len(objects.have) - paths
        self._learned.append(shape)
        if shape.of == Type.OBJECT and objects.are_map and shape.path not in self._maps:
            self._collapse(shape.path, shape)
        return shape

    def drift(self, dataset: str, *, run_id: str, now: datetime) -> list[Drift]:
        """All that has drifted since the baseline, as if seen now."""
        facts = [fact for (path, _), objects in self._all.items() for fact in objects.drift(path)]
        facts += [_Fact(Kind.MAP, (*path, VALUES), by, _keys(by)) for path, by in self._maps.items()]
        if self.overflow:
            facts.append(_Fact(Kind.OVERFLOW, (), self.overflow, _keys(self.overflow)))
        return [
            Drift(
                dataset, written(path), kind, to, before, by.window, by.scope, by.item, example, now, run_id
            ) for kind, path, by, example, before, to in facts
        ]  # fmt: skip

    def fields(self) -> list[dict[str, Any]]:
        """Every path with its types, first window, the first window in which it is lacking, and an example."""
        return sorted(
            (
                {
                    "path": written((*path, name)),
                    "types": {kind: window for window, kind in objects.typed(name)},
                    "first_window": first.window,
                    "missing_from": objects.lack[name].window if name in objects.lack else None,
                    "example": first.example(name),
                }
                for (path, _), objects in self._all.items()
                for name, first in objects.have.items()
            ),
            key=lambda one: str(one["path"]),
        )

    def _place(self, path: Path) -> Path:
        """`path`, with the keys of maps replaced."""
        if not self._maps:
            return path
        resolved: Path = ()
        for step in path:
            resolved = (*resolved, VALUES if resolved in self._maps and step not in _STEPS else step)
        return resolved

    def _resolved(self, shape: Shape) -> Shape:
        """`shape` as one of objects at its path with the keys of maps replaced, and its own if it is one."""
        path, fields = self._place(shape.path), shape.fields
        if path in self._maps and shape.of == Type.OBJECT:
            fields = tuple({seen.type: seen._replace(name=VALUES) for seen in fields}.values())
        return shape if (path, fields) == (shape.path, shape.fields) else replace(shape, path=path, fields=fields)

    def _is_known(self, path: Path) -> bool:
        if not path:
            return True
        outer = self._all.get((path[:-1], Type.LIST if path[-1] in (ELEMENTS, BELOW) else Type.OBJECT))
        return outer is not None and path[-1] in outer.have

    def _fit(self, shape: Shape) -> Shape:
        """`shape` without the fields for which there is no room."""
        objects = self._all.get((shape.path, shape.of))
        fresh = shape.names - (objects.have.keys() if objects else set())
        if self._paths + len(fresh) <= MOST_PATHS:
            return shape
        self.overflow = self.overflow or shape
        return replace(shape, fields=tuple(seen for seen in shape.fields if seen.name not in fresh))

    def _collapse(self, path: Path, by: Shape) -> None:
        """Take all keys of the objects at `path` for one, and look again at what is in them."""
        self._maps[path] = by
        depth = len(path)
        for place in [place for place in self._all if place[0][:depth] == path]:
            self._paths -= len(self._all.pop(place).have)
        for inner in [inner for inner in self._maps if len(inner) > depth and inner[:depth] == path]:
            del self._maps[inner]
        again = [shape for shape in self._learned if self._place(shape.path)[:depth] == path]
        self._learned = [shape for shape in self._learned if self._place(shape.path)[:depth] != path]
        for shape in again:
            self.learn(shape)


def _lower(earliest: dict[str, Shape], keys: set[str], shape: Shape) -> bool:
    """Whether `shape` is the earliest so far for some of `keys`; there it is kept."""
    later = [key for key in keys if key not in earliest or shape.window < earliest[key].window]
    earliest.update(dict.fromkeys(later, shape))
    return bool(later)


def _keys(shape: Shape) -> str:
    return ", ".join(sorted(shape.names))[:SHORT]
