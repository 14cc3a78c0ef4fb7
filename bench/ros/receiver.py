# SPDX-License-Identifier: Apache-2.0
"""A node with the product's own buffers and observations: python -m bench.ros.receiver

Tells that every stream has come in; after the first line on stdin it measures, after the second
it tells what it measured, times in s.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from bench.processes import tell
from bench.ros.robot import CAMERAS, CONFIGS, INSTRUCTION, parameters
from gr00t_policy_core.control.samples import SampleBuffer
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.policy.observation_builder import NotReadyError, ObservationBuilder
from gr00t_ros.policy.streams import ObservationStreams

BUILD_INTERVAL_S = 0.1
MICRO_SAMPLES = 200
COMPLETE_WITHIN_S = 20.0


@dataclass(slots=True)
class Counts:
    """What has happened since the measurement began."""

    begun_s: float = field(default_factory=time.monotonic)
    begun_cpu_s: float = field(default_factory=time.process_time)
    latencies_s: list[float] = field(default_factory=list)
    builds_s: list[float] = field(default_factory=list)


class Receiver:
    """Counts what comes into the buffers, and builds observations in a thread of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        contract = parse_contract(parameters())
        self._streams = ObservationStreams(node, contract)
        self._builder = ObservationBuilder(contract, CONFIGS, self._streams.buffers)
        self._cameras = [self._streams.buffers[f"video.{key}"] for key in CAMERAS]
        self._seen_ns = [0] * len(CAMERAS)
        self._counts = Counts()
        self._ended = threading.Event()
        self._builds = threading.Thread(target=self._build_all)
        self._streams.subscribe(self._on_message)

    @property
    def is_complete(self) -> bool:
        """Whether every stream has come in."""
        return all(buffer.latest() is not None for buffer in self._streams.buffers.values())

    def begin(self) -> None:
        self._counts = Counts()
        self._builds.start()

    def end(self) -> dict[str, Any]:
        """End the measurement; what it found."""
        self._ended.set()
        self._builds.join()
        counts = self._counts
        cpu_s = time.process_time() - counts.begun_cpu_s
        received = len(counts.latencies_s)
        image = self._cameras[0].latest()
        return {
            "received_per_s": received / (time.monotonic() - counts.begun_s),
            "cpu_per_image_s": cpu_s / max(received, 1),
            "deserialise_p50_s": _deserialise_s(image.value),
            "buffer_p50_s": _buffer_s(image.value),
            **_percentiles("latency", counts.latencies_s),
            **_percentiles("build", counts.builds_s),
        }

    def _on_message(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        for index, buffer in enumerate(self._cameras):
            newest = buffer.latest()
            if newest is not None and newest.stamp_ns != self._seen_ns[index]:
                self._seen_ns[index] = newest.stamp_ns
                self._counts.latencies_s.append((now_ns - newest.stamp_ns) * 1e-9)

    def _build_all(self) -> None:
        while not self._ended.wait(BUILD_INTERVAL_S):
            now_ns = self._node.get_clock().now().nanoseconds
            start = time.perf_counter()
            try:
                self._builder.build(now_ns, INSTRUCTION)
            except NotReadyError:
                continue  # images were lost; the received rate tells
            self._counts.builds_s.append(time.perf_counter() - start)


def _percentiles(name: str, values: list[float]) -> dict[str, float | None]:
    if not values:
        return {f"{name}_p50_s": None, f"{name}_p99_s": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {f"{name}_p50_s": float(p50), f"{name}_p99_s": float(p99)}


def _deserialise_s(image: Image) -> float:
    """The part of reception that makes a Python message of the received bytes."""
    message = serialize_message(image)
    return _median_s(lambda: deserialize_message(message, Image))


def _buffer_s(image: Image) -> float:
    """The part of reception that puts a message into its buffer, at 30 Hz for a second."""
    buffer: SampleBuffer[Image] = SampleBuffer(span_ns=1_000_000_000)
    stamps = iter(range(0, 10**12, 33_000_000))

    def add() -> None:
        stamp_ns = next(stamps)
        buffer.add(stamp_ns, image, received_ns=stamp_ns)

    return _median_s(add)


def _median_s(function: Any) -> float:
    times = []
    for _ in range(MICRO_SAMPLES):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("bench_receiver")
    receiver = Receiver(node)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    gives_up_s = time.monotonic() + COMPLETE_WITHIN_S
    while not receiver.is_complete:
        executor.spin_once(timeout_sec=0.1)
        if time.monotonic() > gives_up_s:
            raise TimeoutError(f"not every stream has come in within {COMPLETE_WITHIN_S} s")

    def answer() -> None:
        tell("ready")
        sys.stdin.readline()
        receiver.begin()
        tell("begun")
        sys.stdin.readline()
        tell(receiver.end())
        rclpy.try_shutdown()

    threading.Thread(target=answer, daemon=True).start()
    try:
        executor.spin()
    except ExternalShutdownException:
        node.destroy_node()


if __name__ == "__main__":
    main()
