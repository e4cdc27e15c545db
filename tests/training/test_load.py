"""Many runs in one process leave nothing behind, and a large network maps in little memory; two hundred runs, and the
largest network, with the scripts alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def script(name: str, *words: str) -> str:
    """What a script of experiments/robustness prints; it has to find nothing amiss."""
    path = ROOT / "experiments" / "robustness" / name
    answer = subprocess.run(
        [sys.executable, str(path), *words], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_runs_in_one_process_leak_neither_memory_nor_open_files() -> None:
    assert "15 runs" in script("leaks.py", "--runs", "15")


def test_resnet50_at_the_shape_of_imagenet_maps_within_four_gibibytes() -> None:
    assert "resnet50: peak" in script("mapping_memory.py", "--network", "resnet50")
