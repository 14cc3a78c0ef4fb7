# SPDX-License-Identifier: Apache-2.0
"""A hand on a topic of positions that only opens and closes, by a real control node over DDS."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from helpers import wait_until
from motion_rig import LIMITS, Rig
from nodes_for_tests import chunk_of
from trajectory_msgs.msg import JointTrajectory

OPEN, CLOSED = 0.1, 0.9
HOLD_S = 0.6
HAND = {
    "action__gripper__type": "joint_trajectory",
    "action__gripper__topic": "hand",
    "action__gripper__max_following_error": 0.0,
    "action__gripper__binary": True,
    "action__gripper__threshold": 0.5,
    "action__gripper__hysteresis": 0.2,
    "action__gripper__min_hold_s": HOLD_S,
    "action__gripper__open_position": [OPEN],
    "action__gripper__closed_position": [CLOSED],
}


class Hand:
    """The commands of the hand, in the order in which DDS brought them."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.positions: list[float] = []
        rig.peer.create_subscription(JointTrajectory, "hand", self._note, 500)

    def _note(self, message: JointTrajectory) -> None:
        assert list(message.joint_names) == ["finger"]
        self.positions.append(message.points[0].positions[0])

    def play(self, closures: Sequence[float], number: int, dt_s: float = 0.05) -> None:
        """Publish a chunk of closures, from open (0) to closed (1); the arm rests."""
        positions = OPEN + (CLOSED - OPEN) * np.array(closures)[:, None]
        values = {"arm": np.zeros((len(positions), 2)), "gripper": positions}
        t0_ns = self._rig.now_ns()
        self._rig.chunks.publish(chunk_of(values, t0_ns=t0_ns, dt_s=dt_s, chunk_id=number))
        self._rig.operator.wait_for_reason(f"chunk {number} ended")

    def turns(self) -> list[float]:
        """Where the hand begins, turns around and ends, to 1 % of its way."""
        way = [round(position, 2) for position in self.positions]
        moves = [way[0], *(b for a, b in itertools.pairwise(way) if a != b)]
        turned = [
            b for a, b, c in zip(moves, moves[1:], moves[2:], strict=False) if (b - a) * (c - b) < 0
        ]
        return [moves[0], *turned, moves[-1]]


@pytest.fixture
def hand(rig: Rig) -> Hand:
    hand = Hand(rig)
    rig.joints = [0.0, 0.0, OPEN]
    rig.start(**HAND)
    wait_until(lambda: rig.peer.count_publishers("hand"), what="the hand is commanded")
    return hand


def test_targets_that_waver_close_the_hand_once_and_open_it_once(hand: Hand) -> None:
    hand.play(np.repeat([0.0, 0.45, 0.58, 0.7, 0.45, 0.55, 0.42, 0.3, 0.45], 5), 1)

    assert hand.turns() == [OPEN, CLOSED, OPEN]
    steps = np.abs(np.diff(hand.positions))
    assert 0.0 < steps.max() <= LIMITS["velocity"] * 0.01 * 3  # a tick's; DDS may have lost two


def test_the_next_chunk_goes_on_from_closed(hand: Hand) -> None:
    hand.play([0.0] * 5 + [0.7] * 20, 1)
    assert hand.turns() == [OPEN, CLOSED]
    hand.play([0.45] * 20, 2)
    assert hand.turns() == [OPEN, CLOSED]
    hand.play([0.45] * 5 + [0.35] * 20, 3)
    assert hand.turns() == [OPEN, CLOSED, OPEN]


def test_a_hand_that_has_closed_stays_closed_for_the_hold_time(hand: Hand) -> None:
    """It is to open one step of 0.05 s after it has closed; it needs about 0.4 s to close."""
    hand.play([0.0] * 5 + [1.0] + [0.0] * 30, 1)
    assert hand.turns() == [OPEN, CLOSED, OPEN]
