"""What every section of a recipe is: frozen, strict, and it knows no field it does not list."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["NotNegative", "Positive", "Section", "Share", "Steps", "Text"]


def _whole_or_share(value: float) -> float:
    if value >= 1 and not value.is_integer():
        raise ValueError("a whole number of steps, or below 1 a share of all")
    return value


Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Steps = Annotated[float, Field(ge=0), AfterValidator(_whole_or_share)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """One block of a recipe."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
