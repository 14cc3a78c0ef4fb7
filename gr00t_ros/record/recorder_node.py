# SPDX-License-Identifier: Apache-2.0
"""The recorder node: the topics of the contract in, episodes as ROS bags out."""

from __future__ import annotations

import time
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.subscription import Subscription
from rclpy.time import Time
from rclpy.timer import Timer
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from gr00t_policy_core.errors import SpecError
from gr00t_ros.bags.repair import DAMAGED_SUFFIX, repair_all
from gr00t_ros.contract.record_settings import RecordSettings
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.node.lifecycle import ManagedNode, spin_node
from gr00t_ros.node.node_parameters import given_values, read_contract
from gr00t_ros.node.qos import PEDAL
from gr00t_ros.record.episode_control import EndedEpisode, EpisodeControl
from gr00t_ros.record.episode_recorder import EpisodeRecorder, RecordingError
from gr00t_ros.record.record_action import RecordAction
from gr00t_ros.record.recorded_topics import recorded_topics
from gr00t_ros.record.recorder_status import recorder_status
from gr00t_ros.record.ros_future import ros_future
from gr00t_ros.record.saved_config import saved_config
from gr00t_ros.record.subscriptions import RecorderSubscriptions
from gr00t_ros.record.versions import versions
from gr00t_ros.srv import LabelEpisode, StartEpisode, StopEpisode

WATCH_PERIOD_S = 0.1  # between two looks at whether writing has failed
PEDAL_PAUSE_S = 0.3  # a pedal that bounces is one press
SAVE_S = 60.0  # for the episodes on their way to the disk, when the node ends
WARNING_PERIOD_S = 10.0


class RecorderNode(ManagedNode):
    """Records episodes while active.

    Subscribes to every topic of the contract; offers `~/start`, `~/stop`, `~/discard`, `~/label`
    and the action `~/record_episode`; publishes `~/status` and `/diagnostics`. What goes wrong
    here stops the recording, never the robot.

    Args:
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("recorder_node", RecorderStatus, **node_arguments)
        self._control: EpisodeControl | None = None
        self._pedal: Subscription | None = None
        self._watch: Timer | None = None
        self._is_active = False
        self._fault = ""  # what needs a person, until the next episode begins
        self._pressed_s = 0.0
        self._pedal_is_down = False
        self.create_service(StartEpisode, "~/start", self._on_start)
        # A stop waits for the disk; messages must be received in the meantime.
        self.create_service(
            StopEpisode, "~/stop", self._on_stop, callback_group=ReentrantCallbackGroup()
        )
        self.create_service(Trigger, "~/discard", self._on_discard)
        self.create_service(LabelEpisode, "~/label", self._on_label)
        self._action = RecordAction(self, self._active_control)

    # Lifecycle

    def configure(self) -> None:
        contract = read_contract(self)
        settings = contract.record
        self._repair(settings)
        recorder = EpisodeRecorder(
            settings,
            config=saved_config(given_values(self), self.resolve_topic_name),
            versions=versions(),
            now_ns=lambda: self.get_clock().now().nanoseconds,
        )
        topics = recorded_topics(contract, self.resolve_topic_name)
        self._control = EpisodeControl(recorder, RecorderSubscriptions(self, topics))
        if settings.pedal_topic:
            self._pedal = self.create_subscription(
                Bool, settings.pedal_topic, self._on_pedal, PEDAL
            )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._watch = self.create_timer(WATCH_PERIOD_S, self._end_failed, clock=steady)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_active = False
        if self._control is not None and self._control.current is not None:
            ended = self._control.end(truncated="the recorder was deactivated")
            ended.saved.add_done_callback(lambda _: self._log_ended(ended))
        return super().on_deactivate(state)

    def close(self) -> None:
        self._is_active = False
        if self._watch is not None:
            self.destroy_timer(self._watch)
        if self._pedal is not None:
            self.destroy_subscription(self._pedal)
        if self._control is not None:
            was_recording = self._control.current is not None
            is_saved = self._control.close("the recorder was stopped", SAVE_S)
            if is_saved and was_recording and self._control.ended is not None:
                self._log_ended(self._control.ended)
            if not is_saved:
                self.get_logger().error(
                    "an episode is not on the disk yet; the next start of the recorder repairs it"
                )
        self._control = self._pedal = self._watch = None

    def _repair(self, settings: RecordSettings) -> None:
        """Make bags of what an earlier recorder left, and see that the folder can be written."""
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
            for left, bag in repair_all(settings.folder):
                became = f"recovered as {bag.name}" if bag else "removed, it held no message"
                if bag == left:
                    became = (
                        "left as it is, its file is damaged: no message in it can be read, or the "
                        "disk has no room for a copy of those that can"
                    )
                elif bag is not None and any(bag.glob(f"*{DAMAGED_SUFFIX}")):
                    became += ", its file was damaged and stays beside what was saved of it"
                self.get_logger().warning(f"{left.name} was left by a killed recorder: {became}")
        except OSError as error:
            raise SpecError(
                "bad parameters", [f"record.folder: {settings.folder} cannot be used: {error}"]
            ) from None

    # Services, and the foot pedal

    def _active_control(self) -> EpisodeControl:
        if self._control is None or not self._is_active:
            raise RecordingError("the recorder is not active; configure and activate it first")
        return self._control

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        try:
            response.episode = self._begin(request.task)
        except RecordingError as error:
            response.message = str(error)
        else:
            response.success, response.message = True, f"recording {response.episode}"
        return response

    async def _on_stop(
        self, request: StopEpisode.Request, response: StopEpisode.Response
    ) -> StopEpisode.Response:
        try:
            ended = self._active_control().end(request.outcome, request.notes)
        except RecordingError as error:
            response.message = str(error)
            return response
        self._publish_status()
        await ros_future(ended.saved, self)
        self._log_ended(ended)
        response.success, response.message, response.path = ended.outcome()
        return response

    def _on_discard(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = f"{self._active_control().discard()} was discarded"
        except RecordingError as error:
            response.message = str(error)
        else:
            response.success = True
            self.get_logger().info(response.message)
            self._publish_status()
        return response

    def _on_label(
        self, request: LabelEpisode.Request, response: LabelEpisode.Response
    ) -> LabelEpisode.Response:
        try:
            recorder = self._active_control().recorder
            name = recorder.label(request.episode, request.outcome, request.notes)
        except RecordingError as error:
            response.message = str(error)
        else:
            response.success = True
            response.message = f"{name}: {request.outcome or 'unknown'}"
        return response

    def _on_pedal(self, message: Bool) -> None:
        """Begin or end an episode when the pedal goes down."""
        is_press = message.data and not self._pedal_is_down
        self._pedal_is_down = message.data
        now_s = time.monotonic()
        if not is_press or now_s - self._pressed_s < PEDAL_PAUSE_S:
            return
        self._pressed_s = now_s
        try:
            control = self._active_control()
            if control.current is None:
                self._begin("")
                return
            ended = control.end()
            self._publish_status()
            ended.saved.add_done_callback(lambda _: self._log_ended(ended))
        except RecordingError as error:
            self.get_logger().error(f"pedal: {error}")

    def _begin(self, task: str) -> str:
        episode = self._active_control().begin(task)
        self._fault = ""
        self.get_logger().info(f"{episode.name} begins: {episode.info.task!r}")
        self._publish_status()  # an operator must not have to wait for the next one
        return episode.name

    # What goes wrong

    def _end_failed(self) -> None:
        ended = self._control.end_failed() if self._control is not None else None
        if ended is not None:
            self._fault = f"{ended.episode.name} was stopped: {ended.episode.info.truncated}"
            self.get_logger().error(self._fault)
            ended.saved.add_done_callback(lambda _: self._log_ended(ended))

    def _log_ended(self, ended: EndedEpisode) -> None:
        """Log what became of an episode; also from the thread that has written it."""
        is_whole, text, _ = ended.outcome()
        if ended.saved.exception() is not None:
            self._fault = text
        (self.get_logger().info if is_whole else self.get_logger().error)(text)

    # Status

    def status(self, now: Time) -> RecorderStatus:
        status = recorder_status(self._control, now.nanoseconds)
        status.state, status.reason = self._state_and_reason()
        if status.state == RecorderStatus.STATE_RUNNING and status.reason:
            self.get_logger().warning(status.reason, throttle_duration_sec=WARNING_PERIOD_S)
        return status

    def _state_and_reason(self) -> tuple[int, str]:
        control = self._control
        if control is None or not self._is_active:
            return RecorderStatus.STATE_STOPPED, "the node is not active"
        missing = "; ".join(control.subscriptions.missing())
        if control.current is not None:
            dropped = control.subscriptions.dropped
            lost = f"{dropped} messages are lost" if dropped else ""
            return RecorderStatus.STATE_RUNNING, "; ".join(filter(None, (missing, lost)))
        if self._fault:
            return RecorderStatus.STATE_ERROR, self._fault
        if missing:
            return RecorderStatus.STATE_WAITING, missing
        return RecorderStatus.STATE_READY, ""


def main(args: list[str] | None = None) -> int:
    """Run the recorder node as a process."""
    return spin_node(lambda _: RecorderNode(), args)
