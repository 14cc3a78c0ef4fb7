# SPDX-License-Identifier: Apache-2.0
"""Replays the episodes of a dataset through the nodes, each in the scene it was recorded in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lifecycle_msgs.msg import Transition
from rclpy.node import Node
from std_srvs.srv import Trigger

from gr00t_ros.msg import ControlStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.sim.demo_processes import (
    EXECUTION_HORIZON,
    DemoProcesses,
    executable,
    node_command,
    port_from_log,
)
from gr00t_ros.sim.demonstrations import simulation_command, task_of
from gr00t_ros.sim.recording_session import CONFIG, RecordingSession
from gr00t_ros.sim.scene import Scene
from gr00t_ros.sim.service_calls import call, call_trigger, change_state
from gr00t_ros.sim.world import SimulatedArm

ATTEMPTS = 3  # of a replay: on a busy machine the simulated arm may miss the cube
LATE_S = 15.0  # more than the episode took: chunks that come late delay the replay


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode of a dataset, and where it was recorded.

    Args:
        dataset: The directory of the dataset.
        index: The episode.
        duration_s: How long it is, s.
        scene_seed: Where the cubes lay.
        cube: The cube that comes into the bin.
    """

    dataset: Path
    index: int
    duration_s: float
    scene_seed: int
    cube: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay, and the bag that was recorded of it."""

    episode: Episode
    bag: Path
    success: bool


def serve_episode_command(episode: Episode) -> list[str]:
    """A policy server on a free port that replays one episode."""
    return [
        *(str(executable("gr00t-policy")), "serve", "--dataset-path", str(episode.dataset)),
        *("--episode-index", str(episode.index), "--execution-horizon", str(EXECUTION_HORIZON)),
        *("--port", "0"),
    ]


class ReplayRunner:
    """The simulated arm, both nodes and a recorder.

    Args:
        node: Calls the nodes; another thread spins it.
        processes: Runs them, and a policy server for each episode.
        folder: Of the recorded runs.
    """

    def __init__(self, node: Node, processes: DemoProcesses, folder: Path) -> None:
        self._node = node
        self._processes = processes
        processes.start("sim_node", simulation_command())
        processes.start("control_node", node_command("control_node", None, CONFIG))
        self._chunk_publishers = 0  # that the control node hears
        node.create_subscription(ControlStatus, "control_node/status", self._on_status, STATUS)
        self._recorder = RecordingSession(node, processes, folder)
        self._scene = Scene(node, SimulatedArm().bin_position.tolist())

    def play(self, episodes: list[Episode], tell: Callable[[str], None]) -> Iterator[Replay]:
        """Replay episodes, one after the other; a failed one is replayed again.

        Args:
            episodes: The episodes.
            tell: Takes a line for each replay.
        """
        self._processes.wait_until(self._has_control, "the control node can command the arm")
        for episode in episodes:
            for _ in range(ATTEMPTS):
                replay = self._served_replay(episode)
                outcome = "in the bin" if replay.success else "NOT in the bin"
                tell(
                    f"{replay.bag.name}, {episode.dataset.name} episode {episode.index}: "
                    f"{episode.cube} {outcome}"
                )
                yield replay
                if replay.success:
                    break

    def _on_status(self, status: ControlStatus) -> None:
        self._chunk_publishers = status.chunk_publishers

    def _has_control(self) -> bool:
        request = Trigger.Request()
        return bool(call(self._node, Trigger, "control_node/start", request).success)

    def _served_replay(self, episode: Episode) -> Replay:
        """Replay an episode with a policy server and a policy node of its own."""
        processes = self._processes
        server = processes.start("policy_server", serve_episode_command(episode))
        port = processes.wait_until(lambda: port_from_log(server.log), "the policy server listens")
        processes.wait_until(lambda: not self._chunk_publishers, "the last policy node is gone")
        policy = processes.start("policy_node", node_command("policy_node", port, CONFIG))
        # A replay does not repeat what nobody hears.
        processes.wait_until(lambda: self._chunk_publishers, "the policy node is heard")
        replay = self._replay(episode)
        for part in (policy, server):
            processes.stop(part)
        return replay

    def _replay(self, episode: Episode) -> Replay:
        scene, cube = self._scene, episode.cube
        # The scene has the arm home at once; a node that is active would command it back.
        change_state(self._node, "control_node", Transition.TRANSITION_DEACTIVATE)
        scene.begin(episode.scene_seed, self._processes)
        change_state(self._node, "control_node", Transition.TRANSITION_ACTIVATE)
        self._processes.wait_until(self._has_control, "the control node can command the arm")
        self._recorder.begin(task_of(cube))
        call_trigger(self._node, "policy_node/start")
        longest_s = episode.duration_s + LATE_S
        success = self._processes.holds_within(lambda: scene.is_in_bin(cube), longest_s)
        call_trigger(self._node, "policy_node/stop")
        return Replay(episode, self._recorder.end(success=success), success)
