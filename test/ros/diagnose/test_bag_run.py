# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy diagnose` on bags: topics are found by type, and faults with their size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pip install '.[report]'")
from demonstration_bags import LATENCY_S, Recorded, picture, stamp, write_plain_bag
from run_rig import DT_S, DURATION_S, JOINTS, T0_S, run_with
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_policy_core.cli import main
from gr00t_ros.diagnose.bag_run import read_bag
from gr00t_ros.diagnose.report import diagnose
from gr00t_ros.diagnose.run import Activity, Run
from gr00t_ros.msg import (
    ActionChunk,
    ActionValues,
    CommandTopicStatus,
    ControlStatus,
    JointStatus,
    PolicyStatus,
    StreamStatus,
)

HOLD_S = (8.0, 10.0)


def messages(run: Run, *, with_status: bool = True) -> list[Recorded]:
    """The topics of a run; the control node holds during `HOLD_S`."""
    parts = [*_chunks(run), *_commands(run), *_joints(run), *_pictures()]
    if with_status:
        parts += [*_control(), *_policy()]
    return sorted(parts, key=lambda recorded: recorded.time_s)


def _chunks(run: Run) -> Iterator[Recorded]:
    for chunk in run.chunks:
        message = ActionChunk(chunk_id=chunk.chunk_id, dt=DT_S, horizon=len(chunk.values))
        message.header.stamp = stamp(chunk.t0_s - T0_S)
        message.round_trip_s = chunk.round_trip_s
        for joint, name in enumerate(("arm", "hand")):
            values = chunk.values[:, joint].tolist()
            message.actions.append(ActionValues(name=name, dimension=1, values=values))
        yield Recorded("/robot/action_chunk", message, chunk.received_s - T0_S)


def _commands(run: Run) -> Iterator[Recorded]:
    for time_s, row in zip(run.commands.times_s, run.commands.values, strict=True):
        point = JointTrajectoryPoint(positions=[row[0]])
        arm = JointTrajectory(joint_names=["shoulder"], points=[point])
        yield Recorded("/arm/command", arm, time_s - T0_S)
        hand = JointState(name=["elbow"], position=[row[1]])
        yield Recorded("/hand/command", hand, time_s - T0_S)


def _joints(run: Run) -> Iterator[Recorded]:
    for time_s, row in zip(run.measured.times_s, run.measured.values, strict=True):
        message = JointState(name=["other", *reversed(JOINTS)], position=[0.0, row[1], row[0]])
        message.header.stamp = stamp(time_s - T0_S)
        yield Recorded("/joint_states", message, time_s - T0_S + 0.003)


def _pictures() -> Iterator[Recorded]:
    for number in range(round(DURATION_S * 10)):
        if not 40 <= number < 60:
            yield Recorded("/front/image", picture(number / 10), number / 10 + LATENCY_S)


def _control() -> Iterator[Recorded]:
    for number in range(round(2 * DURATION_S)):
        time_s = number / 2
        is_holding = HOLD_S[0] <= time_s < HOLD_S[1]
        status = ControlStatus(state=ControlStatus.STATE_RUNNING, commands=100 * number)
        if is_holding:
            status.state, status.reason = ControlStatus.STATE_HOLDING, "the chunk ended"
        status.joints = [JointStatus(name=name) for name in JOINTS]
        status.command_topics = [
            CommandTopicStatus(topic=t) for t in ("/arm/command", "/hand/command")
        ]
        yield Recorded("/robot/control_node/status", status, time_s)


def _policy() -> Iterator[Recorded]:
    for number in range(round(2 * DURATION_S)):
        status = PolicyStatus(state=PolicyStatus.STATE_RUNNING)
        status.policy_time.last_s = 0.04
        stream = StreamStatus(name="video.front", rate_hz=10.0, expected_rate_hz=15.0)
        status.streams = [stream]
        yield Recorded("/robot/policy_node/status", status, number / 2)


def bag_of(folder: Path, **changes: Any) -> Path:
    return write_plain_bag(folder / "run.mcap", messages(run_with(**changes)))


def test_a_bag_of_any_recorder_gives_the_run_back(tmp_path: Path) -> None:
    made = run_with(round_trip_s=0.07)
    run = read_bag(write_plain_bag(tmp_path / "run.mcap", messages(made)))
    assert run.joints == JOINTS
    assert len(run.chunks) == len(made.chunks)
    np.testing.assert_allclose(run.chunks[3].values, made.chunks[3].values)
    assert run.chunks[3].t0_s == pytest.approx(made.chunks[3].t0_s, abs=1e-6)
    assert run.chunks[3].round_trip_s == pytest.approx(0.07)
    np.testing.assert_allclose(run.measured.values, made.measured.values)
    assert len(run.commands) == len(made.commands)
    np.testing.assert_allclose(run.commands.values[-1], made.commands.values[-1])
    assert [p.activity for p in run.phases] == [
        Activity.PLAYING,
        Activity.HOLDING,
        Activity.PLAYING,
    ]
    assert run.phases[1].duration_s == pytest.approx(2.0)
    assert run.phases[1].reason == "the chunk ended"


def test_faults_of_a_known_size_are_found_in_a_bag(tmp_path: Path) -> None:
    diagnosis = diagnose(read_bag(bag_of(tmp_path, lag_s=0.13, round_trip_s=0.06)))
    found = {finding.title: finding.text for finding in diagnosis.symptoms}
    assert "held for 2.0 s of 11.5 s" in found["The robot paused"]
    assert found["The robot follows its commands late"].startswith("130 ms after")
    assert found["/front/image has gaps"].startswith("20 of 120 messages are missing at 10.0 Hz")
    assert found["video.front is slow"] == (
        "10.0 Hz received by the policy node, 15.0 Hz expected."
    )
    assert len(found) == 4
    latency = diagnosis.measured.latency
    assert latency.part("model").p50_s == pytest.approx(0.04)
    assert latency.part("network").p50_s == pytest.approx(0.02)
    front = next(rate for rate in diagnosis.measured.rates if rate.name == "/front/image")
    assert front.delay_p50_s == pytest.approx(LATENCY_S, abs=1e-5)


def test_the_command_writes_both_reports_and_prints_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bag, output = bag_of(tmp_path, lag_s=0.3), tmp_path / "out"
    assert main(["diagnose", str(bag), "--output", str(output)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith("s, 30 chunks")
    assert shown[1].startswith("BAD")
    report = json.loads((output / "report.json").read_text())
    assert len(report["chunks"]) == 30
    assert report["verdict"][0]["level"] == "bad"
    assert "follows its commands late" in (output / "report.html").read_text()


def test_a_bag_without_statuses_is_diagnosed_as_far_as_it_goes(tmp_path: Path) -> None:
    made = messages(run_with(), with_status=False)
    run = read_bag(write_plain_bag(tmp_path / "run.mcap", made))
    assert run.joints == ("arm[0]", "hand[0]")
    diagnosis = diagnose(run)
    texts = [finding.text for finding in diagnosis.symptoms]
    assert "no status of the control node names the joints" in texts
    assert len(diagnosis.run.chunks) == 30


def damage(chunk: ActionChunk, damaged: str) -> None:
    match damaged:
        case "dt":
            chunk.dt = 0.0
        case "a value":
            chunk.actions[0].values[1] = float("nan")
        case "a size":
            chunk.actions[0].values = chunk.actions[0].values[:1]
        case "no action":
            chunk.actions = []


@pytest.mark.parametrize("damaged", ["dt", "a value", "a size", "no action"])
def test_a_chunk_that_no_robot_plays_is_noted_and_not_judged(tmp_path: Path, damaged: str) -> None:
    recorded = messages(run_with())
    chunks = [r.message for r in recorded if isinstance(r.message, ActionChunk)]
    for chunk in chunks[3:5]:
        damage(chunk, damaged)

    found = diagnose(read_bag(write_plain_bag(tmp_path / "run.mcap", recorded)))

    assert len(found.run.chunks) == len(chunks) - 2
    (note,) = found.run.notes
    assert note.startswith(f"2 chunks are not judged, the first: chunk {chunks[3].chunk_id}")


def test_commands_in_an_array_that_changes_its_size_are_noted(tmp_path: Path) -> None:
    recorded = [r for r in messages(run_with()) if r.topic != "/arm/command"]
    for r in recorded:
        if isinstance(r.message, ControlStatus):
            r.message.command_topics = [CommandTopicStatus(topic="/forward/command")]
    arrays = [
        Recorded("/forward/command", Float64MultiArray(data=[0.1] * (1 + n % 2)), n / 10)
        for n in range(20)
    ]
    path = write_plain_bag(tmp_path / "run.mcap", [*recorded, *arrays])
    assert "/forward/command: its 1 or 2 values are those of no single" in read_bag(path).notes[0]


def test_commands_in_an_array_are_those_of_the_key_with_as_many_values(tmp_path: Path) -> None:
    """Two keys of one value each: the array could be of either, and that is said."""
    made = [m for m in messages(run_with()) if m.topic != "/hand/command"]
    made += [Recorded("/hand/command", Float64MultiArray(data=[0.5]), 1.0)]
    made.sort(key=lambda recorded: recorded.time_s)
    run = read_bag(write_plain_bag(tmp_path / "run.mcap", made))
    assert "/hand/command: its 1 values are those of no single action key" in run.notes


def test_what_the_nodes_counted_before_the_run_is_not_of_the_run(tmp_path: Path) -> None:
    recorded = messages(run_with())
    controls = [r.message for r in recorded if isinstance(r.message, ControlStatus)]
    for number, status in enumerate(controls):
        since_activation = number if number < 10 else number - 10  # activated again
        status.commands = 9000 + 50 * number  # begins at 0 where the node is configured
        status.ticks_missed = 500 + number if number < 10 else since_activation
        status.stalls = 7 if number < 10 else 2
        status.stalled_s = 0.5 if number < 10 else 0.125
    policies = [r.message for r in recorded if isinstance(r.message, PolicyStatus)]
    for status in policies:
        status.inferences_skipped = 3

    counters = read_bag(write_plain_bag(tmp_path / "run.mcap", recorded)).counters

    assert counters.commands == 50 * (len(controls) - 1)
    assert counters.ticks_missed == 9 + len(controls) - 11
    assert (counters.stalls, counters.stalled_s) == (2, 0.125)
    assert counters.inferences_skipped == 0


def test_a_policy_node_that_was_not_asked_is_no_reason_why_inference_was_skipped(
    tmp_path: Path,
) -> None:
    recorded = messages(run_with())
    policies = [r.message for r in recorded if isinstance(r.message, PolicyStatus)]
    for status in policies[:4]:
        status.state, status.reason = PolicyStatus.STATE_STOPPED, "the node is not active"
    for status in policies[4:6]:
        status.state, status.reason = PolicyStatus.STATE_WAITING, "video.front: stale"

    run = read_bag(write_plain_bag(tmp_path / "run.mcap", recorded))

    assert run.policy_reasons == {"video.front: stale": pytest.approx(1.0)}


def test_a_folder_of_several_runs_is_asked_which(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs = [write_plain_bag(tmp_path / f"{name}.mcap", list(_pictures())) for name in "ab"]
    assert main(["diagnose", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert f"{tmp_path} has 2 bags, name one: a.mcap, b.mcap" in capsys.readouterr().err
    runs[1].unlink()
    assert main(["diagnose", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert "a.mcap has no topic of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["{bag}"], "has no topic of gr00t_ros/msg/ActionChunk and none of"),
        (["{text}"], "is not a recording"),
    ],
)
def test_what_is_no_run_is_one_line(
    arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bag = write_plain_bag(tmp_path / "run.mcap", list(_pictures()))
    broken = tmp_path / "run.jsonl"
    broken.write_text("hello\n")
    names = {"bag": bag, "text": broken}
    given = [argument.format(**names) for argument in arguments]
    assert main(["diagnose", *given, "--output", str(tmp_path / "out")]) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
