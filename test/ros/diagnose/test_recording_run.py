# SPDX-License-Identifier: Apache-2.0
"""The control node's own recording is diagnosed, with the commands that it gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.recording import (
    Event,
    Measured,
    Offered,
    RecordingPlayer,
    Steered,
    write_events,
)
from gr00t_policy_core.errors import SpecError
from gr00t_ros.control.motion_setup import make_layout, make_player
from gr00t_ros.diagnose.recording_run import NO_COMMANDS, read_recording
from gr00t_ros.diagnose.report import diagnose
from gr00t_ros.diagnose.run import Activity
from gr00t_ros.node.offline_nodes import contract_of_file

CONFIG = Path(__file__).parents[3] / "config/demo.yaml"
START_NS = 1_700_000_000_000_000_000
TICK_NS = 10_000_000
DT_S = 1 / 30


def chunk_at(number: int, t0_ns: int) -> Chunk:
    steps_s = (t0_ns - START_NS) * 1e-9 + DT_S * np.arange(16)
    arm = np.stack([0.3 * np.sin(1.2 * steps_s + joint) for joint in range(6)], axis=1)
    return Chunk(number, t0_ns, DT_S, {"single_arm": arm, "gripper": np.full((16, 1), 0.02)})


def recorded(folder: Path) -> tuple[Path, list[float]]:
    """A run of 6 s: a chunk too old after 2 s, told to hold at 4 s; and its commands."""
    text = CONFIG.read_text(encoding="utf-8")
    config = folder / "robot.yaml"
    config.write_text(
        text.replace("    control_rate_hz:", "    record_path: run\n    control_rate_hz:")
    )
    contract = contract_of_file(config)
    player = make_player(contract, make_layout(contract, {"single_arm": 6, "gripper": 1}), {})
    assert isinstance(player, RecordingPlayer)
    commands = []
    for tick in range(600):
        now_ns = START_NS + tick * TICK_NS
        row = chunk_at(0, now_ns).actions["single_arm"][0]
        player.measure({**dict(enumerate(row.tolist())), 6: 0.02}, now_ns)
        if tick % 30 == 5:
            age_ns = 50_000_000 if tick != 215 else 30_000_000_000
            try:
                player.offer(chunk_at(tick, now_ns - age_ns), now_ns)
            except ChunkRefusedError:
                assert tick == 215
        if tick == 400:
            player.hold(now_ns, "told to hold")
        command = player.tick(now_ns)
        if command is not None:
            commands.append(float(command.values["single_arm"][0]))
    path = folder / "run.jsonl"
    write_events(path, player.events)
    return path, commands


def test_commands_holds_and_refusals_come_back_as_they_were(tmp_path: Path) -> None:
    path, commands = recorded(tmp_path)
    run = read_recording(path, contract_of_file(CONFIG))
    assert run.commands.values[:, 0].tolist() == commands
    assert run.joints[0] == "shoulder_pan"
    assert run.measured.values.shape == (600, 7)
    held = [phase for phase in run.phases if phase.activity is Activity.HOLDING]
    assert any(phase.reason == "told to hold" for phase in held)
    (refused,) = [chunk for chunk in run.chunks if chunk.refused]
    assert refused.chunk_id == 215
    assert run.counters.chunks_rejected == 1
    titles = [finding.title for finding in diagnose(run).symptoms]
    assert "Chunks were refused" in titles


def test_without_the_robots_file_the_chunks_are_still_judged(tmp_path: Path) -> None:
    path, _ = recorded(tmp_path)
    run = read_recording(path, None)
    assert (len(run.commands), run.phases, run.notes) == (0, (), (NO_COMMANDS,))
    assert run.joints[-1] == "gripper[0]"
    assert diagnose(run).measured.jitter.acceleration > 0.0


def test_a_recording_of_another_robot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    rows = {"legs": np.zeros((4, 2))}
    write_events(path, [Offered(Chunk(1, START_NS, DT_S, rows), START_NS)])
    with pytest.raises(SpecError, match=r"has the action keys \['legs'\]"):
        read_recording(path, contract_of_file(CONFIG))


@pytest.mark.parametrize("contract", [None, CONFIG], ids=["without", "with the YAML file"])
@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (Measured({99: 1.0}, START_NS), "Measured does not fit"),
        (Steered((1.0, 2.0), START_NS), "Steered does not fit"),
        (
            Offered(Chunk(2, START_NS, DT_S, {"legs": np.zeros((4, 2))}), START_NS),
            "Offered does not fit",
        ),
    ],
)
def test_events_of_two_robots_are_refused(
    tmp_path: Path, event: Event, problem: str, contract: Path | None
) -> None:
    path = tmp_path / "run.jsonl"
    write_events(path, [Offered(chunk_at(1, START_NS), START_NS), event])
    with pytest.raises(SpecError, match=f"of several robots.*{problem}"):
        read_recording(path, contract_of_file(contract) if contract else None)


def test_a_recording_without_an_end_is_diagnosed_up_to_there(tmp_path: Path) -> None:
    path, _ = recorded(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1000]) + lines[1000][:20])
    run = read_recording(path, contract_of_file(CONFIG))
    assert run.notes == (f"{path} has no end, its last line 1001 is not whole",)
    assert len(run.measured) > 300
    titles = [finding.title for finding in diagnose(run).symptoms]
    assert "Not all could be read" in titles
