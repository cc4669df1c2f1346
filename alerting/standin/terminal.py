"""Messages of the stand-in in a terminal, about as a person sees them in Slack."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from alerting.standin.mrkdwn import Style, readable, seen
from alerting.standin.workspace import Message

STYLES: Final = {
    Style.BOLD: "bold", Style.ITALIC: "italic", Style.STRIKE: "strike", Style.CODE: "red", Style.BLOCK: "cyan",
    Style.DATE: "dim", Style.MENTION: "bold yellow", Style.LINK: "underline blue",
}  # fmt: skip
COLUMN: Final = 44
"""Characters of one of two columns of fields."""


def render(messages: Iterable[Message], console: Console, *, names: Mapping[str, str] | None = None) -> None:
    """Draw `messages`: each root with its thread below it, in the order in which the roots came.

    names: channel id -> what to show for it.
    """
    shown = list(messages)
    roots = {(one.channel, one.ts): one for one in shown if one.thread_ts is None}
    threads: dict[tuple[str, str], list[Message]] = {}
    alone: list[Message] = []
    for one in shown:
        if one.thread_ts is not None:
            key = (one.channel, one.thread_ts)
            threads.setdefault(key, []).append(one) if key in roots else alone.append(one)
    for key, root in roots.items():
        console.print(_panel(root, threads.get(key, ()), (names or {}).get(root.channel, root.channel)))
    for one in alone:
        console.print(_panel(one, (), f"{(names or {}).get(one.channel, one.channel)}, in a thread"))


def _panel(message: Message, thread: Sequence[Message], channel: str) -> Panel:
    body: list[RenderableType] = [_content(message)]
    for one in thread:
        head = Text(f"↳ {_time(one.arrived)}{' (also in the channel)' if one.broadcast else ''}", style="dim")
        body += [Padding(Group(head, _content(one)), (1, 0, 0, 4))]
    edited = f" (edited {_time(message.edited_at)})" if message.edited_at else ""
    title = Text(f"{seen(channel)} · {_time(message.arrived)}{edited}", style="dim")
    return Panel(Group(*body), title=title, title_align="left", box=box.ROUNDED, border_style="dim", padding=(0, 1))


def _content(message: Message) -> Group:
    parts: list[RenderableType] = [_block(block) for block in message.blocks]
    parts = parts or ([_text({"type": "mrkdwn", "text": message.text})] if message.text else [])
    for one in message.files:
        parts.append(Text(f"[picture] {seen(one.title or one.name)} ({len(one.content):,} bytes)", style="dim"))
    return Group(*parts)


def _block(block: Mapping[str, Any]) -> RenderableType:
    if block["type"] == "header":
        return Text.assemble((_text(block["text"]).plain, "bold"))
    if block["type"] == "divider":
        return Text("─" * COLUMN, style="dim")
    if block["type"] == "context":
        line = Text(" ").join(_text(one) for one in block["elements"])
        line.stylize("dim")
        return line
    parts: list[RenderableType] = [Padding(_text(block["text"]), (1, 0, 0, 0))] if "text" in block else []
    if "fields" in block:
        parts.append(Padding(Columns([_text(one) for one in block["fields"]], width=COLUMN), (1, 0, 0, 0)))
    return Group(*parts)


def _text(text: dict[str, Any]) -> Text:
    """`text` in its styles."""
    drawn = Text()
    for span in readable(text):
        drawn.append(seen(span.text), STYLES.get(span.style))
    return drawn


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"
