"""JSONL in, examples and a report out. Torch-free."""
