"""What makes a run another run: new settings by themselves, code of one's own, and hardware where training knows it."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import pytest
from conftest import Cimlab
from hydra import compose, initialize_config_dir

from cimlab.choices import conf_dir
from cimlab.config.schema import TrainConfig, check_plain, plain_config
from cimlab.records.identity import NEVER, marks, selector
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.runs.identity import Identity, identity_of
from cimlab.runs.planned import PlannedRun
from cimlab.training.settings import TrainerSettings

NETWORK = """
from torch import nn

def build(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, {width}, 3, padding=1), nn.ReLU(), nn.Conv2d({width}, 4, 3),
                         nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, num_classes))
"""


def plain(*words: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return plain_config(compose("train", list(words)))


def identity(*words: str) -> Identity:
    return identity_of(plain(*words))


@pytest.mark.parametrize(("mark", "counts"), [((), True), ((NEVER,), False)], ids=["plain", "marked"])
def test_a_new_trainer_setting_counts_with_no_other_edit_unless_it_is_marked(
    mark: tuple, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = Annotated[int, *mark] if mark else int
    wider = dataclasses.make_dataclass(
        "Wider", [("warm_start", hint, 0)], bases=(TrainerSettings,), frozen=True
    )
    monkeypatch.setitem(TrainConfig.__annotations__, "trainer", wider)
    for remembered in (marks, selector):
        remembered.cache_clear()
    one, other = plain(), plain()
    one["trainer"]["warm_start"], other["trainer"]["warm_start"] = 0, 1
    try:
        assert (identity_of(one).run != identity_of(other).run) == counts
        assert (identity_of(one).dense != identity_of(other).dense) == counts
        assert ("trainer.warm_start" in identity_of(one).uncounted) != counts
    finally:
        for remembered in (marks, selector):
            remembered.cache_clear()


PRICES = ("technology=neurosim22_rram", "adc_price=sar", "chip=isaac", "mapping.placement=compacted")
ELSEWHERE = (
    "paths.output_dir=x",
    "trainer.threads=1",
    "tracker=none",
    "simulate.at_end=true",
)


@pytest.mark.parametrize(
    "word", [*PRICES, *ELSEWHERE, "geometry.adc_bits=5", "geometry.input_bits=4", "adc=mse"]
)
def test_what_only_prices_or_shows_is_no_part_of_a_run(word: str) -> None:
    assert identity(word) == dataclasses.replace(identity(), uncounted=identity(word).uncounted)


@pytest.mark.parametrize(
    "word",
    ["granularity=filter", "geometry.active_rows=8", "geometry.cell_bits=1", "prune.remaining=0.1", "saliency=l1",
     "schedule.rate=rewind", "method=[gradual]", "recipe.gradient_batches=3"],
)  # fmt: skip
def test_what_shapes_retraining_makes_another_run_of_the_same_dense_network(word: str) -> None:
    own, other = identity(), identity(word)
    assert own.run != other.run
    assert own.dense == other.dense


AWARE = ("method=[lsq]", "method.lsq.hardware_aware=true")


@pytest.mark.parametrize("words", [AWARE, ("method=[lsq]",), ("prune.budget=steps",)], ids=" ".join)
def test_gathered_rows_shape_a_run_that_knows_of_converters_or_of_steps(words: tuple[str, ...]) -> None:
    """Where converters alone count, compacted and in place add up the same rows: one run."""
    own, in_place, gathered = (
        identity(*words, *(f"mapping.placement={p}" for p in more))
        for more in ((), ("in_place",), ("gathered",))
    )
    assert (own.run != gathered.run) == (words != ("method=[lsq]",))
    assert (own.run != in_place.run) == (words == ("prune.budget=steps",))
    assert own.dense == in_place.dense == gathered.dense


def test_images_in_a_folder_make_the_run_and_its_dense_network_not_the_folders_name(tmp_path: Path) -> None:
    def kept(folder: str, content: bytes) -> Identity:
        picture = tmp_path / folder / "photos" / "cat" / "1.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(content)
        return identity("data=image_folder", f"paths.data_dir={picture.parents[1]}")

    own, copied, other = kept("a", b"one"), kept("b", b"one"), kept("c", b"two")
    assert (own.run, own.dense) == (copied.run, copied.dense)
    assert own.run != other.run
    assert own.dense != other.dense


def test_a_name_says_what_the_budget_is_of() -> None:
    def name(*words: str) -> str:
        config = plain(*words)
        choices = {"model": "m", "data": "d", "granularity": "g"}
        return PlannedRun(check_plain(config, TrainConfig), config, choices, identity_of(config), None).name

    assert name() == "m-d-g-0.25-s0"
    assert name("prune.budget=steps", "seed=3") == "m-d-g-0.25-steps-s3"


@pytest.mark.parametrize("word", ["recipe.epochs=3", "optimizer.lr=0.01", "seed=1", "trainer.precision=bf16-mixed",
                                  "model=resnet20", "data.crop_padding=2", "method=[resizing]"])  # fmt: skip
def test_what_shapes_dense_training_makes_another_dense_network(word: str) -> None:
    assert identity().dense != identity(word).dense


def test_resizing_that_goes_on_in_retraining_keeps_the_dense_network() -> None:
    dense = identity("method=[resizing]")
    both = identity("method=[resizing]", "method.resizing.phases=[dense,retrain]")
    assert dense.dense == both.dense
    assert dense.run != both.run


@pytest.mark.parametrize("imported", [False, True], ids=["the file itself", "a module beside it"])
def test_an_edited_network_of_ones_own_is_another_run_and_another_dense_network(
    imported: bool, train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.syspath_prepend(tmp_path)
    name = "layers_of_mine" if imported else "mynet"

    def write(width: int) -> None:
        (tmp_path / f"{name}.py").write_text(NETWORK.format(width=width))
        for module in ("mynet", "layers_of_mine"):
            sys.modules.pop(module, None)

    if imported:
        (tmp_path / "mynet.py").write_text("from layers_of_mine import build\n")
    words = ("model._target_=mynet.build", "extensions=[mynet,layers_of_mine]")
    answers = []
    for width in (4, 4, 5):
        write(width)
        answers.append(train(*words))
        assert answers[-1].code == 0, answers[-1].err
    assert "already done" in answers[1].out
    assert "dense epoch 1/1" in answers[2].out
    records = [RunRecord.read(path) for path in tmp_path.glob(f"*/{RECORD_FILE}")]
    assert len(records) == 2
    assert len({record.run for record in records}) == 2
    assert all(record.name.startswith("mynet-digits-") for record in records)
    assert {Path(file).name for record in records for file in record.sources} == {"mynet.py", f"{name}.py"}


def test_settings_that_did_not_count_stand_in_the_record(train: Cimlab, tmp_path: Path) -> None:
    assert train("technology=neurosim22_rram").code == 0
    (path,) = tmp_path.glob(f"*/{RECORD_FILE}")
    left_out = RunRecord.read(path).uncounted
    assert {"technology", "tracker", "paths", "trainer.threads", "data.data_dir", "geometry.adc_bits"} <= set(
        left_out
    )
    assert not {"model", "granularity", "trainer.precision", "data.batch_size"} & set(left_out)
