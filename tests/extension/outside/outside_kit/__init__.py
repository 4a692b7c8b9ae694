"""A package of somebody else: one method, one metric, one task, a file each."""
