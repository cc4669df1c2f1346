"""Log lines of a command that runs for long: one event a line, for people or for programs, without secrets."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from config.redaction import redacted
from tasks.cli_common import plain

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest came in as `extra`."""


class JsonLines(logging.Formatter):
    """One JSON object a line: at, level, logger, event, the fields of `extra`, and the traceback if there was one."""

    def format(self, record: logging.LogRecord) -> str:
        """`record` as such a line."""
        line = {"at": _at(record), "level": record.levelname.lower(), "logger": record.name, "event": _event(record)}
        line |= {name: _safe(value) for name, value in _extra(record).items()}
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line)


class TextLines(logging.Formatter):
    """The same for people: `2026-11-01T12:00:00.000+00:00 info notifier: told (incident=...)`."""

    def format(self, record: logging.LogRecord) -> str:
        """`record` as such a line."""
        extra = ", ".join(f"{name}={value}" for name, value in _extra(record).items())
        line = (
            f"{_at(record)} {record.levelname.lower()} {record.name}: {_event(record)}{f' ({extra})' if extra else ''}"
        )
        if record.exc_info:
            line += f" | {self.formatException(record.exc_info)}"
        return plain(redacted(line))


def begin(*, as_json: bool) -> None:
    """From now on every event from INFO on is a line on stderr, whatever was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _event(record: logging.LogRecord) -> str:
    return redacted(record.getMessage())


def _safe(value: Any) -> Any:
    """`value` as JSON can hold it, without secrets."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return [_safe(one) for one in value] if isinstance(value, list | tuple) else redacted(str(value))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}
