"""How long it takes until the first step: `python -m benchmarks.speed.first FOLDER`.

The demo's recipe is run until then, in FOLDER, by a process of its own. A last line of JSON has the
seconds of importing libraries, and of all that follows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()


def main() -> None:
    """Run until the first step and say what it took."""
    # As `pip install loratory[demo]` leaves it: peft and transformers import what `[dev]` brings
    # wherever it is.
    sys.modules.update(dict.fromkeys(("bitsandbytes", "scipy", "sklearn")))  # type: ignore[arg-type]
    from loratory import cli, run
    from loratory.config import load
    from loratory.pipeline.packages import training_packages

    with training_packages("preflight", "train"):
        from loratory.tuning.trainer import SupervisedTrainer

    libraries = time.perf_counter() - BEGAN

    def step(*_: object, **__: object) -> None:
        first = time.perf_counter() - BEGAN - libraries
        print(json.dumps({"libraries": libraries, "rest": first}), flush=True)
        os._exit(0)

    setattr(SupervisedTrainer, "training_step", step)  # noqa: B010 (mypy knows it for a method)
    demo = Path(cli.__file__).with_name("demo.yaml")
    run(load(demo, [f"output_dir={sys.argv[1]}"]))


if __name__ == "__main__":
    main()
