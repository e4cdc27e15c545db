"""From records to tables and figures. Reads records alone: no torch, no training."""
