"""Many runs in one process leave nothing behind; two hundred with the script alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_runs_in_one_process_leak_neither_memory_nor_open_files() -> None:
    script = ROOT / "experiments" / "robustness" / "leaks.py"
    answer = subprocess.run(
        [sys.executable, str(script), "--runs", "15"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "15 runs" in answer.stdout
