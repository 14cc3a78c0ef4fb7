# SPDX-License-Identifier: Apache-2.0
"""What is written for users is what the nodes do."""

import re
import runpy
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import wait_until
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from nodes_for_tests import CONFIGURE, Operator, overrides
from policies_for_tests import EchoPolicy, parameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.node.lifecycle import ManagedNode, bring_up
from gr00t_ros.policy.policy_node import PolicyNode
from gr00t_ros.record.recorder_node import RecorderNode
from gr00t_ros.sim.sim_node import SimNode
from gr00t_ros.task.task_node import TaskNode
from gr00t_ros.visualization.visualization_node import VisualizationNode

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
NAMESPACE = "robot"
# What every node, and every lifecycle node, has in ROS 2.
COMMON_TOPICS = {"/rosout", "/parameter_events", "~/transition_event", "/clock"}
LIFECYCLE_SERVICES = (ChangeState, GetState, GetAvailableStates, GetAvailableTransitions)
COMMON_PACKAGES = ("rcl_interfaces", "type_description_interfaces")
# Topics that the YAML file names: their rows on a page stand for those of this robot.
ROBOT = {
    "policy_node": {"front/image_raw", "joint_states"},
    "control_node": {"joint_states", "commands", "enable", "leader", "pedal"},
    "recorder_node": {"begin"},
    "visualization_node": {"front/image_raw", "joint_states"},
}
FROM_FILE = re.compile(
    r"(?:video|state|action)\.<key>\.(?:teleop_)?topic|(?:enable|intervene)_topic"
    r"|record\.pedal_topic"
)
Row = tuple[str, ...]


def test_the_page_of_parameters_is_made_from_the_table() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "pages" / "parameters.py"))["page"]()

    assert (REFERENCE / "parameters.md").read_text() == page, "run `make reference`"


@pytest.mark.parametrize("name", ["demo.yaml", "example.yaml"])
def test_a_configuration_that_we_ship_is_a_valid_contract(name: str) -> None:
    nested = yaml.safe_load((ROOT / "config" / name).read_text())
    values = dict(_flat(nested["/**"]["ros__parameters"]))

    contract = parse_contract(values)

    assert [stream.key for stream in contract.video] == ["front", "wrist"]
    assert [output.key for output in contract.action] == ["single_arm", "gripper"]


def test_the_states_and_actions_that_the_example_only_mentions_are_valid() -> None:
    text = (ROOT / "config" / "example.yaml").read_text()
    above, states = text.split("    state:\n")
    states = re.sub(r"(?m)^      # ", "      ", states)
    nested = yaml.safe_load(f"{above}    state:\n{states}")

    contract = parse_contract(dict(_flat(nested["/**"]["ros__parameters"])))

    dimensions = {state.key: state.dimension for state in contract.state}
    assert dimensions == {"single_arm": 5, "gripper": 1, "arms": 4, "x": 1, "yaw": 1}
    assert contract.ignored == ("base",)


@pytest.mark.parametrize("name", ["reference/yaml-file.md", "tutorials/first-robot.md"])
def test_an_example_of_a_page_is_a_valid_contract(name: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)
    (whole,) = [block for block in blocks if block.startswith("/**")]

    values = dict(_flat(yaml.safe_load(whole)["/**"]["ros__parameters"]))
    contract = parse_contract(values)

    for part in blocks:  # each other example in place of what the whole file says
        if part != whole and set(yaml.safe_load(part)) <= {"state", "action"}:
            contract = parse_contract({**values, **dict(_flat(yaml.safe_load(part)))})
    assert contract.action


@pytest.mark.parametrize("make_node", [ControlNode, PolicyNode, RecorderNode])
def test_the_page_of_a_node_lists_its_topics_and_services(
    make_node: type[ManagedNode],
    ros_context: Context,
    ros_node: Node,
    live: Callable[[ManagedNode], None],
    tmp_path: Path,
) -> None:
    robot = parameters(
        enable_topic="enable",
        intervene_topic="pedal",
        action__arm__teleop_topic="leader",
        record__pedal_topic="begin",
        record__folder=str(tmp_path),
    )
    arguments: dict[str, Any] = {
        "context": ros_context,
        "namespace": NAMESPACE,
        "parameter_overrides": overrides(robot),
    }
    if make_node is PolicyNode:
        arguments["policy_factory"] = lambda settings: EchoPolicy()
    node = make_node(**arguments)
    live(node)
    assert Operator(ros_node, f"{NAMESPACE}/{node.get_name()}").change_state(CONFIGURE) == [True]

    require_page_tells(node, ROBOT[node.get_name()])


def test_the_page_of_the_simulation_lists_its_topics_services_and_parameters(
    ros_context: Context,
) -> None:
    node = SimNode(context=ros_context, namespace=NAMESPACE)
    try:
        require_page_tells(node, set())
        names = set(re.findall(r"\w+", " ".join(row[0] for row in rows(node, "Parameters"))))
        declared = {name for name in node._parameters if "." not in name}
        assert names == declared - {"use_sim_time", "start_type_description_service"}
    finally:
        node.destroy_node()


def test_the_page_of_the_task_node_lists_its_topics(ros_context: Context) -> None:
    node = TaskNode(context=ros_context, namespace=NAMESPACE)
    try:
        require_page_tells(node, set())
    finally:
        node.destroy_node()


def test_the_page_of_the_visualization_lists_its_topics_and_services(
    ros_context: Context, ros_node: Node, live: Callable[[ManagedNode], None]
) -> None:
    node = VisualizationNode(
        context=ros_context, namespace=NAMESPACE, parameter_overrides=overrides(parameters())
    )
    assert bring_up(node)
    camera = ros_node.create_publisher(Image, f"/{NAMESPACE}/front/image_raw", 1)
    pictures = [p for p in node.publishers if _short(p.topic_name, "visualization_node")[0] != "/"]
    viewers = [
        ros_node.create_subscription(p.msg_type, p.topic_name, lambda _: None, p.qos_profile)
        for p in pictures
    ]
    live(node)
    wait_until(
        lambda: (
            camera.get_subscription_count()
            and {"action_chunk", "policy_node/status"}
            <= {_short(s.topic_name, node.get_name()) for s in list(node.subscriptions)}
        ),
        what="the node subscribes to what its pictures need",
    )
    require_page_tells(node, ROBOT["visualization_node"])
    for viewer in viewers:
        ros_node.destroy_subscription(viewer)


def require_page_tells(node: Node, robot_topics: set[str]) -> None:
    """The tables of a node's page are what the node has, but for what its robot adds."""
    name = node.get_name()
    for title, endpoints in (
        ("Published topics", list(node.publishers)),
        ("Subscribed topics", list(node.subscriptions)),
    ):
        found = {
            (_short(e.topic_name, name), _type(e.msg_type), _qos(e.qos_profile))
            for e in endpoints
            if _short(e.topic_name, name) not in COMMON_TOPICS | robot_topics
        }
        told = {
            (row[0].replace("<camera>", "front"), *row[1:3])
            for row in rows(node, title)
            if not FROM_FILE.fullmatch(row[0])
        }
        assert found == told, title
        from_file = {row[2] for row in rows(node, title) if FROM_FILE.fullmatch(row[0])}
        assert from_file == {
            _qos(e.qos_profile) for e in endpoints if _short(e.topic_name, name) in robot_topics
        }
    services = {
        (_short(service.srv_name, name), _type(service.srv_type))
        for service in node.services
        if service.srv_type not in LIFECYCLE_SERVICES
        and not service.srv_type.__module__.startswith(COMMON_PACKAGES)
    }
    assert services == {row[:2] for row in rows(node, "Services")}


def rows(node: Node, title: str) -> list[Row]:
    """The cells of a table on the page of a node, without the backticks around them."""
    page = (REFERENCE / f"{node.get_name().replace('_', '-')}.md").read_text()
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip() for cell in _cells(line)) for line in lines]


def _cells(line: str) -> Iterator[str]:
    for cell in line.strip("|").split("|"):
        quoted = re.fullmatch(r"\s*`([^`]*)`\s*", cell)
        yield quoted[1] if quoted else cell


def _short(topic: str, node: str) -> str:
    """A topic as the pages write it: relative to the node or its namespace, else absolute."""
    own, relative = f"/{NAMESPACE}/{node}/", f"/{NAMESPACE}/"
    if topic.startswith(own):
        return f"~/{topic.removeprefix(own)}"
    return topic.removeprefix(relative)


def _type(ros_type: type) -> str:
    package, kind = ros_type.__module__.split(".")[:2]
    return f"{package}/{kind}/{ros_type.__name__}"


def _qos(profile: QoSProfile) -> str:
    is_reliable = profile.reliability is ReliabilityPolicy.RELIABLE
    words = ["reliable" if is_reliable else "best effort"]
    if profile.durability is DurabilityPolicy.TRANSIENT_LOCAL:
        words.append("transient local")
    return ", ".join([*words, f"keep last {profile.depth}"])


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
