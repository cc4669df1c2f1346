"""`python -m alerting.standin`: a Slack to try things out with, whose messages are drawn in the terminal.

It prints how to be configured, and ends with Ctrl-C; `--page FILE` keeps all messages as a page too.
"""

import argparse
from pathlib import Path

from rich.console import Console

from alerting.standin.page import page
from alerting.standin.server import StandIn
from alerting.standin.terminal import render


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m alerting.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; any free one without it")
    parser.add_argument("--page", type=Path, help="write all messages to this HTML file as they come")
    chosen = parser.parse_args()
    console = Console()
    with StandIn(port=chosen.port) as standin:
        console.print(f"export SLACK_BOT_TOKEN={standin.token}", markup=False, soft_wrap=True)
        console.print(f"export TOUCHSTONE_SLACK_BASE_URL={standin.base_url}", markup=False, soft_wrap=True)
        console.print(f"export TOUCHSTONE_SLACK_CHANNEL={standin.name_of(standin.webhook_channel)}", markup=False)
        names = {name: f"#{channel.name}" for name, channel in standin.workspace.channels.items()}
        seen = (0, 0)
        try:
            while True:
                seen = _wait(standin, seen)
                console.clear()
                render(list(standin.messages), console, names=names)
                if chosen.page:
                    chosen.page.write_text(page(list(standin.messages), names=names), encoding="utf-8")
        except KeyboardInterrupt:
            return


def _wait(standin: StandIn, seen: tuple[int, int]) -> tuple[int, int]:
    """How many messages and edits there are, as soon as there are more than `seen`."""

    def state() -> tuple[int, int]:
        return len(standin.messages), standin.counts["chat.update"]

    while True:
        try:
            standin.wait_for(lambda: state() != seen, 60)
        except TimeoutError:
            continue
        return state()


if __name__ == "__main__":
    main()
