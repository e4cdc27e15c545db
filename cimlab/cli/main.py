"""The console script: chooses the command before anything heavy is imported, and turns errors into one line.

Exit codes: 0 done, 1 the run failed, 2 the request was refused, 3 the time budget is spent; 128 and its number by a
signal (129 the terminal was lost, 130 Ctrl-C, 143 SIGTERM), 141 nobody reads the output any more.
`CIMLAB_DEBUG=1` shows the traceback instead.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cimlab.cli.stopping import Stops

ABOUT = {
    "train": "train (or find) a dense network, prune, retrain, map on crossbars, write a record",
    "map": "what a network costs on a chip: energy, latency, area, throughput; no training",
    "simulate": "accuracy of a trained network on the analog arrays: ADCs, device variation, chip by chip",
    "sweep": "run every point of an experiment file once; goes on where it stopped",
    "runs": "what was run, runs and failed, and simulations: tables to filter and sort",
    "dashboard": "the same as a local web page, with curves",
    "search": "let Optuna choose: accuracy against hardware cost",
    "report": "tables and figures from records, as one HTML file that works offline",
    "paper": "the paper as PDF, every number in it from records",
    "collect": "copy records to paper/records, to be committed",
    "charts": "store the project's wandb charts with a user or team, once",
    "completion": 'print the shell set-up for completion: eval "$(cimlab completion bash)"; or zsh, fish',
}
"""Commands, in the order of a day's work."""

HELP = """\
cimlab: prune a network so that a compute-in-memory accelerator really gets faster and cheaper.

usage: cimlab COMMAND [KEY=VALUE ...]

commands:
{commands}

  cimlab train                                              a small CNN on digits, in seconds
  cimlab train model=resnet20 data=cifar10 recipe=cifar granularity=operation_unit prune.remaining=0.25
  cimlab train -m granularity=weight,operation_unit,filter prune.remaining=0.25,0.1 seed=0,1,2
  cimlab map model=resnet18 geometry=isaac chip=isaac --adc-sensitivity
  cimlab map -m run=outputs technology=isaac32,neurosim22_rram geometry.active_rows=8,16,32
  cimlab simulate checkpoint=outputs/RUN/network.pt geometry.adc_bits=5 'device=[programming_variation]'
  cimlab train --help                                       every group, choice and setting

CIMLAB_DEBUG=1 shows tracebacks.
"""

COMPOSED = ("train", "map", "simulate")
"""Commands that Hydra composes: `cimlab NAME` runs `cimlab.cli.NAME.run` on conf/NAME.yaml."""

PLAIN = tuple(name for name in ABOUT if name not in (*COMPOSED, "completion"))
"""Commands with options of their own: `cimlab NAME` runs `cimlab.cli.NAME.run`, and `parser` reads its words."""


def main(arguments: list[str] | None = None) -> None:
    """Run `cimlab` with the arguments of the command line; always ends the process with an exit code."""
    _open_closed_streams()
    _spell_unknown_signs()
    if arguments is None:  # a process of our own: threads that wait for work sleep instead of burning a core
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = sys.argv[1:] if arguments is None else arguments
    if "_CIMLAB_COMPLETE" in os.environ:
        from cimlab.cli.completion import answer

        lines = (f"{word}\t{what}\n" for word, what in answer(os.environ["_CIMLAB_COMPLETE"]).items())
        sys.exit(_said("".join(lines)))
    match words:
        case [] | ["-h" | "--help" | "help", *_]:
            commands = "\n".join(f"  {name:11}  {about}" for name, about in ABOUT.items())
            sys.exit(_said(HELP.format(commands=commands)))
        case ["--version", *_]:
            from cimlab import __version__

            sys.exit(_said(f"cimlab {__version__}\n"))
        case ["completion", *rest] if {"-h", "--help"} & {*rest}:
            sys.exit(_said(f"usage: cimlab completion bash|zsh|fish\n\n{ABOUT['completion']}\n"))
        case ["completion", "bash" | "zsh" | "fish" as shell]:
            from cimlab.cli.completion import script

            sys.exit(_said(script(shell)))
        case [command, *rest] if command in COMPOSED and {"-h", "--help"} & {*rest}:
            from cimlab.cli.help import text

            sys.exit(_said(text(command, ABOUT[command])))
        case [command, *rest] if command in (*COMPOSED, *PLAIN):
            sys.exit(_guarded(command, rest))
    print(f"cimlab: {_unknown(words)}", file=sys.stderr)
    sys.exit(2)


def _unknown(words: list[str]) -> str:
    """What to say of a line that begins with no command."""
    from difflib import get_close_matches

    command = words[0]
    if command == "completion":
        return "completion takes bash, zsh or fish"
    if "=" in command or command.startswith("-"):
        return f"{command}: a command comes first, cimlab train {' '.join(words)} (cimlab --help)"
    near = get_close_matches(command, ABOUT, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown command {command!r}; {hint}commands are {', '.join(ABOUT)} (cimlab --help)"


def _said(text: str) -> int:
    """Print a text; the exit code."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        return _nobody_reads()
    except OSError as problem:  # a full disk
        from cimlab.config import errors

        return errors.report(problem)
    return 0


def _open_closed_streams() -> None:
    """Open to nowhere what the caller closed (`>&-`): the next file would take its number, and be printed into."""
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 for the whole process


def _spell_unknown_signs() -> None:
    """Print a sign that the terminal's encoding lacks by its number, as in \\xb5J: no reason to fail after the work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nobody_reads() -> int:
    """Whoever read our output has seen enough: say no more, and end as a program does that SIGPIPE ended."""
    _print_to_nowhere()
    return 141


def _print_to_nowhere() -> None:
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _stopped(stops: Stops, command: str) -> int:
    """Say that the command was stopped, if anybody is left to read it; the exit code."""
    stops.deaf()
    try:
        sys.stdout.flush()
        print(f"\ncimlab: {stops.line(command)}", file=sys.stderr, flush=True)
    except OSError:  # the terminal is gone
        _print_to_nowhere()
    return stops.code()


def _guarded(command: str, words: list[str]) -> int:
    """Run a command; one clear line and an exit code for whatever goes wrong."""
    from importlib import import_module

    from cimlab.cli.stopping import OF_A_SIGNAL, heeding_signals

    with heeding_signals() as stops:
        try:
            code = import_module(f"cimlab.cli.{command}").run(words)
            sys.stdout.flush()  # here, where a closed pipe can still be told from a mistake
            if code > OF_A_SIGNAL:  # it was stopped, and has said so
                stops.deaf()
            return code
        except (KeyboardInterrupt, SystemExit) as end:
            if isinstance(end.__context__, BrokenPipeError):  # rich ends the process itself
                return _nobody_reads()
            if isinstance(end, SystemExit) and not stops.received:
                return end.code if isinstance(end.code, int) else 2
            return _stopped(stops, command)
        except BrokenPipeError:
            return _nobody_reads()
        except Exception as problem:  # every error a person can meet ends here, as a line
            if stops.received:  # a library that was interrupted half-way failed on its way out
                return _stopped(stops, command)
            from cimlab.config import errors
            from cimlab.records.json_text import json_text

            if "--json" in words:  # whoever reads the answer as JSON reads there why there is none
                _said(json_text({"error": errors.describe(problem)}) + "\n")
            return errors.report(problem)
