"""Prints the messages of all sample incidents as TypeScript that compiles only if they are what Slack's types say."""

import json
from datetime import UTC, datetime

from alerting.reasons import Reason
from alerting.slack import blocks
from alerting.slack.samples import samples

NOW = datetime(2026, 5, 2, 3, 14, tzinfo=UTC)
REASONS = (Reason.CHANGED, Reason.WORSENED, Reason.REMINDER, Reason.RESOLVED)


def main() -> None:
    """Print them."""
    messages = [blocks.root(one, NOW, page_url="https://status.example/", mention=("U012345",)) for one in samples(NOW)]
    messages += [blocks.reply(one, reason, NOW) for one in samples(NOW) for reason in REASONS]
    messages.append(blocks.direct("mongodb", "MongoDB does not answer", "Nothing can be kept.", at=NOW))
    messages += [less for one in messages if (less := blocks.smaller(one)) and "blocks" in less]
    print('import type { KnownBlock, MessageMetadata } from "@slack/types";')
    for number, one in enumerate(messages):
        print(f"export const blocks{number}: KnownBlock[] = {json.dumps(one['blocks'])};")
        print(f"export const metadata{number}: MessageMetadata = {json.dumps(one['metadata'])};")


if __name__ == "__main__":
    main()
