# SPDX-License-Identifier: Apache-2.0
"""A run on record, written and read back to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gr00t_policy_core.control import recording
from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.recording import (
    Allowed,
    Held,
    Limited,
    Measured,
    Offered,
    RecordingPlayer,
    Ticked,
    TruncatedRecordingError,
    read_events,
    replay,
    write_events,
)

T0_NS = 1_700_000_000_123_456_789
FIRST_LINE = '{"recording_format": 7}'
TICK_LINE = '{"event": "Ticked", "now_ns": 1, "is_missed": false, "is_under_way": false}'


def player_of(kind: type[MotionPlayer]) -> MotionPlayer:
    limits = JointLimits(-2.0, 2.0, 3.0, 25.0, 500.0)
    settings = PlayerSettings(period_s=0.01, limits={0: limits}, max_joint_ages_s={0: 0.1})
    return kind(ActionLayout({"arm": 1}), settings)


def recorded_run() -> tuple[RecordingPlayer, list[float]]:
    """A second of motion with a chunk refused, a stop, old joints and a message to hold."""
    player = player_of(RecordingPlayer)
    assert isinstance(player, RecordingPlayer)
    rng = np.random.default_rng(2)
    values = []
    for tick in range(100):
        now_ns = T0_NS + 10_000_000 * tick
        if not 50 < tick < 70:
            player.measure({0: 0.1 * rng.random()}, now_ns)
        if tick % 15 == 0:
            rows = np.cumsum(rng.normal(0.0, 0.02, (20, 1)), axis=0)
            for late_ns in (3 * 10**7, 9 * 10**9):
                try:
                    player.offer(Chunk(tick + 1, now_ns - late_ns, 0.05, {"arm": rows}), now_ns)
                except ChunkRefusedError:
                    continue
        player.inhibit("stopped by hand" if 33 < tick < 40 else "")
        if tick == 80:
            player.hold(now_ns, "told to stop")
        command = player.tick(now_ns)
        if command is not None:
            values.append(float(command.values["arm"][0]))
    return player, values


def test_a_file_of_a_run_plays_the_same_commands_bit_for_bit(tmp_path: Path) -> None:
    player, values = recorded_run()
    path = tmp_path / "run.jsonl"
    write_events(path, player.events)
    commands = replay(read_events(path), player_of(MotionPlayer))
    assert [float(c.values["arm"][0]) for c in commands if c is not None] == values
    assert len(set(values)) > 50


def test_every_event_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = {"arm": np.array([[0.1], [1e-300], [np.nextafter(1.0, 2.0)]])}
    events = [
        Measured({0: -0.1, 11: 1 / 3}, T0_NS),
        Offered(Chunk(3, T0_NS, 1 / 30, rows), T0_NS + 1),
        Allowed("the enable signal is off"),
        Held(T0_NS, "told to stop"),
        Limited({3: JointLimits(-1.0, np.inf, 3.0, 25.0, 500.0)}, T0_NS + 3),
        Ticked(T0_NS + 2),
    ]
    path = tmp_path / "run.jsonl"
    write_events(path, events)
    back = list(read_events(path))
    offered = back.pop(1)
    assert back == [events[0], *events[2:]]
    assert isinstance(offered, Offered)
    assert (offered.now_ns, offered.chunk.t0_ns) == (T0_NS + 1, T0_NS)
    assert (offered.chunk.chunk_id, offered.chunk.dt_s) == (3, 1 / 30)
    assert_array_equal(offered.chunk.actions["arm"], rows["arm"])


def test_permission_is_recorded_when_it_changes(tmp_path: Path) -> None:
    player, _ = recorded_run()
    allowed = [event for event in player.events if isinstance(event, Allowed)]
    assert allowed == [Allowed("stopped by hand"), Allowed("")]


def test_a_recording_that_is_full_keeps_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_EVENTS", 40)
    player, values = recorded_run()
    assert player.is_full
    assert len(player.events) == 40
    commands = [c for c in replay(player.events, player_of(MotionPlayer)) if c is not None]
    assert [float(c.values["arm"][0]) for c in commands] == values[: len(commands)]


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"event": "Blown"}',
        '{"event": "Ticked"}',
        '{"event": "Ticked", "now": 3}',
        '{"event": "Offered", "now_ns": 1, "actions": {"arm": [[NaN]]}, "dt_s": 0.1, '
        '"chunk_id": 1, "t0_ns": 1}',
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(f"{FIRST_LINE}\n{TICK_LINE}\n{line}\n")
    with pytest.raises(ValueError, match="line 3 is not an event"):
        list(read_events(path))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            '{"event": "Ticked", "now_ns": 1}',
            "of format 1, this version plays format 7",
        ),
        ('{"recording_format": 2}', "of format 2, this version plays format 7"),
        ("no json", "is not a recording"),
        ("[]", "is not a recording"),
        ("", "is not a recording"),
    ],
)
def test_a_recording_of_another_format_is_refused(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(f"{line}\n{TICK_LINE}\n")
    with pytest.raises(ValueError, match=why):
        list(read_events(path))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1, 2]", "expected an object, got list"),
        ('{"event": "Flown"}', "its event is none of Measured, Offered"),
        (
            '{"event": "Ticked"}',
            r"Ticked has the fields \['is_missed', 'is_under_way', 'now_ns'\], got \[\]",
        ),
        (
            '{"event": "Ticked", "now_ns": "soon", "is_missed": false, "is_under_way": false}',
            "now_ns must be a whole number of ns",
        ),
        (
            '{"event": "Ticked", "now_ns": Infinity, "is_missed": false, "is_under_way": false}',
            "now_ns must be a whole number of ns, got inf",
        ),
        (
            '{"event": "Held", "now_ns": true, "reason": ""}',
            "now_ns must be a whole number of ns, got True",
        ),
    ],
)
def test_a_line_that_is_no_event_says_why(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "run"
    write_events(path, [])
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(ValueError, match=f"line 2 is not an event: {problem}"):
        list(read_events(path))


def test_a_recording_that_was_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "run"
    write_events(path, [Ticked(1), Ticked(2), Ticked(3)])
    path.write_text(path.read_text()[:-5])
    events = read_events(path)
    assert [next(events), next(events)] == [Ticked(1), Ticked(2)]
    with pytest.raises(TruncatedRecordingError, match="its last line 4 is not whole"):
        next(events)
