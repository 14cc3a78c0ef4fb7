# SPDX-License-Identifier: Apache-2.0
"""The reception benchmark runs through, and measures what was sent."""

from bench.ros import reception


def test_images_of_two_cameras_are_received_and_measured() -> None:
    row = reception.measure_one("fastdds.xml", "tuned", seconds=0.5)
    assert min(row["received_per_s"], row["deserialise_p50_s"], row["cpu_per_image_s"]) > 0.0
    assert 0.0 < row["latency_p50_s"] <= row["latency_p99_s"]
    assert 0.0 < row["build_p50_s"] <= row["build_p99_s"]
