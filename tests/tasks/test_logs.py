"""Log lines of the notifier: one event is one line that a program can read, and no line tells a secret."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks import logs


@pytest.fixture
def lines() -> Iterator[Callable[[logging.Formatter], tuple[logging.Logger, Callable[[], list[str]]]]]:
    """A logger of its own under a formatter, and what it has written."""
    log = logging.getLogger("touchstone.test_logs")
    log.propagate = False
    log.setLevel(logging.INFO)

    def under(formatter: logging.Formatter) -> tuple[logging.Logger, Callable[[], list[str]]]:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        log.handlers = [handler]
        return log, lambda: stream.getvalue().splitlines()

    yield under
    log.handlers = []


def test_an_event_is_one_json_object_with_its_fields(lines: Any) -> None:
    log, written = lines(logs.JsonLines())
    log.info("told %s", "it", extra={"incident": "4f2a-1", "revision": 3, "codes": ["a", "b"]})
    (line,) = map(json.loads, written())
    assert line.pop("at")[-6:] == "+00:00"
    assert line == {
        "level": "info", "logger": "touchstone.test_logs", "event": "told it", "incident": "4f2a-1", "revision": 3,
        "codes": ["a", "b"],
    }  # fmt: skip


@pytest.mark.parametrize("formatter", [logs.JsonLines(), logs.TextLines()])
def test_no_line_tells_a_secret_or_breaks_in_two(lines: Any, formatter: logging.Formatter) -> None:
    log, written = lines(formatter)
    secret = "mongodb://user:hunter2@db/"  # noqa: S105 - to be hidden
    for extra in ({"error": f"{secret}\n\x1b[2J"}, {"error": ValueError(secret)}, {"error": [secret]}):
        log.warning("cannot reach %s\nnor\r\u2028this", secret, extra=extra)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("it broke")
    assert len(written()) == 4
    assert not any("hunter2" in line or "\x1b" in line for line in written())
    assert "ValueError" in written()[-1]


def test_text_lines_have_the_fields_too(lines: Any) -> None:
    log, written = lines(logs.TextLines())
    log.info("told", extra={"incident": "4f2a-1", "revision": 3})
    assert written()[0].endswith(" info touchstone.test_logs: told (incident=4f2a-1, revision=3)")
