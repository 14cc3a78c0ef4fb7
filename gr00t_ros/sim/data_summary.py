# SPDX-License-Identifier: Apache-2.0
"""What the demo of the data has shown, read from the reports that its commands have written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr00t_policy_core.evaluation.finding import Fault
from gr00t_policy_core.report_files import JSON_NAME
from gr00t_ros.convert.filters import SHORT
from gr00t_ros.sim.demonstrations import Demonstration
from gr00t_ros.sim.replays import Episode, Replay

REPLAY, FLIPPED = "replay", "flipped"  # the evaluated policies


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """The whole way in a few numbers.

    Args:
        demonstrations: All that were recorded.
        cut: Why a bag has lost a part of its demonstration, one text for each; these are not
            replayed.
        replays: All replays.
        problems: What the evaluation should have found, and has not.
        diagnosis: The verdict on the first replay.
    """

    demonstrations: tuple[Demonstration, ...]
    cut: tuple[str, ...]
    replays: tuple[Replay, ...]
    problems: tuple[str, ...]
    diagnosis: str

    @property
    def succeeded(self) -> bool:
        """Whether every episode could be replayed, and the evaluation found what it should."""
        asked = {replay.episode.index for replay in self.replays}
        shown = {replay.episode.index for replay in self.replays if replay.success}
        return bool(shown) and shown == asked and not self.problems

    def __str__(self) -> str:
        shown = sum(demonstration.success for demonstration in self.demonstrations)
        replayed = sum(replay.success for replay in self.replays)
        lines = [
            f"{shown} of {len(self.demonstrations)} demonstrations and {replayed} of "
            f"{len(self.replays)} replays put the cube into the bin",
            *(f"not replayed: {text}" for text in self.cut),
            *(self.problems or ["evaluation: the replay differs by 0, the flipped sign was found"]),
            f"diagnosis: {self.diagnosis}",
        ]
        return "\ndemo-data: ".join(lines)


def replayable_episodes(
    datasets: Sequence[Path], demonstrations: Sequence[Demonstration]
) -> list[Episode]:
    """The episodes that hold a whole demonstration, from one dataset after the other in turn."""
    by_bag = {demonstration.bag.name: demonstration for demonstration in demonstrations}
    fps = json.loads((datasets[0] / "meta" / "info.json").read_text())["fps"]
    episodes: list[Episode] = []
    index = 0
    for bag in _bags(datasets[0]):
        steps = bag["episodes"]
        if _is_whole(bag):
            demonstration = by_bag[Path(bag["bag"]).name]
            episodes.append(
                Episode(
                    dataset=datasets[len(episodes) % len(datasets)],
                    index=index,
                    duration_s=steps[0] / fps,
                    scene_seed=demonstration.scene_seed,
                    cube=demonstration.cube,
                )
            )
        index += len(steps)
    return episodes


def cut_bags(dataset: Path) -> Iterator[str]:
    """The bags whose demonstration was cut by gaps, with the most frequent reason."""
    for bag in _bags(dataset):
        causes = {**bag["missing"], **bag["interruptions"]}
        if not (_is_whole(bag) or bag["skipped"]):
            cause = max(causes, key=lambda text: causes[text], default="")
            steps = ", ".join(map(str, bag["episodes"]))
            kept = f"episodes of {steps} steps" if steps else "no episode"
            yield f"{Path(bag['bag']).name} was cut by gaps to {kept}: {cause}"


def evaluation_problems(folder: Path) -> Iterator[str]:
    """What the evaluation should have found, and has not."""
    report = json.loads((folder / JSON_NAME).read_text())
    policies = {policy["name"]: policy for policy in report["policies"]}
    replay, flipped = policies[REPLAY], policies[FLIPPED]
    if replay["mse"] != 0.0 or replay["findings"]:
        yield f"evaluation: the replay differs from itself, MSE {replay['mse']:.3g}"
    if not any(_is_flipped_sign(finding) for finding in flipped["findings"]):
        yield "evaluation: the flipped sign was NOT found"


def diagnosis_text(folder: Path) -> str:
    """The worst thing that the diagnosis names, in a sentence."""
    verdict = json.loads((folder / JSON_NAME).read_text())["verdict"]
    symptoms = [symptom for symptom in verdict if symptom["level"] != "note"]
    if not symptoms:
        return "nothing is wrong with the first replay"
    worst = symptoms[0]
    return f"{worst['level']}, {worst['title']}: {worst['text']}"


def _is_flipped_sign(finding: Mapping[str, Any]) -> bool:
    return finding["fault"] == Fault.SIGN.value and finding["joints"] == ["shoulder_pan"]


def _is_whole(bag: Mapping[str, Any]) -> bool:
    """Whether a bag is one episode, and no part before or after a gap was too short for another."""
    return len(bag["episodes"]) == 1 and SHORT not in bag["filtered"]


def _bags(dataset: Path) -> list[dict[str, Any]]:
    report = json.loads((dataset / "meta" / "conversion.json").read_text())
    bags: list[dict[str, Any]] = report["bags"]
    return bags
