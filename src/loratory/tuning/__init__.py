"""Everything that needs torch: models, batches, training, prediction.

The package itself imports nothing heavy, so that `tuning.embedded` can be listed without torch.
"""

import logging
import os

from loratory.tuning import primitives

# peft imports bitsandbytes wherever it is installed, which then tells of optional kernels that it
# does not need, in the middle of a run that has nothing to do with it.
for _name in ("bitsandbytes.backends.cpu.ops", "bitsandbytes.autograd._functions"):
    logging.getLogger(_name).setLevel(logging.ERROR)

# Here, as it has to be before the first product.
primitives.bound(os.environ)
