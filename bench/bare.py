"""The bare loop that the notifier's latency is measured against: a change stream, and a post for each event.

It owes nobody anything: what it misses is lost, and nothing is marked, paced, rendered or looked for.

Usage: BARE_TOKEN=... python -m bench.bare MONGO_URI DATABASE SLACK_URL
"""

import os
import sys
from typing import Any

from pymongo import MongoClient
from slack_sdk import WebClient

COLLECTION = "bare"


def main(uri: str, name: str, slack: str) -> None:
    """Watch and post until killed."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    web = WebClient(os.environ["BARE_TOKEN"], base_url=slack)
    with client[name][COLLECTION].watch([{"$match": {"operationType": "insert"}}]) as stream:
        print("watching", flush=True)
        for event in stream:
            kept = event["fullDocument"]
            web.chat_postMessage(channel=kept["channel"], text=f"{kept['_id']} {kept['facts']['title']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
