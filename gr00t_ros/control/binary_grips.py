# SPDX-License-Identifier: Apache-2.0
"""Opens and closes the grippers and hands that only do that, over the steps of a chunk. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gr00t_policy_core.control.chunk import Chunk, Row
from gr00t_ros.contract.contract import Contract
from gr00t_ros.interfaces.binary_gripper import BinaryGripper, Grip

Grips = Mapping[str, tuple[Grip, ...]]
"""What each step of a chunk opens or closes, by action key."""


@dataclass(frozen=True, slots=True)
class _Hand:
    joints: tuple[str, ...]
    gripper: BinaryGripper


class BinaryGrips:
    """Remembers what is open and what is closed: a threshold has a hysteresis and a hold time.

    An action that takes goals is left as it is: `GoalSender` opens and closes it.

    Args:
        contract: Names the actions that are binary.

    Attributes:
        keys: The action keys of all that is binary, with goals or without.
    """

    def __init__(self, contract: Contract) -> None:
        interfaces = {output.key: output.interface for output in contract.action}
        binary = {key: i for key, i in interfaces.items() if i.binary is not None}
        self.keys = frozenset(binary)
        self._hands = {
            key: _Hand(interface.joints, interface.binary)
            for key, interface in binary.items()
            if interface.binary is not None and not interface.is_action
        }
        self._grips: Grips = {}

    def plan(self, chunk: Chunk, now_ns: int, measured: Mapping[str, float]) -> Grips:
        """Return what each step of a chunk opens or closes.

        The present goes on until the first step after it, so that no chunk begins with a jump.

        Args:
            chunk: The targets of the policy.
            now_ns: The present, on the clock of the chunk's stamp, ns.
            measured: Positions of joints by name, rad (or m): the present before the first chunk.
        """
        times_s = (chunk.t0_ns * 1e-9 + np.arange(chunk.horizon) * chunk.dt_s).tolist()
        now_s = now_ns * 1e-9
        grips = {}
        for key, hand in self._hands.items():
            present, rows = self._present(key, now_s, measured), chunk.actions[key]
            grips[key] = tuple(_grips(hand.gripper, present, rows, times_s, now_s))
        return grips

    def steps(self, chunk: Chunk, grips: Grips) -> Chunk:
        """Return the chunk with the positions of its grips."""
        positions = {
            key: np.array([self._hands[key].gripper.position(grip) for grip in of_key])
            for key, of_key in grips.items()
        }
        return replace(chunk, actions={**chunk.actions, **positions}) if positions else chunk

    def keep(self, grips: Grips) -> None:
        """Go on from the grips of a chunk that is played."""
        self._grips = grips

    def _present(self, key: str, now_s: float, measured: Mapping[str, float]) -> Grip | None:
        """What is open or closed now; None where nothing tells."""
        past = [grip for grip in self._grips.get(key, ()) if grip.since_s <= now_s]
        if past:
            return past[-1]
        hand = self._hands[key]
        if any(joint not in measured for joint in hand.joints):
            return None
        positions = np.array([measured[joint] for joint in hand.joints])
        return hand.gripper.grip(positions, -math.inf, None)


def _grips(
    gripper: BinaryGripper, present: Grip | None, rows: Row, times_s: list[float], now_s: float
) -> Iterator[Grip]:
    grip = present
    for row, time_s in zip(rows, times_s, strict=True):
        if grip is None or time_s > now_s:
            grip = gripper.grip(row, time_s, grip)
        yield grip
