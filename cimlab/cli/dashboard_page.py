"""What `cimlab dashboard` hands to streamlit: the page over the folders of its command line, at today's prices."""

import sys
from pathlib import Path

from cimlab.reporting.dashboard.page import page
from cimlab.runs.reprice import priced_today

if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--trials"]
    page([Path(word) for word in words] or [Path("outputs")], priced_today, "--trials" in sys.argv)
