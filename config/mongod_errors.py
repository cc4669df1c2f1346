"""What to tell when the embedded MongoDB cannot run: what failed, the end of its log, and what to do next."""

import json
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = "mongod.log"
LINES, WIDTH = 6, 400
LITTLE_SPACE_BYTES = 1_000_000

HINTS = (
    (r"No space left on device", "free some space on that disk"),
    (r"libcurl\.so\.4: cannot open", "install libcurl: apt-get install libcurl4 (dnf install libcurl)"),
    (r"lib(ssl|crypto)\.so\.3: cannot open", "install OpenSSL 3: apt-get install libssl3 (dnf install openssl-libs)"),
    (r"liblzma\.so\.5: cannot open", "install liblzma: apt-get install liblzma5 (dnf install xz-libs)"),
    (r"cannot open shared object", "install the package with that library; `ldd` on the program lists what it needs"),
    (r"GLIBC\w*_[\d.]+' not found", "this mongod needs a newer system (the packaged one: glibc 2.34)"),
    (r"Exec format error", "this program is for another kind of machine; name one for this machine"),
    (r"killed by SIGILL", "MongoDB needs a processor with AVX: set TOUCHSTONE_MONGO_URI to use one elsewhere"),
    (r"exit code 62\b|UPGRADE PROBLEM|too recent to start|featureCompatibilityVersion|unsupported WiredTiger",
     "another version of MongoDB wrote these data: use that version, or move the folder away to begin anew"),
    (r"Permission denied|Operation not permitted|Read-only file system",
     "let this user write there; another user, or root, may have made it"),
    (r"File exists|Not a directory", "a folder is needed where there is a file: move it, or name another state folder"),
    (r"DBPathInUse", "a mongod that is not ours uses these data: stop it"),
    (r"WT_PANIC|WT_ERROR|WT_TRY_SALVAGE|[Cc]orrupt",
     "the data are damaged: restore them, or move the folder away to begin anew"),
)  # fmt: skip
"""What a message or a log may contain, and what helps. The first that is found is told."""


class MongodError(RuntimeError):
    """No embedded MongoDB. The message says what failed, where, and what to do next."""


def failure(home: Path, what: str) -> MongodError:
    """The error for a server that did not come up, with the end of its log."""
    log = home / LOG
    if shutil.disk_usage(home).free < LITTLE_SPACE_BYTES:  # the log may have had none for its last words
        what = f"{what}, No space left on device"
    raw = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    errors = list(dict.fromkeys(line for line in map(_error, raw) if line))[-LINES:]
    hint = _hint("\n".join([what, *errors])) or "the log may tell why"
    lines = [line[:WIDTH] for line in errors or raw[-LINES:] if line] or ["(it is empty)"]
    return MongodError("\n  ".join([f"{what}: {hint}. Its data and log are in {home}; the log ends:", *lines]))


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn an OSError, which may come of any file there, into a MongodError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        hint = _hint(reason) or "set another state folder, on a local disk"
        raise MongodError(f"the embedded MongoDB cannot use {error.filename or home}: {reason}; {hint}") from error


def ending(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is None:
        return "it vanished with its supervisor"
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _hint(text: str) -> str | None:
    return next((hint for pattern, hint in HINTS if re.search(pattern, text)), None)


def _error(line: str) -> str | None:
    """An error of the log in short, else None. The log has a JSON object a line; what has not is the system's."""
    try:
        entry = json.loads(line)
        if entry["s"] not in "EF":
            return None
        facts = entry.get("attr", {})
        detail = facts.get("message", facts)
        if isinstance(detail, dict):  # WiredTiger's own object
            detail = " ".join(str(detail[key]) for key in ("msg", "error_str") if key in detail) or json.dumps(detail)
    except (ValueError, TypeError, KeyError, AttributeError):
        return line.strip() or None
    return " ".join(f"{entry['msg']} {detail if detail != '{}' else ''}".split())
