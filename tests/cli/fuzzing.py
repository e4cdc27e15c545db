"""Command lines of `cimlab train` for hypothesis, drawn from the composed configuration itself: every group, every
choice and every key is there, so that a new one is fuzzed without being named here."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cimlab.cli.application import conf_dir
from cimlab.cli.train import GROUPS, OPTIONAL_GROUPS

# What people and programs type by mistake: types, signs, sizes, quotes, brackets, interpolation, other scripts.
ODD = (
    "", " ", "null", "true", "off", "nan", "inf", "-inf", "-1", "0", "1e400", "1e-400", "9" * 30, "0x10", "1_000",
    "'", '"', "''", "'a b'", "\\", "[", "]", "[]", "[1,2]", "[[]]", "{", "{}", "{a:1}", "{a:{b:[c]}}", "(", ")", ",",
    "a,b", "1,2", "range(3)", "choice(a,b)", "glob(*)", "interval(0,1)", "int(3.7)", "float(x)", "str(1)", "???",
    "${", "${}", "${seed}", "${nope}", "${oc.env:NOPE}", "${oc.env:PATH}", "${paths}", "$(id)", "`id`", ";", "|",
    "=", "==", "a=b", ":", "@", "#", "%", "%s", "&", "*", "../x", "a/b", ".", "..", "x" * 3000,
    "\u00e9", "\u6f22\u5b57", "\U0001f600", "\u202e", "\u2028", "\udcff", "\t", "a\nb", "\x1b[31m", "Infinity", "None",
    "[null]", "- 1", "1.0.0",
)  # fmt: skip
ODD_VALUES = st.sampled_from(ODD) | st.text(st.characters(exclude_characters="\0"), max_size=12)
NUMBERS = st.integers(-3, 300).map(str) | st.floats(-2, 2).map(repr) | st.sampled_from(["1e-3", "0.5", "1.0"])
PATHS = ("paths.", "data.data_dir")
"""Keys whose value names a folder that an accepted run would make."""


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    """Every key that holds a value, with that value."""
    if not isinstance(node, dict) or not node:
        return {path: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= leaves(value, f"{path}.{key}" if path else str(key))
    return found


def composed_leaves() -> dict[str, Any]:
    """The keys of the default configuration."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = OmegaConf.to_container(compose("train"))
    assert isinstance(config, dict)
    return leaves(config)


LEAVES = composed_leaves()
TEXTS = tuple(sorted({value for value in LEAVES.values() if isinstance(value, str)}))
ALL_GROUPS = (*GROUPS, *OPTIONAL_GROUPS)
CHOICES = {group: sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) for group in ALL_GROUPS}


def near(value: Any) -> st.SearchStrategy[str]:
    """Values like the one that is there: mostly of its type, and often allowed."""
    if isinstance(value, bool):
        return st.sampled_from(["true", "false"])
    if isinstance(value, int | float):
        changed = [value, value + 1, value - 1, 2 * value, value / 2, value // 2]
        return st.sampled_from([f"{number:g}" for number in changed]) | NUMBERS
    return st.sampled_from(TEXTS) | NUMBERS


def values(key: str) -> st.SearchStrategy[str]:
    """Mostly values that may be allowed, for an accepted command line needs all of them to be."""
    return st.integers(0, 5).flatmap(lambda dice: ODD_VALUES if dice == 0 else near(LEAVES[key]))


@st.composite
def settings(draw: st.DrawFn) -> str:
    """KEY=VALUE for a key that is there, seldom one that is not, or one with a sign before it."""
    key = draw(st.sampled_from(sorted(LEAVES)))
    value = draw(values(key))
    if key.startswith(PATHS):
        value = value.replace("/", "_").replace("..", "_")
    sign = draw(st.sampled_from([""] * 9 + ["+", "++", "~"]))
    if draw(st.integers(0, 11)) == 0:
        place = draw(st.integers(0, len(key)))
        key = key[:place] + draw(st.sampled_from([".", "x", "_", " ", "é", "@", "", ":"])) + key[place + 1 :]
        key = f"typo.{key}" if key.startswith(("hydra", *PATHS)) else key
    return f"{sign}{key}={value}" if sign != "~" else f"~{key}"


@st.composite
def choices(draw: st.DrawFn) -> str:
    """GROUP=CHOICE, mostly one that is there."""
    group = draw(st.sampled_from(sorted(CHOICES)))
    choice = draw(ODD_VALUES) if draw(st.integers(0, 9)) == 0 else draw(st.sampled_from(CHOICES[group]))
    return f"{draw(st.sampled_from([''] * 12 + ['+', '++', '~']))}{group}={choice}"


OPTIONS = st.sampled_from(
    ["-m", "--multirun", "--bogus", "-x", "--", "-", "--cfg", "--cfg=bogus", "--config-name=nope", "-cd=nope",
     "--experimental-rerun=nope.pickle", "--package", "--help", "--info=nope", "--resolve"]
)  # fmt: skip
WORDS = st.integers(0, 19).flatmap(
    lambda dice: OPTIONS if dice == 0 else ODD_VALUES if dice == 1 else choices() if dice < 9 else settings()
)
COMMAND_LINES = st.lists(WORDS, min_size=1, max_size=3)
