"""A method of ours in peft's own tables, so that plain peft saves it, loads it and switches it."""

from __future__ import annotations

from typing import Any

from peft.utils import PeftType, register_peft_method

__all__ = ["register"]


def register(config: Any, tuner: Any) -> None:
    """Make a method known to peft under the name that `tuner.method` gives.

    Args:
        config: its class of settings, a `PeftConfig`.
        tuner: its `BaseTuner`, with `method` and `prefix` set.

    Raises:
        KeyError: peft knows another method of this name.
    """
    name = tuner.method.upper()
    if name not in PeftType.__members__:
        # peft checks names against this enumeration, and offers no way to add to it.
        member = str.__new__(PeftType, name)
        member._name_ = name
        member._value_ = name
        type.__setattr__(PeftType, name, member)
        PeftType._member_names_.append(name)
        PeftType._member_map_[name] = member
        PeftType._value2member_map_[name] = member
    register_peft_method(name=tuner.method, config_cls=config, model_cls=tuner, prefix=tuner.prefix)
