"""Two processes train as one does: the same global batches, losses and validation, one log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_run import Run

SETTINGS = {"early_stopping_patience": None}
# Sixteen rows, so that no process needs a row twice; six validation rows, in batches of five.
SCRIPT = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
from tiny_run import Run
run = Run(Path({model!r}), Path({folder!r}))
run.rows = run.rows[:16]
run.train(per_device_train_batch_size=2, per_device_eval_batch_size=5, **{settings!r})
"""


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tiny_models, tmp_path):
    one = Run(tiny_models("llama"), tmp_path / "one")
    one.rows = one.rows[:16]
    one.train(per_device_train_batch_size=4, **SETTINGS)
    script = tmp_path / "two.py"
    script.write_text(
        SCRIPT.format(
            tests=str(Path(__file__).resolve().parents[1]),
            model=str(tiny_models("llama")),
            folder=str(tmp_path / "two"),
            settings=SETTINGS,
        )
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*launcher, "--nproc_per_node", "2", str(script)], check=True, capture_output=True
    )
    text = (tmp_path / "two" / "train.jsonl").read_text()
    two = [json.loads(line) for line in text.splitlines()]
    assert len(two) == len(one.log())
    for mine, theirs in zip(one.log(), two, strict=True):
        assert theirs == pytest.approx(mine, abs=1e-4)
    assert (tmp_path / "two" / "adapter" / "adapter_model.safetensors").is_file()
