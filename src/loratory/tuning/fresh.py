"""What a saved adapter gives in a fresh process: `python -m loratory.tuning.fresh FOLDER`.

The folder holds `request.json` and `inputs.safetensors`; `answer.json` and
`answer.safetensors` are written beside them. Nothing of the process that trained is known
here but those files, the base model and the adapter.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from loratory.config import ModelConfig
from loratory.errors import LoratoryError
from loratory.methods.base import METHODS
from loratory.progress import Silent
from loratory.tuning.adapter import with_adapter
from loratory.tuning.batch import IGNORE
from loratory.tuning.model import base_of, load, resolve

__all__ = ["answer", "digest", "digests", "greedy", "logits", "main"]


def logits(model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return a row's logits at its supervised positions, shape (N, V), or (1, K) of a head.

    Args:
        model: in evaluation mode.
        inputs: the tensors of one row, as `collate` gives them.
    """
    labels = inputs["labels"]
    tensors = {k: v.to(model.device) for k, v in inputs.items() if not k.endswith("labels")}
    with torch.inference_mode():
        found = model(**tensors).logits
    if labels.dim() == 2:
        # Methods that put virtual tokens before the prompt give logits for those as well.
        found = found[:, -labels.shape[1] :][labels.to(found.device) != IGNORE]
    return found.float().cpu()


def greedy(
    model: Any, prompt: Sequence[int], stop: Sequence[int], pad: int, new_tokens: int
) -> tuple[list[int], list[float]]:
    """Continue a prompt greedily.

    Returns:
        The new tokens, and for each by how much its logit led the second best.
    """
    ids = torch.tensor([list(prompt)], device=model.device)
    config = GenerationConfig(
        max_new_tokens=new_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=list(stop) or None,
        pad_token_id=pad,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        output_logits=True,
        return_dict_in_generate=True,
    )
    inner = base_of(model)
    own = inner.generation_config
    # A model's own settings would fill in whatever is None above.
    inner.generation_config = model.generation_config = config
    try:
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config
            )
    finally:
        inner.generation_config = model.generation_config = own
    tops = [step[0].float().topk(2).values.tolist() for step in out.logits]
    return out.sequences[0, -len(tops) :].tolist(), [first - second for first, second in tops]


def digests(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the `digest` of each tensor, made by as many threads as PyTorch has."""
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        return dict(zip(tensors, threads.map(digest, tensors.values()), strict=True))


def digest(tensor: torch.Tensor) -> str:
    """Return a sha256 over a tensor's bytes."""
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # (bytes,)
    return hashlib.sha256(data.numpy()).hexdigest()


def answer(folder: Path) -> None:
    """Load base model and adapter as the request names them, and write what they give.

    Raises:
        ModelError: one of them cannot be loaded.
    """
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    METHODS.names()  # methods that peft lacks are made known to it by their files
    spec = resolve(ModelConfig(**request["model"]), classify=request["classify"], progress=Silent())
    # Another seed than the run's: a head that was not saved must not come back by chance.
    loaded = load(spec, request["labels"], request["seed"])
    tensors = load_file(folder / "inputs.safetensors")
    rows = [_row(tensors, i) for i in range(request["rows"])]
    found = {f"base.{i}": logits(loaded.model, row) for i, row in enumerate(rows)}
    before = _digests(loaded.model, request["heads"])
    facts: dict[str, Any] = {
        "vocabulary": vocabulary(loaded.model, spec.tokenizer),
        "quantised": bool(getattr(loaded.model, "is_quantized", False)),
    }
    model = with_adapter(loaded, Path(request["adapter"]))
    found |= {f"tuned.{i}": logits(model, row) for i, row in enumerate(rows)}
    if request["merges"] and not facts["quantised"]:
        try:
            facts |= _merge(model, spec.family != "classifier", rows, request, before, found)
        except torch.OutOfMemoryError:
            facts["no_memory"] = True
        except Exception as error:  # whatever peft says, the proof tells it
            facts["merge_error"] = " ".join(str(error).split())[:300] or type(error).__name__
    save_file(found, folder / "answer.safetensors")
    (folder / "answer.json").write_text(json.dumps(facts), encoding="utf-8")


def _merge(
    model: Any,
    generates: bool,
    rows: Sequence[Mapping[str, torch.Tensor]],
    request: Mapping[str, Any],
    before: Mapping[str, str],
    found: dict[str, torch.Tensor],
) -> dict[str, Any]:
    """Add to `found` what the model gives before and after merging, both in float32.

    In a lower precision the rounding of merged weights would hide a wrong merge.
    """
    facts: dict[str, Any] = {}
    model = model.float()
    found |= {f"exact.{i}": logits(model, row) for i, row in enumerate(rows)}
    if generates:
        facts["exact"] = _texts(model, request)
    model = model.merge_and_unload(safe_merge=True)
    found |= {f"merged.{i}": logits(model, row) for i, row in enumerate(rows)}
    if generates:
        facts["merged"] = _texts(model, request)
    after = _digests(model, request["heads"])
    facts["changed"] = sum(before.get(name) != value for name, value in after.items())
    return facts


def vocabulary(model: Any, tokenizer: Any) -> dict[str, Any]:
    """Return the rows of the embedding and the tokens that were added to the tokenizer."""
    return {
        "embedding_rows": int(model.get_input_embeddings().weight.shape[0]),
        "added_tokens": dict(sorted(tokenizer.get_added_vocab().items())),
    }


def _digests(model: Any, heads: Sequence[str]) -> dict[str, str]:
    """Return digests of the body's weights in float32. A new head is always another one."""
    inside = tuple(f"{head}." for head in heads)
    return digests({n: p.float() for n, p in model.named_parameters() if not n.startswith(inside)})


def _row(tensors: Mapping[str, torch.Tensor], i: int) -> dict[str, torch.Tensor]:
    prefix = f"{i}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _texts(model: Any, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for prompt in request["prompts"]:
        ids, leads = greedy(model, prompt, request["stop"], request["pad"], request["new_tokens"])
        found.append({"ids": ids, "leads": leads})
    return found


def main(folder: str) -> None:
    """Answer, or leave the sentence that says why not."""
    try:
        answer(Path(folder))
    except LoratoryError as error:
        text = json.dumps({"error": str(error)})
        (Path(folder) / "answer.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
