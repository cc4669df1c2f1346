"""How messages look in a terminal and on a page: as in Slack, and whatever the data is they are only text."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from alerting.incidents import Facts
from alerting.slack import blocks
from alerting.slack.client import Client
from alerting.slack.samples import samples
from alerting.standin.mrkdwn import Span, Style, spans
from alerting.standin.page import page
from alerting.standin.server import StandIn
from alerting.standin.terminal import render

NOW = datetime(2026, 5, 2, 3, 14, tzinfo=UTC)


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    with StandIn() as server:
        yield server


@pytest.mark.parametrize(("text", "expected"), [
    ("a *b* c", [Span(Style.PLAIN, "a "), Span(Style.BOLD, "b"), Span(Style.PLAIN, " c")]),
    ("snake_case_x", [Span(Style.PLAIN, "snake_case_x")]),
    ("`a*b*`", [Span(Style.CODE, "a*b*")]), ("```\n<b>\n```", [Span(Style.BLOCK, "<b>")]),
    ("&lt;!here&gt; &amp;amp;", [Span(Style.PLAIN, "<!here> &amp;")]),
    ("<!here>", [Span(Style.MENTION, "@here")]), ("<@U1>", [Span(Style.MENTION, "@U1")]),
    ("<!subteam^S1>", [Span(Style.MENTION, "@S1")]),
    ("<https://x.example|page>", [Span(Style.LINK, "page", "https://x.example")]),
    ("<!date^1777691640^{date_short_pretty} {time}|x>", [Span(Style.DATE, "May 2, 2026 03:14")]),
    ("<!date^99999999999999999^{time}|then>", [Span(Style.DATE, "then")]),
])  # fmt: skip
def test_mrkdwn_reads_as_in_slack(text: str, expected: list[Span]) -> None:
    assert list(spans(text)) == expected


class Reader(HTMLParser):
    """All tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def show(slack: StandIn) -> None:
    """Everything that can be drawn, with data that would like to be more than text."""
    client = Client(slack.settings())
    evil = "</style><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\x1b[31m\u202e\"'"
    incident = replace(samples(NOW)[0], facts=Facts(evil, evil, evil, evil, "touchstone status", (evil,)))
    posted = client.post("#alerts", blocks.root(incident, NOW, page_url="https://status.example/"))
    client.update(posted, blocks.root(incident, NOW))
    client.post("#alerts", {"text": f'*{evil}* <https://evil.example/?"><script>|{evil}>'}, posted.ts)
    client.upload(posted, "a.png", evil, b"\x89PNG\r\n\x1a\n...")
    client.upload(posted, "a.svg", "svg", b"<svg onload=alert(1)>")


def test_a_page_shows_all_of_it_and_runs_and_asks_for_nothing(slack: StandIn) -> None:
    show(slack)
    drawn = page(slack.messages, names={slack.id_of("#alerts"): "#alerts<script>"})
    reader = Reader()
    reader.feed(drawn)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "a", "link", "iframe", "svg", "object", "form"})
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
        assert "href" not in attributes
    assert "default-src 'none'" in drawn
    assert not re.search(r"url\(|@import", drawn)
    assert "\u202e" not in drawn
    assert "\x1b" not in drawn
    assert "(edited)" in drawn
    assert drawn.count("<article>") == 4


def test_a_terminal_shows_threads_edits_and_no_control_characters(slack: StandIn) -> None:
    show(slack)
    out = StringIO()
    render(
        slack.messages, Console(file=out, width=200, force_terminal=False), names={slack.id_of("#alerts"): "#alerts"}
    )
    drawn = out.getvalue()
    assert "🔴 Critical" in drawn
    assert "(edited " in drawn
    assert drawn.count("↳") == 3
    assert "touchstone status" in drawn
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn
    assert "[picture]" in drawn
