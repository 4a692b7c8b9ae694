"""Everything that needs torch: models, batches, training, prediction.

The package itself imports nothing, so that `tuning.embedded` can be listed without torch.
"""
