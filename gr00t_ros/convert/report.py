# SPDX-License-Identifier: Apache-2.0
"""What became of each bag: how many steps were written, and why others were not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gr00t_ros.convert.filters import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class BagReport:
    """What became of one bag.

    Args:
        bag: The path of the bag.
        skipped: Why the bag was not converted; empty if it was.
        truncated: What of the bag is missing, and why; empty for a whole bag.
        task: The task of its episodes.
        outcome: The outcome that was recorded with it.
        steps: The steps in the dataset.
        episodes: The steps of each episode.
        interventions: How often a person drove in place of the policy.
        intervention_steps: The steps in the dataset that a person drove.
        missing: Steps without an observation or an action, by cause.
        filtered: Steps that the filters left out, by filter.
        interruptions: How often the grid began anew, by cause.
        rejected: Messages that could not be used, by stream.
        sharpness: The median sharpness of each camera, where the filter is on.
    """

    bag: str
    skipped: str = ""
    truncated: str = ""
    task: str = ""
    outcome: str = ""
    steps: int = 0
    episodes: Sequence[int] = ()
    interventions: int = 0
    intervention_steps: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    filtered: Mapping[str, int] = field(default_factory=dict)
    interruptions: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)
    sharpness: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What became of all bags.

    Args:
        bags: In the order of the dataset.
        fps: Steps per second.
    """

    bags: Sequence[BagReport]
    fps: float

    @property
    def steps(self) -> int:
        """The steps in the dataset."""
        return sum(bag.steps for bag in self.bags)

    @property
    def interventions(self) -> int:
        """How often a person drove in place of the policy."""
        return sum(bag.interventions for bag in self.bags)

    @property
    def intervention_steps(self) -> int:
        """The steps in the dataset that a person drove."""
        return sum(bag.intervention_steps for bag in self.bags)

    def totals(self, counts: str) -> dict[str, int]:
        """The sum over all bags of ``missing``, ``filtered`` or ``interruptions``."""
        total: Counter[str] = Counter()
        for bag in self.bags:
            total.update(getattr(bag, counts))
        return counted(total)

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and lists, as they stand in the dataset's `meta/conversion.json`."""
        return {
            "steps": self.steps,
            "episodes": sum(len(bag.episodes) for bag in self.bags),
            "interventions": self.interventions,
            "intervention_steps": self.intervention_steps,
            **{name: self.totals(name) for name in ("missing", "filtered", "interruptions")},
            "bags": [bag.as_json() for bag in self.bags],
        }

    def lines(self) -> Iterator[str]:
        """The report for a terminal."""
        converted = [bag for bag in self.bags if not bag.skipped]
        episodes = sum(len(bag.episodes) for bag in self.bags)
        yield (
            f"{len(converted)} of {len(self.bags)} bags, {episodes} episodes, {self.steps} steps "
            f"({self.steps / self.fps:.1f} s at {self.fps:g} Hz)"
        )
        if self.interventions:
            yield (
                f"interventions: {self.interventions}, a person drove {self.intervention_steps} of "
                f"the {self.steps} steps"
            )
        for title, name in (
            ("steps missing", "missing"),
            ("steps filtered", "filtered"),
            ("interruptions", "interruptions"),
        ):
            for cause, count in self.totals(name).items():
                yield f"{title}: {count} × {cause}"
        for bag in self.bags:
            yield from _notes(bag)


def _notes(bag: BagReport) -> Iterator[str]:
    if bag.truncated:
        yield f"{bag.bag}: truncated: {bag.truncated}"
    if bag.skipped:
        yield f"{bag.bag}: not converted: {bag.skipped}"
        return
    for stream, text in bag.rejected.items():
        yield f"{bag.bag}: {stream}: {text}"
    if not bag.episodes:
        causes = {**bag.missing, **bag.filtered} or {"it has no step": 0}
        yield f"{bag.bag}: no episode: {max(causes, key=lambda cause: causes[cause])}"
