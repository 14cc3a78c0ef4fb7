# SPDX-License-Identifier: Apache-2.0
"""The verdict names each fault that is put into a run, with its size, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pip install '.[report]'")
from run_rig import DURATION_S, T0_S, run_with

from gr00t_policy_core.report_files import finite
from gr00t_ros.diagnose.report import diagnose
from gr00t_ros.diagnose.run import Activity, Counters, Phase, Series, Topic
from gr00t_ros.diagnose.symptom import Level


def titles(**changes: Any) -> list[str]:
    return [finding.title for finding in diagnose(run_with(**changes)).symptoms]


def text_of(title: str, **changes: Any) -> str:
    found = {f.title: f.text for f in diagnose(run_with(**changes)).symptoms}
    assert list(found) == [title]
    return found[title]


def test_a_good_run_is_good() -> None:
    diagnosis = diagnose(run_with())
    assert diagnosis.symptoms == ()
    assert "Nothing is wrong" in list(diagnosis.lines())[-1]


@pytest.mark.parametrize(
    ("title", "text", "changes"),
    [
        ("The robot follows its commands late", "180 ms after them", {"lag_s": 0.18}),
        ("Observations are old when they are sent", "200 ms in the median", {"age_s": 0.2}),
        ("Observations come from the future", "sent 30 ms before", {"age_s": -0.03}),
        ("The policy shakes within its chunks (case A)", "of the mean step", {"shake": 0.1}),
        ("Chunks disagree with each other (case B)", "times the mean step", {"jump": 0.4}),
        ("The robot shakes, not the policy (case C)", "elbow shakes", {"shakes": 0.02}),
        ("Chunks came too late", "11 of 11 chunks", {"replan_s": 1.0}),
        ("Limits changed many commands", "900 values in 1000", {"limiter_hits": 900}),
        ("The control loop missed ticks", "50 of 1050", {"ticks_missed": 50}),
        ("The control loop stood still", "2 times, 0.75 s", {"stalls": 2, "stalled_s": 0.75}),
        ("Several nodes publish chunks", "Up to 2 at once", {"chunk_publishers": 2}),
        ("Chunks were refused", "refused 7 chunks", {"chunks_rejected": 7}),
        ("The policy failed", "3 calls failed", {"inference_errors": 3}),
        ("Inference was skipped", "4 times", {"inferences_skipped": 4}),
        (
            "video.front is slow",
            "20.0 Hz received",
            {"slow_streams": {"video.front": (20.0, 30.0)}},
        ),
        ("Not all could be read", "the end is missing", {"notes": ("the end is missing",)}),
        ("The recorder lost messages of /front", "5;", {"lost": {"/front": 5}}),
    ],
)
def test_each_fault_is_named_with_its_size(title: str, text: str, changes: dict) -> None:
    counted = {f.name for f in dataclasses.fields(Counters)} & changes.keys()
    if counted:
        changes = {"counters": Counters(commands=1000, **changes)}
    assert text in text_of(title, **changes)


def test_pauses_are_told_with_their_reasons_and_share() -> None:
    phases = (
        Phase(T0_S - 5, T0_S, Activity.WAITING, "before the start does not count"),
        Phase(T0_S, T0_S + 6, Activity.PLAYING, ""),
        Phase(T0_S + 6, T0_S + 8, Activity.HOLDING, "the chunk ended"),
        Phase(T0_S + 8, T0_S + 9, Activity.PLAYING, ""),
        Phase(T0_S + 9, T0_S + 10, Activity.WAITING, "video.front is stale"),
    )
    text = text_of("The robot paused", phases=phases)
    assert "held for 3.0 s of 10.0 s (30%)" in text
    assert "2.0 s: the chunk ended; 1.0 s: video.front is stale" in text


def test_a_run_without_motion_tells_why() -> None:
    phases = (Phase(T0_S, T0_S + 9, Activity.WAITING, "nobody subscribes to /arm"),)
    assert "9.0 s: nobody subscribes to /arm" in text_of("The robot was never moved", phases=phases)


def test_the_worst_comes_first() -> None:
    error = Phase(T0_S + 11, T0_S + 12, Activity.ERROR, "elbow does not follow")
    playing = Phase(T0_S, T0_S + 11, Activity.PLAYING, "")
    found = titles(phases=(playing, error), lag_s=0.18, lost={"/front": 5})
    assert found == [
        "The control node stopped with an error",
        "The robot follows its commands late",
        "The recorder lost messages of /front",
    ]


def test_gaps_of_a_topic_are_told() -> None:
    stamps_s = np.delete(T0_S + np.arange(0, DURATION_S, 0.1), np.arange(30, 60))
    front = Topic(name="/front", kind="", received_s=stamps_s, stamps_s=stamps_s)
    text = text_of("/front has gaps", topics=(front,))
    assert text == "30 of 120 messages are missing at 10.0 Hz, the longest gap is 3.10 s."


def test_an_empty_run_and_one_without_commands_are_reported() -> None:
    empty = Series(np.empty(0), np.empty((0, 2)))
    for changes in ({"chunks": (), "phases": ()}, {}):
        diagnosis = diagnose(run_with(commands=empty, measured=empty, **changes))
        assert diagnosis.symptoms == ()
        assert "<html" in str(diagnosis.html())
        json.dumps(finite(diagnosis.as_json()), allow_nan=False)


def test_the_report_holds_the_numbers_and_is_one_file() -> None:
    diagnosis = diagnose(run_with(lag_s=0.18))
    content = json.loads(json.dumps(finite(diagnosis.as_json()), allow_nan=False))
    assert content["joints"]["elbow"]["controller_lag"]["lag_s"] == pytest.approx(0.18, abs=0.005)
    assert [f["level"] for f in content["verdict"]] == [Level.WARNING.name.lower()]
    page = str(diagnosis.html())
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert 'src="' not in page
