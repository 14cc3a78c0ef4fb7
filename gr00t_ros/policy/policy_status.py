# SPDX-License-Identifier: Apache-2.0
"""Builds a `PolicyStatus` message from the inference worker, the streams and the chunks."""

from __future__ import annotations

from collections.abc import Iterable

from gr00t_ros.msg import PolicyStatus, StreamStatus
from gr00t_ros.policy.chunk_publisher import ChunkPublisher
from gr00t_ros.policy.inference_worker import InferenceReport
from gr00t_ros.policy.streams import StreamHealth


def policy_status(
    report: InferenceReport, chunks: ChunkPublisher, streams: Iterable[StreamHealth]
) -> PolicyStatus:
    """Return the counts and measurements; the node adds its state.

    Args:
        report: The state and the counts of the inference worker.
        chunks: The published chunks, with their latencies.
        streams: The age and the rates of each observation stream.
    """
    return PolicyStatus(
        streams=[_stream_status(stream) for stream in streams],
        observation_age=chunks.observation_age.statistics(),
        round_trip=chunks.round_trip.statistics(),
        policy_time=chunks.policy_time.statistics(),
        end_effectors=chunks.end_effectors.statuses(),
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
