# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: JSON, one HTML page, and a few lines for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gr00t_policy_core.evaluation.accuracy import KeyAccuracy
from gr00t_policy_core.evaluation.evaluation import PolicyEvaluation
from gr00t_policy_core.evaluation.finding import Finding
from gr00t_policy_core.evaluation.plots import plot_episode, plot_horizon
from gr00t_policy_core.html_page import HtmlPage

# Relative errors from which a finding is shown as bad: half of what a constant would have.
BAD = 0.5
MAX_PLOTTED_EPISODES = 3


@dataclass(frozen=True, slots=True)
class Report:
    """The evaluation of one or several policies on the same recordings.

    Args:
        recordings: The path of the dataset, or of the bags.
        policies: Evaluated on the same episodes; at least one.
    """

    recordings: str
    policies: tuple[PolicyEvaluation, ...]

    def as_json(self) -> dict[str, Any]:
        """The numbers as plain lists and dicts; NaN for what is not known."""
        return {
            "recordings": self.recordings,
            "episodes": [result.episode_index for result in self.policies[0].episodes],
            "episode_names": [result.name for result in self.policies[0].episodes],
            "policies": [_policy_json(policy) for policy in self.policies],
        }

    def lines(self) -> Iterator[str]:
        """The result in a few lines."""
        width = max(len(policy.name) for policy in self.policies)
        for policy in self.policies:
            steps = sum(result.steps for result in policy.episodes)
            count = len(policy.episodes)
            episodes = f"{count} episode{'s' if count > 1 else ''}"
            yield (
                f"{policy.name:{width}}  MSE {policy.accuracy.mse:.4g}, MAE "
                f"{policy.accuracy.mae:.4g} over {steps} steps of {episodes}, "
                f"a call p50 {1e3 * policy.latency.p50_s:.1f} ms"
            )
            for finding in policy.findings:
                yield f"{'':{width}}  {_title(finding)}: {finding.text}"
            for reason, steps in policy.left_out.items():
                yield f"{'':{width}}  left out: {steps} steps: {reason}"
            for note in policy.notes:
                yield f"{'':{width}}  {note}"

    def html(self) -> HtmlPage:
        """The report as a page."""
        episodes = len(self.policies[0].episodes)
        page = HtmlPage(
            "Open-loop evaluation",
            f"{self.recordings}, {episodes} episode{'s' if episodes > 1 else ''}",
        )
        _add_findings(page, self.policies)
        _add_summary(page, self.policies)
        _add_left_out(page, self.policies)
        _add_keys(page, self.policies)
        _add_episodes(page, self.policies)
        page.paragraph(
            "MSE and MAE are those of Isaac-GR00T's open_loop_eval.py: over all compared steps "
            "and all values at once, in the units of the dataset, then the mean over episodes. A "
            "relative error is the mean squared error divided by the variance of the recorded "
            "values: 1 is as bad as to predict the mean."
        )
        return page


def _policy_json(policy: PolicyEvaluation) -> dict[str, Any]:
    accuracy = policy.accuracy
    return {
        "name": policy.name,
        "execution_horizon": policy.stride,
        "action_horizon": policy.horizon,
        "mse": accuracy.mse,
        "mae": accuracy.mae,
        "mse_by_episode": accuracy.mse_by_episode,
        "mae_by_episode": accuracy.mae_by_episode,
        "keys": {key.key: _key_json(key) for key in accuracy.keys},
        "latency": asdict(policy.latency),
        "findings": [
            {**asdict(finding), "fault": finding.fault.value, "remedy": finding.remedy}
            for finding in policy.findings
        ],
        "swaps_tried": policy.tried_swaps,
        "left_out": dict(policy.left_out),
        "notes": list(policy.notes),
    }


def _key_json(key: KeyAccuracy) -> dict[str, Any]:
    return {
        "mse": key.mse,
        "mae": key.mae,
        "joints": [asdict(joint) for joint in key.joints],
        "mse_by_step": key.mse_by_step.tolist(),
        "mae_by_step": key.mae_by_step.tolist(),
    }


def _add_findings(page: HtmlPage, policies: Sequence[PolicyEvaluation]) -> None:
    page.heading("What is wrong")
    for policy in policies:
        if len(policies) > 1:
            page.heading(policy.name, 3)
        entries = [
            (
                "bad" if not finding.before < BAD else "warning",
                _title(finding),
                f"{finding.text}.{_relative(finding)}",
                finding.remedy,
            )
            for finding in policy.findings
        ]
        page.findings(entries or [("good", "None of the known mistakes was found", "", "")])
        if not policy.tried_swaps:
            page.paragraph("Swapped cameras and states were not looked for.")


def _title(finding: Finding) -> str:
    joints = ", ".join(finding.joints)
    where = f"{finding.key} ({joints})" if joints and joints != finding.key else finding.key
    return f"{finding.fault.value}: {where}"


def _relative(finding: Finding) -> str:
    if math.isnan(finding.after):
        return f" Relative error {finding.before:.3g}."
    return f" Relative error {finding.before:.3g}, with this undone {finding.after:.3g}."


def _add_summary(page: HtmlPage, policies: Sequence[PolicyEvaluation]) -> None:
    page.heading("Summary")
    page.table(
        ["policy", "MSE", "MAE", "execution horizon", "chunk"],
        [[p.name, p.accuracy.mse, p.accuracy.mae, p.stride, p.horizon] for p in policies],
    )
    page.heading("Latency", 3)
    page.table(
        ["policy", "calls", "first call [ms]", "p50 [ms]", "p99 [ms]", "max [ms]"],
        [
            [
                *(p.name, p.latency.calls, 1e3 * p.latency.first_s, 1e3 * p.latency.p50_s),
                *(1e3 * p.latency.p99_s, 1e3 * p.latency.max_s),
            ]
            for p in policies
        ],
    )
    page.heading("By episode", 3)
    page.table(
        ["episode", *(f"{m}, {p.name}" for p in policies for m in ("MSE", "MAE"))],
        [
            [
                result.name,
                *(
                    errors[result.episode_index]
                    for policy in policies
                    for errors in (policy.accuracy.mse_by_episode, policy.accuracy.mae_by_episode)
                ),
            ]
            for result in policies[0].episodes
        ],
    )


def _add_left_out(page: HtmlPage, policies: Sequence[PolicyEvaluation]) -> None:
    reasons = list(dict.fromkeys(reason for policy in policies for reason in policy.left_out))
    if reasons:
        page.heading("Steps that were left out", 3)
        page.table(
            ["reason", *(policy.name for policy in policies)],
            [[reason, *(p.left_out.get(reason, 0) for p in policies)] for reason in reasons],
        )
    for policy in policies:
        for note in policy.notes:
            page.paragraph(f"{policy.name}: {note}" if len(policies) > 1 else note)


def _add_keys(page: HtmlPage, policies: Sequence[PolicyEvaluation]) -> None:
    page.heading("By key and joint")
    episode_names = {result.episode_index: result.name for result in policies[0].episodes}
    for number, key in enumerate(policies[0].accuracy.keys):
        page.heading(key.key, 3)
        rows = []
        for policy in policies:
            for joint in policy.accuracy.keys[number].joints:
                worst = joint.worst
                episode = episode_names[worst.episode_index]
                place = f"{worst.error:+.4g} at {episode}, step {worst.step}"
                rows.append([joint.name, policy.name, joint.mse, joint.mae, place])
        page.table(["joint", "policy", "MSE", "MAE", "worst step"], rows)
        by_policy = {policy.name: policy.accuracy.keys[number] for policy in policies}
        page.figure(plot_horizon(by_policy), f"{key.key}: mean absolute error by step of the chunk")


def _add_episodes(page: HtmlPage, policies: Sequence[PolicyEvaluation]) -> None:
    page.heading("Recorded and predicted")
    first = policies[0]
    for number, result in enumerate(first.episodes[:MAX_PLOTTED_EPISODES]):
        results = {policy.name: policy.episodes[number] for policy in policies}
        for key, names in first.names.items():
            page.figure(
                plot_episode(results, key, names),
                f"{result.name}, {key}. Dots: the steps of the observations.",
            )
    left_out = len(first.episodes) - MAX_PLOTTED_EPISODES
    if left_out > 0:
        page.paragraph(f"{left_out} more episodes are in the numbers and not plotted.")
