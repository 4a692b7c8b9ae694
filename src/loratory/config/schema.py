"""What a recipe may say: one section a class, one field a line, each with its sentence.

Names are those of transformers' `TrainingArguments` and peft where they have one. The task,
the method and the metrics are components: their fields stand in their own files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from loratory.config.remedy import RemedyConfig
from loratory.config.section import NotNegative, Positive, Section, Share, Steps, Text
from loratory.config.trust import BiasConfig, ForgettingConfig, LeakageConfig
from loratory.errors import ConfigError
from loratory.methods.base import METHODS, Method
from loratory.metrics.base import METRICS, Metric
from loratory.registry import Registry, field_docs
from loratory.tasks.base import TASKS, Task

__all__ = [
    "DataConfig",
    "DecodeConfig",
    "EvaluateConfig",
    "ModelConfig",
    "RunConfig",
    "TrainConfig",
    "json_schema",
]


class ModelConfig(Section):
    """The pre-trained model that is adapted."""

    name: Text
    """Hub name, local folder, .gguf file, or embedded:NAME (see `loratory list models`)."""
    family: Literal["auto", "causal", "seq2seq", "classifier"] = "auto"
    """Decoder-only, encoder-decoder, or classification head; auto reads the model's config."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the frozen weights; auto is bfloat16 where the processor multiplies it."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """How the frozen weights are stored: in dtype, or by bitsandbytes in 8 or 4 bits."""
    revision: Text | None = None
    """Branch, tag or commit of a Hub model; pin a commit to make a run repeatable."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off: such a model is refused, and named."""


class DataConfig(Section):
    """The rows, and how they are split. Test rows are never trained on."""

    name: Text
    """Hub name, .csv, .tsv, .jsonl, .json or .parquet file, or embedded:NAME."""
    config: Text | None = None
    """Configuration of a Hub set, such as 3.0.0 of cnn_dailymail."""
    revision: Text | None = None
    """Branch, tag or commit of a Hub set."""
    columns: dict[str, str] = Field(default_factory=dict)
    """The task's column to the data's column, such as {document: article}."""
    train: Text | None = None
    """Split of the source, or a file of its own; default: its train split, or all rows."""
    validation: Text | None = None
    """Split or file for early stopping; default: its validation split, or cut from train."""
    test: Text | None = None
    """Split or file that is scored; default: its test split, or cut from train."""
    validation_size: Positive | Share | None = None
    """Rows, or share of the rows, cut from train where no validation split is given."""
    test_size: Positive | Share | None = None
    """Rows, or share of the rows, cut from train where no test split is given."""
    train_rows: Positive | None = None
    """At most so many training rows, a seeded sample, drawn after splitting."""
    validation_rows: Positive | None = None
    """At most so many validation rows."""
    test_rows: Positive | None = None
    """At most so many test rows."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """Of the splits and samples; default: the recipe's seed. Set, other seeds keep the rows."""
    augment: list[Text] = Field(default_factory=list)
    """Word lists: training rows that hold their words stand once more, with groups swapped."""
    balance: Text | None = None
    """Column, or word list, of groups that are made equally frequent in the training rows."""
    max_prompt_tokens: Positive = 512
    """Longer prompts lose the end of their source text, never the instruction around it."""
    max_target_tokens: Positive = 128
    """Longer answers are cut in training; what is cut is counted. In tokens."""


class TrainConfig(Section):
    """How the adapter is trained: the names and meanings of `TrainingArguments`."""

    num_train_epochs: Annotated[float, Field(gt=0, le=10_000)] = 3.0
    """Passes over the training rows."""
    max_steps: Literal[-1] | Positive = -1
    """Optimiser steps, overriding the epochs; -1 leaves it to them."""
    max_tokens: Positive | None = None
    """Stop after reading so many tokens, padding left out. The schedule is not shortened."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Stop after so many seconds of training. The schedule is not shortened."""
    learning_rate: Annotated[float, Field(gt=0, lt=10)] = 2e-4
    """Peak learning rate of AdamW."""
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """Course of the learning rate after the warm-up."""
    warmup_steps: Steps = 0.05
    """Steps of rising learning rate; below 1 a share of all steps."""
    weight_decay: NotNegative = 0.0
    """AdamW's decoupled decay."""
    max_grad_norm: NotNegative = 1.0
    """Gradients above this norm are scaled down to it."""
    per_device_train_batch_size: Positive = 8
    """Rows in one forward pass."""
    per_device_train_batch_tokens: Positive | None = None
    """Tokens in one forward pass, padding included; longer batches are taken in parts."""
    gradient_accumulation_steps: Positive = 1
    """Forward passes in one optimiser step."""
    per_device_eval_batch_size: Positive = 16
    """Rows in one forward pass of validation."""
    eval_steps: Annotated[Steps, Field(gt=0)] = 0.2
    """Steps between validations, each with a checkpoint; below 1 a share of all steps."""
    metric_for_best_model: Text = "loss"
    """What the best state has best in validation: loss, or a metric's value, such as rougeL."""
    eval_generate_rows: Positive = 64
    """At most so many validation rows are answered for that value, a seeded sample."""
    early_stopping_patience: Positive | None = 3
    """Stop after so many validations without a better one; null never stops early."""
    early_stopping_threshold: NotNegative = 0.0
    """A validation is better when it gains more than this; 0.01 is one point of rougeL."""
    logging_steps: Positive = 1
    """Steps between lines of train.jsonl."""
    fused: bool = True
    """Train by fused LoRA layers and faster attention; false takes those of peft and torch."""
    torch_compile: bool = False
    """Compile peft's layers by torch.compile in place of train.fused; takes minutes to begin."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    save_total_limit: Positive = 2
    """Checkpoints kept, the best one always among them."""
    report_to: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(
        default_factory=list
    )
    """Loggers of transformers to write to as well."""

    @property
    def fuses(self) -> bool:
        """Return whether fused parts are put in; compiled layers take their place."""
        return self.fused and not self.torch_compile


class DecodeConfig(Section):
    """How answers are generated, for the base and the tuned model alike."""

    max_new_tokens: Positive | None = None
    """Longest answer, in tokens; null takes data.max_target_tokens."""
    num_beams: Positive = 1
    """1 is greedy decoding."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0
    """Forbid repeating n-grams of this size; 0 forbids nothing."""
    batch_size: Positive = 64
    """Rows answered together at most; fewer where their keys and values would not fit in 2 GiB."""
    engine: Literal["loratory", "vllm"] = "loratory"
    """What writes the test set's answers: Loratory's own decoding, or vLLM on a GPU."""
    torch_compile: bool = False
    """Compile the steps of greedy decoding by torch.compile, for GPUs; takes minutes to begin."""


class EvaluateConfig(Section):
    """How scores are compared."""

    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Bootstrap resamples behind every interval."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Level of the intervals."""
    relevant: Share = 0.02
    """Smallest difference that matters: 0.02 is 2 points of 100, or 2% of a perplexity."""
    baselines: bool = True
    """Score the task's trivial baselines beside the model."""
    examples: Annotated[int, Field(ge=0, le=100)] = 3
    """Example outputs printed at the end."""


@dataclass(frozen=True)
class RunConfig:
    """One run, whole. Two runs with equal configs on one machine give equal bytes."""

    model: ModelConfig
    data: DataConfig
    task: Task
    method: Method
    name: str = "run"
    """Part of the run folder's name."""
    seed: int = 0
    """Of the splits (unless data.seed is set), the adapter's start, batches and bootstrap."""
    train: TrainConfig = field(default_factory=TrainConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    metrics: tuple[Metric, ...] = ()
    """What is computed on the predictions; empty takes the task's own."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    leakage: LeakageConfig = field(default_factory=LeakageConfig)
    forgetting: ForgettingConfig = field(default_factory=ForgettingConfig)
    bias: BiasConfig = field(default_factory=BiasConfig)
    remedy: RemedyConfig = field(default_factory=RemedyConfig)
    output_dir: str = "runs"
    """Folder in which the run folder is made, relative to the working directory."""

    def __post_init__(self) -> None:
        """Refuse values of another kind; `from_mapping` is what takes names and mappings.

        Raises:
            ConfigError: one problem for each.
        """
        object.__setattr__(self, "metrics", tuple(self.metrics))
        problems = [
            f"{name}: expected a {cls.__name__}, got {type(value).__name__}."
            for name, cls in SECTIONS.items()
            if not isinstance(value := getattr(self, name), cls)
        ]
        parts = [(kind, registry, getattr(self, kind)) for kind, registry in COMPONENTS.items()]
        parts += [(f"metrics[{i}]", METRICS, item) for i, item in enumerate(self.metrics)]
        problems += [
            f"{path}: expected a registered {registry.kind}, got {type(value).__name__}."
            for path, registry, value in parts
            if not registry.holds(value)
        ]
        if problems:
            raise ConfigError(problems)
        if unfit := self.method.unfit(self.model.quantization):
            raise ConfigError(unfit)
        if not self.metrics:
            chosen = tuple(METRICS.get(name)() for name in self.task.metrics)
            object.__setattr__(self, "metrics", chosen)


class Scalars(Section):
    """The fields of a recipe that stand outside any section."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "run"
    """Part of the run folder's name: letters, digits, dot, dash and underscore."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the splits (unless data.seed is set), the adapter's start, batches and bootstrap."""
    output_dir: Text = "runs"
    """Folder in which the run folder is made, relative to the working directory."""


SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "train": TrainConfig,
    "decode": DecodeConfig,
    "evaluate": EvaluateConfig,
    "leakage": LeakageConfig,
    "forgetting": ForgettingConfig,
    "bias": BiasConfig,
    "remedy": RemedyConfig,
}
COMPONENTS: dict[str, Registry[Any]] = {"task": TASKS, "method": METHODS}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe, every registered component included."""
    properties: dict[str, Any] = dict(Scalars.model_json_schema()["properties"])
    for name, section in SECTIONS.items():
        forms = [section.model_json_schema()]
        if name in ("model", "data"):
            forms.append({"type": "string", "description": "Short for its name."})
        else:
            forms.append({"type": "null", "description": "All defaults."})
        properties[name] = {"anyOf": forms}
    for name, registry in COMPONENTS.items():
        properties[name] = _component_schema(registry)
    metrics = _component_schema(METRICS)
    properties["metrics"] = {
        "anyOf": [{"type": "array", "items": metrics}, *metrics["anyOf"], {"type": "null"}]
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Loratory recipe",
        "type": "object",
        "additionalProperties": False,
        "required": ["model", "data", "task"],
        "properties": properties,
    }


def _component_schema(registry: Registry[Any]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = [{"enum": [*registry.names(), *registry.further()]}]
    if registry.further():
        further = {"name": {"enum": registry.further()}}  # their fields are made when asked for
        choices.append({"type": "object", "properties": further, "required": ["name"]})
    for name in registry.names():
        cls = registry.get(name)
        schema = TypeAdapter(cls).json_schema()
        docs = field_docs(cls)
        fields = schema.get("properties", {})
        for key, value in fields.items():
            if key in docs:
                value["description"] = docs[key]
        schema["properties"] = {"name": {"const": name}, **fields}
        schema["required"] = ["name", *schema.get("required", [])]
        schema["additionalProperties"] = False
        choices.append(schema)
    return {"anyOf": choices}
