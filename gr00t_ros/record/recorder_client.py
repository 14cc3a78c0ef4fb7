# SPDX-License-Identifier: Apache-2.0
"""Talks to a recorder node: its status, and its services without waiting for them."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from gr00t_ros.msg import RecorderStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.node.spin_thread import SpinThread
from gr00t_ros.srv import LabelEpisode, StartEpisode, StopEpisode

STALE_S = 2.0  # the status comes twice a second


@dataclass(frozen=True, slots=True)
class Answer:
    """What the recorder has answered."""

    success: bool
    message: str


class RecorderClient:
    """The recorder as an operator sees it; its callbacks run in a thread of its own.

    Args:
        name: Name of the recorder node, with its namespace.

    Attributes:
        answers: What the recorder has answered, oldest first.
    """

    def __init__(self, name: str) -> None:
        self.answers: queue.Queue[Answer] = queue.Queue()
        self._name = name
        self._context = Context()
        rclpy.init(context=self._context)
        node = self._node = Node(f"record_console_{time.time_ns() % 10**6}", context=self._context)
        self._status: RecorderStatus | None = None
        self._status_s = 0.0
        node.create_subscription(RecorderStatus, f"{name}/status", self._on_status, STATUS)
        self._start = node.create_client(StartEpisode, f"{name}/start")
        self._stop = node.create_client(StopEpisode, f"{name}/stop")
        self._discard = node.create_client(Trigger, f"{name}/discard")
        self._label = node.create_client(LabelEpisode, f"{name}/label")
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(node)
        self._spinning = SpinThread(executor, "recorder client")

    @property
    def status(self) -> RecorderStatus | None:
        """The newest status; None while none comes."""
        is_fresh = time.monotonic() - self._status_s < STALE_S
        return self._status if is_fresh else None

    def start(self, task: str) -> None:
        """Ask for an episode to begin."""
        self._call(self._start, StartEpisode.Request(task=task))

    def stop(self, outcome: str) -> None:
        """Ask for the episode to end."""
        self._call(self._stop, StopEpisode.Request(outcome=outcome))

    def discard(self) -> None:
        """Ask for the episode, or the one recorded last, to be discarded."""
        self._call(self._discard, Trigger.Request())

    def label(self, outcome: str) -> None:
        """Ask for the outcome of the episode recorded last to be set."""
        self._call(self._label, LabelEpisode.Request(outcome=outcome))

    def close(self) -> None:
        """End the connection."""
        if self._context.ok() and self._spinning.end(STALE_S):
            self._node.destroy_node()
        self._context.try_shutdown()

    def _call(self, client: Client, request: Any) -> None:
        if not client.service_is_ready():
            self.answers.put(Answer(False, f"there is no recorder {self._name}"))
            return
        client.call_async(request).add_done_callback(self._on_answer)

    def _on_answer(self, future: Any) -> None:
        response = future.result()
        self.answers.put(Answer(response.success, response.message))

    def _on_status(self, status: RecorderStatus) -> None:
        self._status, self._status_s = status, time.monotonic()
