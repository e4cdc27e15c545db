"""Every YAML composes to something that can be built, and nothing unknown or impossible passes the gate."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from conftest import Cimlab, one_line
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cimlab.choices import conf_dir
from cimlab.config.components import HOMES, Component
from cimlab.config.errors import ConfigError
from cimlab.config.schema import TrainConfig, check
from cimlab.runs.parts import _tell_of_emulation

GIVEN = {"model": ("num_classes", "in_channels"), "optimizer": ("params",)}
LISTED = ("method", "device")
GROUPS = [
    path.name
    for path in sorted(conf_dir().iterdir())
    if path.is_dir() and path.name in TrainConfig.__annotations__
]


def compose_train(*overrides: str) -> TrainConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(compose("train", list(overrides)), TrainConfig)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


CHOICES = [
    f"{group}=[{name}]" if group in LISTED else f"{group}={name}"
    for group in GROUPS
    for name in choices(group)
    if (group, name) != ("model", "own")  # which is given a file: tests/cli/test_own_network.py
]


@pytest.mark.parametrize("key", ["granularity", "prune.remaining"])
def test_a_setting_that_was_taken_away_is_named_alone(key: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        compose_train(f"~{key}")
    assert str(refusal.value) == f"{key}: is needed; ~{key} can't take it away"


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_its_part_accepts_the_values(choice: str) -> None:
    for key, node in parts_of(choice).items():
        part = Component(key, node, [], GIVEN.get(key, ()))
        if key not in GIVEN:
            part.build()


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_writes_every_setting_of_its_part(choice: str) -> None:
    """A default that stands in Python alone is in no record and in no run's identity."""
    for key, node in parts_of(choice).items():
        function = Component(key, node, [], GIVEN.get(key, ())).function
        if function.__module__.startswith("cimlab.") and key not in ("model", "adc_price"):
            assert set(inspect.signature(function).parameters) - set(node) <= {"phases", "effects"}, key


def parts_of(choice: str) -> dict[str, dict[str, Any]]:
    """Key -> node of each part that a choice of a group brings."""
    group = choice.split("=")[0]
    value = getattr(compose_train(choice), group)
    if group not in HOMES:
        return {}
    if "_target_" in value:
        return {group: value}
    return {f"{group}.{key}": node for key, node in value.items() if isinstance(node, dict)}


def test_effects_on_devices_happen_one_after_the_other() -> None:
    nodes = [node for name in choices("device") for node in parts_of(f"device=[{name}]").values()]
    stages = [Component("device", node, []).build().stage for node in nodes]
    assert len(stages) == len(set(stages)), stages


def test_every_choice_says_in_its_first_line_what_it_is() -> None:
    for path in conf_dir().glob("*/*.yaml"):
        assert path.read_text().startswith("# "), path


REFUSED = [
    # misspelt choices
    (["granularity=colum_segment"], "did you mean column_segment?"),
    (["method=[gradul]"], "did you mean gradual?"),
    # unknown keys: replaced, added with +, force-added with ++
    (["geometry.row=1"], "unknown key geometry.row; did you mean geometry.rows?"),
    (["+extra=1"], "unknown key extra"),
    (["++prune.remainin=0.5"], "unknown key prune.remainin; did you mean prune.remaining?"),
    (["+model.depth=20"], "unknown key model.depth"),
    (["device.programming_variation=0.05"], "is a choice: device=programming_variation"),
    (["geometry.isaac=true"], "is a choice: geometry=isaac"),
    (["+optimizer.momentun=0.9"], "unknown key optimizer.momentun"),
    # wrong types
    (["geometry.rows=abc"], "geometry.rows=abc"),
    (["prune.remaining=a lot"], "prune.remaining=a lot"),
    (["seed=-1"], "seed=-1"),
    (["optimizer.lr=fast"], "optimizer.lr=fast"),
    (["trainer.precision=8-bit"], "trainer.precision=8-bit"),
    (["prune.remaining=true"], "prune.remaining=true: input should be a number"),
    (["geometry.adc_bits=true"], "geometry.adc_bits=true: input should be a number"),
    (["prune.layer_remaining={conv1:true}"], "prune.layer_remaining.conv1=true: input should be a number"),
    (["optimizer.lr=true"], "optimizer.lr=true: input should be a number"),
    (["method=[gradual]", "method.gradual.prune_events=true"], "prune_events=true: input should be a number"),
    # impossible values, impossible geometry
    (["optimizer.lr=nan"], "optimizer.lr=nan: input should be a finite number"),
    (["optimizer.weight_decay=inf"], "optimizer.weight_decay=inf: input should be a finite number"),
    (["paths.dense_dir="], "paths.dense_dir=: string should have at least 1 character"),
    (["prune.remaining=0"], "prune.remaining=0: input should be greater than 0"),
    (["prune.remaining=1.5"], "prune.remaining=1.5: input should be less than or equal to 1"),
    (["geometry.adc_bits=0"], "adc_bits=0 must be from 1 to 24"),
    (["geometry.columns_per_adc=64"], "use columns_per_adc in [1, 2, 4, 8, 16]"),
    (["geometry.cols=100"], "cols=100 / columns_per_adc=8 reads 12.5 bitlines a step"),
    (["geometry.active_rows=256"], "active_rows=256 is more than rows=128"),
    (["schedule.epochs=0"], "schedule.epochs=0: input should be greater than or equal to 1"),
    (["method=[iterative]", "method.iterative.prune_rounds=0"], "method.iterative.prune_rounds=0"),
    (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1.0"),
    (["data.batch_size=0"], "batch_size=0"),
    (["granularity=pattern", "granularity.m=1"], "pattern m=1 must be 2 or more"),
    # unknown choices
    (["granularity=nope"], "array_column"),
    (["model=nope"], "resnet20"),
    (["distillation=hinton"], "say method=[distillation]"),
    (["schedule=gradual"], "say method=[gradual]"),
    (["schedule.prune_events=4"], "say method.gradual.prune_events"),
    (["method=[nope]"], "distillation"),
    (["granularity="], "granularity=: is no choice; choices: array_column"),
    # code that a configuration may not call
    (["model._target_=os.system"], "name other packages in extensions"),
    (["checkpoint=no/such/file.pt"], "give an existing file"),
]


@pytest.mark.parametrize(("words", "expected"), REFUSED)
def test_a_bad_setting_is_refused_in_one_line_and_writes_nothing(
    words: list[str], expected: str, cimlab: Cimlab, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    answer = cimlab("train", f"paths.output_dir={output}", *words)
    assert answer.code == 2
    assert expected in one_line(answer.err)
    assert not output.exists()


@pytest.mark.parametrize("command", ["train", "map", "simulate"])
@pytest.mark.parametrize("folder", ["data_dir", "output_dir"])
def test_a_folder_that_is_nothing_is_not_the_one_we_stand_in(
    command: str, folder: str, cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cimlab(command, f"paths.{folder}=")  # as "$OUT" is where nobody set it
    assert answer.code == 2
    assert f"paths.{folder}=: string should have" in one_line(answer.err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("instructions", "compiled", "told"),
    [
        ("AVX2", "false", "computed in float32, no faster than trainer=default"),
        ("AVX2", "true", "about ten times slower than float32; set trainer.compile=false"),
        ("AVX512", "false", ""),
    ],
)
def test_a_processor_without_bfloat16_is_told_before_anything_runs(
    instructions: str, compiled: str, told: str, cimlab: Cimlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: instructions)
    _tell_of_emulation.cache_clear()
    answer = cimlab("train", "trainer=cpu_bf16", f"trainer.compile={compiled}", "optimizer.lr=-1")
    assert told in answer.err
    assert ("no AVX-512" in answer.err) == bool(told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "rows: 128\nactive_wors: 16\n",
            "unknown key geometry.active_wors; did you mean geometry.active_rows?",
        ),
        ("rows: many\n", "geometry.rows=many"),
        ("rows: 8\nactive_rows: 16\n", "active_rows=16 is more than rows=8"),
    ],
)
def test_a_mistake_inside_a_yaml_file_is_refused_like_one_on_the_command_line(
    text: str, expected: str, cimlab: Cimlab, tmp_path: Path
) -> None:
    (tmp_path / "geometry").mkdir()
    (tmp_path / "geometry" / "mine.yaml").write_text(text)
    answer = cimlab("train", f"hydra.searchpath=[file://{tmp_path}]", "geometry=mine")
    assert answer.code == 2
    assert expected in one_line(answer.err)


def test_a_target_of_another_package_needs_to_be_named_in_extensions() -> None:
    node = {"_target_": "fractions.Fraction"}
    with pytest.raises(ConfigError, match="extensions"):
        Component("model", node, [])
    with pytest.raises(ConfigError, match="makes no Module"):
        Component("model", node, ["fractions"]).build()


@pytest.mark.parametrize(
    "node",
    [
        # by attributes of an allowed module
        {"_target_": "cimlab.data.cifar.os.system", "command": "true"},
        {"_target_": "cimlab.data.cifar.tempfile._os.system", "command": "true"},
        {"_target_": "cimlab.data.cifar.download_url", "url": "x", "root": "y"},
        {"_target_": "cimlab.data.cifar.Cifar.__init__.__globals__.get"},
        # in cimlab, torch and torchvision themselves, but not of the group
        {"_target_": "cimlab.training.checkpoints.discard", "folder": "x"},
        {"_target_": "cimlab.records.record.write_atomically", "path": "x", "text": "y"},
        {"_target_": "torchvision.datasets.utils.download_url", "url": "x", "root": "y"},
        {"_target_": "torch.optim.SGD"},
        {"_target_": "torch.load", "f": "x"},
        # no callable, no module, no name
        {"_target_": "cimlab.data.seeding.TEST_SPLIT_SEED"},
        {"_target_": "cimlab.data.digits"},
        {"_target_": "cimlab.data."},
        {"_target_": "cimlab.data..digits.Digits"},
        {"_target_": None},
        {"_target_": ["os.system"]},
        {},
    ],
)
def test_a_configuration_reaches_no_function_outside_its_group(node: dict) -> None:
    with pytest.raises(ConfigError) as refusal:
        Component("data", node, []).build()
    assert "\n" not in str(refusal.value)


def test_a_target_within_an_argument_stays_plain_data(tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    node = {"_target_": "os.mkdir", "path": str(owned)}
    for key, target in (("data", "cimlab.data.digits.Digits"), ("model", "torchvision.models.resnet18")):
        with pytest.raises(ConfigError):
            Component(key, {"_target_": target, "seed": node, "weights": node}, []).build()
    assert not owned.exists()


def test_every_setting_has_a_default_in_conf() -> None:
    """A key of the schema that no YAML shows would be invisible in --help."""
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        shown = OmegaConf.to_container(compose("train"))
    assert isinstance(shown, dict)
    for name, kind in get_type_hints(TrainConfig).items():
        assert name in shown
        if is_dataclass(kind):
            assert {field.name for field in fields(kind)} == set(shown[name]), name


def test_image_folders_are_known_by_their_names_and_published_data_wherever_they_lie() -> None:
    from cimlab.config.schema import check_plain, plain_config
    from cimlab.runs.identity import identity_of

    def identity(data: str, folder: str) -> tuple[str, str]:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            plain = plain_config(compose("train", overrides=[f"data={data}", f"paths.data_dir={folder}"]))
        check_plain(plain, TrainConfig)
        found = identity_of(plain)
        return found.run, found.dense

    assert identity("image_folder", "/a/dogs") == identity("image_folder", "/b/dogs/")
    assert identity("image_folder", "/a/dogs")[1] != identity("image_folder", "/a/birds")[1]
    assert identity("cifar10", "/a") == identity("cifar10", "/b")
