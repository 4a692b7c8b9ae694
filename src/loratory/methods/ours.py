"""A method that peft lacks: `loratory.tuning.adapters` makes it known to peft."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, ClassVar

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod

if TYPE_CHECKING:
    from peft import PeftConfig

__all__ = ["OurMethod"]


class OurMethod(PeftMethod):
    """A method whose settings and layers are our own; saved, loaded and switched by peft."""

    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    defined_in: ClassVar[str] = "loratory.tuning.adapters"

    def config_class(self) -> type[PeftConfig]:
        # By name, since a method stands below tuning; importing it fills peft's tables.
        importlib.import_module(self.defined_in)
        from peft import PEFT_TYPE_TO_CONFIG_MAPPING

        found: type[PeftConfig] = PEFT_TYPE_TO_CONFIG_MAPPING[self.name.upper()]
        return found
