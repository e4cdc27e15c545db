"""Ten kills at random moments of digits runs, and no difference to undisturbed runs; more with the script alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "experiments" / "robustness" / "kills.py"


def test_runs_killed_at_random_moments_end_with_the_same_record() -> None:
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "10"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "10 kills" in answer.stdout
    assert "before its record" in answer.stdout
    assert "0 runs differ or are lost" in answer.stdout
