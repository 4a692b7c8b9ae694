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
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
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
    if bos:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 2)]
        )
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
    return made


def save(model, tok, folder: Path) -> Path:
    model.save_pretrained(folder, safe_serialization=True)
    tok.save_pretrained(folder)
    return folder


def llama(folder: Path, *, chat: bool = True, pad_is_end: bool = True) -> Path:
    """Decoder-only with grouped heads; with `pad_is_end` padding and end token are one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tok = tokenizer(chat=chat)
    if pad_is_end:
        tok.pad_token = tok.eos_token
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tok),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tok.eos_token_id,
        bos_token_id=tok.bos_token_id,
        pad_token_id=tok.pad_token_id,
    )
    return save(LlamaForCausalLM(config), tok, folder)


def gpt2(folder: Path) -> Path:
    """Decoder-only as GPT-2 is: no chat template, no pad token, Conv1D layers."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tok = tokenizer(pad=False)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tok),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=1024,
        eos_token_id=tok.eos_token_id,
        bos_token_id=tok.eos_token_id,
    )
    return save(GPT2LMHeadModel(config), tok, folder)


def t5(folder: Path) -> Path:
    """Encoder-decoder with relative positions."""
    import torch
    from tokenizers import processors
    from transformers import T5Config, T5ForConditionalGeneration

    tok = tokenizer()
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tok.eos_token_id)]
    )
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tok),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        decoder_start_token_id=tok.pad_token_id,
    )
    return save(T5ForConditionalGeneration(config), tok, folder)


def bart(folder: Path) -> Path:
    """Encoder-decoder with learnt positions and a forced first token."""
    import torch
    from tokenizers import processors
    from transformers import BartConfig, BartForConditionalGeneration

    tok = tokenizer()
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", tok.eos_token_id)]
    )
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(tok),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=1024,
        bos_token_id=2,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        decoder_start_token_id=tok.eos_token_id,
    )
    model = BartForConditionalGeneration(config)
    model.generation_config.forced_bos_token_id = 2
    model.generation_config.forced_eos_token_id = tok.eos_token_id
    return save(model, tok, folder)


def bert(folder: Path) -> Path:
    """Encoder without a head, as sentence encoders are saved."""
    import torch
    from tokenizers import processors
    from transformers import BertConfig, BertModel

    tok = tokenizer()
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", tok.eos_token_id)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tok),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=1024,
        pad_token_id=tok.pad_token_id,
    )
    return save(BertModel(config), tok, folder)


def distilbert(folder: Path) -> Path:
    """Encoder whose classification head has two layers that no checkpoint of it holds."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    tok = tokenizer()
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(tok),
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=1024,
        pad_token_id=tok.pad_token_id,
    )
    return save(DistilBertModel(config), tok, folder)


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
