"""The console script: quick answers, lazy imports, exit codes, completion."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cimlab, one_line

from cimlab import __version__
from cimlab.choices import choices, first_line, groups, keys
from cimlab.cli.completion import answer
from cimlab.cli.main import COMPOSED
from cimlab.config.errors import describe
from cimlab.records.record import RECORD_FILE
from tests.records.examples import example

HEAVY = ("torch", "torchvision", "pytorch_lightning", "wandb")


def imported_after(*words: str, folder: Path | None = None) -> set[str]:
    """Which heavy packages a fresh process has imported when the command has ended."""
    program = (
        "import sys\nfrom cimlab.cli.main import main\n"
        f"try:\n    main({list(words)!r})\nexcept SystemExit:\n    pass\n"
        f"print('IMPORTED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=folder
    )
    return set(answer.stdout.strip().splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "--help"],
        ["train", "geometry.rows=abc"],
        ["train", "+nonsense=1"],
        ["map", "--help"],
        ["map", "chip.batch=0"],
    ],
)
def test_help_and_refusals_import_nothing_heavy_and_leave_nothing(words: list[str], tmp_path: Path) -> None:
    assert imported_after(*words, folder=tmp_path) == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("before", "after"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_the_console_lets_waiting_threads_sleep_unless_told_otherwise(
    before: dict[str, str], after: str
) -> None:
    program = (
        "import os, sys\nfrom cimlab.cli.main import main\nsys.argv = ['cimlab', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    print(os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean | before
    )
    assert answer.stdout.splitlines()[-1] == after


def test_help_lists_the_commands(cimlab: Cimlab) -> None:
    answer = cimlab("--help")
    assert answer.code == 0
    assert "cimlab COMMAND" in answer.out
    assert "train" in answer.out


def test_version_is_that_of_the_package(cimlab: Cimlab) -> None:
    assert cimlab("--version").out == f"cimlab {__version__}\n"


def test_an_unknown_command_is_refused_with_the_known_ones(cimlab: Cimlab) -> None:
    answer = cimlab("trian")
    assert answer.code == 2
    assert "train" in one_line(answer.err)


@pytest.mark.parametrize(
    "words",
    [
        ["map", "model=digits_cnn", "input.channels=1", "input.size=8", "geometry.rows=-1"],
        ["map", "checkpoint=missing.pt", "model=digits_cnn"],
        ["runs", "missing"],
    ],
)
def test_who_asks_for_json_reads_a_refusal_as_json(words: list[str], cimlab: Cimlab) -> None:
    answer = cimlab(*words, "--json")
    assert answer.code != 0
    assert one_line(answer.err) == f"cimlab: {json.loads(answer.out)['error']}"
    assert cimlab(*words).out == ""


def test_with_its_output_closed_a_command_does_its_work_and_prints_into_no_file(tmp_path: Path) -> None:
    words = "model=digits_cnn input.channels=1 input.size=8 geometry=default,isaac"
    line = f'"$0" -m cimlab map -m {words} --csv paths.output_dir="$1" >&- 2>"$1/err.txt"'
    answer = subprocess.run(["sh", "-c", line, sys.executable, str(tmp_path)], timeout=120, check=False)
    assert answer.returncode == 0, (tmp_path / "err.txt").read_text()
    assert (tmp_path / "err.txt").read_text() == ""
    first = (tmp_path / "map.csv").read_text().splitlines()[0]
    assert "energy" in first


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["completion", "bash"], ["runs", "."]])
def test_a_disk_that_is_full_for_the_output_is_told_in_one_line(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "cimlab", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip
    assert answer.returncode == 1
    assert "No space left on device" in one_line(answer.stderr)


def test_a_sign_that_the_terminal_lacks_is_spelled(tmp_path: Path) -> None:
    example().write(tmp_path / "µ" / RECORD_FILE)
    answer = subprocess.run(
        [sys.executable, "-m", "cimlab", "runs", ".", "--csv"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert r"\xb5/record.json" in answer.stdout


def test_python_dash_m_is_the_same_command() -> None:
    answer = subprocess.run([sys.executable, "-m", "cimlab", "--version"], capture_output=True, text=True)
    assert answer.stdout == f"cimlab {__version__}\n"


@pytest.mark.parametrize("command", COMPOSED)
def test_help_shows_every_choice_of_every_group_with_its_first_line(
    command: str, cimlab: Cimlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    told = cimlab(command, "--help").out
    words = " ".join(told.split())
    for group, standing in groups(command).items():
        assert f"{group}=[CHOICE,...]" in told if isinstance(standing, list) else f"{group}=CHOICE" in told
        for choice in choices(group):
            assert f" {choice} {first_line(group, choice)}" in words
    assert all(key.partition(".")[2].partition(".")[0] in told for key in keys(command) if keys(command)[key])
    assert command != "train" or ("recipe.epochs=15" in words and "data.batch_size=" in words)
    assert not any(f"\n  {group}=" in told for group in groups("train").keys() - groups(command).keys())
    assert max(map(len, told.splitlines())) <= 120


@pytest.mark.parametrize("command", COMPOSED)
def test_examples_of_the_help_are_lines_that_are_taken(command: str, cimlab: Cimlab, tmp_path: Path) -> None:
    from cimlab.cli.help import EXAMPLES

    for line in EXAMPLES[command].splitlines():
        _, name, *words = shlex.split(line, comments=True)
        assert not re.search(r"[\[\]<>]", re.sub("'.*?'", "", line))  # which zsh or every shell would take
        if "-m" in words:  # each value alone
            words = [word.partition(",")[0] if "=" in word else word for word in words if word != "-m"]
        words = [word for word in words if word != "--adc-sensitivity" and not word.startswith("--sort")]
        if name == "simulate":
            assert any(word.startswith("checkpoint=") for word in words)
        answer = cimlab(name, *words, "--cfg", "job")
        assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cimlab tr", {"train": "train (or find) a dense network, prune, retrain, map on crossbars, write a record"}),
        ("cimlab train granularity=ope", {"granularity=operation_unit": "what one array computes in one step, m x n"}),
        ("cimlab train granularity=weight,cros", {"granularity=weight,crossbar": "one whole array"}),
        ("cimlab train 'method=[gradual,ite", {"method=[gradual,iterative": first_line("method", "iterative")}),
        ("cimlab train geometry.active_r", {"geometry.active_rows=": ""}),
        ("cimlab train prune.rem", {"prune.remaining=": "0.25 if nothing is said"}),
        ("cimlab map --adc", {"--adc-sensitivity": "the ratios under every ADC price"}),
        ("cimlab report --fig", {"--figures": "where Markdown's figures go (default: the file's name, with -figures)"}),
        ("cimlab sweep exp", {}),  # a file
        ("cimlab sweep experiments/headline.yaml granularity=fil", {"granularity=filter": "one output filter, R x 1"}),
        ("cimlab simulate checkpoint=out", {}),  # a file
    ],
)  # fmt: skip
def test_the_shell_is_told_what_may_follow_and_what_it_is(line: str, expected: dict[str, str]) -> None:
    assert answer(line) == expected


def test_bash_completes_by_its_script(tmp_path: Path) -> None:
    """As bash does at a tab: the script's function, and what it leaves to be inserted."""
    program = tmp_path / "cimlab"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cimlab "$@"\n')
    program.chmod(0o755)
    line = "cimlab train granularity=operation"
    asked = (
        f'eval "$("{program}" completion bash)"; compopt() {{ :; }}; COMP_WORDS=("{program}"); COMP_TYPE=9; '
        f'COMP_LINE="{line}"; COMP_POINT={len(line)}; _cimlab; printf "%s" "${{COMPREPLY[@]}}"'
    )
    told = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=60)
    assert told.stdout == "operation_unit", told


def test_an_option_behind_the_keys_of_a_multirun_is_answered_in_one_line(cimlab: Cimlab) -> None:
    answer = cimlab("train", "-m", "seed=0,1", "--resolve")
    assert answer.code == 2
    assert "--resolve" in one_line(answer.err)


@pytest.mark.parametrize("damaged", [b"", b"\x80\x04\x95"])
def test_a_damaged_cache_of_compiled_kernels_says_what_to_delete(damaged: bytes, tmp_path: Path) -> None:
    from numba.core.caching import IndexDataCacheFile

    (tmp_path / "kernel.nbi").write_bytes(damaged)
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever pickle says of it)
        IndexDataCacheFile(str(tmp_path), "kernel", 0).load(())
    line = describe(caught.value)
    assert "delete the .nbi and .nbc files below" in line
    assert "\n" not in line


def test_of_a_librarys_long_error_the_beginning_is_told():
    line = describe(
        NotImplementedError("Could not run 'aten::ne.Scalar'. " + "CPU: registered at [kernel] " * 500)
    )
    assert line.startswith("unexpected NotImplementedError: Could not run 'aten::ne.Scalar'. CPU")
    assert line.endswith("... (CIMLAB_DEBUG=1 shows where)")
    assert len(line) < 400


def test_a_traceback_is_shown_only_on_request(cimlab: Cimlab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in cimlab("train", "prune.remaining=7").err
    monkeypatch.setenv("CIMLAB_DEBUG", "1")
    assert "Traceback" in cimlab("train", "prune.remaining=7").err
