# SPDX-License-Identifier: Apache-2.0
"""Episodes of a robot that publishes: what is in the bag, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import wait_until
from nodes_for_tests import ACTIVATE, DEACTIVATE
from rclpy.qos import DurabilityPolicy, QoSProfile
from recorder_rig import StartRecorder, info_of, messages_of
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.msg import RecorderStatus


def test_an_episode_holds_what_the_robot_published(start_recorder: StartRecorder) -> None:
    rig = start_recorder(policy__token="secret")
    commands = rig.peer.create_publisher(JointTrajectory, "commands", 10)
    assert rig.begin("stack the cubes") == "episode_000000"
    wait_until(lambda: commands.get_subscription_count(), what="the recorder subscribes")
    commands.publish(JointTrajectory(joint_names=["shoulder"]))
    rig.wait_for_messages(20)

    answer = rig.stop("success", "neat")

    assert answer.success, answer.message
    assert Path(answer.path) == rig.folder / "episode_000000"
    messages = messages_of(answer.path)
    assert {"/front/image_raw", "/joint_states", "/commands"} <= messages.keys()
    assert messages["/front/image_raw"][0].data == bytes(range(18))
    assert messages["/commands"][0].joint_names == ["shoulder"]
    info = info_of(answer.path)
    assert (info.task, info.outcome, info.notes) == ("stack the cubes", "success", "neat")
    assert info.is_whole
    assert info.dropped == {}
    assert 0 < info.started_ns < info.ended_ns
    assert {"gr00t_ros", "ros_distro", "python"} <= info.versions.keys()
    assert "secret" not in info.config
    assert parse_contract(info.parameters).video[0].topic == "/front/image_raw"


def test_each_episode_begins_with_what_was_latched(start_recorder: StartRecorder) -> None:
    rig = start_recorder(record__topics=["robot_description"])
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    description = rig.peer.create_publisher(String, "robot_description", latched)
    description.publish(String(data="<robot/>"))
    wait_until(lambda: description.get_subscription_count(), what="the recorder subscribes")
    for _ in range(2):
        rig.begin()
        rig.wait_for_messages(5)
        messages = messages_of(rig.stop().path)
        assert [message.data for message in messages["/robot_description"]] == ["<robot/>"]


def test_no_episode_begins_while_a_stream_is_missing(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    assert rig.robot is not None
    rig.robot.pictures_on = False
    status = rig.operator.wait_for_status(
        lambda s: s.state == RecorderStatus.STATE_WAITING and "joint_states" not in s.reason,
        "only the camera is missing",
    )
    assert "video.front: nothing was received on /front/image_raw" in status.reason

    answer = rig.start()

    assert not answer.success
    assert "video.front" in answer.message
    assert rig.episodes() == []
    rig.robot.pictures_on = True
    rig.begin()


def test_an_episode_may_lack_a_stream_where_the_user_says_so(
    start_recorder: StartRecorder,
) -> None:
    rig = start_recorder(robot=False, record__require_streams=False)
    rig.begin()
    answer = rig.stop()
    assert answer.success
    assert messages_of(answer.path).keys() <= {"/recorder_node/status"}


def test_an_episode_that_is_discarded_leaves_nothing(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    rig.begin()
    rig.wait_for_messages(5)
    answer = rig.discard()
    assert (answer.success, answer.message) == (True, "episode_000000 was discarded")
    wait_until(lambda: rig.episodes() == [], what="its folder is removed")
    assert not rig.discard().success


def test_the_last_episode_can_be_discarded_once(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    for _ in range(2):
        rig.begin()
        rig.wait_for_messages(5)
        assert rig.stop().success
    assert rig.episodes() == ["episode_000000", "episode_000001"]

    assert rig.discard().message == "episode_000001 was discarded"

    second = rig.discard()
    assert not second.success
    assert "none to discard" in second.message
    assert rig.episodes() == ["episode_000000"]


def test_discarding_an_episode_twice_leaves_the_good_one_before_it(
    start_recorder: StartRecorder,
) -> None:
    rig = start_recorder()
    for end in (rig.stop, rig.discard):
        rig.begin()
        rig.wait_for_messages(5)
        assert end().success
    second = rig.discard()  # of another operator, or by a key that was pressed twice
    assert not second.success
    assert "none to discard" in second.message
    wait_until(lambda: rig.episodes() == ["episode_000000"], what="the other one is removed")


def test_an_outcome_can_be_set_after_the_end(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    rig.begin()
    rig.wait_for_messages(5)
    path = rig.stop(notes="first").path

    assert rig.label("failure").success
    assert (info_of(path).outcome, info_of(path).notes) == ("failure", "first")
    assert rig.label("success", episode="episode_000000", notes="second").success
    assert (info_of(path).outcome, info_of(path).notes) == ("success", "second")


@pytest.mark.parametrize("name", ["episode_000009", "../recordings/episode_000000", "..", "/"])
def test_only_episodes_of_the_folder_are_labelled(start_recorder: StartRecorder, name: str) -> None:
    rig = start_recorder(robot=False)
    answer = rig.label("success", episode=name)
    assert not answer.success
    assert "cannot be labelled" in answer.message


def test_wrong_requests_are_answered_with_what_is_wrong(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    assert "no episode is being recorded" in rig.stop().message
    name = rig.begin()
    assert f"{name} is being recorded; end it first" in rig.start().message
    wrong = rig.stop("great")
    assert wrong.message == "outcome must be one of success, failure, unknown, got 'great'"
    assert rig.stop("success").success, "the wrong outcome has not ended it"


def test_a_recorder_that_is_not_active_records_nothing(start_recorder: StartRecorder) -> None:
    rig = start_recorder(active=False)
    assert "not active" in rig.start().message
    assert "not active" in rig.discard().message


def test_an_episode_that_is_cut_off_is_marked(start_recorder: StartRecorder) -> None:
    rig = start_recorder()
    rig.begin()
    rig.wait_for_messages(5)

    assert rig.operator.change_state(DEACTIVATE) == [True]

    wait_until(lambda: rig.episodes() == ["episode_000000.truncated"], what="it is saved")
    bag = rig.folder / "episode_000000.truncated"
    assert info_of(bag).truncated == "the recorder was deactivated"
    assert len(messages_of(bag)["/joint_states"]) > 0
    assert rig.operator.change_state(ACTIVATE) == [True]
    assert rig.begin() == "episode_000001"


def test_the_pedal_begins_and_ends(start_recorder: StartRecorder) -> None:
    rig = start_recorder(record__pedal_topic="pedal")
    pedal = rig.peer.create_publisher(Bool, "pedal", 10)
    wait_until(lambda: pedal.get_subscription_count(), what="the recorder subscribes")
    rig.wait_until(RecorderStatus.STATE_READY)

    pedal.publish(Bool(data=True))
    rig.wait_for_messages(10)
    pedal.publish(Bool(data=True))  # held down: no new press
    pedal.publish(Bool(data=False))
    rig.wait_for_messages(30)
    pedal.publish(Bool(data=True))

    rig.wait_until(RecorderStatus.STATE_READY)
    wait_until(lambda: rig.episodes() == ["episode_000000"], what="the episode is saved")


def test_the_recorder_numbers_on_from_what_is_there(
    start_recorder: StartRecorder, tmp_path: Path
) -> None:
    for name in ("episode_000004.truncated", "episode_000002", "notes"):
        (tmp_path / "recordings" / name).mkdir(parents=True)
    rig = start_recorder()
    assert rig.begin() == "episode_000005"
