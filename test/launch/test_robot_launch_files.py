# SPDX-License-Identifier: Apache-2.0
"""The launch files of `robots/` by a real `ros2 launch`, with stand-ins for the drivers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pytest
from driver_doubles import PackageDoubles

FOLDER = Path(__file__).resolve().parents[2] / "robots"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
SLOW_S = 120.0
# Arguments of ours that a driver's launch file may have, too.
ALIKE = ("port", "namespace", "task", "use_sim_time", "log_level")


@dataclass(frozen=True, slots=True)
class Driver:
    """The launch file of a robot's driver, and what it has to be told."""

    package: str
    file: str
    told: tuple[dict[str, str], ...]
    has_address: bool = True
    executables: tuple[tuple[str, str], ...] = field(default=())
    shares: tuple[str, ...] = ()


DRIVERS = {
    "aloha": Driver(
        "interbotix_xsarm_ros_control",
        "xsarm_ros_control.launch.py",
        tuple(
            {
                "robot_model": "vx300s",
                "robot_name": f"follower_{side}",
                "mode_configs": str(FOLDER / f"aloha/driver/{side}_modes.yaml"),
            }
            for side in ("left", "right")
        ),
        has_address=False,
    ),
    "franka": Driver(
        "franka_bringup",
        "franka.launch.py",
        ({"robot_type": "fr3", "load_gripper": "true"},),
        executables=(("controller_manager", "spawner"),),
        shares=("franka_fr3_moveit_config",),
    ),
    "kinova_gen3": Driver(
        "kortex_bringup",
        "gen3.launch.py",
        # Its port is the robot's, for which it has an argument of the name of ours.
        ({"dof": "7", "gripper": "robotiq_2f_85", "launch_rviz": "false", "port": "10000"},),
    ),
    "ur10e": Driver(
        "ur_robot_driver", "ur_control.launch.py", ({"ur_type": "ur10e", "launch_rviz": "false"},)
    ),
    "ur5e": Driver(
        "ur_robot_driver", "ur_control.launch.py", ({"ur_type": "ur5e", "launch_rviz": "false"},)
    ),
    "xarm7": Driver(
        "xarm_controller", "xarm7_control_rviz_display.launch.py", ({"add_gripper": "true"},)
    ),
}
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def doubles(tmp_path: Path) -> PackageDoubles:
    """Stand-ins for our own package and for all drivers."""
    doubles = PackageDoubles(tmp_path / "doubles")
    doubles.add_launch_file("gr00t_ros", "policy.launch.py")
    for driver in {driver.package: driver for driver in DRIVERS.values()}.values():
        doubles.add_launch_file(driver.package, driver.file, declared=ALIKE)
        for package, name in driver.executables:
            doubles.add_executable(package, name)
        for package in driver.shares:
            doubles.add_launch_file(package, "move_group.launch.py")
    return doubles


@pytest.fixture
def launch(ros2: str, doubles: PackageDoubles, tmp_path: Path) -> Launch:
    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        prefixes = f"{doubles.prefix}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}"
        return subprocess.run(
            [ros2, "launch", str(FOLDER / name / f"{name}.launch.xml"), *arguments],
            env={**os.environ, "AMENT_PREFIX_PATH": prefixes, "ROS_LOG_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=SLOW_S,
            check=False,
        )

    return run


def address_of(name: str) -> list[str]:
    driver = DRIVERS.get(name)
    return ["robot_ip:=10.0.0.9"] if driver is not None and driver.has_address else []


@pytest.mark.parametrize("name", NAMES)
def test_the_arguments_reach_the_driver_and_our_nodes(
    launch: Launch, doubles: PackageDoubles, name: str
) -> None:
    ended = launch(name, "host:=gpu-box", "port:=5777", "autostart:=true", *address_of(name))

    assert ended.returncode == 0, ended.stdout + ended.stderr
    [ours] = doubles.launched("gr00t_ros")
    assert [ours[key] for key in ("host", "port", "autostart")] == ["gpu-box", "5777", "true"]
    assert ours["config"] == str(FOLDER / name / "robot.yaml")
    assert "its own" not in ours.values(), "an argument of the driver reaches our nodes"
    for package in {driver.package for driver in DRIVERS.values()}:
        started = doubles.launched(package)
        driver = DRIVERS.get(name)
        if driver is None or driver.package != package:
            assert not started
            continue
        for told, seen in zip(driver.told, started, strict=True):
            assert told.items() <= seen.items()
        if driver.has_address:
            assert started[0]["robot_ip"] == "10.0.0.9"


def test_frankas_controller_is_started_with_its_parameters(
    launch: Launch, doubles: PackageDoubles
) -> None:
    launch("franka", "host:=gpu-box", "robot_ip:=10.0.0.9")

    [arguments] = doubles.executed("controller_manager")
    file = doubles.prefix / "share/franka_fr3_moveit_config/config/fr3_ros_controllers.yaml"
    assert arguments.startswith(f"fr3_arm_controller --param-file {file}")


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_a_driver_that_runs_already_needs_no_address(
    launch: Launch, doubles: PackageDoubles, name: str
) -> None:
    ended = launch(name, "host:=gpu-box", "driver:=false")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(doubles.launched("gr00t_ros")) == 1
    assert not doubles.launched(DRIVERS[name].package)
    assert not doubles.executed("controller_manager")


def test_an_address_that_is_not_given_is_asked_for(launch: Launch, doubles: PackageDoubles) -> None:
    ended = launch("ur5e", "host:=gpu-box")

    assert ended.returncode != 0
    assert 'argument "robot_ip" was not provided' in ended.stdout + ended.stderr
    assert not doubles.launched("gr00t_ros")


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_described(launch: Launch, name: str) -> None:
    shown = launch(name, "--show-args").stdout

    arguments = ElementTree.parse(FOLDER / name / f"{name}.launch.xml").getroot().iter("arg")
    for argument in arguments:
        if argument.get("value") is None:
            assert f"'{argument.get('name')}':" in shown
            assert argument.get("description") in shown
