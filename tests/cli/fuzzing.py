"""Command lines of `cimlab train` for hypothesis, drawn from the composed configuration itself and from the files of
conf/: every group, every choice and every key is there, so that a new one is fuzzed without being named here."""

from __future__ import annotations

from itertools import chain
from typing import Any

from hydra import compose, initialize_config_dir
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cimlab.choices import conf_dir

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
LISTED = ("device", "method")
"""Groups that take a list of choices."""
NEVER = ("data.download",)
"""Keys that are left alone: nothing here asks a network."""


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


def choice_leaves(group: str) -> dict[str, dict[str, Any]]:
    """The choices of a group, each with its keys; those of a file that is no mapping below its group have none."""
    found = {}
    for path in sorted((conf_dir() / group).glob("*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(path))
        keys = {f"{group}.{key}": value for key, value in leaves(node).items()}
        found[path.stem] = {key: value for key, value in keys.items() if key not in NEVER}
    return found


LEAVES = composed_leaves()
TEXTS = tuple(sorted({value for value in LEAVES.values() if isinstance(value, str)}))
CHOICES = {path.name: choice_leaves(path.name) for path in sorted(conf_dir().iterdir()) if path.is_dir()}


def near(value: Any) -> st.SearchStrategy[str]:
    """Values like the one that is there: mostly of its type, and often allowed."""
    if isinstance(value, bool):
        return st.sampled_from(["true", "false"])
    if isinstance(value, int | float):
        changed = [value, value + 1, value - 1, 2 * value, value / 2, value // 2]
        return st.sampled_from([f"{number:g}" for number in changed]) | NUMBERS
    return st.sampled_from(TEXTS) | NUMBERS


def values(value: Any) -> st.SearchStrategy[str]:
    """Mostly values that may be allowed, for an accepted command line needs all of them to be."""
    return st.integers(0, 5).flatmap(lambda dice: ODD_VALUES if dice == 0 else near(value))


def tame(key: str, value: str) -> str:
    """The value, but nothing outside the folder of the test where it names a folder."""
    return value.replace("/", "_").replace("..", "_") if key.startswith(PATHS) else value


@st.composite
def settings(draw: st.DrawFn) -> str:
    """KEY=VALUE for a key that is there, seldom one that is not, or one with a sign before it."""
    key = draw(st.sampled_from(sorted(LEAVES)))
    value = tame(key, draw(values(LEAVES[key])))
    sign = draw(st.sampled_from([""] * 9 + ["+", "++", "~"]))
    if draw(st.integers(0, 11)) == 0:
        place = draw(st.integers(0, len(key)))
        key = key[:place] + draw(st.sampled_from([".", "x", "_", " ", "é", "@", "", ":"])) + key[place + 1 :]
        key = f"typo.{key}" if key.startswith(("hydra", *PATHS)) else key
    return f"{sign}{key}={value}" if sign != "~" else f"~{key}"


def chosen(group: str, choice: str) -> str:
    """GROUP=CHOICE, as the group takes it."""
    return f"{group}=[{choice}]" if group in LISTED else f"{group}={choice}"


def joined(parts: list[list[str]]) -> list[str]:
    """Words that were drawn together, one after the other."""
    return list(chain.from_iterable(parts))


@st.composite
def choices(draw: st.DrawFn) -> str:
    """GROUP=CHOICE, mostly one that is there."""
    group = draw(st.sampled_from(sorted(CHOICES)))
    if draw(st.integers(0, 5)):
        return chosen(group, draw(st.sampled_from(sorted(CHOICES[group]))))
    choice = draw(ODD_VALUES) if draw(st.booleans()) else draw(st.sampled_from(sorted(CHOICES[group])))
    return f"{draw(st.sampled_from(['', '+', '++', '~']))}{group}={choice}"


@st.composite
def choices_with_a_key(draw: st.DrawFn) -> list[str]:
    """GROUP=CHOICE and a value for one of the keys that this choice brings: most of them the default has not."""
    group = draw(st.sampled_from(sorted(CHOICES)))
    choice = draw(st.sampled_from(sorted(CHOICES[group])))
    keys = CHOICES[group][choice]
    key = draw(st.sampled_from(sorted(keys)))
    return [chosen(group, choice), f"{key}={tame(key, draw(values(keys[key])))}"]


OPTIONS = st.sampled_from(
    ["-m", "--multirun", "--bogus", "-x", "--", "-", "--cfg", "--cfg=bogus", "--config-name=nope", "-cd=nope",
     "--experimental-rerun=nope.pickle", "--package", "--help", "--info=nope", "--resolve"]
)  # fmt: skip
WORDS = st.integers(0, 14).flatmap(
    lambda dice: OPTIONS if dice == 0 else ODD_VALUES if dice == 1 else choices() if dice < 8 else settings()
)
PARTS = st.integers(0, 3).flatmap(
    lambda dice: WORDS.map(lambda word: [word]) if dice else choices_with_a_key()
)
COMMAND_LINES = st.lists(PARTS, min_size=1, max_size=3).map(joined)

SLOW = ("model", "data", "recipe", "trainer", "tracker")
"""Groups that whole runs leave at a choice that takes seconds."""
COSTLY = (
    "model.", "tracker.", "paths.", "data.data_dir", "data.num_workers", "recipe.epochs", "schedule.epochs",
    "simulate.draws", "simulate.images", "trainer.compile", "trainer.devices", "trainer.threads",
)  # fmt: skip
"""Keys whose values make a run long, or put its files elsewhere."""


def cheap(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys that leave a run short."""
    return {key: value for key, value in keys.items() if not key.startswith(COSTLY)}


@st.composite
def plausible(draw: st.DrawFn) -> list[str]:
    """What is mostly allowed in a run of seconds: a choice, a choice and one of its keys, or a key of the default."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        keys = cheap(LEAVES)
        key = draw(st.sampled_from(sorted(keys)))
        return [f"{key}={draw(near(keys[key]))}"]
    group = draw(st.sampled_from([group for group in sorted(CHOICES) if group not in SLOW]))
    choice = draw(st.sampled_from(sorted(CHOICES[group])))
    keys = cheap(CHOICES[group][choice])
    if kind == 1 or not keys:
        return [chosen(group, choice)]
    key = draw(st.sampled_from(sorted(keys)))
    return [chosen(group, choice), f"{key}={draw(near(keys[key]))}"]


PLAUSIBLE_LINES = st.lists(plausible(), min_size=1, max_size=4).map(joined)
