"""The plain script that the pipeline is measured against: the same numbers, no ledger, no receipts, no repair.

Usage: python -m bench.floor EVENTS_FILE MONGO_URI DATABASE
"""

import gzip
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient


def main(path: str, uri: str, name: str) -> None:
    """Read, insert, link, aggregate by day, insert."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    db = client[name]
    with gzip.open(path) as lines:
        events = [json.loads(line) for line in lines]
    for kind in ("commit", "tag", "revert"):
        db[f"raw_{kind}s"].insert_many([event for event in events if event["type"] == kind])

    commits = {event["sha"]: event for event in events if event["type"] == "commit"}
    tags = sorted((e for e in events if e["type"] == "tag"), key=lambda e: (e["tag_ts"], e["name"].encode()))
    first: dict[str, int] = {}
    rows = []
    for number, tag in enumerate(tags):
        pending = [tag["target"]]
        while pending:
            sha = pending.pop()
            if sha not in first:
                first[sha] = number
                pending.extend(commits[sha]["parents"])
                lead = tag["tag_ts"] - commits[sha]["author_ts"]
                rows.append({"day": day(tag["tag_ts"]), "lead": lead})
    failed: dict[int, dict[str, Any]] = {}
    for event in events:
        if event["type"] == "revert" and event["reverted_sha"] in first:
            i, j = first[event["reverted_sha"]], first.get(event["sha"])
            if event["commit_ts"] >= tags[i]["tag_ts"] and (j is None or j > i):
                soon = i + 1 == len(tags) or event["commit_ts"] < tags[i + 1]["tag_ts"]
                entry = failed.setdefault(i, {"soon": False, "recoveries": []})
                entry["soon"] |= soon
                entry["recoveries"] += [] if j is None else [tags[j]["tag_ts"] - tags[i]["tag_ts"]]
    db["shipped"].insert_many(rows)
    db["deployments"].insert_many(
        {"day": day(tag["tag_ts"]), "name": tag["name"], "failed": i in failed, **failed.get(i, {})}
        for i, tag in enumerate(tags)
    )
    leads = {
        row["_id"]: row
        for row in db["shipped"].aggregate(
            [
                {"$group": {"_id": "$day", "leads": {"$push": "$lead"}, "mean": {"$avg": "$lead"}}},
                {"$set": {"leads": {"$sortArray": {"input": "$leads", "sortBy": 1}}}},
            ]
        )
    }
    counts = {
        row["_id"]: row
        for row in db["deployments"].aggregate(
            [{"$group": {"_id": "$day", "n": {"$sum": 1}, "failed": {"$sum": {"$toInt": "$failed"}}}}]
        )
    }
    at, last = min(counts), max(counts)
    documents = []
    while at <= last:
        lead, count = leads.get(at), counts.get(at, {"n": 0, "failed": 0})
        values = lead["leads"] if lead else []
        middle = len(values) // 2
        median = None if not values else values[middle] if len(values) % 2 else sum(values[middle - 1 : middle + 1]) / 2
        documents.append(
            {"day": at, "deployments": count["n"], "failed": count["failed"], "changes": len(values),
             "median": median, "mean": lead and lead["mean"]}
        )  # fmt: skip
        at += timedelta(days=1)
    db["dora_daily"].insert_many(documents)
    client.close()


def day(seconds: int) -> datetime:
    """Midnight UTC of the day."""
    return datetime.fromtimestamp(seconds - seconds % 86_400, UTC).replace(tzinfo=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
