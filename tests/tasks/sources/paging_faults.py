"""What goes wrong between pages, each of which looks well by itself.

They know the forms of the APIs that we read: a list, or an object with one; a Link header, a token of the next page, a
mark of the last one; totals.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.tasks.sources.exchanges import Fault, Outcome, Response, Scene

_TOTALS: Final = ("total_count", "total", "totalCount")
_NEXT: Final = ("nextPageToken", "nextPage", "next")
_IDS: Final = ("id", "sha", "key", "number", "node_id")


def records(response: Response) -> list[Any] | None:
    """The list that an answer is about."""
    found = response.json
    if isinstance(found, Mapping):
        lists = [value for value in found.values() if isinstance(value, list)]
        found = max(lists, key=len, default=None)
    return found if isinstance(found, list) else None


def with_records(response: Response, new: list[Any]) -> Response:
    """The same answer about another list."""
    old = records(response)
    if isinstance(response.json, Mapping):
        return response.holding({name: new if value is old else value for name, value in response.json.items()})
    return response.holding(new)


def _changed(change: Callable[[list[Any]], list[Any] | None]) -> Callable[[Scene], Outcome]:
    """A fault of what is on the page; `change` answers with None where it makes no sense."""

    def spoil(scene: Scene) -> Outcome:
        found = records(scene.healthy)
        new = change(list(found)) if found else None
        return None if new is None else with_records(scene.healthy, new)

    return spoil


def _linked(change: Callable[[Scene, str], str | None]) -> Callable[[Scene], Outcome]:
    """A fault of the Link header, of which `change` makes another one or none."""

    def spoil(scene: Scene) -> Outcome:
        link = scene.healthy.headers.get("Link")
        return None if not link or 'rel="next"' not in link else scene.healthy.having(Link=change(scene, link))

    return spoil


def _elsewhere(scene: Scene, link: str) -> str:
    return link.replace(scene.base, scene.elsewhere)


def _to_itself(scene: Scene, link: str) -> str:
    here = scene.base + scene.request.target.lstrip("/")
    return re.sub(r'<[^>]*>(; *rel="next")', lambda found: f"<{here}>{found[1]}", link)


def _cut(scene: Scene) -> Outcome:
    """Nothing says that more follows, nor that this is the end."""
    if (link := scene.healthy.headers.get("Link")) and 'rel="next"' in link:
        return scene.healthy.having(Link=None)
    if isinstance(scene.healthy.json, Mapping) and any(scene.healthy.json.get(name) for name in _NEXT):
        return scene.healthy.holding({k: v for k, v in scene.healthy.json.items() if k not in (*_NEXT, "isLast")})
    return None


def _repeated(scene: Scene) -> Outcome:
    """The records of the page before, under the links of this one."""
    earlier = records(scene.before[-1]) if scene.before else None
    return with_records(scene.healthy, earlier) if earlier and records(scene.healthy) else None


def _shifted(scene: Scene) -> Outcome:
    """Something came in front of the listing between two pages: one is seen twice, and the last of this page never."""
    earlier, here = records(scene.before[-1]) if scene.before else None, records(scene.healthy)
    return with_records(scene.healthy, [earlier[-1], *here[:-1]]) if earlier and here else None


def _total(change: Callable[[int], int]) -> Callable[[Scene], Outcome]:
    def spoil(scene: Scene) -> Outcome:
        told = scene.healthy.json if isinstance(scene.healthy.json, Mapping) else {}
        totals = {name: change(told[name]) for name in _TOTALS if isinstance(told.get(name), int)}
        return scene.healthy.holding({**told, **totals}) if totals else None

    return spoil


def _nameless(items: list[Any]) -> list[Any] | None:
    first = items[0]
    if not isinstance(first, Mapping) or not any(name in first for name in _IDS):
        return None
    return [{name: value for name, value in first.items() if name not in _IDS}, *items[1:]]


_LASTING: Final[Mapping[str, Callable[[Scene], Outcome]]] = {
    "next_page_elsewhere": _linked(_elsewhere),
    "next_page_is_this": _linked(_to_itself),
    "next_page_malformed": _linked(lambda _, link: re.sub(r"<[^>]*>", "<http://[::1>", link)),
    "chain_cut": _cut,
    "page_repeated": _repeated,
    "page_shifted": _shifted,
    "page_shorter": _changed(lambda items: items[:-1] if len(items) > 1 else None),
    "page_size_changed": _changed(lambda items: items[: len(items) // 2] if len(items) > 1 else None),
    "page_empty": _changed(lambda _: []),
    "total_too_high": _total(lambda total: total + 3),
    "total_too_low": _total(lambda total: max(total - 1, 0)),
    "total_is_zero": _total(lambda _: 0),
    "item_missing": _changed(lambda items: items[: len(items) // 2] + items[len(items) // 2 + 1 :]),
    "item_without_id": _changed(_nameless),
    "item_null": _changed(lambda items: [None, *items[1:]]),
    "item_text": _changed(lambda items: ["unavailable", *items[1:]]),
}
_HARMLESS: Final[Mapping[str, Callable[[Scene], Outcome]]] = {
    "item_twice": _changed(lambda items: [*items, items[-1]]),
    "items_reversed": _changed(lambda items: items[::-1]),
    "item_with_news": _changed(
        lambda items: (
            [{**items[0], "field_of_tomorrow": {"new": True}}, *items[1:]] if isinstance(items[0], Mapping) else None
        )
    ),
}

PAGING: Final[Mapping[str, Fault]] = {
    **{name: Fault(name, spoil, paging=True, needs_total=name == "page_shifted") for name, spoil in _LASTING.items()},
    **{name: Fault(name, spoil, harmless=True, paging=True) for name, spoil in _HARMLESS.items()},
}
