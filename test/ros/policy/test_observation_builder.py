# SPDX-License-Identifier: Apache-2.0
"""Observations: every value at its time, or a reason that names the stream."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from observation_rig import STEP_MS, Streams, ns
from policies_for_tests import EchoPolicy
from sensor_msgs.msg import CompressedImage

from gr00t_policy_core.serving import JpegVideo


def test_an_observation_has_the_policys_layout() -> None:
    streams, policy = Streams(), EchoPolicy()
    streams.camera(0, level=9)
    streams.arm(0, 5.0)
    observation = streams.build(10, "pick up the apple").observation
    policy.check_observation(observation)
    assert observation["video"]["front"].shape == (1, 1, 2, 4, 3)
    assert (observation["video"]["front"] == 9).all()
    assert_allclose(observation["state"]["arm"], [[[7.0, 6.0]]])
    assert_allclose(observation["state"]["gripper"], [[[5.0]]])
    assert observation["language"] == {"task": [["pick up the apple"]]}


def test_a_picture_goes_into_the_observation_without_a_copy() -> None:
    streams = Streams()
    streams.camera(0)
    streams.arm(0)
    message = streams.buffers["video.front"].latest().value
    pixels = streams.build(10).observation["video"]["front"]
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))


def test_its_time_is_the_newest_that_all_streams_have_reached() -> None:
    streams = Streams()
    for ms in (0, 33, 66):
        streams.camera(ms, level=ms)
    for ms in range(0, 95, 10):
        streams.arm(ms, ms)
    built = streams.build(95)
    assert built.t0_ns == ns(66)
    assert built.observation["video"]["front"][0, 0, 0, 0, 0] == 66
    assert built.observation["state"]["gripper"][0, 0, 0] == 70  # the one closest to 66 ms


def test_history_is_sampled_at_its_own_times() -> None:
    policy = EchoPolicy(video_delta_indices=(-20, 0), state_delta_indices=(-1, 0))
    streams = Streams(policy)
    for i in range(60):
        streams.camera(i * 33.0, level=i)
    for i in range(200):
        streams.arm(i * 10.0, value=i * 10.0)
    built = streams.build(1995)
    t0_ms = 59 * 33.0
    assert built.t0_ns == ns(t0_ms)
    policy.check_observation(built.observation)
    levels = built.observation["video"]["front"][0, :, 0, 0, 0]
    assert_array_equal(levels, [round((t0_ms - 20 * STEP_MS) / 33.0), 59])
    values = built.observation["state"]["gripper"][0, :, 0]
    assert_allclose(values, [1900.0, 1950.0])  # closest to 1897 and 1947 ms


def test_a_history_that_has_not_been_seen_yet_is_not_filled_in() -> None:
    streams = Streams(EchoPolicy(video_delta_indices=(-20, 0)))
    for i in range(10):
        streams.camera(i * 33.0)
    streams.arm(297)
    trouble = streams.trouble(300)
    assert trouble.cause == "video.front: no message at the required time"
    assert "the closest is 0.703 s away, at most 0.1 s allowed" in str(trouble)


@pytest.mark.parametrize("silent", ["video.front", "state.arm", "state.gripper"])
def test_a_stream_without_a_message_is_named(silent: str) -> None:
    streams = Streams()
    streams.camera(0)
    streams.arm(0)
    streams.buffers[silent].clear()
    trouble = streams.trouble(0)
    assert trouble.cause.startswith(f"{silent}: nothing received on ")


def test_a_stale_stream_is_named_with_its_age_and_its_limit() -> None:
    streams = Streams(max_age_s=0.2)
    streams.camera(0)
    streams.arm(290)
    trouble = streams.trouble(300)
    assert trouble.cause == "video.front: stale on front/image_raw"
    assert "newest message is 0.30 s old, at most 0.2 s allowed" in str(trouble)


def test_a_stream_may_have_an_age_limit_of_its_own() -> None:
    streams = Streams(max_age_s=0.2, state__arm__max_age_s=0.05, max_skew_s=1.0)
    streams.camera(100)
    streams.arm(200)
    streams.build(249)
    assert streams.trouble(251).cause == "state.arm: stale on joint_states"


def test_the_same_trouble_has_the_same_cause_while_its_figures_change() -> None:
    streams = Streams()
    streams.camera(0)
    streams.arm(0)
    first, second = streams.trouble(900), streams.trouble(1200)
    assert first.cause == second.cause
    assert str(first) != str(second)


def test_a_stream_that_jumped_over_the_common_time_is_named() -> None:
    """The camera's newest is at 0; the arm's only message came 0.3 s later."""
    streams = Streams()
    streams.camera(0)
    streams.arm(300)
    trouble = streams.trouble(310)
    assert trouble.cause == "state.arm: no message at the required time"
    assert "the closest is 0.300 s away, at most 0.1 s allowed" in str(trouble)


def test_stamps_ahead_of_the_clock_are_named_as_differing_clocks() -> None:
    streams = Streams()
    streams.camera(5000)
    streams.arm(0)
    trouble = streams.trouble(0)
    assert trouble.cause == "video.front: clocks differ on front/image_raw"
    assert "stamped 5.00 s ahead of this node's clock" in str(trouble)


def test_a_joint_that_does_not_come_is_named_with_those_that_do() -> None:
    streams = Streams()
    streams.camera(0)
    streams.arm(0, names=("finger", "shoulder"))
    trouble = streams.trouble(0)
    assert trouble.cause == "state.arm: joints missing on joint_states"
    assert "no joint ['elbow'], the messages have ['finger', 'shoulder']" in str(trouble)


def unreadable(ms: float, streams: Streams) -> None:
    streams.camera(ms, encoding="16UC1")


def test_a_message_that_cannot_be_read_names_stream_and_reason_under_one_cause() -> None:
    streams = Streams()
    unreadable(0, streams)
    streams.arm(0)
    for _ in range(3):  # the message is tried once, and told until another comes
        trouble = streams.trouble(0)
        assert trouble.cause == "video.front: cannot be read"
        assert "'16UC1' is a depth image" in str(trouble)
    assert streams.rejected.count("video.front") == 1


def test_the_picture_before_one_that_cannot_be_read_serves_while_it_is_fresh() -> None:
    streams = Streams()
    streams.camera(0, level=7)
    streams.arm(0)
    unreadable(33, streams)
    streams.arm(33)
    assert streams.trouble(40).cause == "video.front: cannot be read"
    built = streams.build(41)
    assert built.t0_ns == ns(0)
    assert built.observation["video"]["front"].max() == 7
    assert "1 message rejected, cannot be read" in streams.rejected.recent()[0]


def test_a_picture_that_changes_its_size_within_the_history_is_named() -> None:
    streams = Streams(EchoPolicy(video_delta_indices=(-1, 0)))
    streams.camera(0)
    streams.camera(50, width=6)
    streams.arm(50)
    assert streams.trouble(50).cause == "video.front: its size changed within the history"


def test_pictures_have_the_size_that_the_parameters_ask_for() -> None:
    streams = Streams(video__front__width=2, video__front__height=1)
    streams.camera(0)
    streams.arm(0)
    assert streams.build(0).observation["video"]["front"].shape == (1, 1, 1, 2, 3)


def test_a_compressed_picture_is_told_by_its_type() -> None:
    streams = Streams()
    streams.arm(0)
    broken = CompressedImage(format="jpeg", data=b"no picture")
    streams.buffers["video.front"].add(ns(0), broken, received_ns=0)
    assert "is neither JPEG nor PNG" in str(streams.trouble(0))


def jpeg() -> CompressedImage:
    done, data = cv2.imencode(".jpg", np.full((2, 4, 3), 7, np.uint8))
    assert done
    return CompressedImage(format="jpeg", data=data.tobytes())


def test_a_jpeg_goes_on_as_it_is_to_a_policy_that_takes_it() -> None:
    streams = Streams()
    streams.jpegs_go_on()
    streams.arm(0)
    streams.buffers["video.front"].add(ns(0), jpeg(), received_ns=0)
    assert isinstance(streams.build(0).observation["video"]["front"], JpegVideo)


@pytest.mark.parametrize("goes_on", [False, True], ids=["decoded here", "goes on as it is"])
def test_compressed_depth_is_refused_by_its_format(goes_on: bool) -> None:
    streams = Streams()
    if goes_on:
        streams.jpegs_go_on()
    streams.arm(0)
    depth = jpeg()
    depth.format = "16UC1; jpeg compressed mono8"
    streams.buffers["video.front"].add(ns(0), depth, received_ns=0)
    assert "format '16UC1; jpeg compressed mono8' is a depth image" in str(streams.trouble(0))


def test_an_encoding_is_not_ignored_where_jpegs_go_on_as_they_are() -> None:
    streams = Streams(video__front__encoding="bgr8")
    streams.jpegs_go_on()
    streams.arm(0)
    streams.buffers["video.front"].add(ns(0), jpeg(), received_ns=0)
    assert "encoding: bgr8 is for sensor_msgs/Image" in str(streams.trouble(0))


def test_without_an_instruction_there_is_no_observation() -> None:
    streams = Streams()
    streams.camera(0)
    streams.arm(0)
    assert "no instruction: set the parameter or publish" in streams.trouble(0, "").cause


def test_a_stream_that_recovers_is_used_again() -> None:
    streams = Streams()
    streams.camera(0)
    streams.arm(0)
    streams.trouble(2000)
    streams.camera(2010, level=3)
    streams.arm(2010)
    assert streams.build(2020).observation["video"]["front"].max() == 3
