# SPDX-License-Identifier: Apache-2.0
"""The command topics and actions of the robot: where its commands go, and who takes them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time

from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.trajectory import Trajectory
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.interfaces.command_publisher import CommandPublisher, joined_interface
from gr00t_ros.interfaces.goal_chain import GoalChain
from gr00t_ros.interfaces.goal_client import GoalClient
from gr00t_ros.interfaces.goal_sender import GoalSender
from gr00t_ros.interfaces.interface import CommandInterface, GoalInterface
from gr00t_ros.interfaces.trajectory_sender import TrajectorySender
from gr00t_ros.msg import CommandTopicStatus
from gr00t_ros.node.shared_action_client import SharedActionClient
from gr00t_ros.node.side_node import SideNode

Client = TypeVar("Client", bound=GoalClient)

# For the last commands, which may be velocities of zero, to arrive at a driver that stands still
# for some seconds. Fast DDS took up to 3 s more (measured), in which it sends no heartbeat.
ARRIVAL_S = 8.0
CANCELED_S = 1.0  # longest wait for the goals in progress to be canceled


class CommandTopics:
    """Sends commands on the topics and to the actions of a contract, and counts them.

    Args:
        node: Owns the publishers, which are silent while the node is not active.
        contract: Names the topics and what each carries.
    """

    def __init__(self, node: LifecycleNode, contract: Contract) -> None:
        self._node = node
        self._period_s = 1.0 / contract.control_rate_hz
        self._streams: list[CommandPublisher] = []  # of one command at every tick
        self._publishers: list[CommandPublisher] = []  # of all topics
        self._trajectories: list[TrajectorySender] = []
        self._goals: list[GoalSender] = []
        self._clients: list[GoalClient] = []  # of all actions
        self._side_node: SideNode | None = None
        self._count = self._trajectory_count = 0
        try:
            for topic in dict.fromkeys(output.topic for output in contract.action):
                self._add([output for output in contract.action if output.topic == topic])
        except Exception:
            self.destroy()
            raise

    @property
    def count(self) -> int:
        """The number of control ticks whose commands were published."""
        return self._count

    @property
    def trajectory_count(self) -> int:
        """The number of whole trajectories that were sent."""
        return self._trajectory_count

    @property
    def problem(self) -> str:
        """Why commands would not be carried out; empty where somebody takes each of them."""
        unheard = [one.topic for one in self._publishers if not one.subscribers]
        subscribers = [f"nobody subscribes to {', '.join(unheard)}"] if unheard else []
        servers = [client.problem for client in self._clients if client.problem]
        return "; ".join([*subscribers, *servers])

    def take_trajectory_failures(self) -> list[tuple[str, frozenset[str]]]:
        """Why controllers gave up their newest trajectory, and their action keys; reported once."""
        failures = [(one.take_failure(), one.keys) for one in self._trajectories]
        return [(why, keys) for why, keys in failures if why]

    @property
    def keys_without_controller(self) -> frozenset[str]:
        """The action keys whose whole trajectories nobody takes."""
        return frozenset[str]().union(*(o.keys for o in self._trajectories if not o.is_taken))

    def resume(self) -> None:
        """Send trajectories again to a controller that has given one up."""
        for sender in self._trajectories:
            sender.resume()

    def publish(self, values: Mapping[str, Row], now: Time) -> None:
        """Publish the commands of one tick on the topics that take one at every tick.

        Args:
            values: float64 (D,) by action key, in SI units and rad.
            now: Time of the tick, which stamps the messages.
        """
        stamp = now.to_msg()
        with contextlib.ExitStack() as publishing:  # one that raises keeps no other from its turn
            for stream in reversed(self._streams):
                publishing.callback(stream.publish, values, stamp)
        self._count += 1

    def send_goals(self, targets: Mapping[str, Row]) -> None:
        """Send a goal to each gripper whose target has changed.

        Args:
            targets: Where the commands are going, float64 (D,) by action key.
        """
        for goal in self._goals:
            goal.aim(targets)

    def forget_targets(self) -> None:
        """Send the next target to each gripper, even if it is the last one: others command them."""
        for goal in self._goals:
            goal.forget()

    def send_trajectory(self, trajectory: Trajectory) -> None:
        """Send a path on the topics and to the actions that take whole trajectories."""
        for sender in self._trajectories:
            sender.send(trajectory)
        self._trajectory_count += bool(self._trajectories)

    def cancel_goals(self, *, but_trajectories: bool = False) -> None:
        """Cancel the goals in progress, and wait a little for it.

        Args:
            but_trajectories: Whether to let the last trajectories bring the robot to rest.
        """
        side_node = self._side_node
        if side_node is None:
            return
        for goal in self._goals:
            goal.cancel()
        if but_trajectories:
            # A goal that is not answered may not have arrived when the process ends.
            side_node.wait_for(
                lambda: not any(one.awaits_answer for one in self._clients), CANCELED_S
            )
            canceled = [one for one in self._clients if not isinstance(one, GoalChain)]
        else:
            for sender in self._trajectories:
                sender.cancel()
            canceled = self._clients
        idle = side_node.wait_for(lambda: all(one.is_idle for one in canceled), CANCELED_S)
        for client in canceled:
            if not idle and not client.is_idle:
                self._node.get_logger().warning(f"{client.name} does not confirm the cancellation")

    def status(self) -> list[CommandTopicStatus]:
        """Who takes the commands of each topic and action, and how the last goals stand."""
        topics = [
            CommandTopicStatus(topic=one.topic, subscription_count=one.subscribers)
            for one in self._publishers
        ]
        actions = [
            CommandTopicStatus(
                topic=client.name,
                subscription_count=int(client.is_server_there),
                goals_sent=client.goals_sent,
                goal=client.text,
            )
            for client in self._clients
        ]
        return [*topics, *actions]

    def destroy(self) -> None:
        """Destroy the publishers once their last commands have arrived, or not in time."""
        ends_s = time.monotonic() + ARRIVAL_S
        for publisher in self._publishers:
            if not publisher.wait_until_arrived(max(0.0, ends_s - time.monotonic())):
                self._node.get_logger().error(
                    f"the last command on {publisher.topic} has not arrived within {ARRIVAL_S:g} s"
                )
            publisher.destroy()
        for client in self._clients:
            client.destroy()
        if self._side_node is not None:
            self._side_node.destroy_node()
            self._side_node = None
        for parts in (self._streams, self._publishers, self._trajectories, self._goals):
            parts.clear()
        self._clients.clear()

    def _add(self, outputs: Sequence[ActionOutput]) -> None:
        """Add the topic or the action that these outputs share."""
        interface, period_s = joined_interface(outputs), self._period_s
        if isinstance(interface, GoalInterface):
            client = self._make_client(GoalClient, outputs, interface)
            self._goals.append(GoalSender(client, outputs[0].key, interface, period_s))
        elif interface.is_action:
            client = self._make_client(GoalChain, outputs, interface)
            self._trajectories.append(TrajectorySender(interface, outputs, period_s, client))
        elif interface.sends_trajectories:
            publisher = self._make_publisher(outputs, interface)
            self._trajectories.append(TrajectorySender(interface, outputs, period_s, publisher))
        else:
            self._streams.append(self._make_publisher(outputs, interface))

    def _make_publisher(
        self, outputs: Sequence[ActionOutput], interface: CommandInterface
    ) -> CommandPublisher:
        publisher = CommandPublisher(self._node, outputs, interface, self._period_s)
        self._publishers.append(publisher)
        return publisher

    def _make_client(
        self, kind: type[Client], outputs: Sequence[ActionOutput], interface: CommandInterface
    ) -> Client:
        if self._side_node is None:
            self._side_node = SideNode(self._node, "actions")
        side_node = self._side_node
        name = self._node.resolve_topic_name(outputs[0].topic)
        goals = side_node.call(lambda: SharedActionClient(side_node, interface.message_type, name))
        client = kind(goals, name, interface)
        self._clients.append(client)
        return client
