# SPDX-License-Identifier: Apache-2.0
"""What the nodes counted during a run: the growth of their counters, over every activation."""

from __future__ import annotations

import pytest

from gr00t_ros.diagnose.counters import counted
from gr00t_ros.msg import ControlStatus


def test_a_stall_that_an_early_tick_takes_back_in_part_is_no_new_activation() -> None:
    stalled_s = (10.0, 10.05, 10.02, 10.02)
    statuses = [
        ControlStatus(stalls=stalls, stalled_s=value)
        for stalls, value in zip((7, 8, 8, 8), stalled_s, strict=True)
    ]
    counts = counted(statuses, [])
    assert counts.stalls == 1
    assert counts.stalled_s == pytest.approx(0.02)


def test_a_new_activation_begins_at_0() -> None:
    stalls, stalled_s = (2, 3, 0, 1), (0.4, 0.6, 0.0, 0.1)
    statuses = [
        ControlStatus(stalls=count, stalled_s=value, commands=100 * number)
        for number, (count, value) in enumerate(zip(stalls, stalled_s, strict=True))
    ]
    counts = counted(statuses, [])
    assert counts.stalls == 2
    assert counts.stalled_s == pytest.approx(0.3)
    assert counts.commands == 300


def test_what_was_taken_back_from_a_stall_before_the_run_is_not_less_than_nothing() -> None:
    statuses = [ControlStatus(stalls=8, stalled_s=value) for value in (10.05, 10.02)]
    assert counted(statuses, []).stalled_s == 0.0
