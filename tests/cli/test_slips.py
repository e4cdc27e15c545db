"""What people type wrong in their first hour: one line says what was meant, and what it says to type is taken."""

from pathlib import Path

import pytest
from conftest import Cimlab, one_line

SLIPS = [
    # words wrong -> what the line says to type instead
    ("train granularity = weight", "write granularity=weight", "train granularity=weight"),
    ("train granularity= weight", "write granularity=weight", "train granularity=weight"),
    ("train granularity =weight", "write granularity=weight", "train granularity=weight"),
    ("train model resnet20", "write model=resnet20", "train model=resnet20"),
    ("train resnet20", "write model=resnet20", "train model=resnet20"),
    ("train --model=resnet20", "settings have no dashes: model=resnet20", "train model=resnet20"),
    ("train --prune.remaining 0.1", "settings have no dashes: prune.remaining=VALUE", None),
    ("train seed=1 --resovle --cfg job", "--resovle: is no option of cimlab train; did you mean --resolve?", None),
    ("train -m seed=0,1 --jobs 2", "--jobs: is no option of cimlab train; it is one of cimlab sweep", None),
    ("trian seed=1", "unknown command 'trian'; did you mean train?", None),
    ("seed=1", "seed=1: a command comes first, cimlab train seed=1", None),
    ("train granularity=operation-unit", "did you mean operation_unit?", "train granularity=operation_unit"),
    ("simulate geometry=isac", "geometry=isac: is no choice; did you mean isaac?", "simulate geometry=isaac"),
    ("train technology=rram", "did you mean neurosim22_rram?", "train technology=neurosim22_rram"),
    ("train method=[gradaul]", "method=gradaul: is no choice; did you mean gradual?", "train method=[gradual]"),
    ("train method=gradual,reorder", "for all of them at once, method=[gradual,reorder]", None),
    ("train geometry=default,isaac", "geometry=default,isaac: add -m to take each in turn", None),
    ("map geometry=[default,isaac]", "takes one choice; -m geometry=default,isaac", None),
    ("map -m geometry=default,isac", "did you mean isaac?", None),
    ("map -m geometry = default,isaac", "write geometry=default,isaac", None),
    ("train epochs=3", "did you mean schedule.epochs or recipe.epochs?", "train schedule.epochs=3 recipe.epochs=3"),
    ("train +granularity=weight", "write granularity=weight", "train granularity=weight"),
    ("train -m ++granularity=weight,filter", "the group is there", None),
    ("train method=null", "method=null: takes the name of a choice, method=[] for none", "train method=[]"),
    ("train method=[true]", "method=true: takes the name of a choice", None),
    ("simulate device=null", "device=[] for none", "simulate device=[]"),
    ("train hydra.run.dir=mine", "runs go below paths.output_dir=FOLDER", "train paths.output_dir=mine"),
    ("sweep grid.yaml hydra.sweep.dir=mine", "runs go below paths.output_dir=FOLDER", None),
    ("train lr=0.1", "did you mean optimizer.lr?", "train optimizer.lr=0.1"),
    ("map remaining=0.1", "did you mean prune.remaining?", "map prune.remaining=0.1"),
    ("map data=cifar", "did you mean cifar10?", "map data=cifar10"),
    ("train prune_remaining=0.1", "did you mean prune.remaining?", "train prune.remaining=0.1"),
    ("train prune=0.1", "prune=0.1: is no setting itself; it has prune.remaining, prune.budget", None),
    ("train simulate.at_end", "write simulate.at_end=VALUE", "train simulate.at_end=true"),
    ("train prune.remaining: 0.1", "write prune.remaining=0.1", "train prune.remaining=0.1"),
    ("train optimizer.lr=0,4", "a fraction has a point, optimizer.lr=0.4", "train optimizer.lr=0.4"),
    ("train model=vit_b_16", "model=torchvision model.name=vit_b_16", "train model=torchvision model.name=vit_b_16"),
    ("sweep gird.yaml --dry-run", "gird.yaml is no file; give an experiment file, e.g. grid.yaml", None),
    ("sweep --dry-run", "the following arguments are required: file (cimlab sweep --help", None),
    ("train method=[gradual", "method=[gradual: a bracket or a quote is opened and not closed", None),
    ("train prune.remaining=0.1,", "a value before or after a comma is missing", None),
    ("train 'prune.remaining=0.1'", "is no key", None),
    ("train tracker.project=a;b", """quotes, once for the shell too: 'tracker.project="a;b"'""", None),
    ("train -m granularity=glob([wf]*)", """once for the shell too: 'granularity=glob("[wf]*")'""", None),
    ("train paths.output_dir=a,b", """quotes, once for the shell too: 'paths.output_dir="a,b"'""", None),
    ("train ~seed", "data.seed: refers to seed, which is not there", None),
    ("train seed=rnge(0,3)", "unknown function 'rnge'", None),
    ("sweep grid.yaml granularity = weight", "write granularity=weight", None),
    ("sweep grid.yaml granularity=wight", "grid.yaml: granularity=wight: is no choice; did you mean weight?", None),
    ("sweep grid.yaml --dryrun", "--dryrun: is no option of cimlab sweep; did you mean --dry-run?", None),
    ("sweep grid.yaml --config-dir=nowhere", "nowhere is no folder; give one that holds GROUP/CHOICE.yaml", None),
    ("train granularity=weight, column_segment seed=0,1", "write granularity=weight,column_segment", None),
    ("train -m granularity=weight, filter , kernel seed=0,1", "write granularity=weight,filter,kernel", None),
    ("train method=[gradual, reorder,distillation]", "write method=[gradual,reorder,distillation]", None),
    ("simulate simulate.images=20", "unknown key simulate.images; did you mean images?", None),
    ("map run=rnus", "run=rnus: does not exist; did you mean runs?", None),
    ("simulate checkpoint=rnus/network.pt", "did you mean runs/network.pt?", None),
    ("map checkpoint=runs/netwrok.pt", "did you mean runs/network.pt?", None),
    ("report rnus", "rnus: is no folder; did you mean runs?", None),
    ("collect mine rnus", "rnus: is no folder; did you mean runs?", None),
    ("dashboard rnus", "rnus: is no folder; did you mean runs?", None),
    ("runs rnus", "rnus: is no folder; did you mean runs?", "runs runs"),
    ("runs state=failde .", "no state is called 'failde'; did you mean failed?", "runs state=failed ."),
    ("runs granularity!=wight .", "no granularity is called 'wight'; did you mean weight?", None),
    ("runs --sort=enrgy .", "did you mean energy?", "runs --sort=energy ."),
    ("runs enrgy<1 .", "did you mean energy?", "runs energy<1 ."),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 0,1\n"
    )
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "network.pt").touch()
    return tmp_path


@pytest.mark.parametrize(("typed", "line", "meant"), SLIPS)
def test_a_slip_is_told_in_one_line_whose_advice_is_taken(
    typed: str, line: str, meant: str | None, folder: Path, cimlab: Cimlab
) -> None:
    answer = cimlab(*typed.split())
    assert answer.code == 2, answer
    assert line in one_line(answer.err)
    assert not (folder / "outputs").exists()
    if meant:
        taken = cimlab(*meant.split(), *(() if meant.startswith("runs") else ("--cfg", "job")))
        assert taken.code == 0, taken.err


def test_options_stand_anywhere_between_the_settings(cimlab: Cimlab) -> None:
    answer = cimlab("train", "seed=1", "--cfg", "job", "prune.remaining=0.125")
    assert answer.code == 0
    assert "remaining: 0.125" in answer.out
    assert "seed: 1" in answer.out


def test_a_network_of_ones_own_is_known_by_its_file(folder: Path, cimlab: Cimlab) -> None:
    (folder / "mynet.py").touch()
    asked = {
        "model=mynet": "a network of your own goes with model=own model.file=mynet.py",
        "model=mynet.py": "a network of your own goes with model=own model.file=mynet.py",
        "file=mynet.py": "did you mean model.file?",
        "function=build": "did you mean model.function?",
        "model=own model.flie=mynet.py": "unknown key model.flie; did you mean model.file?",
        "model=own model.file=mynett.py": "does not exist (looked for it in",
        "model=own model.file=mynet": "but mynet.py does; give the Python file",
    }
    for words, line in asked.items():
        assert line in one_line(cimlab("train", *words.split()).err)


def test_a_sweep_finds_choices_in_a_folder_of_ones_own(folder: Path, cimlab: Cimlab) -> None:
    (folder / "mine" / "geometry").mkdir(parents=True)
    (folder / "mine" / "geometry" / "tall.yaml").write_text("# tall\nrows: 256\n")
    words = ("sweep", "grid.yaml", "--dry-run", "geometry=default,tall")
    assert "geometry=tall: is no choice" in one_line(cimlab(*words).err)
    answer = cimlab(*words, "--config-dir=mine")
    assert answer.code == 0, answer.err
    assert answer.out.count("geometry=tall") == 2
