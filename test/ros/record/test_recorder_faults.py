# SPDX-License-Identifier: Apache-2.0
"""A recorder that is killed, and a disk that is full: what was recorded is there, and says so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import wait_until
from nodes_for_tests import Robot
from policies_for_tests import parameters
from rclpy.node import Node
from recorder_rig import StartRecorder, info_of, messages_of, recorder_process
from udp_environment import udp_environment

from gr00t_ros.bags.episode_info import UNFINISHED, config_text
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.record.recorder_client import Answer, RecorderClient

TMPFS_MB = 12
ROOM_BYTES = 200_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_recorder_that_was_killed_leaves_all_but_the_last_second(
    ros_node: Node, start_recorder: StartRecorder, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    file = tmp_path / "parameters.yaml"
    changes = {"record__folder": str(folder), "record__min_free_mb": 0, "max_age_s": 5.0}
    file.write_text(config_text(parameters(**changes, autostart=True)))
    robot = Robot(ros_node)
    # The graph remembers a node that was killed: it has a name of its own.
    arguments = ("-r", "__node:=killed_recorder", "--params-file", str(file))
    process = subprocess.Popen(recorder_process("--ros-args", *arguments), env=udp_environment())
    client = RecorderClient("killed_recorder")
    try:
        state = RecorderStatus.STATE_READY
        wait_until(lambda: client.status and client.status.state == state, what="ready")
        client.start("wave")
        assert client.answers.get(timeout=60.0) == Answer(True, "recording episode_000000")
        wait_until(lambda: client.status and client.status.duration_s > 3.0, what="3 s recorded")
        status = client.status
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        client.close()
    assert status is not None
    assert [path.name for path in folder.iterdir()] == ["episode_000000.partial"]

    rig = start_recorder(robot=False)

    assert rig.episodes() == ["episode_000000.truncated"]
    bag = folder / "episode_000000.truncated"
    info = info_of(bag)
    assert (info.task, info.truncated, info.is_whole) == ("wave", UNFINISHED, False)
    stamps = [message.header.stamp for message in messages_of(bag)["/joint_states"]]
    recorded_s = stamps[-1].sec - stamps[0].sec + 1e-9 * (stamps[-1].nanosec - stamps[0].nanosec)
    assert recorded_s > status.duration_s - 1.5
    robot.arm_on = False


def test_a_full_disk_ends_the_episode_and_says_so(
    small_disk: Path, start_recorder: StartRecorder
) -> None:
    rig = start_recorder(record__folder=str(small_disk), record__require_streams=False)
    rig.begin()
    rig.wait_for_messages(100)
    room = shutil.disk_usage(small_disk).free - ROOM_BYTES
    (small_disk / "somebody else's").write_bytes(bytes(room))

    status = rig.operator.wait_for_status(
        lambda s: s.state == RecorderStatus.STATE_ERROR, "the error"
    )

    assert "episode_000000 was stopped: writing failed" in status.reason
    assert "No space left on device" in status.reason
    bag = small_disk / "episode_000000.truncated"
    wait_until(bag.is_dir, what="what was recorded is saved")
    assert len(messages_of(bag)["/joint_states"]) > 10
    assert "No space left on device" in info_of(bag).truncated
    assert rig.stop().message == (
        "no episode is being recorded: episode_000000 was stopped, "
        "writing failed: No space left on device"
    )


def test_recording_stops_before_the_disk_is_full(
    small_disk: Path, start_recorder: StartRecorder
) -> None:
    rig = start_recorder(record__folder=str(small_disk), record__min_free_mb=6)
    rig.begin()
    rig.wait_for_messages(30)
    other = small_disk / "somebody else's"
    other.write_bytes(bytes(8_000_000))

    rig.operator.wait_for_reason("record.min_free_mb is 6")

    bag = small_disk / "episode_000000.truncated"
    wait_until(bag.is_dir, what="what was recorded is saved")
    refused = rig.start()
    assert not refused.success
    assert "MB are free, record.min_free_mb is 6" in refused.message
    other.unlink()
    assert rig.start().episode == "episode_000001"


def test_a_folder_that_cannot_be_written_is_told_before_anything(
    start_recorder: StartRecorder, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    rig = start_recorder(active=False, record__folder=str(tmp_path / "file" / "recordings"))

    assert rig.operator.change_state(1) == [False]

    status = rig.wait_until(RecorderStatus.STATE_ERROR)
    assert "record.folder" in status.reason
