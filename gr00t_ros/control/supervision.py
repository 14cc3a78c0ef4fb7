# SPDX-License-Identifier: Apache-2.0
"""What an operator may change while the node runs: who drives, and whether the robot is commanded.

Pure. All methods are called from the executor's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_policy_core.control.steering import SteeringRefusedError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.intervention import LET_GO, Intervention, TeleopDevice
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.msg import ActionChunk

NOT_ACTIVE = "the node is not active"
TAKEN_OVER = "a person has taken over"
MODE = "mode"  # the source of the gate's reason while the robot comes to rest before a shadow


class Supervision:
    """Passes chunks or a person's commands on to the motion, and nothing in between.

    Args:
        contract: Names the teleoperation devices.
        gate: Says why the robot must not move.
        motion: Plays what it gets.
        monotonic_ns: The clock of the gate, ns.
    """

    def __init__(
        self,
        contract: Contract,
        gate: MotionGate,
        motion: MotionControl,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._gate = gate
        self._motion = motion
        self._monotonic_ns = monotonic_ns
        self._intervention = Intervention(contract)
        self._is_active = False
        self._was_pressed = False
        self._awaits_shadow = False
        self.chunks_not_played = 0
        gate.block(MODE, "")

    @property
    def devices(self) -> tuple[TeleopDevice, ...]:
        """The teleoperation devices."""
        return self._intervention.devices

    @property
    def is_intervening(self) -> bool:
        """Whether a person drives."""
        return self._intervention.is_active

    @property
    def reason(self) -> str:
        """What a person who drives should know: why the robot does not follow; empty if it does."""
        motion = self._motion
        if not self._intervention.is_active or motion.is_steered:
            return ""
        return self._intervention.refusal or motion.reason

    # Activations

    def begin_activation(self) -> None:
        """Let a person drive who asks for it from now on."""
        self._is_active = True

    def end_activation(self, now_ns: int) -> None:
        """Let nobody drive: the node is deactivated."""
        self.hand_back(now_ns)
        self._is_active = False

    # Chunks

    def accept(self, message: ActionChunk, now_ns: int) -> None:
        """Play a chunk, or come to rest as the policy node asks, unless a person drives.

        Raises:
            ChunkRefusedError: The chunk must not move the robot.
        """
        stamp = message.header.stamp
        observed_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        if message.stop:
            is_played = not self._intervention.is_active
        else:
            is_played = self._intervention.admits(observed_ns, now_ns)
        if is_played:
            self._motion.accept(message, now_ns)
        else:
            self.chunks_not_played += 1

    def lose_policy(self, now_ns: int, reason: str) -> None:
        """Come to rest where a chunk is played, because nobody looks after it any more."""
        if self._motion.is_playing:
            self._motion.hold(now_ns, reason)

    # A person drives

    def intervene(self, now_ns: int) -> str:
        """Let a person drive: the robot leaves its chunk at once, and follows their devices.

        Returns:
            Why a person cannot drive; empty if they do.
        """
        if not self._is_active:
            return NOT_ACTIVE
        if not self.devices:
            return "no action has a teleop_topic: set action.<key>.teleop_topic"
        if self._motion.is_shadow:
            return "the node runs in shadow, where nothing is commanded: call ~/go_live first"
        if not self._intervention.is_active:
            self._intervention.begin()
            # Before the chunk is left: the person's path takes over its speed.
            follows = self._intervention.is_commanded(now_ns) and not self._follow(now_ns)
            if not follows:
                self._motion.hold(now_ns, TAKEN_OVER)
        return ""

    def hand_back(self, now_ns: int) -> None:
        """Let the policy drive again, by chunks that are observed from now on."""
        if self._intervention.is_active:
            self._intervention.end(now_ns)
            self._motion.hold(now_ns, LET_GO)

    def press(self, is_pressed: bool, now_ns: int) -> str:
        """Take over when a pedal is pressed, and hand back when it is released.

        A pedal that repeats its state does not undo what `intervene` and `hand_back` did.

        Returns:
            Why a person cannot drive; empty if they do, or nothing changes.
        """
        is_new, self._was_pressed = is_pressed != self._was_pressed, is_pressed
        if is_new and is_pressed:
            return self.intervene(now_ns)
        if is_new:
            self.hand_back(now_ns)
        return ""

    def steer(self, device: TeleopDevice, message: Any, now_ns: int) -> str:
        """Take a command of a teleoperation device; the robot follows it while a person drives.

        Returns:
            Why the robot does not follow it; empty if it does, or nobody drives.
        """
        try:
            self._intervention.add(device.read(message), now_ns)
        except ConversionError as error:
            self._intervention.refuse(f"{device.topic}: {error}")
            return self._intervention.refusal
        return self._follow(now_ns) if self._intervention.is_active else ""

    # Shadow

    def go_live(self) -> str:
        """Command the robot from the next chunk on.

        Returns:
            Why not; empty if it is live.
        """
        motion = self._motion
        if not motion.is_shadow and not self._awaits_shadow:
            return ""
        wrong = motion.failure
        if motion.is_shadow:
            is_not_ready = self._gate.reason(self._monotonic_ns())
            wrong = wrong or is_not_ready or motion.shadow_fault or motion.refusal
        if wrong:
            return wrong.splitlines()[0]
        self._awaits_shadow = False
        self._gate.block(MODE, "")
        if motion.is_shadow:
            motion.use_shadow(False)
        return ""

    def go_shadow(self) -> None:
        """Command the robot no more, once it has come to rest within its limits."""
        if self._motion.is_shadow:
            return
        self._awaits_shadow = True
        self._gate.block(MODE, "comes to rest before it runs in shadow")
        self.update()

    def update(self) -> None:
        """Begin the shadow that was asked for, once the robot is at rest."""
        is_at_rest = self._motion.is_at_rest and not self._motion.is_stop_in_doubt
        if self._awaits_shadow and is_at_rest:
            self._motion.use_shadow(True)
            self._awaits_shadow = False
            self._gate.block(MODE, "")

    def _follow(self, now_ns: int) -> str:
        try:
            self._motion.steer(self._intervention, now_ns)
            self._intervention.refuse("")
        except SteeringRefusedError as error:
            self._intervention.refuse(str(error))
        return self._intervention.refusal
