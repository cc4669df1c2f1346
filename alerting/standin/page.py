"""Messages of the stand-in as one HTML page that looks about as Slack does. It asks for nothing from anywhere.

Everything that is drawn is text in an escaped place; a policy in the page forbids scripts and outside addresses.
"""

import html
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from alerting.standin.mrkdwn import Span, Style, readable, seen
from alerting.standin.workspace import File, Message

TAGS: Final = {
    Style.BOLD: "b", Style.ITALIC: "i", Style.STRIKE: "s", Style.CODE: "code", Style.BLOCK: "pre", Style.DATE: "time",
    Style.MENTION: "mark",
}  # fmt: skip
POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SHEET: Final = """
:root { color-scheme: light dark; --ink: #1d1c1d; --grey: #616061; --line: #dddddd; --back: #ffffff; --link: #1264a3;
  --code: #c01343; --codeback: #f6f6f6; --mark: #fdf2cc; --markink: #1264a3; }
@media (prefers-color-scheme: dark) { :root { --ink: #d1d2d3; --grey: #ababad; --line: #35373b; --back: #1a1d21;
  --link: #1d9bd1; --code: #e8912d; --codeback: #222529; --mark: #463b1a; --markink: #f2c744; } }
body { margin: 0 auto; max-width: 760px; padding: 16px; background: var(--back); color: var(--ink);
  font: 15px/1.46 Lato, "Helvetica Neue", "Liberation Sans", Arial, "Noto Color Emoji", sans-serif; }
h1 { font-size: 18px; border-bottom: 1px solid var(--line); padding-bottom: 12px; margin: 24px 0 8px; }
article { display: grid; grid-template-columns: 36px 1fr; gap: 8px; padding: 10px 0; }
article > .face { width: 36px; height: 36px; border-radius: 6px; background: #4a154b; color: #ffffff; font-weight: 900;
  display: grid; place-items: center; }
.who b { font-weight: 900; } .who small, .context, .edited, .file { color: var(--grey); font-size: 12px; }
.badge { background: var(--line); color: var(--grey); border-radius: 2px; font-size: 10px; padding: 1px 3px; }
.header { font-size: 18px; font-weight: 900; line-height: 1.3; margin: 4px 0; }
.section { margin: 8px 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; margin: 8px 0; }
.fields > div { overflow-wrap: anywhere; white-space: pre-wrap; }
.context { margin: 4px 0; white-space: pre-wrap; } hr { border: 0; border-top: 1px solid var(--line); }
code, pre { font: 12px/1.5 Monaco, Menlo, "Liberation Mono", monospace; background: var(--codeback);
  border: 1px solid var(--line); border-radius: 3px; }
code { color: var(--code); padding: 2px 3px 1px; }
pre { padding: 8px; margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 4px; }
mark { background: var(--mark); color: var(--markink); border-radius: 3px; padding: 0 2px; }
.link { color: var(--link); } .thread { border-left: 2px solid var(--line); margin: 8px 0 0; padding-left: 12px; }
.thread article { grid-template-columns: 24px 1fr; padding: 6px 0; }
.thread .face { width: 24px; height: 24px; font-size: 12px; } img { max-width: 100%; border-radius: 8px; }
@media (max-width: 480px) { .fields { grid-template-columns: 1fr; } }
"""


def page(messages: Iterable[Message], *, names: Mapping[str, str] | None = None, title: str = "Stand-in") -> str:
    """The page: channel by channel, each root message with its thread. names: channel id -> what to show for it."""
    shown = list(messages)
    threads: dict[tuple[str, str], list[Message]] = {}
    channels: dict[str, list[Message]] = {}
    for one in shown:
        if one.thread_ts is None:
            channels.setdefault(one.channel, []).append(one)
        else:
            threads.setdefault((one.channel, one.thread_ts), []).append(one)
    parts = []
    for channel, roots in channels.items():
        parts.append(f"<h1>{_escaped((names or {}).get(channel, channel))}</h1>")
        parts += [_article(root, threads.get((channel, root.ts), [])) for root in roots]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_escaped(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><style>{SHEET}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _article(message: Message, thread: Iterable[Message]) -> str:
    replies = "".join(_article(one, ()) for one in thread)
    below = f'<div class="thread">{replies}</div>' if replies else ""
    also = " · also sent to the channel" if message.broadcast else ""
    edited = ' <span class="edited">(edited)</span>' if message.edited_at else ""
    body = "".join(_block(block) for block in message.blocks)
    if not body and message.text:
        body = f'<div class="section">{_text({"type": "mrkdwn", "text": message.text})}</div>'
    return (
        '<article><div class="face">T</div><div>'
        f'<div class="who"><b>Touchstone</b> <span class="badge">APP</span> <small>{_time(message.arrived)}{also}'
        f"</small>{edited}</div>{body}{''.join(map(_file, message.files))}"
        f"{below}</div></article>"
    )


def _block(block: Mapping[str, Any]) -> str:
    if block["type"] == "header":
        return f'<div class="header">{_text(block["text"])}</div>'
    if block["type"] == "divider":
        return "<hr>"
    if block["type"] == "context":
        return f'<div class="context">{" ".join(_text(one) for one in block["elements"])}</div>'
    text = f'<div class="section">{_text(block["text"])}</div>' if "text" in block else ""
    fields = "".join(f"<div>{_text(one)}</div>" for one in block.get("fields", ()))
    return text + (f'<div class="fields">{fields}</div>' if fields else "")


def _text(text: dict[str, Any]) -> str:
    return "".join(map(_span, readable(text)))


def _span(span: Span) -> str:
    if span.style is Style.LINK:
        return f'<span class="link" title="{_escaped(span.target)}">{_escaped(span.text)}</span>'
    tag = TAGS.get(span.style)
    return f"<{tag}>{_escaped(span.text)}</{tag}>" if tag else _escaped(span.text)


def _file(file: File) -> str:
    kind = "image/png" if file.content.startswith(b"\x89PNG") else ""
    told = f'<div class="file">{_escaped(file.title or file.name)}</div>'
    return told + (f'<img alt="" src="data:{kind};base64,{b64encode(file.content).decode()}">' if kind else "")


def _escaped(text: str) -> str:
    """As text, with what cannot be seen made visible."""
    return html.escape(seen(text), quote=True)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M}"
