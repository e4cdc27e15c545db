"""Words as people type them reach Hydra as what they mean: any path, and dictionaries of settings."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cimlab.config.errors import ConfigError
from cimlab.config.schema import TrainConfig
from cimlab.config.text_file import text_of
from cimlab.config.words import readable
from cimlab.lab import Lab

ODD_PATHS = (
    "runs/epoch=3-step=10.ckpt", "a b/net.pt", "x y, (ü)/net.pt", "a{b}.pt", "[x].pt", "it's.pt", 'a"b.pt',
    "#1;2&3~4.pt", "C:\\new\\net.pt", "2024", "1e5", "true", "ü/ß.pt", "run(1)/net.pt", "ends\\", "it\\'s.pt",
)  # fmt: skip


def value(word: str) -> object:
    override = OverridesParser.create().parse_override(*readable([word], TrainConfig))
    assert not override.is_sweep_override()
    return override.value()


@pytest.mark.parametrize("path", ODD_PATHS)
@pytest.mark.parametrize("key", ["checkpoint", "paths.output_dir", "data.data_dir", "model.file", "run"])
def test_a_path_may_hold_any_character(key: str, path: str) -> None:
    assert value(f"{key}={path}") == path


def test_what_is_quoted_or_null_stays_so() -> None:
    assert value("checkpoint='a=b.pt'") == "a=b.pt"
    assert value('checkpoint="a=b.pt"') == "a=b.pt"
    assert value("checkpoint=null") is None
    assert readable(["-m", "--help", "seed=1,2", "+x=1", "~method"], TrainConfig) == [
        "-m", "--help", "seed=1,2", "+x=1", "~method",
    ]  # fmt: skip
    methods = ["method=[gradual]", "method.gradual.prune_events=3", "device=[ideal],[stuck_at]"]
    assert readable(methods, TrainConfig) == methods


def test_paths_that_are_there_with_commas_between_are_an_axis(tmp_path: Path) -> None:
    paths = [tmp_path / f"epoch={number}.ckpt" for number in (1, 2)]
    word = f"checkpoint={paths[0]},{paths[1]}"
    assert value(word) == f"{paths[0]},{paths[1]}"  # as long as there are no such files
    for path in paths:
        path.touch()
    override = OverridesParser.create().parse_override(*readable([word], TrainConfig))
    assert [getattr(entry, "text", entry) for entry in override.sweep_iterator()] == list(map(str, paths))


@pytest.mark.parametrize(
    "written", ["{3:0.1,7:0.5}", "{3: 0.1, 7: 0.5}", "{'3':0.1,\"7\":0.5}", "{'3': 0.1, '7' : 0.5}"]
)
def test_a_dictionary_sets_what_it_holds(written: str) -> None:
    lab = Lab("prune.allocation=per_layer", f"prune.layer_remaining={written}")
    assert dict(lab.config.prune.layer_remaining) == {"3": 0.1, "7": 0.5}


def test_names_and_patterns_of_layers_are_keys_of_a_dictionary() -> None:
    lab = Lab("prune.layer_remaining={layer1.0.conv1:0.1,layer2*:0.5}")
    assert dict(lab.config.prune.layer_remaining) == {"layer1.0.conv1": 0.1, "layer2*": 0.5}
    assert dict(Lab("prune.layer_remaining.conv1=0.25").config.prune.layer_remaining) == {"conv1": 0.25}
    with pytest.raises(ConfigError, match="layer_remaining"):
        Lab("prune.layer_remaining={conv1:2}")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_text_is_read_in_the_encoding_that_it_says(encoding: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(end.join(["größe: 1", "b: 2", ""]).encode(encoding))
    assert text_of(tmp_path / "a.yaml") == "größe: 1\nb: 2\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("ü".encode("latin-1"), "no text in utf-8"),
        ("a: 1".encode("utf-16-le"), "UTF-16 without a mark"),
        (b"\xff\xfea", "utf-16"),
    ],
)
def test_a_text_in_no_encoding_is_refused_by_name(content: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=f"a.yaml .*{complaint}.*save it as UTF-8"):
        text_of(tmp_path / "a.yaml")


def test_a_tilde_is_home_in_words_that_shells_leave_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert readable(["paths.output_dir=~/runs", "checkpoint=~/a=3.ckpt"], TrainConfig) == [
        "paths.output_dir=/home/me/runs", "checkpoint='/home/me/a=3.ckpt'",
    ]  # fmt: skip
