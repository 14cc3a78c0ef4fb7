# SPDX-License-Identifier: Apache-2.0
"""Every test module gets a DDS domain of its own, so that suites can run side by side."""

import contextlib
import gc
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import built_interfaces
import pytest
import rclpy
from nodes_for_tests import close_node
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from gr00t_ros.node.dds_domain import DOMAINS, reserve_domain
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.node.spin_thread import SpinThread

# Before gr00t_ros looks for them.
built_interfaces.make_importable()

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the benchmarks are not installed

# At import, before any test module: processes that tests start inherit it.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"  # since Iron
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect `killed` only where it is asked for: its processes have another Fast DDS profile."""
    is_asked = any("killed" in argument for argument in config.args)
    return True if collection_path.name == "killed" and not is_asked else None


@pytest.fixture(scope="module", autouse=True)
def dds_domain() -> Iterator[None]:
    """A DDS domain in which no process that an earlier module has killed left anything."""
    domain, lock = reserve_domain(random.sample(DOMAINS, len(DOMAINS)))
    with lock, pytest.MonkeyPatch.context() as patching:
        patching.setenv("ROS_DOMAIN_ID", str(domain))
        yield


@pytest.fixture(autouse=True)
def environment_of_ros(dds_domain: None) -> Iterator[None]:
    """Every test leaves the variables of ROS as they were: they decide who discovers whom."""
    before = _variables_of_ros()
    yield
    assert _variables_of_ros() == before


def _variables_of_ros() -> dict[str, str]:
    prefixes = ("ROS_", "RMW_", "FASTDDS_", "FASTRTPS_", "CYCLONEDDS_")
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes)}


@pytest.fixture
def ros_context() -> Iterator[Context]:
    """An initialised rclpy context of the test's own, shut down afterwards."""
    context = Context()
    rclpy.init(context=context)
    yield context
    # A lifecycle node refers to itself, and its services stay in the graph until it is collected:
    # the next test's clients would find them.
    gc.collect()
    context.try_shutdown()


@contextlib.contextmanager
def _spinning(context: Context) -> Iterator[Callable[[Node], Node]]:
    executor: SingleThreadedExecutor | None = SingleThreadedExecutor(context=context)
    spinning = SpinThread(executor, "test executor")
    nodes: list[Node] = []

    def add(node: Node) -> Node:
        nodes.append(node)
        executor.add_node(node)
        return node

    yield add
    assert spinning.end(60.0), "a callback does not end"
    while nodes:
        _destroy(nodes.pop())
    executor = None  # it refers to the nodes, and `add` to it


@pytest.fixture
def spin(ros_context: Context) -> Iterator[Callable[[Node], Node]]:
    """A function that has a node's callbacks run in a background thread until the test ends.

    The nodes must be made with `context=ros_context`; they are destroyed afterwards.
    """
    with _spinning(ros_context) as add:
        yield add


@pytest.fixture
def spin_apart(ros_context: Context) -> Iterator[Callable[[Node], Node]]:
    """As `spin`, in another thread: a callback of a node there keeps none here waiting."""
    with _spinning(ros_context) as add:
        yield add


def _destroy(node: Node) -> None:
    """End a node although something may still refer to it, as a failed test's traceback does."""
    for action_client in list(node.waitables):
        action_client.destroy()  # a node does not: the garbage collector would, after its end
    node.destroy_node()
    if isinstance(node, LifecycleNode):
        node._state_machine.destroy_when_not_in_use()  # `destroy_node` leaves it in the graph


@pytest.fixture
def live(spin: Callable[[Node], Node]) -> Iterator[Callable[[ManagedNode], None]]:
    """A function that spins a lifecycle node until the test ends, and closes it then."""
    nodes: list[ManagedNode] = []

    def start(node: ManagedNode) -> None:
        nodes.append(node)
        spin(node)

    yield start
    while nodes:
        close_node(nodes.pop())


@pytest.fixture
def ros_node(ros_context: Context, spin: Callable[[Node], Node]) -> Node:
    """A spinning node, to talk to what is tested."""
    return spin(Node("test_peer", context=ros_context))
