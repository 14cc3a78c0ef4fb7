# SPDX-License-Identifier: Apache-2.0
"""Records every call to a player, so that the run can be replayed bit for bit.

A recording is JSON lines: its format, then one event each. Python writes and reads floats exactly.
The same events give the same commands only as long as nothing changes how a player moves: then the
format gets a new number, and recordings of the old one are refused. Workspaces are settings of the
player, not events: a run in which the robot description moved them is not replayed exactly.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, get_args

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError, Row
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.steering import SteeringRefusedError
from gr00t_policy_core.control.workspace import Workspace

FORMAT_KEY, FORMAT = "recording_format", 7
MAX_EVENTS = 500_000  # about 40 minutes at 100 Hz, and 200 MB
TIMES = ("now_ns", "stamp_ns", "t0_ns")


class TruncatedRecordingError(ValueError):
    """The last line is not whole: the disk was full, or the node was killed while it wrote."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Joint positions, rad (or m), by index, and when they were there, ns."""

    positions: Mapping[int, float]
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Offered:
    """A chunk, and when it was offered, ns."""

    chunk: Chunk
    now_ns: int


@dataclass(frozen=True, slots=True)
class Allowed:
    """Why the robot may not be moved; empty where it may."""

    reason_why_not: str


@dataclass(frozen=True, slots=True)
class Held:
    """A request to come to rest: its time, ns, and its reason."""

    now_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Placed:
    """The joints of some action keys are commanded where they are measured from now on, ns."""

    keys: tuple[str, ...]
    now_ns: int


@dataclass(frozen=True, slots=True)
class BrakedAtOnce:
    """The robot brakes by its largest accelerations.

    The commands from which it does, by index, the older one first; when, ns, and why.
    """

    before: tuple[float, ...]
    last: tuple[float, ...]
    now_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Limited:
    """New limits of the joints, by index, and their time, ns.

    A recording knows no workspaces: None leaves the player its own.
    """

    limits: Mapping[int, JointLimits]
    now_ns: int
    workspaces: tuple[Workspace, ...] | None = None


@dataclass(frozen=True, slots=True)
class Steered:
    """A person's target, by index, and its time, ns."""

    target: tuple[float, ...]
    now_ns: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """A tick, ns, whether it was made up for after its time, and while the robot was under way."""

    now_ns: int
    is_missed: bool = False
    is_under_way: bool = False


Event = Measured | Offered | Allowed | Held | Placed | BrakedAtOnce | Limited | Steered | Ticked
EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}


class _EventLog(list[Event]):
    """The events of a run; a copy of its player, which looks ahead, begins with none."""

    def __deepcopy__(self, memo: object) -> _EventLog:
        return _EventLog()


class RecordingPlayer(MotionPlayer):
    """A player that keeps its calls in memory.

    It stops recording at `MAX_EVENTS`: a recording without its beginning cannot be replayed.

    Args:
        layout: Layout of the action keys in the vector of commands.
        settings: What the player needs to know of the robot.
    """

    def __init__(self, layout: ActionLayout, settings: PlayerSettings) -> None:
        super().__init__(layout, settings)
        self.events: list[Event] = _EventLog()
        self._inhibited = ""

    @property
    def is_full(self) -> bool:
        """Whether no more events are kept."""
        return len(self.events) >= MAX_EVENTS

    def copy_with_history(self) -> RecordingPlayer:
        copy = deepcopy(self)
        copy.events.extend(self.events)
        return copy

    def measure(self, positions: Mapping[int, float], stamp_ns: int) -> None:
        self._keep(Measured(dict(positions), stamp_ns))
        super().measure(positions, stamp_ns)

    def offer(self, chunk: Chunk, now_ns: int) -> None:
        self._keep(Offered(chunk, now_ns))
        super().offer(chunk, now_ns)

    def inhibit(self, reason: str) -> None:
        if reason != self._inhibited:
            self._inhibited = reason
            self._keep(Allowed(reason))
        super().inhibit(reason)

    def hold(self, now_ns: int, reason: str) -> None:
        self._keep(Held(now_ns, reason))
        super().hold(now_ns, reason)

    def rest_where_measured(self, keys: Collection[str], now_ns: int) -> None:
        self._keep(Placed(tuple(keys), now_ns))
        super().rest_where_measured(keys, now_ns)

    def brake_at_once(self, path: tuple[Row, Row], now_ns: int, reason: str) -> None:
        before, last = (tuple(row.tolist()) for row in path)
        self._keep(BrakedAtOnce(before, last, now_ns, reason))
        super().brake_at_once(path, now_ns, reason)

    def change_limits(
        self,
        limits: Mapping[int, JointLimits],
        now_ns: int,
        workspaces: tuple[Workspace, ...] = (),
    ) -> None:
        self._keep(Limited(dict(limits), now_ns))
        super().change_limits(limits, now_ns, workspaces)

    def steer(self, target: Row, now_ns: int) -> None:
        self._keep(Steered(tuple(target.tolist()), now_ns))
        super().steer(target, now_ns)

    def tick(
        self, now_ns: int, *, is_missed: bool = False, is_under_way: bool = False
    ) -> Command | None:
        self._keep(Ticked(now_ns, is_missed, is_under_way))
        return super().tick(now_ns, is_missed=is_missed, is_under_way=is_under_way)

    def _keep(self, event: Event) -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(event)


def replay(events: Iterable[Event], player: MotionPlayer) -> Iterator[Command | None]:
    """Repeat the recorded calls on a player; yields the command of each tick.

    Args:
        events: The recording, in its order.
        player: A player with the layout and the settings of the recorded one.
    """
    for event in events:
        command = repeat(event, player)
        if isinstance(event, Ticked):
            yield command


def repeat(event: Event, player: MotionPlayer) -> Command | None:
    """Repeat a recorded call on a player; returns the command of a tick, None for other calls."""
    match event:
        case Measured():
            player.measure(event.positions, event.stamp_ns)
        case Offered():
            _offer(player, event)
        case Allowed():
            player.inhibit(event.reason_why_not)
        case Held():
            player.hold(event.now_ns, event.reason)
        case Placed():
            player.rest_where_measured(event.keys, event.now_ns)
        case BrakedAtOnce():
            path = np.array(event.before), np.array(event.last)
            player.brake_at_once(path, event.now_ns, event.reason)
        case Limited():
            workspaces = player.workspaces if event.workspaces is None else event.workspaces
            player.change_limits(event.limits, event.now_ns, workspaces)
        case Steered():
            _steer(player, event)
        case Ticked():
            return player.tick(
                event.now_ns, is_missed=event.is_missed, is_under_way=event.is_under_way
            )
    return None


def write_events(path: Path, events: Iterable[Event]) -> None:
    """Write a recording.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{json.dumps({FORMAT_KEY: FORMAT})}\n")
        for event in events:
            file.write(f"{json.dumps(_plain(event))}\n")


def read_events(path: Path) -> Iterator[Event]:
    """Read a recording.

    Raises:
        OSError: The file cannot be read.
        TruncatedRecordingError: The last line is not whole; all events before were yielded.
        ValueError: It is of another format, or a line is not an event; the message names the line.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        _require_format(path, file.readline())
        for number, line in enumerate(file, start=2):
            try:
                yield _event(json.loads(line))
            except (ValueError, TypeError, AttributeError) as error:
                if not line.endswith("\n"):
                    raise TruncatedRecordingError(
                        f"{path} has no end, its last line {number} is not whole"
                    ) from error
                raise ValueError(f"{path}, line {number} is not an event: {error}") from error


def _require_format(path: Path, line: str) -> None:
    try:
        found = json.loads(line).get(FORMAT_KEY, 1)  # the first format has no such field
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a recording: {error}") from error
    if found != FORMAT:
        raise ValueError(
            f"{path} is a recording of format {found}, this version plays format {FORMAT}: play it "
            "with the version that wrote it, or record the run again"
        )


def _offer(player: MotionPlayer, event: Offered) -> None:
    try:
        player.offer(event.chunk, event.now_ns)
    except ChunkRefusedError:
        return  # it was refused in the recorded run, too


def _steer(player: MotionPlayer, event: Steered) -> None:
    try:
        player.steer(np.array(event.target), event.now_ns)
    except SteeringRefusedError:
        return  # it was refused in the recorded run, too


def _plain(event: Event) -> dict[str, Any]:
    if isinstance(event, Offered):
        chunk = event.chunk
        fields: dict[str, Any] = {
            "chunk_id": chunk.chunk_id,
            "t0_ns": chunk.t0_ns,
            "dt_s": chunk.dt_s,
            "actions": {key: rows.tolist() for key, rows in chunk.actions.items()},
            "now_ns": event.now_ns,
        }
    else:
        fields = asdict(event)
    return {"event": type(event).__name__, **fields}


def _event(fields: Any) -> Event:
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, got {type(fields).__name__}")
    kind = EVENTS.get(fields.pop("event", ""))
    if kind is None:
        raise ValueError(f"its event is none of {', '.join(EVENTS)}")
    _require_fields(kind, fields)
    if kind is Offered:
        now_ns = fields.pop("now_ns")
        actions = {key: np.array(rows, np.float64) for key, rows in fields.pop("actions").items()}
        return Offered(Chunk(actions=actions, **fields), now_ns)
    if kind is Measured:
        positions = {int(index): value for index, value in fields["positions"].items()}
        return Measured(positions, fields["stamp_ns"])
    if kind is Limited:
        limits = {int(index): JointLimits(**values) for index, values in fields["limits"].items()}
        return Limited(limits, fields["now_ns"])
    if kind is Steered:
        return Steered(tuple(fields["target"]), fields["now_ns"])
    if kind is Placed:
        return Placed(tuple(fields["keys"]), fields["now_ns"])
    if kind is BrakedAtOnce:
        fields |= {name: tuple(fields[name]) for name in ("before", "last")}
    return kind(**fields)


def _require_fields(kind: type[Event], fields: Mapping[str, Any]) -> None:
    needed = {field.name for field in dataclass_fields(Chunk if kind is Offered else kind)}
    needed |= {"now_ns"} if kind is Offered else set()
    if fields.keys() != needed:
        raise ValueError(f"{kind.__name__} has the fields {sorted(needed)}, got {sorted(fields)}")
    for name in fields.keys() & set(TIMES):
        if type(fields[name]) is not int:
            raise ValueError(f"{name} must be a whole number of ns, got {fields[name]!r}")
