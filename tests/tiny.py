"""Tiny real models of every family, built from a config: seconds to train, nothing to download.

The tokenizer is a byte-level BPE trained on a few sentences, so any text can be encoded.
"""

from __future__ import annotations

from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = (
    "the quick brown fox jumps over the lazy dog. a cat sat on the mat. summarize: user "
    "assistant classify the following text as one of: negative, positive. label: return the "
    "number of items in the list. write one sentence. good bad film review"
)


def tokenizer(*, chat: bool = False, pad: bool = True, bos: bool = False):
    """A fast tokenizer; with `chat` it has a template whose turns end in its end token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", "<s>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([CORPUS] * 4, trainer)
    extra = {"pad_token": "<pad>"} if pad else {}
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>" if chat else "</s>",
        bos_token="<s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        **extra,
    )
    if chat:
        made.chat_template = CHAT_TEMPLATE
    return framed(made, "<s> $A") if bos else made


def framed(tok, text: str):
    """Let a tokenizer put `<s>` and `</s>` around every text, as `text` says."""
    from tokenizers import processors

    there = [token for token in ("<s>", "</s>") if token in text.split()]
    special = [(token, tok.convert_tokens_to_ids(token)) for token in there]
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=text, special_tokens=special
    )
    return tok


def save(model, tok, folder: Path) -> Path:
    model.save_pretrained(folder, safe_serialization=True)
    tok.save_pretrained(folder)
    return folder


SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
"""The shape of every tiny model, in the names that transformers knows for all of them."""
POSITIONS = {"max_position_embeddings": 1024}


def made(kind: str, tok, **fields):
    """A model of transformers' class `kind`, of the tiny shape but for `fields`."""
    import torch
    import transformers

    cls = getattr(transformers, kind)
    torch.manual_seed(0)
    return cls(cls.config_class(**{"vocab_size": len(tok), **SHAPE, **fields}))


def ends(tok, *names: str) -> dict[str, int]:
    """The numbers of a tokenizer's special tokens, in a config's names: `eos`, `bos`, `pad`."""
    return {f"{name}_token_id": getattr(tok, f"{name}_token_id") for name in names}


def llama(folder: Path, *, chat: bool = True, pad_is_end: bool = True, **fields) -> Path:
    """Decoder-only with grouped heads; with `pad_is_end` padding and end token are one."""
    tok = tokenizer(chat=chat)
    if pad_is_end:
        tok.pad_token = tok.eos_token
    own = {"intermediate_size": 64, "num_key_value_heads": 2, "tie_word_embeddings": True}
    known = {**own, **POSITIONS, **ends(tok, "eos", "bos", "pad")}
    return save(made("LlamaForCausalLM", tok, **{**known, **fields}), tok, folder)


def gpt2(folder: Path) -> Path:
    """Decoder-only as GPT-2 is: no chat template, no pad token, Conv1D layers."""
    tok = tokenizer(pad=False)
    known = {**ends(tok, "eos"), "bos_token_id": tok.eos_token_id}
    return save(made("GPT2LMHeadModel", tok, **POSITIONS, **known), tok, folder)


def t5(folder: Path) -> Path:
    """Encoder-decoder with relative positions."""
    tok = framed(tokenizer(), "$A </s>")
    own = {"d_kv": 8, "d_ff": 64, "num_decoder_layers": 2}
    known = {**ends(tok, "eos", "pad"), "decoder_start_token_id": tok.pad_token_id}
    return save(made("T5ForConditionalGeneration", tok, **own, **known), tok, folder)


def bart(folder: Path) -> Path:
    """Encoder-decoder with learnt positions and a forced first token."""
    tok = framed(tokenizer(), "<s> $A </s>")
    own = {"decoder_layers": 2, "decoder_attention_heads": 4}
    own |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    known = {**ends(tok, "eos", "bos", "pad"), "decoder_start_token_id": tok.eos_token_id}
    model = made("BartForConditionalGeneration", tok, **own, **POSITIONS, **known)
    model.generation_config.forced_bos_token_id = tok.bos_token_id
    model.generation_config.forced_eos_token_id = tok.eos_token_id
    return save(model, tok, folder)


def bert(folder: Path) -> Path:
    """Encoder without a head, as sentence encoders are saved."""
    tok = framed(tokenizer(), "<s> $A </s>")
    known = {"intermediate_size": 64, **POSITIONS, **ends(tok, "pad")}
    return save(made("BertModel", tok, **known), tok, folder)


def distilbert(folder: Path) -> Path:
    """Encoder whose classification head has two layers that no checkpoint of it holds."""
    tok = tokenizer()
    known = {"hidden_dim": 64, **POSITIONS, **ends(tok, "pad")}
    return save(made("DistilBertModel", tok, **known), tok, folder)


BUILDERS = {
    "llama": llama,
    "gpt2": gpt2,
    "t5": t5,
    "bart": bart,
    "bert": bert,
    "distilbert": distilbert,
}


def spec(folder: Path, *, classify: bool = False, **fields):
    """What `resolve` makes of a model, in float32 unless told otherwise."""
    from loratory.config import ModelConfig
    from loratory.progress import Silent
    from loratory.tuning.model import resolve

    config = ModelConfig(**{"name": str(folder), "dtype": "float32", **fields})
    return resolve(config, classify=classify, progress=Silent())


def encoder(spec, task=None, max_prompt: int = 512, max_target: int = 64):
    """An encoder of a model, for summaries where no task is given."""
    from loratory.tasks.summarization import Summarization
    from loratory.tuning.encode import Encoder

    return Encoder(spec, task or Summarization(), max_prompt, max_target)


def two_classes():
    """A classification task bound to its labels."""
    from loratory.tasks.classification import Classification

    return Classification(labels=("negative", "positive"))


def examples(n: int, *, labels: bool = False):
    """Rows of unequal length; with `labels` each has one of two classes."""
    from loratory.records import Example

    words = CORPUS.split()
    return [
        Example(
            id=f"row {i}",
            source=" ".join(words[i % 7 : i % 7 + 4 + 3 * (i % 5)]),
            references=() if labels else (" ".join(words[i % 11 : i % 11 + 2 + i % 4]),),
            label=i % 2 if labels else None,
        )
        for i in range(n)
    ]


def rows(spec, n: int):
    """Encoded rows of unequal length, of a task for the model's family."""
    classify = spec.family == "classifier"
    return encoder(spec, two_classes() if classify else None).all(examples(n, labels=classify))


def collated(spec, model, rows):
    """Encoded rows as one batch, as a training of the model has it."""
    from loratory.tuning.batch import collate

    return collate(spec, getattr(model, "prepare_decoder_input_ids_from_labels", None))(rows)


def inputs(batch):
    """A batch without its labels, to be put into a model for its logits."""
    return {key: value for key, value in batch.items() if not key.endswith("labels")}


def shaken(model, seed: int, by: float):
    """Move every trainable value of a model from its start, as a training would."""
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * by)
    return model


def decoder(config, dtype=None, **more):
    """A decoder of two layers and few numbers, from a kind of config of Llama's plan."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    return AutoModelForCausalLM.from_config(
        config(**{**sizes, **more}), dtype=dtype or torch.float32
    )


def generated(model, spec, prompts, stops, most, ngram):
    """What transformers' generate says greedily after prompts, up to what ends it."""
    import torch
    from transformers import GenerationConfig

    from loratory.tuning.batch import pad

    config = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=sorted(stops),
        pad_token_id=spec.tokenizer.pad_token_id,
        no_repeat_ngram_size=ngram or None,
    )
    model.generation_config = config
    fill = spec.tokenizer.pad_token_id
    ids = pad(prompts, fill, left=True)
    mask = pad([[1] * len(prompt) for prompt in prompts], 0, left=True)
    with torch.inference_mode():
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    said = []
    for row in out[:, ids.shape[1] :].tolist():
        stop = next((i + 1 for i, token in enumerate(row) if token in stops), len(row))
        said.append(row[:stop])
    return said
