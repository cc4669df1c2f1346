"""What of the past a forest and a threshold are made from: bounded, and chosen by names and days only.

The choice does not depend on the order of anything, on the process, nor on what is judged at the moment.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quality.detector import forest
from quality.detector.evidence import FEATURES
from quality.detector.expectation import Walk
from quality.detector.layout import Block, by_name
from quality.detector.panel import BoolArray, FloatArray, IntArray

PAST = 182  # days that a forest learns from
RECENT = 91  # days that the threshold is calibrated on
PANEL = 100  # streams that the threshold is calibrated on at most
HASH = 20  # bits kept free for days

HashArray = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What is known of a block before anything is scored."""

    block: Block
    walk: Walk
    features: FloatArray  # T x C x K
    norm: FloatArray  # T x C: of the features
    day: IntArray  # T x S: day numbers
    opinion: BoolArray  # T x C: there is a value, and enough history


def cells(parts: Sequence[Evidence], end: int) -> FloatArray:
    """Features of at most forest.ROWS cells that teach, of PAST days before `end`."""
    features: list[FloatArray] = [np.zeros((0, len(FEATURES)))]
    keys: list[HashArray] = [np.zeros(0, np.uint64)]
    for one in parts:
        rows = np.flatnonzero(((one.day >= end - PAST) & (one.day < end)).any(1))
        inside = (one.day[rows] >= end - PAST) & (one.day[rows] < end)
        row, column = np.nonzero((one.opinion & one.block.teaches)[rows] & inside[:, one.block.stream])
        day = one.day[rows[row], one.block.stream[column]]
        key = _mixed(_names(one.block)[column] + day.astype(np.uint64))
        if len(key) > forest.ROWS:
            kept = np.argpartition(key, forest.ROWS)[: forest.ROWS]
            row, column, key = row[kept], column[kept], key[kept]
        features.append(one.features[rows[row], column])
        keys.append(key)
    order = np.argsort(np.concatenate(keys), kind="stable")[: forest.ROWS]
    return np.asarray(np.concatenate(features)[order], float)


def strangest(parts: Sequence[Evidence], end: int) -> tuple[FloatArray, FloatArray]:
    """Features and norm of the cell of largest norm of each stream-window, of PANEL streams and RECENT days."""
    names = sorted((_hash(stream.name), stream.name) for one in parts for stream in one.block.streams)[:PANEL]
    panel = {name for _, name in names}
    features, norms = [np.zeros((0, len(FEATURES)))], [np.zeros(0)]
    for one in parts:
        inside = (one.day >= end - RECENT) & (one.day < end)
        rows = np.flatnonzero(inside.any(1))
        teaches = (one.opinion & one.block.teaches)[rows]
        for index, stream in enumerate(one.block.streams):
            if stream.name in panel:
                columns = slice(one.block.begin[index], one.block.begin[index + 1])
                known = teaches[:, columns] & inside[rows, index, None]
                some = known.any(1)
                norm = np.where(known, one.norm[rows, columns], -1)[some]
                features.append(one.features[rows[some], columns.start + norm.argmax(1)])
                norms.append(norm.max(1))
    return np.concatenate(features), np.concatenate(norms)


def _names(block: Block) -> HashArray:
    """C: a number for each cell's column, by the names of its stream and measure."""
    names = [
        _hash(f"{stream.name}\n{stream.measures[position].name}") << HASH
        for stream in block.streams
        for position in by_name(stream)
    ]
    return np.array(names, np.uint64)


def _hash(name: str) -> int:
    return zlib.crc32(name.encode())


def _mixed(key: HashArray) -> HashArray:
    """Spread evenly over 64 bits: the finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))
