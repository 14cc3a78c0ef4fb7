# SPDX-License-Identifier: Apache-2.0
"""What the demo was asked for, and what became of it: which cube was lifted, and put away. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gr00t_ros.sim.world import is_in_bin

LIFTED_M = 0.06  # a cube's centre this high above the table is in the gripper's hold
STILL_M, STILL_S = 0.001, 0.5  # a cube that moves less than this for so long has come to rest
LIFT_S = 15.0  # an arm that has not lifted the cube after this long does not do what it was told


@dataclass(slots=True)
class Request:
    """One instruction.

    Attributes:
        colour: The cube that it names; empty where it names none.
        asked_s: When it was given, s.
        ended_s: When another one took its place, s; None while it is in force.
        lifted_s: When the cube was lifted, s; None where it was not.
        binned_s: When the cube came to lie in the bin, s; None where it did not.
    """

    colour: str
    asked_s: float
    ended_s: float | None = None
    lifted_s: float | None = None
    binned_s: float | None = None

    def text(self, now_s: float) -> str:
        """What became of it, in words."""
        if not self.colour:
            return "an instruction that names no cube"
        if self.binned_s is not None:
            return f"{self.colour} in the bin after {self.binned_s - self.asked_s:.1f} s"
        if self.lifted_s is not None:
            return f"{self.colour} lifted after {self.lifted_s - self.asked_s:.1f} s"
        lasted_s = (self.ended_s if self.ended_s is not None else now_s) - self.asked_s
        return f"{self.colour} NOT lifted in {lasted_s:.1f} s"

    def is_overdue(self, now_s: float) -> bool:
        """Whether the cube should have been lifted, and was not."""
        lasted_s = (self.ended_s if self.ended_s is not None else now_s) - self.asked_s
        return bool(self.colour) and self.lifted_s is None and lasted_s > LIFT_S


@dataclass(slots=True)
class CubeLog:
    """The instructions of one demo, and where the cubes were; all times of one clock, s.

    Attributes:
        bin_position: Centre of the bin, x y z in m.
        requests: Every instruction, in order.
        positions: Where each cube is, x y z in m, by colour.
        now_s: When the cubes were seen last.
    """

    bin_position: Sequence[float]
    requests: list[Request] = field(default_factory=list)
    positions: dict[str, Sequence[float]] = field(default_factory=dict)
    now_s: float = 0.0
    _moved_s: dict[str, float] = field(default_factory=dict)

    def ask(self, colour: str, at_s: float) -> None:
        """Take an instruction; the same again changes nothing while its cube is not put away."""
        last = self.requests[-1] if self.requests else None
        if last is not None and last.ended_s is None:
            if last.colour == colour and last.binned_s is None:
                return
            last.ended_s = at_s
        self.requests.append(Request(colour, at_s))

    def pause(self, at_s: float) -> None:
        """End the instruction in force: the arm is stopped, and judged no further."""
        if self.requests and self.requests[-1].ended_s is None:
            self.requests[-1].ended_s = at_s

    def see(self, positions: Mapping[str, Sequence[float]], at_s: float) -> None:
        """Take where the cubes are."""
        for colour, position in positions.items():
            before = self.positions.get(colour)
            if before is None or math.dist(before, position) > STILL_M:
                self.positions[colour], self._moved_s[colour] = tuple(position), at_s
        self.now_s = at_s
        request = self.requests[-1] if self.requests else None
        if request is None or request.ended_s is not None or request.colour not in positions:
            return
        if request.lifted_s is None and positions[request.colour][2] > LIFTED_M:
            request.lifted_s = at_s
        if request.lifted_s is not None and request.binned_s is None:
            request.binned_s = at_s if self.is_in_bin(request.colour) else None

    def is_in_bin(self, colour: str) -> bool:
        """Whether a cube lies still in the bin, maybe on another one."""
        position = self.positions.get(colour)
        if position is None or self.now_s - self._moved_s[colour] < STILL_S:
            return False
        return is_in_bin(position, self.bin_position, below_m=LIFTED_M)

    @property
    def overdue(self) -> list[Request]:
        """The instructions whose cube should have been lifted, and was not."""
        return [request for request in self.requests if request.is_overdue(self.now_s)]

    def __str__(self) -> str:
        told = [request.text(self.now_s) for request in self.requests]
        return ", ".join(told) or "nothing was asked for"
