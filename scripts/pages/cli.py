# SPDX-License-Identifier: Apache-2.0
"""Prints docs/reference/cli.md from the argument parsers: `make reference`."""

from __future__ import annotations

import argparse
import re
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


# `extend` has a class of its own, below that of `append`.
REPEATABLE = (argparse._AppendAction, argparse._AppendConstAction, argparse._CountAction)


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
    value = _value(action)
    if not action.option_strings:
        return f"`{value}`"
    names = ", ".join(f"`{option} {value}`".replace(" `", "`") for option in action.option_strings)
    is_told = re.search("repeated|several times", action.help or "")
    is_repeatable = isinstance(action, REPEATABLE) and not is_told
    marks = (("required", action.required), ("may be repeated", is_repeatable))
    told = ", ".join(mark for mark, is_so in marks if is_so)
    return f"{names} ({told})" if told else names


def _value(action: argparse.Action) -> str:
    """What follows a flag, or stands for a positional argument; empty for a switch."""
    if action.nargs == 0:
        return ""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    name = action.dest.upper() if action.option_strings else action.dest
    value = choices or str(action.metavar or name)
    forms = {"+": f"{value} ...", "*": f"[{value} ...]", "?": f"[{value}]"}
    return forms.get(str(action.nargs), value)


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
