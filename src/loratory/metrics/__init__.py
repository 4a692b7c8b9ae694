"""Text and labels to numbers, without torch: one metric a file."""
