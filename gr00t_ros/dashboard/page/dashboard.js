// SPDX-License-Identifier: Apache-2.0
// The page: shows what comes, and asks for what is clicked.

import { Live, ask } from "./live.js";
import { Plots } from "./plots.js";
import { STATES_OF_A_TASK, connectTaskForm, showEnders, taskFigures } from "./task.js";

const SILENT_MS = 2500; // the nodes report twice a second
const CONFIRM_MS = 3000;
const STATES = {
  0: ["stopped", ""],
  1: ["waiting", "warn"],
  2: ["running", "good"],
  3: ["holding", "warn"],
  4: ["error", "bad"],
  5: ["a person drives", "warn"],
  10: ["ready", "good"],
};
const OPTIONAL = ["task", "recorder"]; // nodes that not every robot has
const RECORDING = { ...STATES, 2: ["recording", "bad"] };

const find = (selector, parent = document) => parent.querySelector(selector);
const milliseconds = (time_s) => (time_s === null ? "–" : `${(1e3 * time_s).toFixed(0)} ms`);
const latency = ({ last_s, p50_s, p99_s }) =>
  `${milliseconds(last_s)} (p50 ${milliseconds(p50_s)}, p99 ${milliseconds(p99_s)})`;

const received = new Map(); // kind of status -> when the newest came, ms
const plots = new Plots(find("#joints .plots"));
let robot = { cameras: [], joints: {} };
let pictures = [];

function setBadge(badge, [text, style]) {
  badge.textContent = text;
  badge.className = `badge ${badge.classList.contains("mode") ? "mode" : "state"} ${style}`;
}

function showStatus(kind, status, states, figures) {
  const section = document.getElementById(kind);
  received.set(kind, performance.now());
  section.classList.remove("silent");
  setBadge(find(".state", section), states[status.state] ?? [`state ${status.state}`, "warn"]);
  find(".reason", section).textContent = status.reason;
  const cells = figures.flatMap(([name, text]) => {
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    term.textContent = name;
    value.textContent = text;
    return [term, value];
  });
  find(".figures", section).replaceChildren(...cells);
}

function showPolicy(status) {
  showInstruction(status.instruction);
  showStatus("policy", status, STATES, [
    ["chunk", status.chunk_id],
    ["round trip", latency(status.round_trip)],
    ["policy", latency(status.policy_time)],
    ["observation age", latency(status.observation_age)],
    ["its images", status.image_resize || "as they come"],
    ["inferences", `${status.inferences}, ${status.inference_errors} errors, ${status.inferences_skipped} skipped`],
    ...status.streams.map((s) => [s.name, `${s.rate_hz.toFixed(1)} Hz, age ${milliseconds(s.age_s)}`]),
  ]);
}

function showControl(status) {
  showStatus("control", status, STATES, [
    ["chunk", `${status.chunk_id}, ${status.steps_left} steps left`],
    ["chunks", `${status.chunks_accepted} accepted, ${status.chunks_rejected} rejected, ${status.chunks_not_played} not played`],
    ["commands", `${status.commands}, ${status.holds} holds`],
    ["limiter hits", status.limiter_hits],
    ["observation age", latency(status.observation_age)],
    ["lateness of ticks", `${latency(status.tick_lateness)}, ${status.ticks_missed} missed`],
    ["stalls", `${status.stalls}, ${status.stalled_s?.toFixed(1) ?? "–"} s`],
  ]);
  const mode = find("#control .mode");
  mode.hidden = !(status.shadow || status.intervention);
  setBadge(mode, [[status.shadow && "shadow", status.intervention && "intervention"].filter(Boolean).join(", "), "warn"]);
  plots.addStatus(status);
}

function showRecorder(status) {
  const megabytes = (status.bytes / 1e6).toFixed(0);
  const free = (status.disk_free_bytes / 1e9).toFixed(1);
  showStatus("recorder", status, RECORDING, [
    ["episode", status.episode || "none yet"],
    ["task", status.task],
    ["length", `${status.duration_s.toFixed(1)} s, ${megabytes} MB, ${status.messages} messages`],
    ["lost", status.dropped],
    ["episodes", `${status.episodes}, ${status.unsaved} on the way to the disk`],
    ["disk", `${free} GB free`],
  ]);
}

function showTask(status) {
  showStatus("task", status, STATES_OF_A_TASK, taskFigures(status));
  showEnders(find("#task .enders"), status.enders);
}

const SHOW = {
  policy: showPolicy,
  control: showControl,
  recorder: showRecorder,
  task: showTask,
  chunk: (chunk) => plots.addChunk(chunk, robot.joints),
};

/** The instruction in force, unless somebody is writing another one. */
function showInstruction(text) {
  const field = find("#instruction");
  if (field.value === field.dataset.shown) field.value = text;
  field.dataset.shown = text;
}

function showAnswer({ success, message }) {
  const answer = find("#answer");
  answer.textContent = message;
  answer.classList.toggle("failed", !success);
}

function showPicture(number, blob) {
  const picture = pictures[number];
  if (!picture) return;
  const url = URL.createObjectURL(blob);
  const image = find("img", picture.figure);
  image.onload = image.onerror = () => URL.revokeObjectURL(url);
  image.src = url;
  picture.count += 1;
  picture.received = performance.now();
  picture.figure.classList.remove("stale");
  find("figcaption", picture.figure).textContent = `${picture.name}  picture ${picture.count}`;
}

function makePicture(name) {
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  const caption = document.createElement("figcaption");
  image.alt = name;
  caption.textContent = `${name}: no picture yet`;
  figure.id = `camera-${name}`;
  figure.append(image, caption);
  find(".pictures").append(figure);
  return { name, figure, count: 0, received: -SILENT_MS };
}

function showConnection(isOpen, why) {
  const badge = find("#connection");
  badge.textContent = isOpen ? "connected" : why || "not connected";
  badge.className = `badge ${isOpen ? "good" : "bad"}`;
  if (isOpen) return;
  received.clear();
  for (const picture of pictures) picture.received = -SILENT_MS;
  markSilence();
}

/** What has not come for a while is shown as such: an old picture must not look live. */
function markSilence() {
  const now = performance.now();
  for (const kind of ["policy", "control", "task", "recorder"]) {
    if (now - (received.get(kind) ?? -SILENT_MS) < SILENT_MS) continue;
    const section = document.getElementById(kind);
    section.classList.add("silent");
    setBadge(find(".state", section), ["no answer", OPTIONAL.includes(kind) ? "" : "bad"]);
    find(".reason", section).textContent = `no ${kind}_node reports`;
  }
  const isSilent = document.getElementById("control").classList.contains("silent");
  document.getElementById("joints").classList.toggle("silent", isSilent);
  for (const picture of pictures) {
    if (now - picture.received < SILENT_MS) continue;
    picture.figure.classList.add("stale");
    if (picture.count) find("figcaption", picture.figure).textContent = `${picture.name}: no new picture`;
  }
}

/** Whether a click counts; the first one on a button with data-confirm only asks. */
function isConfirmed(button) {
  const question = button.dataset.confirm;
  if (!question || button.dataset.label) return true;
  button.dataset.label = button.textContent;
  button.textContent = question;
  setTimeout(() => restore(button), CONFIRM_MS);
  return false;
}

function restore(button) {
  if (!button.dataset.label) return;
  button.textContent = button.dataset.label;
  delete button.dataset.label;
}

async function click(button) {
  if (!isConfirmed(button)) return;
  restore(button);
  const { command, text, textFrom } = button.dataset;
  const isStop = button.classList.contains("stop");
  button.disabled = !isStop; // a stop can always be clicked again
  showAnswer(await ask(`commands/${command}`, text ?? (textFrom ? document.getElementById(textFrom).value : "")));
  button.disabled = false;
}

async function main() {
  for (const button of document.querySelectorAll("button[data-command]")) {
    button.addEventListener("click", () => click(button));
  }
  find("#instruct").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = find("#instruction");
    const answer = await ask("instruction", field.value);
    if (answer.success) field.dataset.shown = field.value;
    showAnswer(answer);
  });
  connectTaskForm(find("#run-task"), showAnswer);
  robot = await (await fetch("robot")).json();
  find("#instruction").dataset.shown = "";
  pictures = robot.cameras.map(makePicture);
  setInterval(markSilence, 500);
  new Live({
    onMessage: (kind, message) => SHOW[kind]?.(message),
    onPicture: showPicture,
    onConnection: showConnection,
  });
}

main();
