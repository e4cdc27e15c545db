"""`cimlab train --help` and its like: every choice of every group by its first line, every setting, options, examples.

All of it is read from conf/, whose files say in their first line what they are; nothing is composed for it.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

from cimlab.choices import choices, conf_dir, first_line, groups, standing
from cimlab.records.flat import in_yaml

WIDTH = 120
"""Signs in a line where no terminal is."""
OWN = "model=own model.file=mynet.py   # a network of yours; model.KEY=VALUE goes to its function\n"
MANY = ("-m, --multirun", "every combination of values with commas between, each run once")
SHOWN = ("-c job", "print the configuration, all settings of the chosen groups with it; run nothing")
FOLDER = ("--config-dir FOLDER", "choices of your own: FOLDER/GROUP/CHOICE.yaml")
PRICES = ("technology", "adc_price")
"""Groups whose files are tables of constants, each with its source."""
OPTIONS = {
    "train": (MANY, SHOWN, FOLDER),
    "simulate": (MANY, SHOWN, FOLDER),
    "map": (
        ("-m, --multirun", "price every combination of values with commas between, side by side"),
        SHOWN,
        FOLDER,
        (
            "--sort=FIELD",
            "of -m: by a column, -FIELD downwards; energy, throughput, area, accuracy or an axis",
        ),
        ("--json, --csv", "numbers instead of tables"),
        ("--adc-sensitivity", "the ratios under every ADC price"),
    ),
}
EXAMPLES = {
    "train": f"""\
cimlab train granularity=column_segment prune.remaining=0.1
cimlab train model=resnet20 data=cifar10 recipe=cifar optimizer.lr=0.4 'method=[gradual,reorder]'
cimlab train -m granularity=weight,operation_unit prune.remaining=0.25,0.1 seed=0,1
cimlab train {OWN}""",
    "map": f"""\
cimlab map model=resnet18 geometry=isaac chip=isaac --adc-sensitivity
cimlab map -m run=outputs technology=isaac32,neurosim22_rram geometry.active_rows=8,16,32 --sort=energy
cimlab map {OWN}""",
    "simulate": """\
cimlab simulate checkpoint=outputs/RUN/network.pt geometry.adc_bits=5 'device=[programming_variation]'
cimlab simulate -m checkpoint=outputs/RUN/network.pt adc=full_scale,mse geometry.adc_bits=4,5,null
cimlab simulate checkpoint=outputs/RUN/network.pt model.file=mynet.py   # a run of a network of yours
""",
}


def text(command: str, about: str) -> str:
    """The help of a command that Hydra composes.

    Args:
        command: names conf/COMMAND.yaml.
        about: what it does, in one line.
    """
    parts = (
        f"cimlab {command}: {about}\n\nusage: cimlab {command} [GROUP=CHOICE ...] [KEY=VALUE ...] [options]\n",
        "groups: GROUP=CHOICE, in an order of use; * is what stands where nothing is said\n",
        "\n".join(line for group, standing in groups(command).items() for line in _group(group, standing)),
        "\nsettings: KEY=VALUE, prune.remaining=0.1; those of a choice likewise, geometry.rows=256\n",
        textwrap.indent(_settings(command), "  "),
        "\nsettings of the choices that stand (*), likewise of others; -c job shows all\n",
        "\n".join(_of_choices(command)) + "\n",
        "options\n",
        "".join(f"  {option:20} {what}\n" for option, what in OPTIONS[command]),
        "examples\n",
        textwrap.indent(EXAMPLES[command], "  "),
    )
    return "\n".join(parts)


def _group(group: str, standing: str | list[str]) -> Iterator[str]:
    """A group: how it is chosen, then each choice with its first line."""
    several = isinstance(standing, list)
    yield f"  {group}=[CHOICE,...]" if several else f"  {group}=CHOICE"
    offered = choices(group)
    pad = max(map(len, offered))
    for choice in offered:
        mark = "*" if choice in ([standing] if isinstance(standing, str) else standing) else " "
        head = f"  {mark} {choice:{pad}}  "
        width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        yield textwrap.fill(
            first_line(group, choice) or "", width, initial_indent=head, subsequent_indent=" " * len(head)
        )


def _of_choices(command: str) -> Iterator[str]:
    """A paragraph a group: its settings and what stands; price tables are long and stay in their files."""
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    for group, settings in standing(command).items():
        if settings and group not in PRICES:
            words = " ".join(f"{group}.{key}={in_yaml(value)}" for key, value in settings.items())
            yield textwrap.fill(
                words,
                width,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )


def _settings(command: str) -> str:
    """What stands in the command's file between its groups and Hydra's own settings, comments included."""
    lines = (conf_dir() / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    first = next(i for i in range(lines.index("defaults:"), len(lines)) if not lines[i])
    return "\n".join(lines[first + 1 : lines.index("hydra:")])
