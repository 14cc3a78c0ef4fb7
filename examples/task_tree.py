# SPDX-License-Identifier: Apache-2.0
"""Runs task_tree.xml with py_trees: each leaf is one task of the robot.

pip install py_trees; then, beside a robot with its task node: python task_tree.py [FILE]
"""

from __future__ import annotations

import logging
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import py_trees
import rclpy
from py_trees.common import Status
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import TaskResult
from gr00t_ros.node.stop_signals import StopRequest, stop_signals
from gr00t_ros.task.task_file import goal_from_text

TICK_S = 0.1
WAIT_S = 3.0  # for the task node, between two lines that say so
STATUSES = {TaskResult.OUTCOME_SUCCESS: Status.SUCCESS, TaskResult.OUTCOME_FAILURE: Status.FAILURE}


class RunPolicyBehaviour(py_trees.behaviour.Behaviour):
    """Has the robot do one task: succeeds if the task did what was asked, and fails otherwise.

    Args:
        name: Name of the behaviour in the tree.
        client: A client of the action `task_node/run_policy`.
        goal: The task.
    """

    def __init__(self, name: str, client: ActionClient, goal: RunPolicy.Goal) -> None:
        super().__init__(name)
        self._client = client
        self._goal = goal

        self._sent: Future | None = None
        self._answer: Future | None = None

    @property
    def is_over(self) -> bool:
        """Whether the robot does nothing of this task."""
        return self._sent is None or (self._answer is not None and self._answer.done())

    def initialise(self) -> None:
        self._answer = None
        self._sent = self._client.send_goal_async(self._goal)
        self._sent.add_done_callback(self._ask_for_result)

    def _ask_for_result(self, sent: Future) -> None:
        self._answer = sent.result().get_result_async()

    def update(self) -> Status:
        if self._answer is None or not self._answer.done():
            return Status.RUNNING
        task = self._answer.result().result.task
        self.feedback_message = task.reason
        return STATUSES.get(task.outcome, Status.FAILURE)

    def terminate(self, new_status: Status) -> None:
        """Cancel the task where the tree turns to something else."""
        if new_status is Status.INVALID and self._sent is not None and not self.is_over:
            # Also where the task node has not answered yet.
            self._sent.add_done_callback(lambda sent: sent.result().cancel_goal_async())


def tree_from(path: str | Path, client: ActionClient) -> py_trees.behaviour.Behaviour:
    """The tree of a file of BehaviorTree.CPP: Sequence, Fallback and RunPolicy."""
    (root,) = ElementTree.parse(path).getroot().find("BehaviorTree")
    return _behaviour(root, client)


def _behaviour(element: ElementTree.Element, client: ActionClient) -> py_trees.behaviour.Behaviour:
    name = element.get("name", element.tag)
    if element.tag == "RunPolicy":
        goal = goal_from_text(element.attrib["instruction"], [element.attrib["ender"]])
        goal.time_limit_s = float(element.get("time_limit_s", "0"))
        return RunPolicyBehaviour(name, client, goal)
    composites = {
        "Sequence": py_trees.composites.Sequence,
        "Fallback": py_trees.composites.Selector,
    }
    children = [_behaviour(child, client) for child in element]
    return composites[element.tag](name, memory=True, children=children)


def main() -> int:
    """Run the tree once; returns 0 if it succeeded, 1 if it failed, 130 after Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    file = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("task_tree.xml")
    # ROS's own handler of Ctrl-C would leave no way to cancel the task, and Python's, which raises
    # anywhere, could lose the answer of the task node.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    with stop_signals() as stopping:
        node = Node("task_tree")
        client = ActionClient(node, RunPolicy, "task_node/run_policy")
        while not (stopping.is_set() or client.wait_for_server(timeout_sec=WAIT_S)):
            logging.info("waiting for the task node (task_node/run_policy)")
        tree = py_trees.trees.BehaviourTree(tree_from(file, client))
        _run(tree, node, stopping)
        rclpy.shutdown()
    if stopping.is_set():
        return 130
    logging.info(py_trees.display.unicode_tree(tree.root, show_status=True))
    return 0 if tree.root.status is Status.SUCCESS else 1


def _run(tree: py_trees.trees.BehaviourTree, node: Node, stopping: StopRequest) -> None:
    """Tick the tree to its end; Ctrl-C cancels the task, and waits until the robot is at rest."""
    while tree.root.status not in (Status.SUCCESS, Status.FAILURE):
        if stopping.is_set():
            _cancel(tree, node, stopping)
            return
        tree.tick()
        rclpy.spin_once(node, timeout_sec=TICK_S)


def _cancel(tree: py_trees.trees.BehaviourTree, node: Node, stopping: StopRequest) -> None:
    tasks = [leaf for leaf in tree.root.iterate() if isinstance(leaf, RunPolicyBehaviour)]
    if all(task.is_over for task in tasks):
        return
    logging.info("cancelling; Ctrl-C once more does not wait for the robot to come to rest")
    tree.root.stop(Status.INVALID)
    while not (stopping.is_repeated() or all(task.is_over for task in tasks)):
        rclpy.spin_once(node, timeout_sec=TICK_S)


if __name__ == "__main__":
    sys.exit(main())
