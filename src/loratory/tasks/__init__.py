"""Rows to examples and prompts: one task a file."""
