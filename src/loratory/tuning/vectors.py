"""Texts to vectors: the hidden states of an encoder behind one of its layers, token by token.

All of it is in float64. That takes about twice as long as float32 on a CPU, and what comes out
does not depend, to 12 digits, on the batch it was computed in.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import transformers
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoTokenizer, GPT2Tokenizer, RobertaTokenizer

from loratory.config import ModelConfig
from loratory.errors import ConfigError, ModelError
from loratory.progress import Silent
from loratory.tuning.device import device
from loratory.tuning.locate import locate

__all__ = ["Tokens", "Vectors", "greedy_match", "load_vectors"]

MOST_TOKENS = 4096
"""Longest text, whatever a model reads: attention grows with its square."""
_BATCH_TOKENS = 8192
_BATCH_CELLS = 1 << 22

# These count positions from behind their padding index, so two of them are never used.
_OFFSET = {"camembert", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"}


class Tokens(NamedTuple):
    """A text as the model reads it."""

    ids: list[int]
    """Special tokens included."""
    empty: bool
    """It is nothing but what the tokenizer adds to every text."""
    cut: bool
    """The text was longer than the model reads."""


class Vectors:
    """A model without the layers behind the one that is asked for, and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, longest: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._longest = longest
        # Their tokenizers tell a word at the start of a text from one behind a space.
        self._lead = " " if isinstance(tokenizer, GPT2Tokenizer | RobertaTokenizer) else ""
        self.ends = frozenset({tokenizer.cls_token_id, tokenizer.sep_token_id} - {None})
        """The tokens that mark the start and end of a text, `[CLS]` and `[SEP]` in BERT."""

    def read(self, texts: Sequence[str]) -> dict[str, Tokens]:
        """Return the tokens of each text, without space around it, its end cut if too long.

        Half of a surrogate pair, which no tokenizer takes, becomes U+FFFD.
        """
        if not texts:
            return {}
        cleaned = [self._clean(text) for text in texts]
        encoded = self._tokenizer(
            cleaned, truncation=True, max_length=self._longest, return_special_tokens_mask=True
        )
        found = {}
        for text, clean, ids, added in zip(
            texts, cleaned, encoded["input_ids"], encoded["special_tokens_mask"], strict=True
        ):
            full = len(ids) == self._longest
            cut = full and len(self._tokenizer(clean)["input_ids"]) > len(ids)
            found[text] = Tokens(list(ids), not clean.strip() or all(added), cut)
        return found

    def states(self, texts: Mapping[str, Tokens], batch_size: int) -> dict[str, Any]:
        """Return the hidden states of each text, of length 1 each; shape (T, D)."""
        found: dict[str, Any] = {}
        order = sorted(texts, key=lambda text: (-len(texts[text].ids), text))
        while order:
            longest = max(1, len(texts[order[0]].ids))
            count = max(1, min(batch_size, _BATCH_TOKENS // longest))
            batch, order = order[:count], order[count:]
            rows = [torch.tensor(texts[text].ids, dtype=torch.long) for text in batch]
            # Padding is masked, so any token may fill.
            inputs = pad_sequence(
                rows, batch_first=True, padding_value=self._tokenizer.pad_token_id or 0
            )
            mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
            with torch.inference_mode():
                output = self._model(
                    input_ids=inputs.to(self._model.device),
                    attention_mask=mask.to(self._model.device),
                ).last_hidden_state  # (B, T, D)
                output = torch.nn.functional.normalize(output, dim=-1)
            found |= {
                text: state[: len(row)]
                for text, row, state in zip(batch, rows, output, strict=True)
            }
        return found

    def _clean(self, text: str) -> str:
        whole = text.strip().encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._lead + whole if whole else ""


def greedy_match(
    pairs: Sequence[tuple[str, str]],
    states: Mapping[str, Any],
    weights: Mapping[str, Sequence[float]],
    batch_size: int,
) -> Iterator[tuple[float, float]]:
    """Yield precision and recall of each pair of an answer and a reference, in order.

    Precision is the weighted sum, over the answer's tokens, of the largest cosine with any
    token of the reference; recall the same from the other side.

    Args:
        pairs: an answer and a reference each.
        states: of each text, vectors of length 1, shape (T, D).
        weights: of each text, one number a token; they sum to 1.
        batch_size: pairs compared at once, at most.
    """
    start = 0
    while start < len(pairs):
        cells = max(len(states[a]) * len(states[r]) for a, r in pairs[start : start + batch_size])
        batch = pairs[start : start + max(1, min(batch_size, _BATCH_CELLS // cells))]
        start += len(batch)
        answers, references = ([states[text] for text in side] for side in zip(*batch, strict=True))
        cosine = _pad(answers) @ _pad(references).transpose(1, 2)  # (B, A, R)
        real = _pad([torch.ones_like(row[:, :1]) for row in answers]) @ _pad(
            [torch.ones_like(row[:, :1]) for row in references]
        ).transpose(1, 2)
        cosine = cosine.masked_fill(real == 0, -2.0)  # padding is below every cosine
        both = []
        for side, best in enumerate((cosine.amax(dim=2), cosine.amax(dim=1))):
            weighed = _pad([best.new_tensor(weights[pair[side]]) for pair in batch])
            both.append((best * weighed).sum(dim=1).tolist())
        yield from zip(*both, strict=True)


def _pad(rows: Sequence[Any]) -> Any:
    return pad_sequence(list(rows), batch_first=True)


@functools.lru_cache(maxsize=1)
def load_vectors(name: str, revision: str | None, layer: int | None, share: float) -> Vectors:
    """Return a model for its hidden states; the one asked for last stays in memory.

    Args:
        name: Hub name, local folder or embedded:NAME.
        revision: of a Hub model.
        layer: its last layer; None takes the one that `share` of them lie below.
        share: above 0, at most 1.

    Raises:
        ConfigError: the model has not so many layers.
        MissingDependencyError: an embedded model's package is not installed.
        ModelError: not there, not reachable, without safetensors, or not complete.
    """
    # Its own bars and load reports would break the progress display; errors still raise.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    path = locate(ModelConfig(name=name, revision=revision), Silent())
    try:
        config = AutoConfig.from_pretrained(path, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
    except Exception as error:
        raise ModelError(f"model.name: {name} cannot be read: {_line(error)}") from None
    depth = getattr(config, "num_hidden_layers", None)
    if depth is None:
        raise ModelError(f"model.name: {name} does not say how many layers it has.")
    if layer is not None and layer > depth:
        raise ConfigError(f"layer: got {layer}; {name} has {depth} layers, so give 0 to {depth}.")
    kept = round(share * depth) if layer is None else layer
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:kept]
    config.num_hidden_layers = kept
    try:
        model, report = AutoModel.from_pretrained(
            path,
            config=config,
            dtype=torch.float64,
            revision=revision,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise ModelError(
            f"model.name: the weights of {name} cannot be read: {_line(error)}"
        ) from None
    # A pooler works on what is behind the last layer, and is not used.
    if missing := sorted(key for key in report["missing_keys"] if not key.startswith("pooler.")):
        raise ModelError(
            f"model.name: {name} lacks weights for {', '.join(missing[:3])}; they would be random. "
            "Take a complete checkpoint."
        )
    if config.is_encoder_decoder:
        model = model.get_encoder()
    return Vectors(model.to(device()).eval(), tokenizer, _longest(config, tokenizer))


def _longest(config: Any, tokenizer: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None) or MOST_TOKENS
    if config.model_type in _OFFSET:
        positions -= 2
    return int(min(MOST_TOKENS, positions, tokenizer.model_max_length))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
