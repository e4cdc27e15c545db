"""A data set goes to another machine in parts and arrives whole, or not at all."""

from pathlib import Path
from types import ModuleType

import pytest
from conftest import experiment_script


@pytest.fixture(scope="module")
def carry() -> ModuleType:
    return experiment_script("gpu/carry.py")


@pytest.fixture
def parts(carry: ModuleType, tmp_path: Path) -> Path:
    source = tmp_path / "set"
    source.mkdir()
    (source / "batch").write_bytes(bytes(range(256)) * 10_000)
    assert len(carry.split(source, tmp_path / "parts", 1)) == 3
    return tmp_path / "parts"


def test_what_was_split_is_joined_again(carry: ModuleType, parts: Path, tmp_path: Path) -> None:
    assert all(part.stat().st_size <= carry.MIB for part in parts.iterdir())
    carry.join(parts, tmp_path / "there")
    assert (tmp_path / "there" / "set" / "batch").read_bytes() == bytes(range(256)) * 10_000


def test_a_missing_or_damaged_part_is_named_and_nothing_is_unpacked(
    carry: ModuleType, parts: Path, tmp_path: Path
) -> None:
    part = parts / "set.01"
    content = bytearray(part.read_bytes())
    content[7] ^= 1
    part.write_bytes(content)
    with pytest.raises(carry.CarryError, match=r"set\.01 is damaged"):
        carry.join(parts, tmp_path / "there")
    part.unlink()
    with pytest.raises(carry.CarryError, match=r"set\.01 is missing"):
        carry.join(parts, tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    outputs = tmp_path / "outputs"
    for name in ("run-1/record.json", "run-1/simulation.json", "run-2/failure.json", "run-1/network.pt"):
        (outputs / name).parent.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text(name)
    (outputs / "dense" / "abc").mkdir(parents=True)
    (outputs / "dense" / "abc" / "network.pt").write_bytes(bytes(range(256)) * 8192)
    return outputs


def test_records_come_home_and_dense_networks_go_on_to_the_next_slice(
    carry: ModuleType, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "HOME_MIB", 1)
    assert carry.collect(outputs, tmp_path / "home", networks=True) == 4
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == [
        "manifest.json", "networks.00", "networks.01", "networks.02", "records.tar.gz"
    ]  # fmt: skip
    carry.take(tmp_path / "home", tmp_path / "next")
    network = tmp_path / "next" / "dense" / "abc" / "network.pt"
    assert network.read_bytes() == bytes(range(256)) * 8192
    assert not (tmp_path / "next" / "run-1" / "network.pt").exists()
    assert (tmp_path / "next" / "run-2" / "failure.json").exists()

    assert carry.collect(outputs, tmp_path / "small", networks=False) == 3
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["records.tar.gz"]
    with pytest.raises(carry.CarryError, match="name the folder that a slice packed"):
        carry.take(tmp_path / "nowhere", tmp_path / "next")


def test_a_slice_goes_on_with_the_grid_and_packs_whatever_came_of_it(
    carry: ModuleType, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry.collect(outputs, tmp_path / "earlier", networks=True)
    monkeypatch.chdir(tmp_path)
    outputs.rename(tmp_path / "elsewhere")
    grid = Path(__file__).resolve().parents[2] / "experiments" / "digits_smoke.yaml"
    words = ["--jobs=1", "granularity=filter"]
    words += ["prune.remaining=0.5", "seed=0", "recipe.epochs=1", "schedule.epochs=1"]
    assert carry.go_on(grid, tmp_path / "home", words, "8m", tmp_path / "earlier", False) == 0
    carry.take(tmp_path / "home", tmp_path / "home_again")
    assert (tmp_path / "home_again" / "run-1" / "record.json").exists()  # of the earlier slice
    assert len(list((tmp_path / "home_again").glob("digits_cnn-digits-filter*/record.json"))) == 1
