# SPDX-License-Identifier: Apache-2.0
"""From demonstration to verdict with the simulated arm. `make demo-data` runs it.

The scripted expert demonstrates over DDS and the recorder node records it; `gr00t-policy convert`
makes a dataset of each format; the nodes replay it; `gr00t-policy eval` and `diagnose` judge.
Everything is a process that a user would start; each command is shown before it runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rclpy.node import Node

from gr00t_ros.node.dds_domain import own_domain
from gr00t_ros.sim.data_summary import (
    FLIPPED,
    REPLAY,
    DataSummary,
    cut_bags,
    diagnosis_text,
    evaluation_problems,
    replayable_episodes,
)
from gr00t_ros.sim.demo_processes import (
    DemoProcesses,
    demo_environment,
    demo_processes,
    executable,
    port_from_log,
)
from gr00t_ros.sim.demo_program import exit_status, write_line
from gr00t_ros.sim.demonstrations import Demonstration, Demonstrator
from gr00t_ros.sim.node_thread import spinning
from gr00t_ros.sim.replays import Replay, ReplayRunner

EPISODES, MAX_EPISODES = 10, 100
FORMATS = ("v2.1", "v3.0")
FLIPPED_REPLAY = "gr00t_ros.sim.flipped_replay:FlippedReplay"
FOLDERS = ("demonstrations", "replays", "evaluation", "diagnosis", "log")


def main(args: list[str] | None = None) -> int:
    """Run the demo of the data.

    Returns:
        0 when every cube came into the bin, in the demonstrations and in their replays, and the
        evaluation found what it should; 1 when not, or when a process failed; 2 for wrong
        arguments or a bad DEMO_EPISODES; 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="demo_data",
        description="Records demonstrations of a simulated arm, converts, replays, evaluates and "
        f"diagnoses them. DEMO_EPISODES in the environment is their number (default: {EPISODES}).",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-data"),
        metavar="DIR",
        help="folder of all results; those of an earlier run are replaced (default: demo-data)",
    )
    folder: Path = parser.parse_args(args).output
    try:
        episodes = _episodes(os.environ.get("DEMO_EPISODES", ""))
    except ValueError as error:
        write_line(f"demo-data: {error}")
        return 2
    return exit_status("demo-data", lambda: _demo_data(folder, episodes))


def _demo_data(folder: Path, episodes: int) -> int:
    _remove_earlier(folder)
    with own_domain() as domain:
        # This process talks DDS too.
        os.environ.update({**demo_environment(), "ROS_DOMAIN_ID": domain})
        demonstrations = _record(folder, episodes)
        replays = _convert_and_replay(folder, demonstrations)
    with demo_processes(folder / "log" / "verdict") as processes:
        _evaluate(folder, processes)
        _diagnose(folder, replays, processes)
    summary = DataSummary(
        demonstrations=tuple(demonstrations),
        cut=tuple(cut_bags(_dataset(folder, FORMATS[0]))),
        replays=tuple(replays),
        problems=tuple(evaluation_problems(folder / "evaluation")),
        diagnosis=diagnosis_text(folder / "diagnosis"),
    )
    write_line(f"demo-data: {summary}")
    for report in ("evaluation", "diagnosis"):
        write_line(f"demo-data: wrote {folder / report / 'report.html'}")
    return 0 if summary.succeeded else 1


def _record(folder: Path, episodes: int) -> list[Demonstration]:
    _tell(f"recording {episodes} demonstrations of the scripted expert")
    with (
        spinning(lambda: Node("demonstrator")) as node,
        demo_processes(folder / "log" / "recording") as processes,
    ):
        demonstrator = Demonstrator(node, processes, folder / "demonstrations")
        return list(demonstrator.record(episodes, _tell))


def _convert_and_replay(folder: Path, demonstrations: Sequence[Demonstration]) -> list[Replay]:
    """Convert to both formats; their replays alternate, so that each of them is played."""
    with demo_processes(folder / "log" / "conversion") as processes:
        for version in FORMATS:
            output = _dataset(folder, version)
            arguments = ["--output", str(output), "--format", version, "--drop-failed"]
            _run(processes, ["convert", str(folder / "demonstrations"), *arguments])
    datasets = [_dataset(folder, version) for version in FORMATS]
    episodes = replayable_episodes(datasets, demonstrations)
    _tell(f"replaying {len(episodes)} episodes through the nodes")
    with (
        spinning(lambda: Node("replay_operator")) as node,
        demo_processes(folder / "log" / "replay") as processes,
    ):
        runner = ReplayRunner(node, processes, folder / "replays")
        return list(runner.play(episodes, _tell))


def _evaluate(folder: Path, processes: DemoProcesses) -> None:
    """Compare the replay, and one with a flipped sign, with the dataset that both replay."""
    dataset = str(_dataset(folder, FORMATS[0]))
    serve = ["serve", "--policy", FLIPPED_REPLAY, "--policy-args", f"dataset_path={dataset}"]
    _tell_command([*serve, "--port", "0"])
    server = processes.start(
        "policy_server", [str(executable("gr00t-policy")), *serve, "--port", "0"]
    )
    port = processes.wait_until(lambda: port_from_log(server.log), "the policy server listens")
    policies = ["--policy", f"{REPLAY}={dataset}", "--policy", f"{FLIPPED}=localhost:{port}"]
    output = ["--output", str(folder / "evaluation")]
    _run(processes, ["eval", "--dataset", dataset, *policies, *output])


def _diagnose(folder: Path, replays: Sequence[Replay], processes: DemoProcesses) -> None:
    if not replays:
        raise RuntimeError("there is no run to diagnose: no episode was replayed")
    run = str(replays[0].bag)
    _run(processes, ["diagnose", run, "--output", str(folder / "diagnosis")])


def _run(processes: DemoProcesses, arguments: Sequence[str]) -> None:
    """Run a command of `gr00t-policy`, and show it with its output."""
    _tell_command(arguments)
    output = processes.run(arguments[0], [str(executable("gr00t-policy")), *arguments])
    for line in output.splitlines():
        write_line(f"  {line}")


def _tell(line: str) -> None:
    write_line(f"demo-data: {line}")


def _tell_command(arguments: Sequence[str]) -> None:
    _tell(f"gr00t-policy {shlex.join(arguments)}")


def _dataset(folder: Path, version: str) -> Path:
    return folder / f"dataset-{version}"


def _remove_earlier(folder: Path) -> None:
    """Remove the results of an earlier run, and nothing else that is in the folder."""
    for path in [*map(folder.joinpath, FOLDERS), *(_dataset(folder, v) for v in FORMATS)]:
        for left in (path, path.with_name(f"{path.name}.converting")):
            if left.exists():
                shutil.rmtree(left)


def _episodes(text: str) -> int:
    if not text:
        return EPISODES
    if not text.isdecimal() or not 1 <= int(text) <= MAX_EPISODES:
        raise ValueError(f"DEMO_EPISODES must be an integer from 1 to {MAX_EPISODES}, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
