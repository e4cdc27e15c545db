"""The run record: one versioned, checksummed JSON file a run, written atomically, read by everything above."""
