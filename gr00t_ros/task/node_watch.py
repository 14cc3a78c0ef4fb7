# SPDX-License-Identifier: Apache-2.0
"""Judges by their statuses whether both nodes can go on with a task. Pure.

All times are of one monotonic clock, s: the statuses come by the steady clock, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from gr00t_ros.contract.parameters import STATE
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus

STOPPED = "policy_node was stopped by somebody else"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """When a task ends for a fault.

    Args:
        status_timeout_s: A node that sends no status for this long has ended, or hangs, s.
        stall_timeout_s: A robot that plays no chunk for this long does not go on by itself, s.
    """

    status_timeout_s: float
    stall_timeout_s: float


class NodeWatch:
    """Watches both nodes during one run of a task.

    Args:
        settings: When a node counts as ended, and a robot as stalled.
        now_s: The start of the run.
    """

    def __init__(self, settings: WatchSettings, now_s: float) -> None:
        self._settings = settings
        self._policy_s = self._control_s = self._moved_s = now_s
        self.policy: PolicyStatus | None = None
        self.control: ControlStatus | None = None
        self.has_started = False  # the policy node was seen to infer, or to try
        self.has_moved = False  # since `start`
        self._stops = 0  # of the policy node, which are known and end no task
        self._allows_stops = False
        self._policy_count = 0
        self._source = ""
        self._restarted = ""

    def receive_policy(self, status: PolicyStatus, now_s: float) -> None:
        """Take a status of the policy node."""
        before, self.policy, self._policy_s = self.policy, status, now_s
        if before is not None and status.inferences < before.inferences:
            self._restarted = "policy_node"
        if before is None:
            self._stops = status.stops
        elif status.stops < before.stops:
            self._stops = 0  # it was started again
        self._policy_count += 1
        self.has_started |= status.state in (
            PolicyStatus.STATE_WAITING,
            PolicyStatus.STATE_RUNNING,
        )
        self._notice_motion(now_s)

    def receive_control(self, status: ControlStatus, now_s: float) -> None:
        """Take a status of the control node."""
        before = self.control
        if before is not None and (
            status.source != before.source or status.commands < before.commands
        ):
            self._restarted = "control_node"
        self.control, self._control_s = status, now_s
        self._notice_motion(now_s)

    def receive_chunk(self, chunk: ActionChunk) -> None:
        """Take a chunk; those of one run of the policy node have one source."""
        if self._source and chunk.source != self._source:
            self._restarted = "policy_node"
        self._source = chunk.source

    @property
    def is_known(self) -> bool:
        """Whether both nodes have sent a status."""
        return self.policy is not None and self.control is not None

    @property
    def is_moving(self) -> bool:
        """Whether the policy infers and the robot plays its chunks."""
        policy, control = self.policy, self.control
        return (
            policy is not None
            and control is not None
            and policy.state == PolicyStatus.STATE_RUNNING
            and control.state == ControlStatus.STATE_RUNNING
        )

    @property
    def human_drives(self) -> bool:
        """Whether a person has taken over."""
        return self.control is not None and self.control.intervention

    @property
    def policy_is_stopped(self) -> bool:
        """Whether the policy node says that it is stopped."""
        return self.policy is not None and self.policy.state == PolicyStatus.STATE_STOPPED

    @property
    def policy_count(self) -> int:
        """The statuses of the policy node that have come."""
        return self._policy_count

    def allow_stops(self, are_allowed: bool) -> None:
        """Whether ~/stop of the policy node may be called now: the task itself does, too."""
        self._allows_stops = are_allowed
        if self.policy is not None:
            self._stops = self.policy.stops
        self.has_started = False  # a stop so far is no fault until the node is seen to infer again

    def stop_fault(self) -> str:
        """That somebody has called ~/stop of the policy node; empty if nobody has."""
        status = self.policy
        if status is None or self._allows_stops:
            return ""
        return STOPPED if status.stops != self._stops else ""

    def start(self, now_s: float) -> None:
        """The policy node infers: from now on the robot has to move, and no node may restart.

        Before that the policy node may have been configured anew, for this task.
        """
        self._moved_s, self.has_moved = now_s, False
        self._restarted = ""

    def policy_fault(self, now_s: float) -> str:
        """Why the policy node cannot go on; empty while it can."""
        status = self.policy
        silent = self._silence("policy_node", self._policy_s, now_s, is_known=status is not None)
        if silent or status is None:
            return silent
        if status.state == PolicyStatus.STATE_ERROR:
            return f"policy_node: {status.reason}"
        if self.policy_is_stopped and self.has_started:
            by_itself = status.reason.startswith("stopped: ")
            return f"policy_node {status.reason}" if by_itself else STOPPED
        return self.stop_fault()

    def control_fault(self, now_s: float) -> str:
        """Why the control node cannot go on; empty while it can."""
        status = self.control
        silent = self._silence("control_node", self._control_s, now_s, is_known=status is not None)
        if silent or status is None:
            return silent
        if status.state == ControlStatus.STATE_ERROR:
            return f"control_node: {status.reason}"
        if status.state == ControlStatus.STATE_STOPPED:
            return f"control_node does not command the robot: {status.reason}"
        return ""

    def fault(self, now_s: float) -> str:
        """Why the task cannot go on; empty while it can."""
        if self._restarted:
            return f"{self._restarted} was restarted"
        return self.policy_fault(now_s) or self.control_fault(now_s) or self._stall(now_s)

    def is_at_rest(self, since_s: float) -> bool:
        """Whether a status that came since then says that the robot is at rest."""
        status = self.control
        return (
            status is not None
            and self._control_s >= since_s
            and status.at_rest
            and status.state != ControlStatus.STATE_RUNNING
        )

    def hears_policy(self, now_s: float) -> bool:
        """Whether the policy node reports."""
        return now_s - self._policy_s <= self._settings.status_timeout_s

    def unmeasured(self, since_s: float) -> list[str]:
        """The states of the robot that no message has measured since then, as far as is known."""
        streams = self.policy.streams if self.policy is not None else []
        return [
            stream.name
            for stream in streams
            if stream.name.startswith(f"{STATE}.") and not self._policy_s - stream.age_s >= since_s
        ]

    def why_not_moving(self) -> str:
        """Why the robot plays no chunk at present; empty while it does."""
        policy, control = self.policy, self.control
        if policy is None or control is None:
            return "waiting for the first status of both nodes"
        if policy.state != PolicyStatus.STATE_RUNNING and policy.reason:
            return f"policy_node: {policy.reason}"
        if control.state != ControlStatus.STATE_RUNNING:
            return f"control_node: {control.reason}"
        return ""

    def _silence(self, name: str, received_s: float, now_s: float, *, is_known: bool) -> str:
        silent_s = now_s - received_s
        if silent_s <= self._settings.status_timeout_s:
            return ""
        if not is_known:
            return f"{name} is not there: no status on {name}/status for {silent_s:.1f} s"
        return f"{name} has sent no status for {silent_s:.1f} s: it has ended, or hangs"

    def _stall(self, now_s: float) -> str:
        stalled_s = now_s - self._moved_s
        if stalled_s <= self._settings.stall_timeout_s:
            return ""
        return f"the robot has played no chunk for {stalled_s:.1f} s: {self.why_not_moving()}"

    def _notice_motion(self, now_s: float) -> None:
        if self.is_moving or self.human_drives:
            self._moved_s, self.has_moved = now_s, True


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of both nodes at one moment, which a run of a task is measured by."""

    inference_errors: int
    holds: int
    limiter_hits: int

    @classmethod
    def of(cls, watch: NodeWatch) -> Counts:
        """The counts of the newest statuses."""
        policy, control = watch.policy, watch.control
        return cls(
            inference_errors=policy.inference_errors if policy is not None else 0,
            holds=control.holds if control is not None else 0,
            limiter_hits=control.limiter_hits if control is not None else 0,
        )

    def since(self, before: Counts) -> Counts:
        """What was counted between two moments; a node that was restarted counts from 0."""
        return Counts(
            max(self.inference_errors - before.inference_errors, 0),
            max(self.holds - before.holds, 0),
            max(self.limiter_hits - before.limiter_hits, 0),
        )
