"""Where the demo keeps its things, and how a person goes on from it."""

import os
import shlex
from pathlib import Path
from typing import Final

from config import settings as configuration

FOLDER: Final = Path(".touchstone") / "demo"
RECORDED: Final = Path("tests/data/git_events/psf__requests/events.jsonl.gz")
"""A real history, recorded: a checkout has it, an installed package has not."""
PROGRAM: Final = Path(".venv/bin/touchstone")


def use(name: str, text: str) -> Path:
    """Write a configuration of the demo's own, and let this process use it."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = FOLDER / name
    path.write_text(f"# Written by `touchstone demo`.\n{text}", encoding="utf-8")
    path.chmod(0o600)  # a URL may hold a credential
    os.environ[configuration.CONFIG_VARIABLE] = str(path.absolute())
    configuration.load.cache_clear()
    return path


def toml(text: str) -> str:
    """`text` as a TOML string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def command(path: Path | None, *words: str) -> str:
    """A command as a person would type it here; path: its configuration."""
    program = str(PROGRAM) if PROGRAM.exists() else "touchstone"
    return shlex.join([program, *(["--config", str(path)] if path else []), *words])
