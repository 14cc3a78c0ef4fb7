# SPDX-License-Identifier: Apache-2.0
"""What the recording benchmark found, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.report import markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One episode.

    Args:
        reliability: The QoS of the publishers.
        compression: Of the MCAP file.
        seconds: How long the robot published, s.
        sent: Messages published.
        missing: Messages that are not in the bag, by topic.
        latest_s: How late the robot published a message at most, s.
        cpu_s: CPU time of the recorder while the robot published, s.
        bytes: Size of the bag.
        save_s: From the request to end the episode until it was on the disk, s.
    """

    reliability: str
    compression: str
    seconds: float
    sent: int
    missing: Mapping[str, int]
    latest_s: float
    cpu_s: float
    bytes: int
    save_s: float

    def as_json(self) -> dict[str, Any]:
        """The row for the file of results."""
        return asdict(self)


def report(rows: Sequence[Row]) -> str:
    """A line for each episode."""
    head = [
        *("publishers", "compression", "seconds", "published", "missing in the bag"),
        *("recorder, % of a core", "MB/s to the disk", "saved after, s", "robot late by, ms"),
    ]
    return markdown([head, *(_cells(row) for row in rows)])


def _cells(row: Row) -> list[str]:
    return [
        row.reliability,
        row.compression,
        f"{row.seconds:g}",
        str(row.sent),
        str(sum(row.missing.values())),
        f"{100.0 * row.cpu_s / row.seconds:.0f}",
        f"{row.bytes / row.seconds / 1e6:.1f}",
        f"{row.save_s:.1f}",
        f"{row.latest_s * 1e3:.0f}",
    ]
