"""`cimlab dashboard`: the records as a web page on this machine, by streamlit; no account, no network."""

from __future__ import annotations

import socket
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from cimlab.cli.options import Parser, port, require_folders
from cimlab.cli.plain import TRIALS
from cimlab.config.errors import ConfigError

OPTIONS = {
    "server.address": "127.0.0.1",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": "127.0.0.1",
    "client.toolbarMode": "minimal",
    "runner.magicEnabled": "false",
    "client.showErrorDetails": "none",
    "theme.light.primaryColor": "#0072B2",
    "theme.dark.primaryColor": "#3584C4",
}


def run(words: list[str]) -> int:
    """Serve until Ctrl-C.

    Raises:
        ConfigError: a folder is not there, the port is taken, or streamlit is not installed.
    """
    asked = parser().parse_args(words)
    folders = [Path(word) for word in asked.folders] or [Path("outputs")]
    require_folders(folders)
    if find_spec("streamlit") is None:
        raise ConfigError("the dashboard needs streamlit: pip install cimlab[grid]")
    _require_free(asked.port)
    _made_ready(folders)
    print(f"http://127.0.0.1:{asked.port}  (Ctrl-C ends it)", flush=True)
    from streamlit.web.cli import main

    main(command(folders, asked.port, asked.trials), prog_name="streamlit", standalone_mode=False)
    return 0


def command(folders: list[Path], port: int, trials: bool = False) -> list[str]:
    """The words for streamlit: this machine only, nothing sent anywhere."""
    page = Path(__file__).with_name("dashboard_page.py")
    options = [f"--{key}={value}" for key, value in {**OPTIONS, "server.port": str(port)}.items()]
    places = [str(folder.absolute()) for folder in folders]
    return ["run", str(page), *options, "--", *places, *(["--trials"] if trials else [])]


def _require_free(port: int) -> None:
    """Refuse a port at which another program answers, whose address would be told for ours.

    Raises:
        ConfigError: it is taken, or may not be.
    """
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((OPTIONS["server.address"], port))
        except OSError as problem:
            raise ConfigError(
                f"--port={port}: can't be served at ({problem.strerror}); give another"
            ) from problem


def _made_ready(folders: list[Path]) -> None:
    """Do what takes seconds before the address is told, so that the page opens at once."""
    from cimlab.pruning.granularities import granularities
    from cimlab.records.index import rows

    for module in (
        "pandas",
        "streamlit.elements.vega_charts",
        "cimlab.reporting.report",
        "cimlab.runs.reprice",
    ):
        import_module(module)
    granularities()  # brings torch
    print("reading the runs; each record is verified once, so that the first look takes longer", flush=True)
    for folder in folders:
        rows(folder)


def parser() -> Parser:
    """The options of the command."""
    options = Parser("dashboard", __doc__, "")
    options.add_argument("folders", nargs="*", metavar="FOLDER", help="folders of runs (outputs)")
    options.add_argument("--port", type=port, default=8501, help="where the page is served (8501)")
    options.add_argument("--trials", action="store_true", help=TRIALS)
    return options
