"""The recipe: YAML and dotted overrides to one strict, typed, frozen `RunConfig`."""

from loratory.config.recipe import from_mapping, load, to_mapping, to_yaml
from loratory.config.schema import (
    DataConfig,
    DecodeConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    json_schema,
)
from loratory.config.text import read_yaml
from loratory.config.trust import BiasConfig, ForgettingConfig, LeakageConfig

__all__ = [
    "BiasConfig",
    "DataConfig",
    "DecodeConfig",
    "EvaluateConfig",
    "ForgettingConfig",
    "LeakageConfig",
    "ModelConfig",
    "RunConfig",
    "TrainConfig",
    "from_mapping",
    "json_schema",
    "load",
    "read_yaml",
    "to_mapping",
    "to_yaml",
]
