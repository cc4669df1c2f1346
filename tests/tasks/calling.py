"""The command line, called in this process as `main` calls it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from config import settings
from tasks import cli


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Run:
    """Runs a command with an empty configuration in `folder`."""
    monkeypatch.setenv(settings.CONFIG_VARIABLE, str(folder / "touchstone.toml"))
    (folder / "touchstone.toml").write_text("", encoding="utf-8")

    def touchstone(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["touchstone", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return touchstone
