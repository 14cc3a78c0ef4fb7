# SPDX-License-Identifier: Apache-2.0
"""The visualization node: what the policy plans and sees, as pictures for RViz and Foxglove."""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import State as LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.time import Time
from rclpy.timer import Timer
from std_msgs.msg import String

from gr00t_policy_core.resize import first_resize
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import POLICY_STATUS_TOPIC
from gr00t_ros.msg import PolicyStatus, VisualizationStatus
from gr00t_ros.node.lifecycle import ManagedNode, spin_node
from gr00t_ros.node.node_parameters import read_contract
from gr00t_ros.node.qos import DESCRIPTION, LATCHED, STATUS
from gr00t_ros.visualization.chunk_pictures import ChunkPictures
from gr00t_ros.visualization.demanded_subscriptions import DemandedSubscriptions, Input
from gr00t_ros.visualization.policy_images import PolicyImages
from gr00t_ros.visualization.robot_view import RobotView

DEMAND_PERIOD_S = 0.5  # between two looks at who subscribes
WARNING_PERIOD_S = 10.0


class VisualizationNode(ManagedNode):
    """Draws while active, and only what somebody subscribes to.

    Subscribes to the robot description, and on demand to `action_chunk`, the joint states, the
    cameras and the policy node's status; publishes `chunk_path`, `chunk_trajectory`,
    `ghost/joint_states`, `ghost/robot_description`, `policy_images/<camera>/compressed`, `~/status`
    and `/diagnostics`.
    It is a process of its own: drawing costs neither inference nor control anything.

    Args:
        node_arguments: Passed on to rclpy, for example `parameter_overrides`.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("visualization_node", VisualizationStatus, **node_arguments)
        self._contract: Contract | None = None
        self._robot: RobotView | None = None
        self._chunks: ChunkPictures | None = None
        self._images: list[PolicyImages] = []
        self._policy_status = DemandedSubscriptions(
            self, [Input(PolicyStatus, POLICY_STATUS_TOPIC, self._on_policy_status, STATUS)]
        )
        self._descriptions: list[Subscription] = []
        self._ghost: Publisher | None = None
        self._demand_timer: Timer | None = None
        self._draw_timer: Timer | None = None
        self._topics: list[str] = []  # that somebody subscribes to
        self._is_active = False

    # Lifecycle

    def configure(self) -> None:
        contract = self._contract = read_contract(self)
        robot = self._robot = RobotView(contract)
        self._ghost = self.create_publisher(String, "ghost/robot_description", LATCHED)
        self._chunks = ChunkPictures(self, contract, robot)
        resize = contract.visualize.image_resize
        self._images = [PolicyImages(self, stream, resize) for stream in contract.video]
        for topic in contract.motion.robot_description_topics:
            receive = partial(self._on_description, topic)
            self._descriptions.append(self.create_subscription(String, topic, receive, DESCRIPTION))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_active = True
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._demand_timer = self.create_timer(DEMAND_PERIOD_S, self._meet_demand, clock=steady)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._rest()
        return super().on_deactivate(state)

    def close(self) -> None:
        self._rest()
        if self._chunks is not None:
            self._chunks.destroy()
        for images in self._images:
            images.destroy()
        for subscription in self._descriptions:
            self.destroy_subscription(subscription)
        if self._ghost is not None:
            self.destroy_publisher(self._ghost)
        self._images, self._descriptions = [], []
        self._contract = self._robot = self._chunks = self._ghost = None

    def _rest(self) -> None:
        """End what is drawn, and the subscriptions that it needs."""
        self._is_active = False
        if self._demand_timer is not None:
            self.destroy_timer(self._demand_timer)
            self._demand_timer = None
        self._demand([])

    # What somebody looks at

    def _meet_demand(self) -> None:
        publishers = self._chunks.publishers if self._chunks is not None else ()
        topics = [p.topic_name for p in publishers if p.get_subscription_count()]
        topics += [images.topic for images in self._images if images.is_demanded]
        self._demand(topics)

    def _demand(self, topics: list[str]) -> None:
        """Subscribe to what these pictures need, and draw while there is any."""
        self._topics = topics
        if self._chunks is not None:
            self._chunks.demand(topics)
        for images in self._images:
            images.demand(images.topic in topics)
        is_seen = any(images.topic in topics for images in self._images)
        self._policy_status.demand(is_seen and not self._knows_resize)
        if topics and self._draw_timer is None and self._contract is not None:
            period_s = 1.0 / self._contract.visualize.rate_hz
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._draw_timer = self.create_timer(period_s, self._draw, clock=steady)
        elif not topics and self._draw_timer is not None:
            self.destroy_timer(self._draw_timer)
            self._draw_timer = None

    def _draw(self) -> None:
        if self._chunks is not None:
            self._chunks.publish()
        for images in self._images:
            images.publish()

    @property
    def _knows_resize(self) -> bool:
        """Whether the parameters say what the policy does with an image."""
        contract = self._contract
        return contract is not None and contract.visualize.image_resize is not None

    def _on_policy_status(self, status: PolicyStatus) -> None:
        """Use the resize that the policy declares, which the policy node passes on."""
        for images in self._images:
            images.resize = first_resize([status.image_resize])

    def _on_description(self, topic: str, message: String) -> None:
        robot, ghost = self._robot, self._ghost
        if robot is None or ghost is None or not robot.describe(topic, message.data):
            return
        if robot.problem:
            self.get_logger().warning(robot.problem)
        if robot.ghost_urdf:
            ghost.publish(String(data=robot.ghost_urdf))

    # Status

    def status(self, now: Time) -> VisualizationStatus:
        status = VisualizationStatus(topics=self._topics)
        if self._chunks is not None:
            status.chunk_id = self._chunks.chunk_id
        status.state, status.reason = self._state_and_reason()
        return status

    def _state_and_reason(self) -> tuple[int, str]:
        if not self._is_active or self._chunks is None:
            return VisualizationStatus.STATE_STOPPED, "the node is not active"
        if not self._topics:
            return VisualizationStatus.STATE_READY, ""
        problems = [self._chunks.problem, self._chunks.why_no_path()]
        problems += [images.problem for images in self._images]
        reason = "; ".join(filter(None, problems))
        if reason:
            self.get_logger().warning(reason, throttle_duration_sec=WARNING_PERIOD_S)
            return VisualizationStatus.STATE_WAITING, reason
        return VisualizationStatus.STATE_RUNNING, ""


def main(args: list[str] | None = None) -> int:
    """Run the visualization node as a process."""
    return spin_node(lambda _: VisualizationNode(), args)
