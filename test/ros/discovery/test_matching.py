# SPDX-License-Identifier: Apache-2.0
"""Keys of a policy and topics of a robot, matched by name and dimension."""

from __future__ import annotations

import pytest

from gr00t_ros.discovery.matching import Entry, match
from gr00t_ros.discovery.names import likeness, named_for, pairs, words
from gr00t_ros.discovery.robot_graph import CommandTopic, PolicyNeeds, RobotGraph

ARM = ("shoulder", "elbow", "wrist")
LEFT = tuple(f"left_{name}_joint" for name in ARM)
RIGHT = tuple(f"right_{name}_joint" for name in ARM)


def needs(
    video: tuple[str, ...] = (),
    state: dict[str, int | None] | None = None,
    action: dict[str, int | None] | None = None,
) -> PolicyNeeds:
    state = state or {}
    return PolicyNeeds(video, state, state if action is None else action, has_instruction=True)


def by_key(entries: tuple[Entry, ...]) -> dict[str, Entry]:
    return {entry.key: entry for entry in entries}


def test_words_tell_names_apart() -> None:
    assert words("/camera_wrist/color/image_raw") == {"wrist"}
    assert words("fr3_finger_joint1") == {"fr", "gripper"}
    assert likeness("gripper_position", "fr3_finger_joint1") == 1
    assert named_for("left_arm", [*LEFT, *RIGHT]) == list(LEFT)
    assert named_for("torso", LEFT) == []


def test_cameras_are_paired_by_their_words_and_the_last_two_by_themselves() -> None:
    topics = ["/cam_wrist/image_raw", "/realsense/color/image_raw"]
    assert pairs(["wrist_image_left", "front"], topics) == {
        "wrist_image_left": "/cam_wrist/image_raw",
        "front": "/realsense/color/image_raw",
    }
    assert pairs(["front"], ["/a", "/b"]) == {}
    assert pairs(["front"], ["/front/left", "/front/right"]) == {}


def test_two_arms_go_to_the_controllers_that_have_their_joints() -> None:
    graph = RobotGraph(
        joint_states={"/joint_states": (*RIGHT, *LEFT)},
        commands=(
            CommandTopic("/right_arm_controller/joint_trajectory", "joint_trajectory", RIGHT),
            CommandTopic("/left_arm_controller/joint_trajectory", "joint_trajectory", LEFT),
        ),
    )
    proposal = match(graph, needs(state={"left_arm": 3, "right_arm": 3}))
    assert proposal.unmatched == []
    left = by_key(proposal.action)["left_arm"].parameters
    assert left == {
        "type": "joint_trajectory",
        "topic": "/left_arm_controller/joint_trajectory",
        "joints": list(LEFT),
    }
    assert by_key(proposal.state)["right_arm"].parameters["joints"] == list(RIGHT)


def test_several_controllers_of_the_same_joints_are_all_named() -> None:
    graph = RobotGraph(
        joint_states={"/joint_states": ARM},
        commands=(
            CommandTopic("/forward/commands", "float64_multi_array", ARM),
            CommandTopic("/scaled/joint_trajectory", "joint_trajectory", ARM),
        ),
    )
    (entry,) = match(graph, needs(state={"arm": 3})).action
    assert entry.parameters["topic"] == "/scaled/joint_trajectory"
    assert entry.alternatives == ("/forward/commands (float64_multi_array)",)


def test_the_gripper_is_found_by_its_name_and_the_arm_is_the_rest() -> None:
    graph = RobotGraph(
        joint_states={"/joint_states": (*ARM, "finger_joint")},
        commands=(CommandTopic("/arm/joint_trajectory", "joint_trajectory"),),
    )
    proposal = match(graph, needs(state={"arm": 3, "gripper": 1}))
    joints = {key: entry.parameters["joints"] for key, entry in by_key(proposal.state).items()}
    assert joints == {"arm": list(ARM), "gripper": ["finger_joint"]}
    assert proposal.unmatched == []


def test_an_action_may_have_another_name_than_the_state_of_its_joints() -> None:
    graph = RobotGraph(
        joint_states={"/joint_states": LEFT},
        commands=(CommandTopic("/left/joint_trajectory", "joint_trajectory", LEFT),),
    )
    proposal = match(graph, needs(state={"left_hand": 3}, action={"left_hand_joints": 3}))
    assert proposal.action[0].parameters["joints"] == list(LEFT)


def test_joints_that_no_state_of_the_policy_measures_are_not_commanded() -> None:
    graph = RobotGraph(
        joint_states={"/joint_states": (*LEFT, *RIGHT)},
        commands=(CommandTopic("/left/joint_trajectory", "joint_trajectory", LEFT),),
    )
    proposal = match(graph, needs(state={"right_arm": 3}, action={"left_arm": 3}))
    assert proposal.unmatched == ["action.left_arm"]
    assert "/left/joint_trajectory (joint_trajectory)" in proposal.action[0].why


@pytest.mark.parametrize("size", [2, 4, None])
def test_another_number_of_values_is_no_match(size: int | None) -> None:
    graph = RobotGraph(joint_states={"/joint_states": ARM})
    proposal = match(graph, needs(state={"torso": size}))
    assert proposal.unmatched == ["state.torso", "action.torso"]
    assert "measured joints: elbow, shoulder, wrist" in proposal.state[0].why


@pytest.mark.parametrize(("size", "axes"), [(3, True), (6, False)])
def test_a_base_takes_a_twist(size: int, axes: bool) -> None:
    graph = RobotGraph(commands=(CommandTopic("/cmd_vel", "twist"),))
    (entry,) = match(graph, needs(action={"navigate_command": size})).action
    assert entry.parameters["type"] == "twist"
    assert ("axes" in entry.parameters) is axes


def test_projected_gravity_comes_from_the_only_imu() -> None:
    graph = RobotGraph(imus=("/imu",))
    (entry,) = match(graph, needs(state={"projected_gravity": 3}, action={})).state
    assert entry.parameters == {"type": "imu", "topic": "/imu", "parts": ["projected_gravity"]}


def test_a_pose_is_no_group_of_joints_that_happen_to_be_as_many() -> None:
    fingers = ("finger_joint1", "finger_joint2")
    graph = RobotGraph(joint_states={"/joint_states": (*(f"joint{n}" for n in range(7)), *fingers)})
    proposal = match(graph, needs(state={"eef_9d": 9, "end_effector_position": 3}))
    assert proposal.unmatched[:2] == ["state.eef_9d", "state.end_effector_position"]


def test_a_state_whose_joints_no_single_topic_has_is_not_matched() -> None:
    graph = RobotGraph(joint_states={"/a": ("arm_1", "arm_2"), "/b": ("arm_3",)})
    assert match(graph, needs(state={"arm": 3}, action={})).unmatched == ["state.arm"]


def test_a_topic_of_bare_values_carries_one_action() -> None:
    graph = RobotGraph(
        joint_states={"/joint_states": (*LEFT, *RIGHT)},
        commands=(CommandTopic("/left_right/commands", "float64_multi_array"),),
    )
    proposal = match(graph, needs(state={"left": 3, "right": 3}))
    assert [bool(entry.parameters) for entry in proposal.action] == [True, False]
    assert proposal.action[1].why == "/left_right/commands is taken by another action"


def test_a_controller_that_takes_twists_is_no_command_of_its_joints() -> None:
    """As cartesian_motion_controller, which has the joints of the arm as a parameter."""
    twist = CommandTopic("/cartesian/twist", "twist_stamped", ARM)
    trajectories = CommandTopic("/arm/joint_trajectory", "joint_trajectory", ARM)
    states = {"/joint_states": ARM}
    wanted = needs(state={"arm": 3})
    alone = match(RobotGraph(joint_states=states, commands=(twist,)), wanted)
    assert alone.unmatched == ["action.arm"]
    both = match(RobotGraph(joint_states=states, commands=(twist, trajectories)), wanted)
    (arm,) = both.action
    assert arm.parameters["topic"] == "/arm/joint_trajectory"
    assert arm.alternatives == ()


def test_a_joint_without_a_name_is_not_commanded() -> None:
    graph = RobotGraph(
        joint_states={"/joint_states": ("", *ARM)},
        commands=(CommandTopic("/arm/joint_trajectory", "joint_trajectory"),),
    )
    (arm,) = match(graph, needs(state={"arm": 3})).state
    assert arm.parameters["joints"] == list(ARM)


def robots(*namespaces: str, joint_states: tuple[str, ...]) -> RobotGraph:
    """Robots with the same joints, each with a controller in a namespace."""
    return RobotGraph(
        joint_states=dict.fromkeys(joint_states, ARM),
        commands=tuple(
            CommandTopic(f"{space}/arm_controller/joint_trajectory", "joint_trajectory", ARM)
            for space in namespaces
        ),
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_arm_is_measured_and_commanded_on_its_own_side(side: str) -> None:
    graph = robots("/left", "/right", joint_states=("/left/joint_states", "/right/joint_states"))
    proposal = match(graph, needs(state={f"{side}_arm": 3}))
    assert proposal.state[0].parameters["topic"] == f"/{side}/joint_states"
    assert proposal.action[0].parameters["topic"] == f"/{side}/arm_controller/joint_trajectory"
    assert proposal.action[0].alternatives == ()


def test_the_controllers_of_another_robot_are_none_of_this_one() -> None:
    graph = robots("/beta", "/alpha", joint_states=("/alpha/joint_states", "/beta/joint_states"))
    proposal = match(graph, needs(state={"alpha": 3}))
    assert proposal.state[0].parameters["topic"] == "/alpha/joint_states"
    assert proposal.action[0].parameters["topic"] == "/alpha/arm_controller/joint_trajectory"
    assert proposal.action[0].alternatives == ()


def test_neither_of_two_robots_moves_where_nothing_tells_which() -> None:
    graph = robots("/beta", "/alpha", joint_states=("/alpha/joint_states", "/beta/joint_states"))
    proposal = match(graph, needs(state={"arm": 3}))
    assert proposal.unmatched == ["state.arm", "action.arm"]
    assert "on several topics: /alpha/joint_states, /beta/joint_states" in proposal.state[0].why


def test_the_joint_states_are_those_of_the_robot_and_not_of_its_leader() -> None:
    graph = robots(
        "", joint_states=("/gello/joint_states", "/joint_states", "/leader/joint_states")
    )
    state = match(graph, needs(state={"arm": 3})).state[0]
    assert state.parameters["topic"] == "/joint_states"
    assert state.alternatives == ("/gello/joint_states", "/leader/joint_states")


def test_a_second_robot_with_the_same_joint_names_needs_a_file_of_its_own() -> None:
    graph = robots("/left", "/right", joint_states=("/left/joint_states", "/right/joint_states"))
    proposal = match(graph, needs(state={"left_arm": 3, "right_arm": 3}))
    assert proposal.unmatched == ["state.right_arm", "action.right_arm"]
    assert "a second robot needs a file and nodes of its own" in proposal.state[1].why


def test_joint_states_without_names_are_named_themselves() -> None:
    graph = RobotGraph(nameless_joint_states=("/joint_states",))
    state = match(graph, needs(state={"arm": 3})).state[0]
    assert "no joint has a name on /joint_states" in state.why
