# SPDX-License-Identifier: Apache-2.0
"""Writes runs of steps without a gap, and makes episodes of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from gr00t_policy_core.datasets.episode_writer import Details, EpisodeWriter
from gr00t_policy_core.datasets.video import KEY_FRAME_INTERVAL
from gr00t_policy_core.errors import SpecError
from gr00t_ros.bags.bag_file import BagError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.convert.filters import Recorded, chosen_steps, runs, sharpness
from gr00t_ros.convert.settings import ConversionSettings
from gr00t_ros.convert.step_layout import StepLayout
from gr00t_ros.convert.steps import Step

BEHIND_THE_END = "the state that would be the action is not recorded any more"
RUN = "run"


@dataclass(slots=True)
class _Run:
    """The steps since the last gap."""

    writer: EpisodeWriter
    times_ns: list[int] = field(default_factory=list)
    sharpness: dict[str, list[float]] = field(default_factory=dict)


class RunWriter:
    """Writes the steps of one bag to episodes; use it as a context manager.

    Args:
        folder: Gets a folder for each episode, ``000``, ``001``, …
        contract: The robot.
        settings: How steps become episodes.
        task: The task of the bag.
        details: What the list of episodes says of each of them, by name.

    Attributes:
        episodes: The steps of each episode so far.
        filtered: The steps that were left out so far, by filter.
        interventions: How often a person has driven so far.
        intervention_steps: The steps of the episodes that a person drove, so far.
        sharpest: The sharpness of all images by camera, if a filter asks for it.
    """

    def __init__(
        self,
        folder: Path,
        contract: Contract,
        settings: ConversionSettings,
        *,
        task: str,
        details: dict[str, str],
    ) -> None:
        self._folder = folder
        self._layout = StepLayout(contract, settings)
        self._settings = settings
        self._fps = contract.action_rate_hz
        self._task = task
        self._details = details
        self._lead = settings.lead_steps or 0
        self._run: _Run | None = None
        self.episodes: list[int] = []
        self.filtered: Counter[str] = Counter()
        self.interventions = self.intervention_steps = 0
        self.sharpest: dict[str, list[float]] = {}

    def add(self, step: Step) -> None:
        """Add the step that follows the one before.

        Raises:
            BagError: An image or a value has another size than the first one, or an image an odd
                one.
        """
        run = self._run = self._run or self._new_run(step)
        images = self._layout.images(step)
        try:
            run.writer.add(
                self._layout.state_row(step),
                self._layout.action_row(step),
                images,
                intervention=step.intervention,
            )
        except ValueError as error:
            raise BagError(f"the images or values change their size: {error}") from error
        run.times_ns.append(step.t0_ns)
        if self._settings.filters.blur_share is not None:
            for key, image in images.items():
                run.sharpness.setdefault(key, []).append(sharpness(image))

    def end_run(self) -> None:
        """Make episodes of the steps since the last gap."""
        run, self._run = self._run, None
        if run is None:
            return
        with run.writer as writer:
            writer.close()
            self.interventions += len(list(runs(writer.interventions)))
            usable = len(writer) - self._lead
            self.filtered[BEHIND_THE_END] += len(writer) - max(0, usable)
            if usable > 0:
                self._keep_episodes(run, usable)
        for key, values in run.sharpness.items():
            self.sharpest.setdefault(key, []).extend(values)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.writer.__exit__(kind, error, traceback)

    def _new_run(self, step: Step) -> _Run:
        schema = self._layout.schema(step)
        try:
            return _Run(EpisodeWriter(self._folder / RUN, schema, self._settings.video))
        except SpecError as error:
            raise BagError(f"{error}; choose another size by --image-size") from error

    def _keep_episodes(self, run: _Run, usable: int) -> None:
        """Make episodes of the first steps, those whose action is known."""
        writer = run.writer
        actions = writer.actions[self._lead :]
        measured = self._layout.measured_positions(writer.states)[:usable]
        commanded = self._layout.commanded_positions(actions)[:usable]
        recorded = Recorded(
            measured=measured,
            positions=np.hstack([measured, commanded]),
            sharpness={key: np.array(v[:usable]) for key, v in run.sharpness.items()},
            # A state that is the action is measured some steps later: then, too, a person drives.
            corrected=writer.interventions[:usable] & writer.interventions[self._lead :],
            fps=self._fps,
        )
        filters, grain = self._settings.filters, KEY_FRAME_INTERVAL
        for steps in chosen_steps(recorded, filters, grain=grain, dropped=self.filtered):
            folder = self._folder / f"{len(self.episodes):03d}"
            driven = int(writer.interventions[steps.start : steps.stop].sum())
            details: Details = {
                **self._details,
                "started_ns": run.times_ns[steps.start],
                "intervention_steps": driven,
            }
            self.intervention_steps += driven
            writer.keep(folder, steps, task=self._task, details=details, actions=actions)
            self.episodes.append(len(steps))

    def median_sharpness(self) -> dict[str, float]:
        """The median sharpness of each camera, if a filter asks for it."""
        medians = {key: float(np.median(values)) for key, values in self.sharpest.items()}
        return {key: round(value, 3) for key, value in medians.items() if math.isfinite(value)}
