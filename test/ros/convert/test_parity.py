# SPDX-License-Identifier: Apache-2.0
"""Live and converted observations of the same time are equal, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demonstration_bags import (
    START_NS,
    Recorded,
    recording,
    write_plain_bag,
)
from helpers import wait_until
from nodes_for_tests import Operator, overrides
from policies_for_tests import EchoPolicy, parameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.bags.reader import Bag
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.convert.actions import action_source
from gr00t_ros.convert.interventions import Interventions
from gr00t_ros.convert.robot import with_full_names
from gr00t_ros.convert.steps import Step, StepBuilder, TimedMessage
from gr00t_ros.interfaces.stamps import stamp_ns
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.policy import streams
from gr00t_ros.policy.observation_builder import (
    NotReadyError,
    ObservationBuilder,
    TimedObservation,
)
from gr00t_ros.policy.policy_node import PolicyNode
from gr00t_ros.policy.stream_buffers import StreamBuffers

CHANGES: dict[str, Any] = {"max_skew_s": 0.03, "state__arm__scale": 57.3, "video__front__width": 24}
CHANGES["video__front__height"] = 16

CLASSES = {"/front/image_raw": Image, "/joint_states": JointState, "/commands": JointTrajectory}
STREAMS = ("/front/image_raw", "/joint_states")
EVERY_SAMPLE = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


def contract() -> Contract:
    return with_full_names(parse_contract(parameters(**CHANGES)))


def timed(messages: list[Recorded]) -> Iterator[TimedMessage]:
    for m in messages:
        yield TimedMessage(m.topic, m.message, START_NS + round(m.time_s * 1e9))


def converted(messages: Iterator[TimedMessage]) -> dict[int, Step]:
    """The steps of a conversion, by their times."""
    robot = contract()
    received = StreamBuffers(robot)
    actions = action_source(None, robot, received)
    builder = StepBuilder(robot, received, actions, Interventions(None))
    return {e.t0_ns: e for e in builder.events(messages) if isinstance(e, Step)}


def delayed(messages: list[Recorded], jitter_s: float) -> list[Recorded]:
    """The messages with delays that differ; those of one topic stay in order, as on DDS."""
    late = np.random.default_rng(0)
    newest: dict[str, float] = {}
    received = []
    for m in messages:
        received_s = m.time_s + late.uniform(0.0, jitter_s)
        newest[m.topic] = max(received_s, newest.get(m.topic, 0.0))
        received.append(Recorded(m.topic, m.message, newest[m.topic]))
    return sorted(received, key=lambda m: m.time_s)


def require_equal(observation: dict[str, Any], step: Step) -> None:
    for key, image in step.images.items():
        np.testing.assert_array_equal(observation["video"][key][0, 0], image)
    for key, values in step.state.items():
        assert observation["state"][key].dtype == values.dtype
        assert observation["state"][key][0, 0].tobytes() == values.tobytes()


@pytest.mark.parametrize("jitter_s", [0.0, 0.012])
def test_the_builder_of_the_node_fed_in_the_same_order_builds_the_same(jitter_s: float) -> None:
    """It is asked after every message, as the node does while it waits for one."""
    messages = delayed(recording(4.0), jitter_s)
    robot = contract()
    received = StreamBuffers(robot)
    configs = EchoPolicy().get_modality_config()
    builder = ObservationBuilder(robot, configs, received.buffers, rejected=received.rejected)
    steps = converted(timed(messages))
    compared: set[int] = set()
    for message in timed(messages):
        for stream in robot.streams:
            if stream.topic == message.topic:
                received.receive(
                    stream, message.message, now_ns=message.now_ns, received_ns=message.now_ns
                )
        try:
            built = builder.build(message.now_ns, "go")
        except NotReadyError:
            continue
        if built.t0_ns in steps:
            compared.add(built.t0_ns)
            require_equal(built.observation, steps[built.t0_ns])
    assert len(steps) > 70
    assert len(compared) > 70


class Player:
    """Publishes a recording to a policy node, whose clock follows it by /clock.

    Args:
        peer: Owns the topics.
        node: Knows the time of each message before the message is published.
    """

    def __init__(self, peer: Node, node: PolicyNode) -> None:
        self._node_clock = node.get_clock()
        self._clock = peer.create_publisher(Clock, "/clock", EVERY_SAMPLE)
        self._publishers = {
            topic: peer.create_publisher(kind, topic, EVERY_SAMPLE)
            for topic, kind in CLASSES.items()
        }

    def has_subscribers(self) -> bool:
        return all(self._publishers[topic].get_subscription_count() for topic in STREAMS)

    def publish(self, message: TimedMessage) -> None:
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(message.now_ns, 1_000_000_000)

        def is_known() -> bool:
            self._clock.publish(clock)  # again, since the node's own subscription may lose it
            return self._node_clock.now().nanoseconds >= message.now_ns

        wait_until(is_known, what="the node knows the time", poll_s=0.0005)
        self._publishers[message.topic].publish(message.message)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[TimedObservation]:
    """Every observation that a builder has built, in their order."""
    observations: list[TimedObservation] = []
    build = ObservationBuilder.build

    def keeping(builder: ObservationBuilder, now_ns: int, instruction: str) -> TimedObservation:
        observation = build(builder, now_ns, instruction)
        observations.append(observation)
        return observation

    monkeypatch.setattr(ObservationBuilder, "build", keeping)
    return observations


def test_a_bag_played_through_the_live_node_gives_the_observations_of_the_conversion(
    tmp_path: Path,
    ros_context: Context,
    ros_node: Node,
    live: Callable[[ManagedNode], None],
    built: list[TimedObservation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bag = Bag(write_plain_bag(tmp_path / "bag.mcap", recording(4.0)))
    messages = [
        TimedMessage(m.topic, deserialize_message(m.data, CLASSES[m.topic]), m.received_ns)
        for m in bag.messages(CLASSES)
    ]
    steps = converted(iter(messages))
    # Sensors are best effort, which may lose a sample that the conversion has.
    monkeypatch.setattr(streams, "SENSOR", EVERY_SAMPLE)
    policy = EchoPolicy()
    chunks: list[ActionChunk] = []
    ros_node.create_subscription(ActionChunk, "action_chunk", chunks.append, EVERY_SAMPLE)
    node = PolicyNode(
        policy_factory=lambda settings: policy,
        context=ros_context,
        parameter_overrides=overrides(
            {
                **parameters(**CHANGES, replan_interval_s=0.05),
                "use_sim_time": True,
                "autostart": True,
            }
        ),
    )
    live(node)
    operator = Operator(ros_node, "policy_node")
    assert operator.trigger("start").success
    player = Player(ros_node, node)
    wait_until(player.has_subscribers, what="the node has subscribed")
    for index, message in enumerate(messages):
        player.publish(message)
        if index % 50 == 49:  # 0.3 s: time stands still until the policy was asked in it
            asked = index // 50 + 1
            wait_until(lambda n=asked: len(policy.observations) >= n, what="an observation")
    compared = 0
    for observation, timed_observation in zip(policy.observations, built, strict=False):
        step = steps.get(timed_observation.t0_ns)
        if step is not None:
            require_equal(observation, step)
            compared += 1
    assert compared >= 5
    wait_until(lambda: chunks, what="a chunk")
    instants = {observation.t0_ns for observation in built}
    assert {stamp_ns(chunk, 0) for chunk in chunks} <= instants
