// SPDX-License-Identifier: Apache-2.0
// The task that runs, and the form that starts one.

import { ask, post } from "./live.js";

export const STATES_OF_A_TASK = {
  1: ["waiting", "warn"],
  2: ["running", "good"],
  10: ["no task", ""],
  11: ["starting", "warn"],
  12: ["stopping", "warn"],
};
const READY = 10;
const TERMINATIONS = ["ender", "time limit", "cancelled", "taken over", "fault", "rejected"];
const OUTCOMES = ["unknown", "success", "failure"];

const seconds = (time_s) => `${(time_s ?? 0).toFixed(1)} s`;
const outcome = ({ termination, outcome }) => `${OUTCOMES[outcome]} (${TERMINATIONS[termination]})`;

/** What the page says of a status of the task node: pairs of name and text. */
export function taskFigures(status) {
  const { counts, last_task: last } = status;
  const figures = status.state === READY ? [] : runningFigures(status);
  if (!counts.length) return [...figures, ["last task", "none yet"]];
  return [
    ...figures,
    ["last task", `${last.instruction || "no subtask was started"}: ${outcome(last)} after ${seconds(last.elapsed_s)}: ${last.reason}`],
    ["all tasks", counts.map((entry) => `${entry.count} ${outcome(entry)}`).join(", ")],
  ];
}

function runningFigures(status) {
  const count = status.subtask_count > 1 ? `${status.subtask + 1} of ${status.subtask_count}: ` : "";
  const limit = status.time_limit_s ? ` of ${seconds(status.time_limit_s)}` : "";
  return [
    ["instruction", `${count}${status.instruction}`],
    ["elapsed", `${seconds(status.elapsed_s)}${limit}, this instruction ${seconds(status.subtask_elapsed_s)}`],
  ];
}

/** A bar for each ender, with what it measures. */
export function showEnders(element, enders) {
  element.replaceChildren(
    ...enders.map(({ ender, progress, text }) => {
      const label = document.createElement("label");
      const bar = document.createElement("progress");
      bar.value = progress ?? 0;
      label.textContent = `${ender}: ${text}`;
      label.append(bar);
      return label;
    }),
  );
}

/** Have the form start a task, and its button cancel whichever runs. */
export function connectTaskForm(form, showAnswer) {
  const value = (id) => form.querySelector(`#task-${id}`).value;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const enders = value("enders").split("\n").map((line) => line.trim()).filter(Boolean);
    showAnswer(
      await post("task", {
        instruction: value("instruction"),
        enders,
        needs_all: value("combine") === "all",
        time_limit_s: Number(value("limit")),
      }),
    );
  });
  form.querySelector("#cancel-task").addEventListener("click", async () => {
    showAnswer(await ask("task/cancel", ""));
  });
}
