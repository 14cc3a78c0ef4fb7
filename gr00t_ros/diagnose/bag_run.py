# SPDX-License-Identifier: Apache-2.0
"""Reads a run from a bag, of any recorder: topics are found by their types.

The status of the control node names the joints and the command topics, so that no configuration is
needed.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.errors import SpecError
from gr00t_ros.bags.reader import Bag
from gr00t_ros.diagnose.counters import counted
from gr00t_ros.diagnose.phases import PhaseLog
from gr00t_ros.diagnose.recorded_chunk import read_run_chunk
from gr00t_ros.diagnose.run import Activity, Run, RunChunk, Series, Topic
from gr00t_ros.diagnose.run_clock import RunClock
from gr00t_ros.interfaces.stamps import stamp_ns
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus

CHUNK, CONTROL = "gr00t_ros/msg/ActionChunk", "gr00t_ros/msg/ControlStatus"
POLICY = "gr00t_ros/msg/PolicyStatus"
JOINT_STATE, TRAJECTORY = "sensor_msgs/msg/JointState", "trajectory_msgs/msg/JointTrajectory"
MULTI_ARRAY = "std_msgs/msg/Float64MultiArray"
CAMERAS = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
# Types that begin with a header.
STAMPED = (*CAMERAS, JOINT_STATE, TRAJECTORY)
TYPES: dict[str, type[Any]] = {
    CHUNK: ActionChunk,
    CONTROL: ControlStatus,
    POLICY: PolicyStatus,
    JOINT_STATE: JointState,
    TRAJECTORY: JointTrajectory,
    MULTI_ARRAY: Float64MultiArray,
}
ACTIVITIES = {
    ControlStatus.STATE_STOPPED: Activity.STOPPED,
    ControlStatus.STATE_WAITING: Activity.WAITING,
    ControlStatus.STATE_RUNNING: Activity.PLAYING,
    ControlStatus.STATE_HOLDING: Activity.HOLDING,
    ControlStatus.STATE_ERROR: Activity.ERROR,
    ControlStatus.STATE_INTERVENTION: Activity.INTERVENTION,
}
# A stream this far below its rate is slow.
SLOW = 0.9


def read_bag(path: Path) -> Run:
    """Read a run.

    Raises:
        BagError: The bag cannot be read.
        SpecError: It has neither chunks nor a status of the control node.
        ImportError: What reads it is not installed.
    """
    bag = Bag(path)
    if not {CHUNK, CONTROL} & set(bag.topics.values()):
        raise SpecError(
            "nothing to diagnose",
            [f"{path} has no topic of {CHUNK} and none of {CONTROL}, only {sorted(bag.topics)}"],
        )
    run = _BagReader(path, bag.topics)
    known = (*TYPES, *CAMERAS)
    for message in bag.messages([name for name, kind in bag.topics.items() if kind in known]):
        run.take(message.topic, message.data, message.received_ns * 1e-9)
    if bag.info is not None:
        run.lost = dict(bag.info.dropped)
    if bag.truncated:
        run.notes.append(f"the bag is not whole: {bag.truncated}")
    return run.result()


@dataclass(slots=True)
class _JointRows:
    """The positions in the messages of a topic."""

    times_s: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, time_s: float, names: Sequence[str], positions: Sequence[float]) -> None:
        self.times_s.append(time_s)
        self.rows.append(dict(zip(names, positions, strict=False)))


class _BagReader:
    """Takes the messages of a bag in their order.

    Attributes:
        lost: Messages that the recorder lost, by topic.
        notes: What could not be read.
    """

    def __init__(self, path: Path, kinds: dict[str, str]) -> None:
        self.lost: dict[str, int] = {}
        self.notes: list[str] = []
        self._path = path
        self._kinds = kinds
        self._clock = RunClock()
        self._received_s: dict[str, list[float]] = defaultdict(list)
        self._stamps_s: dict[str, list[float]] = defaultdict(list)
        self._joints: dict[str, _JointRows] = defaultdict(_JointRows)
        self._arrays: dict[str, _JointRows] = defaultdict(_JointRows)
        self._chunks: list[tuple[ActionChunk, float, float]] = []  # with t0 and its reception
        self._phases = PhaseLog()
        self._controls: list[ControlStatus] = []
        self._policies: list[tuple[PolicyStatus, float]] = []
        self._unreadable: dict[str, int] = defaultdict(int)
        self._handlers: dict[str, Callable[[str, Any, float], None]] = {
            CHUNK: self._take_chunk,
            CONTROL: self._take_control,
            POLICY: self._take_policy,
            JOINT_STATE: self._take_joint_state,
            TRAJECTORY: self._take_trajectory,
            MULTI_ARRAY: self._take_array,
        }

    def take(self, topic: str, data: bytes, recorded_s: float) -> None:
        """Take one serialized message, with the time by the recorder's clock."""
        kind = self._kinds[topic]
        received_s = self._clock.receive(topic, recorded_s)
        self._received_s[topic].append(received_s)
        if kind in STAMPED and len(data) >= 12:
            order = "<" if data[1] & 1 else ">"
            sec, nanosec = struct.unpack_from(f"{order}iI", data, 4)
            self._stamps_s[topic].append(self._by_clock_s(sec + nanosec * 1e-9, received_s))
        if kind not in TYPES:
            return
        try:
            message = deserialize_message(data, TYPES[kind])
        except Exception:  # rclpy's exceptions differ between its versions
            self._unreadable[topic] += 1
            return
        self._handlers[kind](topic, message, received_s)

    def _take_chunk(self, topic: str, message: ActionChunk, received_s: float) -> None:
        if not message.stop:
            self._chunks.append((message, self._stamp_s(message, received_s), received_s))

    def _take_control(self, topic: str, message: ControlStatus, received_s: float) -> None:
        activity = ACTIVITIES.get(message.state, Activity.ERROR)
        self._phases.observe(received_s, activity, message.reason)
        self._controls.append(message)

    def _take_policy(self, topic: str, message: PolicyStatus, received_s: float) -> None:
        self._policies.append((message, received_s))

    def _take_joint_state(self, topic: str, message: JointState, received_s: float) -> None:
        stamp_s = self._stamp_s(message, received_s)
        self._joints[topic].add(stamp_s or received_s, message.name, message.position)

    def _take_trajectory(self, topic: str, message: JointTrajectory, received_s: float) -> None:
        if message.points:
            positions = message.points[0].positions
            self._joints[topic].add(received_s, message.joint_names, positions)

    def _take_array(self, topic: str, message: Float64MultiArray, received_s: float) -> None:
        names = [str(number) for number in range(len(message.data))]
        self._arrays[topic].add(received_s, names, message.data)

    def _stamp_s(self, message: Any, received_s: float) -> float:
        return self._by_clock_s(stamp_ns(message, 0) * 1e-9, received_s)

    def _by_clock_s(self, stamp_s: float, received_s: float) -> float:
        """A stamp by the clock of the run, s; 0 for a message without one."""
        return self._clock.near(stamp_s, received_s) if stamp_s else 0.0

    def result(self) -> Run:
        """The run, once all messages are taken."""
        joints = self._joint_names()
        commanded = self._command_topics()
        measured = {n: rows for n, rows in self._joints.items() if n not in commanded}
        commands = {n: rows for n, rows in self._joints.items() if n in commanded}
        for topic, count in self._unreadable.items():
            self.notes.append(f"{topic}: {count} messages cannot be read; another version's?")
        chunks = tuple(self._run_chunks(len(joints)))
        return Run(
            source=str(self._path),
            joints=joints,
            chunks=chunks,
            commands=self._series([*commands.values(), *self._named_arrays(joints)], joints),
            measured=self._series(list(measured.values()), joints),
            phases=self._phases.phases(),
            topics=tuple(self._topics()),
            counters=counted(self._controls, [status for status, _ in self._policies]),
            policy_times_s=self._policy_times_s(),
            slow_streams=self._slow_streams(),
            policy_reasons=self._policy_reasons(),
            clock_jumps=tuple(self._clock.jumps),
            lost=self.lost,
            notes=tuple(self.notes),
        )

    def _joint_names(self) -> tuple[str, ...]:
        """The names of the commanded values in the order of the chunks."""
        named = next((s.joints for s in reversed(self._controls) if s.joints), None)
        if named:
            return tuple(joint.name for joint in named)
        self.notes.append("no status of the control node names the joints")
        if not self._chunks:
            return ()
        actions = self._chunks[0][0].actions
        return tuple(f"{a.name}[{number}]" for a in actions for number in range(a.dimension))

    def _command_topics(self) -> set[str]:
        named = {t.topic for status in self._controls for t in status.command_topics}
        return named or {name for name, kind in self._kinds.items() if kind == TRAJECTORY}

    def _named_arrays(self, joints: tuple[str, ...]) -> list[_JointRows]:
        """The commands in arrays: of the only action key with as many values."""
        if not self._chunks:
            return []
        places: dict[int, list[int]] = defaultdict(list)
        start = 0
        for action in self._chunks[0][0].actions:
            places[action.dimension].append(start)
            start += action.dimension
        named = []
        for topic in self._command_topics() & self._arrays.keys():
            rows = self._arrays[topic]
            sizes = sorted({len(row) for row in rows.rows})
            if len(sizes) != 1 or len(places[sizes[0]]) != 1 or start != len(joints):
                values = " or ".join(map(str, sizes))
                self.notes.append(f"{topic}: its {values} values are those of no single action key")
                continue
            size = sizes[0]
            names = joints[places[size][0] :][:size]
            of_joints = [dict(zip(names, row.values(), strict=True)) for row in rows.rows]
            named.append(_JointRows(rows.times_s, of_joints))
        return named

    def _series(self, parts: list[_JointRows], joints: tuple[str, ...]) -> Series:
        """The positions of all topics, at the instants of the joint that comes most often.

        Topics of their own come at instants of their own: the others are interpolated, because the
        newest value would be late by up to a period.
        """
        times_s: dict[str, list[float]] = {name: [] for name in joints}
        values: dict[str, list[float]] = {name: [] for name in joints}
        for part in parts:
            for time_s, row in zip(part.times_s, part.rows, strict=True):
                for name in row.keys() & times_s.keys():
                    times_s[name].append(time_s)
                    values[name].append(row[name])
        of_joints = [
            Series.of(times_s[name], [[value] for value in values[name]], 1) for name in joints
        ]
        if not any(len(series) for series in of_joints):
            return Series(np.empty(0), np.empty((0, len(joints))))
        instants_s = max(of_joints, key=len).times_s
        columns = [_interpolated(series, instants_s) for series in of_joints]
        return Series(instants_s, np.stack(columns, axis=1))

    def _run_chunks(self, width: int) -> Iterator[RunChunk]:
        """The chunks that a robot with so many commanded values plays; the others are noted."""
        refusals = []
        for message, t0_s, received_s in self._chunks:
            try:
                yield replace(read_run_chunk(message, received_s, width), t0_s=t0_s)
            except ChunkRefusedError as error:
                refusals.append(str(error))
        if refusals:
            self.notes.append(f"{len(refusals)} chunks are not judged, the first: {refusals[0]}")

    def _topics(self) -> list[Topic]:
        """The topics that come at a rate of their own; chunks and statuses are told elsewhere."""
        return [
            Topic(
                name=name,
                kind=self._kinds[name],
                received_s=np.array(received_s),
                stamps_s=np.array(self._stamps_s.get(name, [])),
                is_camera=self._kinds[name] in CAMERAS,
            )
            for name, received_s in sorted(self._received_s.items())
            if self._kinds[name] not in (CHUNK, CONTROL, POLICY)
        ]

    def _policy_times_s(self) -> np.ndarray:
        times_s = np.array([status.policy_time.last_s for status, _ in self._policies])
        return times_s[np.isfinite(times_s)]

    def _slow_streams(self) -> dict[str, tuple[float, float]]:
        rates: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for status, _ in self._policies:
            for stream in status.streams:
                if np.isfinite(stream.expected_rate_hz):
                    rates[stream.name].append((stream.rate_hz, stream.expected_rate_hz))
        medians = {name: np.median(values, axis=0) for name, values in rates.items()}
        return {n: (float(m[0]), float(m[1])) for n, m in medians.items() if m[0] < SLOW * m[1]}

    def _policy_reasons(self) -> dict[str, float]:
        """How long the policy node was asked to infer and did not, s, by its reason."""
        phases = PhaseLog()
        for status, at_s in self._policies:
            is_waiting = status.state == PolicyStatus.STATE_WAITING
            activity = Activity.WAITING if is_waiting else Activity.PLAYING
            phases.observe(at_s, activity, status.reason if is_waiting else "")
        waited: dict[str, float] = defaultdict(float)
        for phase in phases.phases():
            if phase.activity is Activity.WAITING:
                waited[phase.reason] += phase.duration_s
        return dict(waited)


def _interpolated(series: Series, times_s: np.ndarray) -> np.ndarray:
    """The values of one joint at other instants, (N,); NaN before its first and after its last."""
    if not len(series):
        return np.full(len(times_s), np.nan)
    return np.interp(times_s, series.times_s, series.values[:, 0], left=np.nan, right=np.nan)
