# SPDX-License-Identifier: Apache-2.0
"""The statuses of both nodes as tables for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.errors import printable
from gr00t_ros.msg import ControlStatus, LatencyStatistics, PolicyStatus

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

STATES = {
    ControlStatus.STATE_STOPPED: ("stopped", "dim"),
    ControlStatus.STATE_WAITING: ("waiting", "yellow"),
    ControlStatus.STATE_RUNNING: ("running", "green"),
    ControlStatus.STATE_HOLDING: ("holding", "yellow"),
    ControlStatus.STATE_ERROR: ("ERROR", "bold red"),
    ControlStatus.STATE_INTERVENTION: ("a person drives", "cyan"),
}
SLOW = 0.9  # a stream this far below its rate is marked
MIN_WIDTH = 76


def live_view(policy: PolicyStatus | None, control: ControlStatus | None) -> Group:
    """What both nodes do now; a node that was not heard of is said to be silent."""
    from rich.console import Group

    tables = [_policy_table(policy), _control_table(control)]
    if policy is not None and policy.streams:
        tables.append(_streams_table(policy))
    if control is not None and control.joints:
        tables.append(_joints_table(control))
    return Group(*tables)


def _policy_table(status: PolicyStatus | None) -> Table:
    table = _status_table("policy node", status)
    if status is not None:
        table.add_row("observation age", _latency(status.observation_age))
        table.add_row("round trip", _latency(status.round_trip))
        table.add_row("policy", _latency(status.policy_time))
        table.add_row(
            "chunks",
            f"{status.inferences} inferences, {status.inference_errors} errors, "
            f"{status.inferences_skipped} skipped",
        )
    return table


def _control_table(status: ControlStatus | None) -> Table:
    table = _status_table("control node", status)
    if status is not None:
        table.add_row("observation age", _latency(status.observation_age))
        table.add_row("tick lateness", _latency(status.tick_lateness))
        table.add_row(
            "chunks",
            f"{status.chunks_accepted} accepted, {status.chunks_rejected} rejected, "
            f"{status.steps_left} steps left, last blended over {_number(status.blend_offset)}",
        )
        table.add_row(
            "commands",
            f"{status.commands}, {status.ticks_missed} ticks missed, {status.holds} holds, "
            f"{status.stalls} stalls, {status.limiter_hits} limited",
        )
        for topic in status.command_topics:
            listeners = topic.subscription_count
            table.add_row(
                printable(topic.topic), f"{listeners} listeners" if listeners else "NOBODY"
            )
    return table


def _status_table(name: str, status: Any) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=name, title_justify="left", show_header=False, min_width=MIN_WIDTH)
    if status is None:
        table.add_row("state", Text("silent: no status yet", style="red"))
        return table
    state, style = STATES.get(status.state, (str(status.state), "red"))
    table.add_row("state", Text(state, style=style))
    if status.reason:
        table.add_row("reason", Text(printable(status.reason)))
    return table


def _streams_table(status: PolicyStatus) -> Table:
    table = _columns("streams", "stream", "age", "rate", "expected")
    for stream in status.streams:
        is_slow = stream.rate_hz < SLOW * stream.expected_rate_hz
        table.add_row(
            printable(stream.name),
            _ms(stream.age_s),
            f"{_number(stream.rate_hz)} Hz{' SLOW' if is_slow else ''}",
            f"{_number(stream.expected_rate_hz)} Hz",
        )
    return table


def _joints_table(status: ControlStatus) -> Table:
    table = _columns("joints", "joint", "chunk", "command", "measured", "limited by")
    for joint in status.joints:
        values = (joint.reference, joint.command, joint.feedback)
        table.add_row(printable(joint.name), *map(_number, values), printable(joint.limited_by))
    return table


def _columns(title: str, *headings: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", min_width=MIN_WIDTH)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == headings[0] else "right")
    return table


def _latency(statistics: LatencyStatistics) -> str:
    p50, p99 = _ms(statistics.p50_s), _ms(statistics.p99_s)
    return f"{_ms(statistics.last_s)} (p50 {p50}, p99 {p99})"


def _ms(seconds: float) -> str:
    return "–" if math.isnan(seconds) else f"{1e3 * seconds:.0f} ms"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"
