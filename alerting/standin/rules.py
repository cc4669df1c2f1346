"""What Slack refuses of a message, as far as it is documented, and its code for it. Pure.

https://docs.slack.dev/reference/block-kit/blocks, /reference/methods/chat.postMessage, /messaging/message-metadata
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

TEXT: Final = 40_000
BLOCKS: Final = 50
TOTAL: Final = 13_200
"""Characters in all texts of the blocks: undocumented, as measured by others (slackapi/bolt-js issue 2509)."""
_TEXTS: Final = {"plain_text": {"type", "text", "emoji"}, "mrkdwn": {"type", "text", "verbatim"}}
_EVENT_TYPE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
METADATA: Final = 16_384
"""Characters of metadata."""

Block = Mapping[str, Any]


def refusal(payload: Mapping[str, Any]) -> str | None:
    """The code with which Slack refuses `payload`; None if it takes it."""
    text, blocks, attachments = payload.get("text"), payload.get("blocks"), payload.get("attachments")
    if not text and not blocks and not attachments:
        return "no_text"
    if text is not None and (not isinstance(text, str) or len(text) > TEXT):
        return "msg_too_long"
    if blocks is not None:
        if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
            return "invalid_blocks_format"
        if len(blocks) > BLOCKS or not all(map(_is_block, blocks)) or _is_twice(blocks):
            return "invalid_blocks"
        if sum(map(len, _texts(blocks))) > TOTAL:
            return "msg_blocks_too_long"
    if (metadata := payload.get("metadata")) is not None:
        return _metadata_refusal(metadata)
    return None


def _is_block(block: Block) -> bool:
    rule = _RULES.get(str(block.get("type")))
    name = block.get("block_id", "a")
    return rule is not None and isinstance(name, str) and 1 <= len(name) <= 255 and rule(block)  # noqa: PLR2004


def _is_twice(blocks: list[Block]) -> bool:
    names = [block["block_id"] for block in blocks if "block_id" in block]
    return len(names) != len(set(names))


def _has_only(block: Block, *keys: str) -> bool:
    return set(block) <= {"type", "block_id", *keys}


def _is_text(value: Any, most: int, *types: str) -> bool:
    if not isinstance(value, dict) or value.get("type") not in (types or tuple(_TEXTS)):
        return False
    text = value.get("text")
    if not set(value) <= _TEXTS[value["type"]] or not isinstance(text, str):
        return False
    return 1 <= len(text.encode("utf-16-le", "surrogatepass")) // 2 <= most


def _header(block: Block) -> bool:
    return _has_only(block, "text") and _is_text(block.get("text"), 150, "plain_text")


def _section(block: Block) -> bool:
    if not _has_only(block, "text", "fields", "expand") or not ("text" in block or "fields" in block):
        return False
    fields = block.get("fields", [{"type": "mrkdwn", "text": "x"}])
    texts = "text" not in block or _is_text(block["text"], 3000)
    return texts and isinstance(fields, list) and 1 <= len(fields) <= 10 and all(_is_text(one, 2000) for one in fields)  # noqa: PLR2004


def _context(block: Block) -> bool:
    elements = block.get("elements")
    return (
        _has_only(block, "elements")
        and isinstance(elements, list)
        and 1 <= len(elements) <= 10  # noqa: PLR2004
        and all(_is_text(one, 3000) for one in elements)
    )


def _image(block: Block) -> bool:
    address, words = block.get("image_url"), block.get("alt_text")
    known = _has_only(block, "image_url", "alt_text", "title")
    return known and isinstance(address, str) and isinstance(words, str) and 1 <= len(words) <= 2000  # noqa: PLR2004


_RULES: Final[Mapping[str, Callable[[Block], bool]]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "divider": _has_only,
    "image": _image,
}
"""The kinds of blocks that are known here; any other is refused."""


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for one in value.values() if isinstance(one, dict | list) for text in _texts(one)]
    return [text for one in value for text in _texts(one)] if isinstance(value, list) else []


def _metadata_refusal(metadata: Any) -> str | None:
    if not isinstance(metadata, dict) or set(metadata) != {"event_type", "event_payload"}:
        return "invalid_metadata_format"
    event, payload = metadata["event_type"], metadata["event_payload"]
    if not isinstance(event, str) or not _EVENT_TYPE.fullmatch(event) or not isinstance(payload, dict):
        return "invalid_metadata_format"
    for value in payload.values():
        flat = value if isinstance(value, list) else [value]
        objects = isinstance(value, list | dict)
        if not all(_is_object(one) if objects else isinstance(one, str | int | float) for one in flat):
            return "invalid_metadata_schema"
    return "metadata_too_large" if len(repr(metadata)) > METADATA else None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str | int | float) for one in value.values())
