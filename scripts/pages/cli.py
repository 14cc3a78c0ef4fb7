# SPDX-License-Identifier: Apache-2.0
"""Prints docs/reference/cli.md from the argument parsers: `make reference`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from gr00t_policy_core import cli
from gr00t_policy_core.cli import extensions

INTRODUCTION = """\
# Command line

`pip install .` and `colcon build` install the command `gr00t-policy`; `python -m gr00t_policy_core`
is the same. The commands marked with † are part of gr00t_ros: only `colcon build` installs them,
and they need the sourced workspace. The exit status is 0 when the command is done, 1 when it could
not be done (one line on stderr says why), 2 for wrong usage, and 130 after Ctrl-C. This page is
made from the code by `make reference`; `gr00t-policy COMMAND --help` shows the same.

The environment variable `GR00T_API_TOKEN` holds the shared secret of server and clients, where
other users do not see it in the process list.
"""


def page() -> str:
    """The whole of docs/reference/cli.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    parser = cli.make_parser()
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    of_robots = {name for names in extensions.EXTENSIONS.values() for name in names}
    summaries = {choice.dest: choice.help for choice in commands._choices_actions}
    yield "| command | what it does |"
    yield "|---|---|"
    for name in commands.choices:
        mark = " †" if name in of_robots else ""
        yield f"| [`{name}`](#{name}){mark} | {_cell(summaries[name] or '')} |"
    yield ""
    for name, command in commands.choices.items():
        yield f"## {name}\n"
        yield f"{_escaped(command.description or '')}\n"
        yield from _groups(command)


def _groups(command: argparse.ArgumentParser) -> Iterator[str]:
    for group in command._action_groups:
        actions = [a for a in group._group_actions if not isinstance(a, argparse._HelpAction)]
        if not actions:
            continue
        if group.title not in ("positional arguments", "options", "optional arguments"):
            yield f"### {name_of(command)}: {group.title}\n"
        yield "| argument | what it is |"
        yield "|---|---|"
        for action in actions:
            yield f"| {_argument(action)} | {_cell(_help(command, action))} |"
        yield ""


def name_of(command: argparse.ArgumentParser) -> str:
    """The command's own name, without the program's."""
    return command.prog.split()[-1]


def _argument(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = ""
    if action.nargs != 0:
        metavar = action.metavar or action.dest.upper()
        value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else str(metavar)
        value = f" {value}{' ...' if action.nargs == '+' else ''}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help text, its placeholders filled in as argparse does it."""
    text = action.help or ""
    # BooleanOptionalAction appends a default of its own in some releases of Python.
    text = text.replace(" (default: %(default)s)", "") if action.default is None else text
    return text % {**vars(action), "prog": command.prog}


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("|", "\\|")


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
