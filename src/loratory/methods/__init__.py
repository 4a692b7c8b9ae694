"""Parameter-efficient fine-tuning: one method a file."""
