# SPDX-License-Identifier: Apache-2.0
"""From chunks and measurements to commands, and to rest whatever fails. Pure, safe between threads.

The control loop ticks while the executor's thread brings chunks and measurements.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.command import Command, JointReport, PlayerCounts
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.recording import Event, RecordingPlayer
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateStream
from gr00t_ros.control.chunk_reader import read_chunk
from gr00t_ros.control.chunk_source import ChunkSource
from gr00t_ros.control.hints import unit_hint
from gr00t_ros.control.motion_setup import (
    CommandedJoints,
    CommandedPoses,
    LimitsInForce,
    limits_by_index,
    limits_in_force,
    make_layout,
    make_player,
)
from gr00t_ros.control.urdf import UrdfLimits
from gr00t_ros.interfaces.interface import MeasuredPose, StateInterface
from gr00t_ros.msg import ActionChunk, LatencyStatistics
from gr00t_ros.node.latency_window import WINDOW_S, LatencyWindow


class MotionControl:
    """Plays the chunks of one activation.

    Whatever raises while the robot moves, it is brought to rest by a path that does not need what
    has failed; `failure` tells, and nothing moves any more.

    Args:
        contract: What is commanded, and how.
        gate: Says why the robot may not be moved.
        urdf: Limits of the robot description so far, by joint.
        monotonic_ns: The clock of the gate, ns.
    """

    def __init__(
        self,
        contract: Contract,
        gate: MotionGate,
        urdf: Mapping[str, UrdfLimits],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._contract = contract
        self._gate = gate
        self._urdf = urdf
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._joints = CommandedJoints(contract)
        self._poses = CommandedPoses(contract)
        self._source = ChunkSource()
        self._player: MotionPlayer | None = None
        self._layout: ActionLayout | None = None
        self._observation_age = self._age_window()
        self._command: Command | None = None
        self._brake: FallbackBrake | None = None
        self._refused = 0  # chunks that no player was there for
        self._why_not = ""
        self._failure = ""
        self._hint = ""

    @property
    def hint(self) -> str:
        """What is probably wrong with the units or the rate of the newest chunk; mostly empty."""
        return self._hint

    @property
    def joint_interfaces(self) -> Mapping[str, Sequence[StateInterface]]:
        """What reads the positions of commanded joints, by topic."""
        return self._joints.interfaces

    @property
    def pose_streams(self) -> Mapping[str, StateStream]:
        """The stream that measures each pose that is commanded, by action key."""
        return self._poses.streams

    @property
    def command(self) -> Command | None:
        """The newest command; None before the first."""
        return self._command

    @property
    def counts(self) -> PlayerCounts:
        """What has happened so far."""
        return self._player.counts if self._player is not None else PlayerCounts()

    @property
    def chunks_refused(self) -> int:
        """Chunks that were refused, before and by the player."""
        return self._refused + self.counts.refused

    @property
    def blend_offset(self) -> float:
        """How far the newest chunk was from the path when it came, largest value, rad or m."""
        return self._player.chunk_jump if self._player is not None else 0.0

    @property
    def source(self) -> str:
        """The node run whose chunks are played; empty before the first."""
        return self._source.name

    @property
    def failure(self) -> str:
        """What has failed; empty where nothing has."""
        return self._failure

    @property
    def fault(self) -> str:
        """What stopped the motion and needs a person; empty where nothing did."""
        return self._failure or (self._player.fault if self._player is not None else "")

    @property
    def reason(self) -> str:
        """Why nothing is played; empty while a chunk is."""
        player, command = self._player, self._command
        if self._failure:
            return self._failure
        if player is not None and command is not None:
            return player.reason
        told = player.reason if player is not None else self._why_not
        return self._gate.reason(self._monotonic_ns()) or told or "no chunk received yet"

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing was commanded yet, or the last command is at rest."""
        return self._command is None or self._command.at_rest

    @property
    def braking_s(self) -> float:
        """How long it takes to come to rest from the last command on, s."""
        with self._lock:
            return self._player.braking_s if self._player is not None else 0.0

    @property
    def events(self) -> list[Event] | None:
        """The run on record; None where it is not recorded."""
        return self._player.events if isinstance(self._player, RecordingPlayer) else None

    def observation_age(self) -> LatencyStatistics:
        """How old the observations behind the commands of the last minute were."""
        return self._observation_age.statistics()

    def report(self) -> list[JointReport]:
        """Target, command and measurement of every commanded value."""
        with self._lock:
            return self._player.report() if self._player is not None else []

    def measured(self) -> dict[str, float]:
        """The newest position of each commanded joint that was measured, by name, rad (or m)."""
        with self._lock:
            return self._joints.positions

    def limits(self) -> tuple[LimitsInForce, ...]:
        """The limits in force, and where they come from."""
        return limits_in_force(self._contract, self._urdf)

    def accept(self, message: ActionChunk, now_ns: int) -> None:
        """Take a message of chunks; whatever it holds, the robot goes on or comes to rest.

        Args:
            message: A chunk, or the message that stops what is played.
            now_ns: The present, on the clock of the observation stamps, ns.

        Raises:
            ChunkRefusedError: The chunk must not move the robot; what is played goes on.
        """
        if message.stop:
            self.hold(now_ns, f"stopped by the policy node: {message.stop_reason}")
            return
        with self._lock:
            if self._failure:
                raise ChunkRefusedError(f"chunk {message.chunk_id}: {self._failure}")
            try:
                self._offer(message, now_ns)
            except ChunkRefusedError:
                raise
            except Exception:  # nothing that comes from outside ends the loop
                self._fail(f"chunk {message.chunk_id} could not be taken")

    def hold(self, now_ns: int, reason: str) -> None:
        """Come to rest."""
        with self._lock:
            if self._player is not None:
                self._player.hold(now_ns, reason)

    def measure_joints(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int
    ) -> None:
        """Take measured joint positions, rad (or m)."""
        with self._lock:
            self._joints.update(names, positions, stamp_ns)
            self._tell()

    def measure_pose(self, key: str, pose: MeasuredPose, stamp_ns: int) -> str:
        """Take the measured pose of an action.

        Returns:
            Why it cannot be compared with the commands; empty where it can.
        """
        with self._lock:
            problem = self._poses.update(key, pose, stamp_ns)
            self._tell()
        return problem

    def take_limits(self, urdf: Mapping[str, UrdfLimits], now_ns: int) -> None:
        """Take the limits of a robot description, after coming to rest where the robot moves."""
        with self._lock:
            before = self.limits()
            self._urdf = urdf
            if self._player is None or self._layout is None or self.limits() == before:
                return
            self._player.change_limits(limits_by_index(self.limits(), self._layout), now_ns)

    def forget_chunks(self) -> None:
        """End the activation: what was played is forgotten, what was measured is kept."""
        with self._lock:
            self._player = self._layout = self._command = self._brake = None
            self._source = ChunkSource()
            self._observation_age = self._age_window()
            self._refused, self._why_not, self._hint = 0, "", ""

    def standstill(self) -> Command | None:
        """The last command with no velocity left in it; None where nothing was commanded."""
        with self._lock:
            command, layout = self._command, self._layout
            if command is None or layout is None:
                return None
            vector = np.concatenate([command.values[key] for key in layout.dimensions])
            vector[layout.is_velocity] = 0.0
            return replace(command, values=layout.split(vector), holding=True)

    def tick(self, now_ns: int) -> Command | None:
        """The command of this tick; None before there is anything to command. Never raises.

        Args:
            now_ns: The present, on the clock of the observation stamps, ns.
        """
        with self._lock:
            if not self._failure:
                try:
                    self._command = self._play(now_ns)
                except Exception:
                    self._fail("the motion cannot be computed")
            if self._failure:
                self._command = self._last_resort()
            command = self._command
            if command is not None and command.observed_ns is not None:
                self._observation_age.add((now_ns - command.observed_ns) * 1e-9)
            return command

    def fail(self, what: str) -> None:
        """Come to rest, and move no more. To be called where an exception is handled."""
        with self._lock:
            self._fail(what)

    def _age_window(self) -> LatencyWindow:
        return LatencyWindow(max(1, round(WINDOW_S * self._contract.control_rate_hz)))

    def _offer(self, message: ActionChunk, now_ns: int) -> None:
        try:
            self._source.admit(message.source)
            chunk = read_chunk(self._contract, message)
            player = self._player or self._make_player(make_layout(self._contract, chunk))
        except ChunkRefusedError as error:
            self._refuse(str(error))
            raise
        player.allow(self._gate.reason(self._monotonic_ns()))
        self._hint = unit_hint(chunk, self.limits())
        try:
            player.offer(chunk, now_ns)
        except ChunkRefusedError as error:
            if not self._hint:
                raise
            explained = f"{error} ({self._hint})"
            player.explain_refusal(explained)
            raise ChunkRefusedError(explained) from error

    def _refuse(self, reason: str) -> None:
        if self._player is not None:
            self._player.refuse(reason)
        else:
            self._refused += 1
            self._why_not = reason

    def _make_player(self, layout: ActionLayout) -> MotionPlayer:
        """Made by the first chunk, which alone knows how long some keys are."""
        try:
            player = make_player(self._contract, layout, self._urdf)
        except ValueError as error:
            raise ChunkRefusedError(f"the limits contradict each other: {error}") from error
        self._player, self._layout = player, layout
        self._tell()
        return player

    def _tell(self) -> None:
        if self._player is not None and self._layout is not None:
            self._joints.tell(self._player, self._layout)
            self._poses.tell(self._player, self._layout)

    def _play(self, now_ns: int) -> Command | None:
        player = self._player
        if player is None:
            return None
        player.allow(self._gate.reason(self._monotonic_ns()))
        had_fault = bool(player.fault)
        command = player.tick(now_ns)
        if player.fault and not had_fault:
            self._gate.stop(f"{player.fault}; ~/start allows motion again")
        return command

    def _fail(self, what: str) -> None:
        if self._failure:
            return
        self._failure = f"{what}; the robot is brought to rest, and the node ends:\n" + (
            traceback.format_exc()
        )
        self._brake = self._player.fallback_brake() if self._player is not None else None

    def _last_resort(self) -> Command | None:
        """The next command on the way to rest without the player."""
        before, brake, layout = self._command, self._brake, self._layout
        if before is None or brake is None or layout is None:
            return None
        return Command(
            values=layout.split(brake.step()),
            chunk_id=before.chunk_id,
            steps_left=0,
            holding=True,
            at_rest=brake.is_at_rest,
            observed_ns=None,
        )
