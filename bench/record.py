# SPDX-License-Identifier: Apache-2.0
"""make bench-record: whether the recorder loses anything; docs/benchmarks/record.md."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from bench import meta
from bench.processes import ROOT, Worker
from bench.record_report import Row, report
from bench.report import meta_report, say, write_result, write_section
from bench.ros.recorded_robot import ARMS, CAMERAS, JOINTS, image_topic, joints_topic
from gr00t_ros.node.dds_domain import reserve_domain
from gr00t_ros.node.process_environment import process_environment

RESULT = ROOT / "build" / "bench" / "record.json"
PAGE = ROOT / "docs" / "benchmarks" / "record.md"
PROFILE = ROOT / "config" / "fastdds.xml"
CASES = (("best_effort", "none"), ("reliable", "none"), ("best_effort", "lz4"))
SECONDS, QUICK_SECONDS = 20.0, 3.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def parameters(folder: Path, compression: str) -> dict[str, Any]:
    """The recorder's parameters for the robot of `bench.ros.recorded_robot`."""
    values: dict[str, Any] = {
        "action_rate_hz": 30.0,
        "max_age_s": 60.0,  # the robot is silent before it is measured
        "instruction": "measure",
        "record.folder": str(folder),
        "record.compression": compression,
        "autostart": True,
        **{f"video.{camera}.topic": image_topic(camera) for camera in CAMERAS},
    }
    for arm in ARMS:
        joints = [f"{arm}_{joint}" for joint in JOINTS]
        values |= {f"state.{arm}.type": "joint_state", f"state.{arm}.topic": joints_topic(arm)}
        values |= {f"state.{arm}.joints": joints, f"action.{arm}.joints": joints}
        values |= {f"action.{arm}.type": "joint_state", f"action.{arm}.topic": f"/bench/{arm}/to"}
    return values


def run_case(reliability: str, compression: str, seconds: float, env: Mapping[str, str]) -> Row:
    """Record one episode, and compare what is in the bag with what was published."""
    with ExitStack() as stack, tempfile.TemporaryDirectory(dir=RESULT.parent) as folder:
        recordings = Path(folder, "recordings")
        file = Path(folder, "parameters.yaml")
        file.write_text(
            json.dumps({"/**": {"ros__parameters": parameters(recordings, compression)}})
        )
        robot = stack.enter_context(Worker("bench.ros.recorded_robot", reliability, env=env))
        robot.read()
        recorder = stack.enter_context(
            Worker("bench.ros.node", "recorder_node", str(file), env=env)
        )
        operator = stack.enter_context(Worker("bench.ros.record_operator", env=env))
        operator.read(needed=[robot, recorder])
        robot.ask("silence")
        operator.ask("start")
        before = cpu_s(recorder.pid)
        told = robot.ask(seconds)
        cpu = cpu_s(recorder.pid) - before
        ended = operator.ask("stop")
        return row(
            Path(ended["path"]), told, reliability, compression, seconds, cpu, ended["save_s"]
        )


def row(
    bag: Path,
    told: Mapping[str, Any],
    reliability: str,
    compression: str,
    seconds: float,
    cpu: float,
    save_s: float,
) -> Row:
    """What one episode has cost, and what it lacks."""
    content = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    found = {
        topic["topic_metadata"]["name"]: topic["message_count"]
        for topic in content["topics_with_message_count"]
    }
    return Row(
        reliability=reliability,
        compression=compression,
        seconds=seconds,
        sent=sum(told["sent"].values()),
        missing={t: n - found.get(t, 0) for t, n in told["sent"].items() if n != found.get(t, 0)},
        latest_s=told["latest_s"],
        cpu_s=cpu,
        bytes=sum(path.stat().st_size for path in bag.iterdir()),
        save_s=save_s,
    )


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def measure(cases: Sequence[tuple[str, str]], seconds: float) -> Iterator[Row]:
    """All cases one after the other, in a DDS domain of their own."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    domain, reservation = reserve_domain()
    with reservation:
        env = {
            **os.environ,
            **process_environment(PROFILE),
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        for reliability, compression in cases:
            yield run_case(reliability, compression, seconds, env)


def main(args: Sequence[str] | None = None) -> int:
    """Command line; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m bench.record", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one case for 3 s, docs untouched")
    options = parser.parse_args(args)
    load_before = os.getloadavg()[0]
    rows: list[Row] = []
    cases = CASES[:1] if options.quick else CASES
    for found in measure(cases, QUICK_SECONDS if options.quick else SECONDS):
        rows.append(found)
        say(json.dumps(found.as_json()))
    about = {**meta.describe(load_before), "quick": options.quick}
    write_result(RESULT, about, [found.as_json() for found in rows])
    text = f"{meta_report(about)}\n\n{report(rows)}"
    say(f"\n{text}\n")
    if not options.quick:
        write_section("record", text, PAGE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
