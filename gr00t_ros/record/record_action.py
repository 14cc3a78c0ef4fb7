# SPDX-License-Identifier: Apache-2.0
"""The action `RecordEpisode`: one goal, one episode."""

from __future__ import annotations

import math
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

from gr00t_ros.action import RecordEpisode
from gr00t_ros.record.episode_control import EpisodeControl
from gr00t_ros.record.episode_recorder import Episode, RecordingError, checked_outcome
from gr00t_ros.record.ros_future import ros_future

PERIOD_S = 0.1  # between two looks at the time, and at whether the goal was cancelled
FEEDBACK_EVERY = 5


class RecordAction:
    """Serves `~/record_episode`.

    Args:
        node: Offers the action; its clock measures the episodes.
        control: Returns what begins and ends episodes; `RecordingError` while the node is not
            active.
    """

    def __init__(self, node: LifecycleNode, control: Callable[[], EpisodeControl]) -> None:
        self._node = node
        self._control = control
        self._server = ActionServer(
            node,
            RecordEpisode,
            "~/record_episode",
            self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    async def _execute(self, goal: ServerGoalHandle) -> RecordEpisode.Result:
        request = goal.request
        try:
            checked_outcome(request.outcome)
            if not 0.0 <= request.duration_s < math.inf:
                raise RecordingError(f"duration_s must be 0 or more, got {request.duration_s}")
            control = self._control()
            episode = control.begin(request.task)
        except RecordingError as error:
            goal.abort()
            return RecordEpisode.Result(message=str(error))
        await self._over(goal, control, episode)
        if control.current is episode and goal.is_cancel_requested:
            control.discard()
        elif control.current is episode:
            control.end(request.outcome, request.notes)
        await ros_future(episode.writer.saved, self._node)
        return self._conclude(goal, control, episode)

    async def _over(
        self, goal: ServerGoalHandle, control: EpisodeControl, episode: Episode
    ) -> None:
        """Wait until the time is over, the goal is cancelled, or somebody has ended the episode."""
        over: Future[None] = Future(executor=self._node.executor)
        turn = 0

        def look() -> None:
            nonlocal turn
            turn += 1
            duration_s = episode.duration_s(self._node.get_clock().now().nanoseconds)
            if turn % FEEDBACK_EVERY == 0:
                goal.publish_feedback(_feedback(control, episode, duration_s))
            is_time_over = 0.0 < goal.request.duration_s <= duration_s
            if is_time_over or goal.is_cancel_requested or control.current is not episode:
                over.set_result(None)
                timer.cancel()

        timer = self._node.create_timer(
            PERIOD_S, look, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        await over
        self._node.destroy_timer(timer)

    def _conclude(
        self, goal: ServerGoalHandle, control: EpisodeControl, episode: Episode
    ) -> RecordEpisode.Result:
        ended = control.ended
        if ended is None or ended.episode.name != episode.name or ended.saved.result() is None:
            text = f"{episode.name} was discarded"
            goal.canceled() if goal.is_cancel_requested else goal.abort()
            return RecordEpisode.Result(message=text)
        is_whole, text, path = ended.outcome()
        goal.succeed() if is_whole else goal.abort()
        return RecordEpisode.Result(
            success=is_whole,
            message=text,
            path=path,
            outcome=ended.episode.info.outcome,
            duration_s=ended.duration_s,
            messages=ended.messages,
            dropped=ended.dropped,
        )


def _feedback(
    control: EpisodeControl, episode: Episode, duration_s: float
) -> RecordEpisode.Feedback:
    return RecordEpisode.Feedback(
        episode=episode.name,
        duration_s=duration_s,
        messages=control.subscriptions.messages,
        dropped=control.subscriptions.dropped,
    )
