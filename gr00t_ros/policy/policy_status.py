# SPDX-License-Identifier: Apache-2.0
"""From the inference worker, the streams and the chunks to a `PolicyStatus` message."""

from __future__ import annotations

from collections.abc import Iterable

from gr00t_ros.msg import PolicyStatus, StreamStatus
from gr00t_ros.policy.chunk_publisher import ChunkPublisher
from gr00t_ros.policy.inference_worker import InferenceReport
from gr00t_ros.policy.streams import StreamHealth


def policy_status(
    report: InferenceReport, chunks: ChunkPublisher, streams: Iterable[StreamHealth]
) -> PolicyStatus:
    """What is counted and measured; the node adds its state.

    Args:
        report: What the inference worker counted.
        chunks: What was published, with its latencies.
        streams: How each observation stream arrives.
    """
    return PolicyStatus(
        streams=[_stream_status(stream) for stream in streams],
        observation_age=chunks.observation_age.statistics(),
        round_trip=chunks.round_trip.statistics(),
        policy_time=chunks.policy_time.statistics(),
        chunk_id=chunks.chunk_id,
        inferences=report.inferences,
        inference_errors=report.errors,
        inferences_skipped=report.skipped,
    )


def _stream_status(stream: StreamHealth) -> StreamStatus:
    return StreamStatus(
        name=stream.name,
        age_s=stream.age_s,
        rate_hz=stream.rate_hz,
        expected_rate_hz=stream.expected_hz,
    )
