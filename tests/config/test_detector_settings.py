"""What may be declared of the detector, and which line counts."""

from datetime import date
from pathlib import Path

import pytest

from config import settings
from config.detector import Detector, Event, Judging
from config.settings import ConfigError


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Detector:
    path = tmp_path / "touchstone.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(path))
    settings.load.cache_clear()
    try:
        return settings.load().detector
    finally:
        settings.load.cache_clear()


def test_it_is_on_by_default_and_blocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load(tmp_path, monkeypatch, "")
    assert detector.enabled
    assert detector.false_alarms_per_series_per_quarter == 1.0
    assert not detector.of("silver.changes").block_on_anomaly
    assert detector.of("silver.changes").judge


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[detector]\nfalse_alarms_per_series_per_quarter = 0\n", "greater than 0"),
        ("[detector]\nfalse_alarms_per_series_per_quarter = 90\n", "less than 90"),
        ("[detector]\nsensitivity = 3\n", "unknown key"),
        ("[detector]\ncountry = 'Germany'\n", "not known"),
        ("[detector]\ncountry = 'GB'\nsubdivision = 'XXX'\n", "not known"),
        ("[detector]\nsubdivision = 'ENG'\n", "of which country"),
        ("[[detector.events]]\nname = 'x'\nstart = 2026-12-20\nend = 2026-12-19\n", "before its start"),
        ("[[detector.events]]\nname = 'x'\nstart = 2026-12-20\nend = 2026-12-21\nkind = 'change'\n", "way back"),
        ("[[detector.events]]\nname = 'x'\nstart = 2026-12-20\nkind = 'party'\n", "'break' or 'change'"),
        ("[[detector.datasets]]\ndataset = 'a'\n[[detector.datasets]]\ndataset = 'a'\n", "two lines are of 'a'"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, what: str
) -> None:
    """It would be noticed too late: by the anomaly that was not told."""
    with pytest.raises(ConfigError, match="detector") as caught:
        load(tmp_path, monkeypatch, text)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "blocks"),
    [("silver.changes", False), ("silver.deployments", True), ("gold.dora_daily", False), ("bronze.git.tags", False)],
)
def test_the_most_specific_line_counts_as_a_whole(dataset: str, *, blocks: bool) -> None:
    lines = (
        Judging(dataset="silver.*", block_on_anomaly=True),
        Judging(dataset="silver.changes", judge=False),
        Judging(dataset="*"),
    )
    for order in (lines, lines[::-1]):
        assert Detector(datasets=order).of(dataset).block_on_anomaly is blocks
        assert Detector(datasets=order).of(dataset).judge is (dataset != "silver.changes")


@pytest.mark.parametrize(
    ("event", "fits"),
    [({}, True), ({"datasets": ("silver.*",)}, True), ({"datasets": ("gold.*",)}, False),
     ({"scopes": ("acme/*",)}, True), ({"scopes": ("acme",)}, False),
     ({"datasets": ("silver.*",), "scopes": ("other",)}, False)],
)  # fmt: skip
def test_an_event_concerns_what_it_names(event: dict[str, tuple[str, ...]], *, fits: bool) -> None:
    made = Event.model_validate({"name": "x", "start": date(2026, 12, 20), **event})
    assert made.is_of("silver.changes", "acme/api") is fits


def test_the_example_names_every_key() -> None:
    text = settings.EXAMPLE.read_text(encoding="utf-8")
    for section in (Detector, Judging, Event):
        for key in section.model_fields.keys() - {"datasets", "events"}:
            assert f"{key} =" in text, f"{key} is not in the example"
    assert "[[detector.datasets]]" in text
    assert "[[detector.events]]" in text
