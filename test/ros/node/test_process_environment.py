# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from gr00t_ros.node.process_environment import process_environment

PROFILE = Path("fastdds.xml")


def test_a_process_gets_the_malloc_settings_and_the_profile() -> None:
    added = process_environment(PROFILE, inherited={})

    assert added["FASTDDS_DEFAULT_PROFILES_FILE"] == "fastdds.xml"
    assert int(added["MALLOC_MMAP_THRESHOLD_"]) == 1 << 30


def test_what_the_user_has_set_is_left_alone() -> None:
    mine = {"FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml", "MALLOC_TOP_PAD_": "0"}

    added = process_environment(PROFILE, inherited=mine)

    assert not set(mine) & set(added)


def test_a_profile_under_the_old_name_is_not_joined_by_ours() -> None:
    inherited = {"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"}

    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in process_environment(PROFILE, inherited)


def test_humble_and_jazzy_get_the_old_name() -> None:
    for distro in ("humble", "jazzy"):
        added = process_environment(PROFILE, inherited={"ROS_DISTRO": distro})
        assert "FASTRTPS_DEFAULT_PROFILES_FILE" in added
        assert "FASTDDS_DEFAULT_PROFILES_FILE" not in added
