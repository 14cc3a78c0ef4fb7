# SPDX-License-Identifier: Apache-2.0
"""Action servers that play a gripper's controller, and a joint_trajectory_controller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from gr00t_ros.node.spin_thread import SpinThread

TRAJECTORY = {  # parameters of a robot whose arm and gripper are one such controller's
    f"action__{key}__{field}": value
    for key in ("arm", "gripper")
    for field, value in (("type", "follow_joint_trajectory"), ("topic", "jtc/follow"))
}


class Server:
    """An action server on a node of its own, whose goals end when the test says so.

    Args:
        context: Of the node.
        action_type: Class of the action.
        name: Name of the action.
        preempts: Whether a new goal aborts the one in progress, as ros2_control's servers do.
    """

    def __init__(
        self, context: Context, action_type: type[Any], name: str, *, preempts: bool = True
    ) -> None:
        self.goals: list[Any] = []
        self.canceled: list[int] = []
        self.aborted: list[int] = []
        self.succeeded: list[int] = []
        self.accepts = True
        self._preempts = preempts
        self._lock = threading.Lock()
        self._result_type = action_type.Result
        self._endings: list[threading.Event] = []
        self._results: dict[int, tuple[str, Any]] = {}
        self._node = Node(f"server_{id(self)}", context=context)
        self._server = ActionServer(
            self._node,
            action_type,
            name,
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )
        executor = MultiThreadedExecutor(8, context=context)
        executor.add_node(self._node)
        self._spinning = SpinThread(executor, "action server")
        self._is_closed = False

    def finish(self, number: int, ending: str, **fields: Any) -> None:
        """End a goal: `ending` is succeed or abort, the fields are those of its result."""
        self._results[number] = ending, self._result_type(**fields)
        self._endings[number].set()

    def give_up(self, **fields: Any) -> None:
        """Abort the newest goal, as a controller does that leaves its path."""
        with self._lock:  # it is not replaced meanwhile
            self.finish(len(self.goals) - 1, "abort", **fields)

    @property
    def is_idle(self) -> bool:
        """Whether all goals are over."""
        over = {*self.succeeded, *self.aborted, *self.canceled}
        return len(over) == len(self.goals)

    def close(self) -> None:
        if self._is_closed:
            return
        with self._lock:  # a goal may begin meanwhile
            self._is_closed = True
            for ending in self._endings:
                ending.set()
        assert self._spinning.end(60.0), "a callback does not end"
        self._server.destroy()
        self._node.destroy_node()

    def _on_goal(self, _: Any) -> GoalResponse:
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def _execute(self, handle: ServerGoalHandle) -> Any:
        ending = threading.Event()
        with self._lock:  # two goals may begin at once
            number = len(self.goals)
            self._endings.append(ending)
            self.goals.append(handle.request)
            if self._is_closed:
                ending.set()
        while not ending.wait(0.005):
            # First, because a client may cancel at the same time what its newer goal replaces.
            if self._preempts and len(self.goals) > number + 1:
                self.aborted.append(number)
                handle.abort()
                return self._result_type()
            if handle.is_cancel_requested:
                self.canceled.append(number)
                handle.canceled()
                return self._result_type()
        how, result = self._results.get(number, ("abort", self._result_type()))
        (self.aborted if how == "abort" else self.succeeded).append(number)
        getattr(handle, how)()
        return result


Serve = Callable[..., Server]  # starts a server for the test, which ends with it
