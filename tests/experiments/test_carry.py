"""A data set goes to another machine in parts and arrives whole, or not at all."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "gpu" / "carry.py"


@pytest.fixture(scope="module")
def carry() -> ModuleType:
    spec = importlib.util.spec_from_file_location("carry", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_records_come_home_and_dense_networks_go_on_to_the_next_slice(
    carry: ModuleType, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    for name in ("run-1/record.json", "run-1/network.pt", "dense/abc/network.pt"):
        (outputs / name).parent.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text(name)
    assert carry.collect(outputs, tmp_path / "packed.tar") == 2
    carry.take(tmp_path / "packed.tar", tmp_path / "next")
    assert (tmp_path / "next" / "dense" / "abc" / "network.pt").exists()
    assert not (tmp_path / "next" / "run-1" / "network.pt").exists()
