# SPDX-License-Identifier: Apache-2.0
"""Publishes the policy's answers as action chunks, and the requests to stop playing them."""

from __future__ import annotations

from rclpy.clock import Clock
from rclpy.publisher import Publisher
from rclpy.time import Time

from gr00t_ros.contract.contract import Contract
from gr00t_ros.node.latency_window import LatencyWindow
from gr00t_ros.policy.chunk_writer import chunk_message, command_paths, stop_message
from gr00t_ros.policy.end_effector_reports import EndEffectorReports
from gr00t_ros.policy.inference_worker import InferenceResult

CHUNKS_PER_MINUTE = 6000  # more than any policy answers


class ChunkPublisher:
    """Publishes on the chunk topic and numbers the chunks of one run of the node.

    Args:
        publisher: Publishes `ActionChunk` messages on the chunk topic.
        clock: The clock of the observation stamps.
        source: Names this run of the node.

    Attributes:
        observation_age: Age of each observation when its chunk was published, s.
        round_trip: Duration of each call to the policy, s.
        policy_time: The part of each duration that the policy reports as its own, s.
        end_effectors: How well the joints of the newest chunk meet the poses of the policy.
    """

    def __init__(self, publisher: Publisher, clock: Clock, source: str) -> None:
        self._publisher = publisher
        self._clock = clock
        self._source = source
        self._chunk_id = 0
        self.observation_age = LatencyWindow(CHUNKS_PER_MINUTE)
        self.round_trip = LatencyWindow(CHUNKS_PER_MINUTE)
        self.policy_time = LatencyWindow(CHUNKS_PER_MINUTE)
        self.end_effectors = EndEffectorReports()

    @property
    def chunk_id(self) -> int:
        """The number of the newest chunk; 0 before the first."""
        return self._chunk_id

    def publish(
        self, contract: Contract, result: InferenceResult, *, control_source: str = ""
    ) -> int:
        """Publish an answer of the policy as an action chunk.

        Args:
            contract: Names the actions and their rate.
            result: The answer.
            control_source: The run of the control node that may play it; empty for any.

        Returns:
            The number of its steps, which may be fewer than the policy answered.

        Raises:
            PolicyError: The answer does not fit the contract; nothing is published.
        """
        paths = command_paths(contract, result.action, result.positions)
        message = chunk_message(
            contract,
            paths,
            chunk_id=self._chunk_id + 1,
            t0=Time(nanoseconds=result.t0_ns).to_msg(),
            round_trip_s=result.round_trip_s,
            source=self._source,
            control_source=control_source,
            instruction=result.instruction,
            info=result.info,
        )
        self._chunk_id += 1
        self._publisher.publish(message)
        self.end_effectors.add(contract, paths)
        self.observation_age.add((self._clock.now().nanoseconds - result.t0_ns) * 1e-9)
        self.round_trip.add(result.round_trip_s)
        self.policy_time.add(result.policy_time_s)
        return int(message.horizon)

    def stop(self, reason: str) -> None:
        """Ask the control node to stop playing.

        Args:
            reason: Why the control node has to stop, in one sentence.
        """
        now = self._clock.now().to_msg()
        self._publisher.publish(
            stop_message(reason, chunk_id=self._chunk_id, now=now, source=self._source)
        )
