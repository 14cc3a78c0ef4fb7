# SPDX-License-Identifier: Apache-2.0
"""One run of the policy node at a time gives the robot its chunks."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import wait_until
from motion_rig import PERIOD_S, Rig
from nodes_for_tests import chunk_of

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_ros.control.chunk_source import SILENT_S, ChunkSource


class Clock:
    """A clock that goes on when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_second_source_waits_until_the_first_is_silent() -> None:
    clock = Clock()
    source = ChunkSource(clock)
    source.require_admitted("a", is_played=False)
    source.admit("a")
    clock.now_s += 0.9 * SILENT_S
    with pytest.raises(ChunkRefusedError, match="b publishes action chunks beside a"):
        source.require_admitted("b", is_played=False)
    source.require_admitted("a", is_played=True)
    clock.now_s += 0.2 * SILENT_S
    source.require_admitted("b", is_played=False)
    assert source.name == "a"  # until a chunk of the other one is admitted
    source.admit("b")
    with pytest.raises(ChunkRefusedError, match="a publishes action chunks beside b"):
        source.require_admitted("a", is_played=False)


def test_a_second_source_does_not_break_into_a_long_chunk() -> None:
    clock = Clock()
    source = ChunkSource(clock)
    source.admit("a")
    clock.now_s += 2.0 * SILENT_S
    with pytest.raises(ChunkRefusedError, match="b publishes action chunks beside a"):
        source.require_admitted("b", is_played=True)
    source.require_admitted("b", is_played=False)


def test_two_sources_of_long_chunks_do_not_alternate(rig: Rig) -> None:
    """With `inference: sync` each is silent for as long as its chunks last."""
    rig.start(inference="sync", replan_interval_s=None)
    rig.play(speed=0.2, horizon=200, source="/policy_node#1")
    rig.operator.wait_until_running()
    rig.wait_for_commands(round((SILENT_S + 0.5) / PERIOD_S))
    rig.play(start=0.9, horizon=20, source="/left/policy_node#2")
    status = rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    assert status.chunk_source == "/policy_node#1"
    rig.operator.wait_until_running()


def test_a_chunk_that_cannot_be_read_takes_no_place(rig: Rig) -> None:
    rig.start()
    message = chunk_of({"leg": np.zeros((20, 1))}, t0_ns=rig.now_ns(), dt_s=0.05, chunk_id=1)
    message.source = "/left/policy_node#2"
    rig.chunks.publish(message)
    rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    rig.play(horizon=100, source="/policy_node#1")
    rig.operator.wait_until_running()
    wait_until(lambda: rig.node._motion.source == "/policy_node#1", what="its chunks are played")
