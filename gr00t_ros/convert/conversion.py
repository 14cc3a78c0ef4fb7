# SPDX-License-Identifier: Apache-2.0
"""Converts many bags, in several processes, and writes the dataset."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.dataset_writer import write_dataset
from gr00t_policy_core.errors import DatasetError, PolicyError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.convert.actions import action_source
from gr00t_ros.convert.bag_conversion import convert_bag
from gr00t_ros.convert.bag_messages import Progress
from gr00t_ros.convert.report import BagReport, ConversionReport
from gr00t_ros.convert.settings import ConversionSettings
from gr00t_ros.convert.workspace import Workspace
from gr00t_ros.policy.stream_buffers import StreamBuffers

DATASET_REPORT = "conversion.json"
POLL_S = 0.2


class CancelledError(BaseException):
    """The conversion was interrupted, in a process of its own."""


def convert(
    bags: Sequence[Path],
    dataset: Path,
    contract: Contract,
    settings: ConversionSettings,
    *,
    version: str,
    config: str,
    jobs: int,
    restart: bool = False,
    progress: Progress = lambda seconds: None,
) -> ConversionReport:
    """Convert bags to one dataset; bags that were converted before an interruption are kept.

    Args:
        bags: The bags, in the order of the dataset.
        dataset: The directory of the dataset, which must not be there yet.
        contract: The robot.
        settings: How bags are converted.
        version: Version of the dataset's format.
        config: The text that the contract was read from: with another one, what was converted
            before is not taken.
        jobs: The number of processes.
        restart: Throw away what was converted before an interruption.
        progress: Called with the seconds of recordings that were converted since the last call.

    Returns:
        What became of each bag. If no bag gave an episode, there is no dataset.

    Raises:
        SpecError: The contract allows no such action, or the episodes do not fit together.
        DatasetError: There is something at `dataset`.
        OSError: The disk is full, for example; a further call goes on from there.
        ImportError: A library is not installed.
    """
    if dataset.exists():
        raise DatasetError(dataset, "is there already; choose another name, or remove it")
    action_source(settings.lead_steps, contract, StreamBuffers(contract))
    workspace = Workspace(dataset)
    decisive = {**asdict(settings), "config": config}
    with workspace.locked(decisive, restart=restart):
        finished = {bag: workspace.finished(bag) for bag in bags}
        waiting = [bag for bag, report in finished.items() if report is None]
        work = _Work(workspace, contract, settings)
        run = _in_processes if min(jobs, len(waiting)) > 1 else _in_this_process
        done = run(work, waiting, min(jobs, len(waiting)), progress)
        report = ConversionReport([finished[b] or done[b] for b in bags], contract.action_rate_hz)
        episodes = [episode for bag in bags for episode in workspace.episodes(bag)]
        if episodes:
            content = {DATASET_REPORT: report.as_json()}
            write_dataset(dataset, episodes, version=version, extra_files=content)
        workspace.remove()
    return report


class _Work:
    """Converts one bag after the other into the workspace; goes to the other processes."""

    def __init__(
        self, workspace: Workspace, contract: Contract, settings: ConversionSettings
    ) -> None:
        self._workspace = workspace
        self._contract = contract
        self._settings = settings

    def convert(self, bag: Path, progress: Progress) -> BagReport:
        folder = self._workspace.begin(bag)
        report = convert_bag(bag, folder, self._contract, self._settings, progress)
        self._workspace.finish(bag, report)
        return report


def _in_this_process(
    work: _Work, bags: Sequence[Path], jobs: int, progress: Progress
) -> dict[Path, BagReport]:
    return {bag: work.convert(bag, progress) for bag in bags}


def _in_processes(
    work: _Work, bags: Sequence[Path], jobs: int, progress: Progress
) -> dict[Path, BagReport]:
    """Convert bags in `jobs` new processes, which end with this one."""
    context = multiprocessing.get_context("spawn")
    seconds: Any = context.Queue()
    cancelled = context.Event()
    with ProcessPoolExecutor(jobs, context, _set_up, (work, seconds, cancelled)) as executor:
        futures = {bag: executor.submit(_convert, bag) for bag in bags}
        try:
            _wait(list(futures.values()), seconds, progress)
            return {bag: future.result() for bag, future in futures.items()}
        except BrokenProcessPool as error:
            raise PolicyError(
                "a process of the conversion was killed (out of memory?); run it again to go on, "
                "with fewer --jobs"
            ) from error
        finally:
            cancelled.set()
            executor.shutdown(wait=False, cancel_futures=True)


def _wait(futures: Sequence[Future[BagReport]], seconds: Any, progress: Progress) -> None:
    """Pass the progress on until all bags are done, or one has failed."""
    while not all(future.done() for future in futures):
        try:
            progress(seconds.get(timeout=POLL_S))
        except queue.Empty:
            for future in futures:
                if future.done():
                    future.result()


_of_process: Callable[[Path], BagReport] | None = None  # set once in each process of the pool


def _set_up(work: _Work, seconds: Any, cancelled: Any) -> None:
    """Prepare a process of the pool: it ends with its parent, which alone handles Ctrl-C."""
    global _of_process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def progress(passed_s: float) -> None:
        if cancelled.is_set():
            raise CancelledError
        seconds.put(passed_s)

    def convert_one(bag: Path) -> BagReport:
        return work.convert(bag, progress)

    _of_process = convert_one


def _convert(bag: Path) -> BagReport:
    if _of_process is None:
        raise RuntimeError("the process was not set up")
    return _of_process(bag)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
