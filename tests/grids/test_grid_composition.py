"""A grid's points are Hydra's own, although Hydra composes only a few of them."""

import random
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from cimlab.choices import conf_dir
from cimlab.config.errors import ConfigError
from cimlab.config.schema import TrainConfig, check, plain_config
from cimlab.grids.composition import read_grid
from cimlab.grids.grid import Grid
from cimlab.grids.planning import make_plan, planned_run
from cimlab.grids.queue import experiments, lines_of
from cimlab.records.record import Remembered, content_hash, hash_of_texts
from cimlab.runs.identity import identity_of
from cimlab.runs.planned import PlannedRun

FOLDER = Path(__file__).parents[2] / "experiments"
# a search draws from intervals, a grid enumerates
EXPERIMENTS = [path for path in experiments(FOLDER) if "interval(" not in path.read_text()]

HARD = {
    "a key and what refers to it": {"seed": "0,1,2", "data.seed": "5,6", "granularity": "weight,filter"},
    "a folder that others are made of": {"paths.output_dir": "a,b", "paths.data_dir": "c,d"},
    "a group and a key inside it": {"geometry": "default,small,large", "geometry.active_rows": "8,16"},
    "a group and a key that only some choices have": {"model": "vgg8,vgg8_half", "model.width": "0.25,1.0"},
    "a list of choices": {"method": "[reorder],[],[gradual],[gradual,admm]", "seed": "0,1"},
    "a group that only the first choice fills": {"method": "[reorder],[]", "seed": "0,1"},
    "mappings": {"++prune.layer_remaining": "{},{a:0.5},{b:0.25,c:1}", "prune.remaining": "0.5,0.25"},
    "values of several types": {"geometry.adc_bits": "null,5", "trainer.compile": "true,false", "seed": "range(3)"},
    "keys that a file does not have": {"+model.stem": "a,b", "seed": "0,1"},
    "a reference on an axis": {"tracker.group": "'g${seed}',plain", "seed": "1,2"},
    "two groups that differ in the same leaf": {"tracker": "none,wandb", "saliency": "l1,l2", "recipe": "digits,cifar"},
    "choices that a pattern matches": {"granularity": "glob([f*,w*])", "seed": "0,1"},
    "one value": {"seed": "3"},
    "no axis": {},
}  # fmt: skip


def write(folder: Path, params: dict[str, str], body: str = "") -> Path:
    path = folder / "mine.yaml"
    lines = "".join(f"      {key}: {value!r}\n" for key, value in params.items())
    path.write_text(f"# @package _global_\n{body}hydra:\n  sweeper:\n    params:\n{lines or '      {}'}\n")
    return path


def hydras_own(path: Path, words: list[str], folder: Path) -> tuple[dict, dict[str, str], DictConfig]:
    """The configuration of `cimlab train --config-dir . +experiments=NAME WORDS`."""
    group = folder / "search" / "experiments"
    group.mkdir(parents=True, exist_ok=True)
    (group / path.name).write_text(path.read_text())
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        search = f"hydra.searchpath=[file://{group.parent}]"
        config = compose("train", [search, f"+experiments={path.stem}", *words], return_hydra_config=True)
    choices = {str(k): str(v) for k, v in config.hydra.runtime.choices.items() if v}
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return plain_config(own), choices, own


def assert_same(grid: Grid, path: Path, folder: Path, sample: int, checked: bool) -> None:
    places = list(grid.places())
    for place in random.Random(0).sample(places, min(sample, len(places))):
        plain, choices, own = hydras_own(path, grid.words(place), folder)
        document = grid.document(place)
        assert document["config"] == plain, place
        assert document["choices"].items() <= choices.items()
        if checked:
            planned = planned_run(grid, place)
            check(own, TrainConfig)
            assert isinstance(planned, PlannedRun)
            assert planned.identity == identity_of(plain)


def test_every_line_of_the_queue_is_a_grid() -> None:
    lines = lines_of(FOLDER / "queue.yaml")
    assert len(lines) > 1
    assert all(len(read_grid(line.file, list(line.words))) > 0 for line in lines)


@pytest.mark.parametrize("name", HARD)
def test_every_point_of_a_hard_grid_is_what_hydra_composes(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, HARD[name])
    assert_same(read_grid(path, []), path, tmp_path, 20, checked=False)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_shipped_experiments_are_hydras_own_and_hash_alike(path: Path, tmp_path: Path) -> None:
    grid = read_grid(path, [])
    assert_same(grid, path, tmp_path, 2, checked=True)
    note = grid.first["config"]["experiment"]
    assert note["question"]
    assert note["held_fixed"]
    assert path.read_text().startswith("# @package _global_\n# ")


def test_no_point_is_composed_twice_or_forgotten(tmp_path: Path) -> None:
    path = write(tmp_path, {"granularity": "weight,filter", "prune.remaining": "0.5,0.25,0.1", "seed": "0,1"})
    plan = make_plan(path, [f"paths.output_dir={tmp_path}"])
    assert len(plan.points) == len({point.run for point in plan.points}) == len(plan.grid) == 12
    again, other = (make_plan(path, [f"paths.output_dir={tmp_path}", *words]) for words in ([], ["seed=2"]))
    assert (
        plan.hash == again.hash != other.hash
    )  # which names its plot, so that no other grid's is overwritten


def test_points_that_are_the_same_run_are_one(tmp_path: Path) -> None:
    path = write(tmp_path, {"technology": "isaac32,neurosim22_rram", "seed": "0,1"})
    plan = make_plan(path, [f"paths.output_dir={tmp_path}"])
    assert len(plan.grid) == 4
    assert len(plan.points) == 2


def test_overrides_replace_axes_and_add_axes(tmp_path: Path) -> None:
    path = write(tmp_path, {"granularity": "weight,filter", "seed": "0,1,2"})
    grid = read_grid(path, ["seed=7", "prune.remaining=0.5,0.1", "granularity=kernel,channel"])
    assert [axis.keys[0] for axis in grid.axes] == ["prune.remaining", "granularity"]
    assert {grid.document(place)["config"]["seed"] for place in grid.places()} == {7}


def test_one_seed_comes_first_and_the_ends_before_the_middle(tmp_path: Path) -> None:
    path = write(
        tmp_path, {"prune.remaining": "0.9,0.8,0.7,0.6,0.5", "granularity": "weight,filter", "seed": "0,1"}
    )
    order = [(p.place[2], p.place[0]) for p in make_plan(path, [f"paths.output_dir={tmp_path}"]).points]
    assert [seed for seed, _ in order] == [0] * 10 + [1] * 10
    assert [budget for _, budget in order[:10]] == [0, 0, 4, 4, 2, 2, 1, 1, 3, 3]


@pytest.mark.parametrize(
    ("params", "line", "message"),
    [
        ({"seed": "0,1", "geometry.row": "1,2"}, 6, "unknown key geometry.row; did you mean geometry.rows?"),
        ({"granularity": "weight,nope", "seed": "0,1"}, 5, "nope"),
        ({"seed": "0,1", "prune.remaining": "0.5,1.5"}, 6, "prune.remaining=1.5"),
        ({"seed": "0,1", "geometry.active_rows": "16,256"}, 6, "active_rows=256 is more than rows=128"),
        ({"seed": "0,1", "prune.remaining": "0.5,{"}, 6, "prune.remaining=0.5,{"),
        ({"granularity": "filter", "seed": "range(0)"}, 6, "seed=range(0): is an axis without a value"),
        (
            {"granularity": "glob(x*)", "seed": "0"},
            5,
            "granularity=glob(x*): is an axis without a value; choices",
        ),
    ],
)
def test_a_bad_axis_is_refused_with_its_line_before_anything_runs(
    params: dict[str, str], line: int, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, params)
    with pytest.raises(ConfigError) as refusal:
        make_plan(path, [f"paths.output_dir={tmp_path / 'out'}"])
    assert message in str(refusal.value)
    assert str(refusal.value).startswith(f"{path}:{line}: "), refusal.value
    assert not (tmp_path / "out").exists()


def test_a_pattern_finds_the_choices_of_ones_own_folder_too(tmp_path: Path) -> None:
    path = write(tmp_path, {"geometry": "glob(s*)", "seed": "0,1"})
    own = tmp_path / "mine" / "geometry"
    own.mkdir(parents=True)
    (own / "sparse.yaml").write_text((conf_dir() / "geometry" / "small.yaml").read_text())
    grid = read_grid(path, [], str(own.parent))
    assert [axis.keys for axis in grid.axes] == [("geometry",), ("seed",)]
    assert [setting.words for setting in grid.axes[0].settings] == [("geometry=small",), ("geometry=sparse",)]
    assert [setting.words for setting in read_grid(path, []).axes[0].settings] == [("geometry=small",)]


def test_a_hash_put_together_from_remembered_parts_is_that_of_the_whole() -> None:
    text_of = Remembered()
    shared = {"b": [1, 2.5, None], "a": {"3": True, 10: "x", 9: "ä"}}
    for number in range(3000):  # more than are remembered
        parts = {"shared": shared, "own": {"n": number}, 'quo"ted': "text", "none": None}
        assert hash_of_texts({key: text_of(part) for key, part in parts.items()}) == content_hash(parts)
