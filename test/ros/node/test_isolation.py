# SPDX-License-Identifier: Apache-2.0
"""What is said in an isolated context stays there, and nothing comes in."""

from __future__ import annotations

import os

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String

from gr00t_ros.node.isolation import NO_DISCOVERY, PEERS, isolated_context


class Talker:
    """Two nodes of a context: one talks, the other listens."""

    def __init__(self, context: Context, words: str) -> None:
        self.heard: list[str] = []
        self._words = words
        self._executor = SingleThreadedExecutor(context=context)
        self._node = Node("talker", context=context)
        self._listener = Node("listener", context=context)
        self._publisher = self._node.create_publisher(String, "/words", 10)
        self._listener.create_subscription(String, "/words", self._on_words, 10)
        for node in (self._node, self._listener):
            self._executor.add_node(node)

    def talk(self) -> None:
        self._publisher.publish(String(data=self._words))
        self._executor.spin_once(timeout_sec=0.01)

    def _on_words(self, message: String) -> None:
        self.heard.append(message.data)


def test_another_context_of_the_same_domain_hears_its_like_and_not_the_isolated_one() -> None:
    with isolated_context() as isolated, pytest.MonkeyPatch.context() as patching:
        within = Talker(isolated, "secret")
        domain = isolated.get_domain_id()
        patching.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patching.setenv("ROS_LOCALHOST_ONLY", "0")
        outside, control = Context(), Context()
        for context in (outside, control):
            rclpy.init(context=context, domain_id=domain)
        talkers = [Talker(outside, "outside"), Talker(control, "control")]
        try:
            for _ in range(6000):
                within.talk()
                for talker in talkers:
                    talker.talk()
                if "control" in talkers[0].heard and len(within.heard) > 100:
                    break
            assert "control" in talkers[0].heard
            assert set(within.heard) == {"secret"}
            assert "secret" not in {*talkers[0].heard, *talkers[1].heard}
        finally:
            for context in (outside, control):
                context.try_shutdown()


@pytest.mark.parametrize("name", PEERS)
def test_peers_of_the_environment_are_left_out_and_put_back(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "10.0.0.7")
    before = dict(os.environ)
    with isolated_context():
        assert name not in os.environ
        assert {name: os.environ[name] for name in NO_DISCOVERY} == NO_DISCOVERY
    assert dict(os.environ) == before
