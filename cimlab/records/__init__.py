"""The run record: one versioned, checksummed JSON file a run, written atomically, read by everything above."""

from cimlab.records.frame import load

__all__ = ["load"]
