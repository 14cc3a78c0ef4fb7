# SPDX-License-Identifier: Apache-2.0
"""How `gr00t-policy record` looks."""

from __future__ import annotations

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gr00t_ros.msg import RecordedTopicStatus, RecorderStatus
from gr00t_ros.record.console import HELP

STATES = {
    RecorderStatus.STATE_STOPPED: ("stopped", "yellow"),
    RecorderStatus.STATE_WAITING: ("waiting", "yellow"),
    RecorderStatus.STATE_RUNNING: ("RECORDING", "bold white on red"),
    RecorderStatus.STATE_READY: ("ready", "green"),
    RecorderStatus.STATE_ERROR: ("ERROR", "bold red"),
}
GB, MB = 1e9, 1e6


def view(status: RecorderStatus | None, message: str) -> Group:
    """The whole screen.

    Args:
        status: The newest status of the recorder; None while none comes.
        message: What the recorder has answered.
    """
    if status is None:
        return Group(Text("no recorder answers; is it running?", "bold red"), Text(message))
    # The topics come last: a small terminal cuts the end off.
    return Group(_head(status), Text(message, "bold"), Text(HELP, "dim"), _topics(status))


def _head(status: RecorderStatus) -> Text:
    name, style = STATES.get(status.state, ("?", ""))
    text = Text()
    text.append(f" {name} ", style)
    text.append(f"  {status.episode or 'no episode yet'}  {status.duration_s:.1f} s  ")
    text.append(f"{status.bytes / MB:.0f} MB  ")
    text.append(f"lost {status.dropped}", "bold red" if status.dropped else "")
    text.append(f"\n{status.episodes} episodes, {status.disk_free_bytes / GB:.1f} GB free")
    if status.unsaved:
        text.append(f", {status.unsaved} on the way to the disk")
    if status.queued_bytes > MB:
        text.append(f", {status.queued_bytes / MB:.0f} MB wait for the disk")
    if status.task:
        text.append(f"\n{status.task}", "italic")
    if status.reason:
        text.append(f"\n{status.reason}", "bold red")
    return text


def _topics(status: RecorderStatus) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("topic", "for"):
        table.add_column(title)
    for title in ("Hz", "messages", "lost", "age"):
        table.add_column(title, justify="right")
    for topic in status.topics:
        if topic.type or topic.problem:
            table.add_row(*_cells(topic), style="red" if topic.problem or topic.dropped else "")
    return table


def _cells(topic: RecordedTopicStatus) -> list[str]:
    age = "" if math.isnan(topic.age_s) else f"{topic.age_s:.1f} s"
    return [
        topic.topic,
        topic.purpose,
        f"{topic.rate_hz:.1f}",
        str(topic.messages),
        str(topic.dropped),
        age,
    ]
