"""Answers by vLLM, where a GPU and vLLM are: `decode.engine: vllm`.

vLLM keeps keys and values in pages, replays steps of fixed shapes as graphs, and reads adapters of
plain LoRA beside the weights (Kwon et al. 2023, arXiv 2309.06180). It takes the memory it works in
when it begins and gives it back when its process ends, so it runs in a process of its own:
`python -m loratory.tuning.vllm FOLDER` reads `request.json` there and writes `answer.json`.

Prompts go there as tokens and answers come back as tokens: template, limits and stops are the same
as with Loratory's own decoding. It was not run on a GPU yet; tests put another package of that name
in its place.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loratory.config import DecodeConfig
from loratory.errors import ConfigError, MissingDependencyError
from loratory.tuning.device import device
from loratory.tuning.model import Resolved
from loratory.tuning.process import run_module

__all__ = ["Served", "check_engine", "main"]

RANKS = (8, 16, 32, 64, 128, 256)
"""Ranks that vLLM has room for; one between takes the next."""
SHARE = 0.9
"""Of the memory that is free, what vLLM may take."""


def check_engine(decode: DecodeConfig, spec: Resolved, kind: str, method: Any) -> None:
    """Refuse what vLLM cannot answer as Loratory does.

    Args:
        decode: the recipe's section.
        spec: the base model.
        kind: of the task.
        method: of the adapter.

    Raises:
        ConfigError: no GPU, or a model, task, method or setting it does not serve.
        MissingDependencyError: it is not installed.
    """
    if decode.engine != "vllm":
        return
    plain = method.name == "lora" and not method.use_dora and method.bias == "none"
    rank = getattr(method, "r", 0)
    for wrong, why in (
        (kind != "generation" or spec.family != "causal", "writes texts with decoder-only models"),
        (not plain, "takes plain LoRA, without use_dora and bias"),
        (rank > RANKS[-1], f"takes ranks up to {RANKS[-1]}"),
        (decode.num_beams != 1, "decodes greedily here: decode.num_beams must be 1"),
        (bool(decode.no_repeat_ngram_size), "knows no decode.no_repeat_ngram_size but 0"),
        (spec.quantization != "none", "is given weights as they are: model.quantization none"),
        (device() != "cuda", "needs a GPU, and none was found"),
    ):
        if wrong:
            raise ConfigError(f"decode.engine: vllm {why}. Change that, or set it to loratory.")
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError(
            "decode.engine: vllm is not installed. Run: pip install vllm (in an environment with "
            "the torch it asks for), or set decode.engine to loratory."
        )


@dataclass(frozen=True)
class Served:
    """A model that vLLM answers by.

    Args:
        spec: the base model.
        adapter: folder of an adapter of plain LoRA, or none.
    """

    spec: Resolved
    adapter: Path | None

    def greedy(
        self, prompts: Sequence[list[int]], *, stops: Collection[int], max_new_tokens: int
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield the place of a prompt and the tokens that follow it, the one that ends it included.

        Args:
            prompts: none empty.
            stops: tokens that end an answer.
            max_new_tokens: an answer ends after so many.

        Raises:
            RunError: the process failed; the sentence has the last it said.
        """
        request = {
            "model": self.spec.path,
            "revision": self.spec.revision,
            "dtype": str(self.spec.dtype).removeprefix("torch."),
            "trust_remote_code": self.spec.remote_code,
            "adapter": None if self.adapter is None else str(self.adapter.absolute()),
            "prompts": list(prompts),
            "stops": sorted(stops),
            "max_new_tokens": max_new_tokens,
            "longest": max(map(len, prompts), default=0) + max_new_tokens,
        }
        with tempfile.TemporaryDirectory(prefix="loratory-vllm-") as name:
            folder = Path(name)
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            run_module("loratory.tuning.vllm", name)
            said = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        yield from enumerate(said)


def _answered(request: dict[str, Any]) -> list[list[int]]:
    """Return what vLLM answers to each prompt."""
    vllm = importlib.import_module("vllm")
    adapter, options = request["adapter"], {}
    if adapter is not None:
        config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
        rank = max([config["r"], *config.get("rank_pattern", {}).values()])
        room = next(room for room in RANKS if room >= rank)
        options = {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
    if torch.cuda.is_available():  # what this run's own process holds is not free
        free, whole = torch.cuda.mem_get_info()
        options["gpu_memory_utilization"] = SHARE * free / whole
    model = vllm.LLM(
        model=request["model"],
        revision=request["revision"],
        dtype=request["dtype"],
        trust_remote_code=request["trust_remote_code"],
        skip_tokenizer_init=True,
        max_model_len=request["longest"],
        seed=0,
        **options,
    )
    asked = vllm.SamplingParams(
        temperature=0.0,
        max_tokens=request["max_new_tokens"],
        stop_token_ids=request["stops"],
        ignore_eos=True,  # what ends an answer is told, not taken from the model's own settings
        detokenize=False,
    )
    by = None
    if adapter is not None:
        by = importlib.import_module("vllm.lora.request").LoRARequest("tuned", 1, adapter)
    prompts = [{"prompt_token_ids": ids} for ids in request["prompts"]]
    found = model.generate(prompts, asked, use_tqdm=False, lora_request=by)
    return [list(output.outputs[0].token_ids) for output in found]


def main(folder: str) -> None:
    """Answer a request."""
    request = json.loads((Path(folder) / "request.json").read_text(encoding="utf-8"))
    said = json.dumps(_answered(request))
    (Path(folder) / "answer.json").write_text(said, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
