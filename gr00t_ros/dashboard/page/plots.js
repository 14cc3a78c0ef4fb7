// SPDX-License-Identifier: Apache-2.0
// Small plots of joints over the last seconds, and of the newest chunk ahead of them.

const PAST_S = 30;
const AHEAD_S = 2;
const SMALLEST_RANGE = 0.1; // rad or m: noise does not fill a plot
const LINES = { reference: "--target", command: "--command", feedback: "--measured" };

/** One joint: its canvas, and what it drew last. Times are in s on the robot's clock. */
class Plot {
  constructor(name) {
    this.name = name;
    this.samples = []; // {time_s, reference, command, feedback}
    this.chunk = []; // {time_s, value}
    this.canvas = document.createElement("canvas");
    this.caption = document.createElement("figcaption");
    this.figure = document.createElement("figure");
    this.figure.append(this.canvas, this.caption);
  }

  add(time_s, joint) {
    const last = this.samples.at(-1);
    if (last && time_s < last.time_s) this.samples = []; // simulated time began anew
    this.samples.push({ time_s, ...joint });
    this.samples = this.samples.filter((sample) => sample.time_s >= time_s - PAST_S);
    const text = (value) => (value === null ? "–" : value.toFixed(3));
    const limited = joint.limited_by ? `, limited: ${joint.limited_by}` : "";
    this.caption.textContent =
      `${this.name}  ${text(joint.reference)} / ${text(joint.command)} / ${text(joint.feedback)}${limited}`;
  }

  draw() {
    const { canvas, samples } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = (canvas.width = canvas.clientWidth * ratio);
    const height = (canvas.height = canvas.clientHeight * ratio);
    if (!width || !samples.length) return;
    const now_s = samples.at(-1).time_s;
    const chunk = this.chunk.filter(({ time_s }) => time_s <= now_s + AHEAD_S && time_s >= now_s - PAST_S);
    const [low, high] = rangeOf([
      ...samples.flatMap((sample) => Object.keys(LINES).map((key) => sample[key])),
      ...chunk.map(({ value }) => value),
    ]);
    const pen = canvas.getContext("2d");
    const x = (time_s) => ((time_s - now_s + PAST_S) / (PAST_S + AHEAD_S)) * width;
    const y = (value) => height - ((value - low) / (high - low)) * height;
    pen.lineWidth = 1.5 * ratio;
    pen.strokeStyle = colorOf(canvas, "--line");
    line(pen, [[x(now_s), 0], [x(now_s), height]]);
    pen.strokeStyle = colorOf(canvas, "--chunk");
    line(pen, chunk.map(({ time_s, value }) => [x(time_s), y(value)]));
    for (const [key, color] of Object.entries(LINES)) {
      pen.strokeStyle = colorOf(canvas, color);
      const known = samples.filter((sample) => sample[key] !== null);
      line(pen, known.map((sample) => [x(sample.time_s), y(sample[key])]));
    }
  }
}

/** A colour of the style sheet for a canvas, which does not know light-dark(). */
function colorOf(canvas, name) {
  canvas.style.color = `var(${name})`;
  return getComputedStyle(canvas).color;
}

function rangeOf(values) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return [0, 1];
  const low = Math.min(...known);
  const high = Math.max(...known);
  const margin = Math.max(0.05 * (high - low), (SMALLEST_RANGE - (high - low)) / 2);
  return [low - margin, high + margin];
}

function line(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}

/** The plots of all joints, in the order in which the control node names them. */
export class Plots {
  constructor(parent) {
    this.parent = parent;
    this.plots = new Map();
    this.isDue = false;
  }

  /** Add the joints of a ControlStatus; joints that it no longer has are removed. */
  addStatus(status) {
    const names = new Set(status.joints.map((joint) => joint.name));
    for (const [name, plot] of this.plots) {
      if (!names.has(name)) this.remove(name, plot);
    }
    for (const joint of status.joints) this.plot(joint.name).add(seconds(status.header.stamp), joint);
    this.drawSoon();
  }

  /** Show an ActionChunk; the joints of its actions come in the order of the status. */
  addChunk(chunk, jointsOf) {
    const start_s = seconds(chunk.header.stamp);
    for (const plot of this.plots.values()) plot.chunk = [];
    for (const action of chunk.actions) {
      const joints = jointsOf[action.name] ?? [];
      joints.forEach((name, index) => {
        const plot = this.plots.get(name);
        if (!plot) return;
        plot.chunk = Array.from({ length: chunk.horizon }, (_, step) => ({
          time_s: start_s + step * chunk.dt,
          value: action.values[step * action.dimension + index],
        }));
      });
    }
    this.drawSoon();
  }

  plot(name) {
    if (!this.plots.has(name)) {
      const plot = new Plot(name);
      this.plots.set(name, plot);
      this.parent.append(plot.figure);
    }
    return this.plots.get(name);
  }

  remove(name, plot) {
    plot.figure.remove();
    this.plots.delete(name);
  }

  drawSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      for (const plot of this.plots.values()) plot.draw();
    });
  }
}

export function seconds(stamp) {
  return stamp.sec + stamp.nanosec * 1e-9;
}
