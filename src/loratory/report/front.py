"""The front matter of a model card, which the Hub reads.

https://huggingface.co/docs/hub/model-cards names its fields.
"""

from __future__ import annotations

import math
import re
from typing import Any

from loratory.metrics.rouge.kind import kind_of
from loratory.report import wording
from loratory.report.data import ReportData, fact

__all__ = ["base_model", "front_matter", "method_name"]

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)

HUB_METRICS = {
    "macro_f1": "f1",
    "weighted_f1": "f1",
    "micro_f1": "f1",
    "mcc": "matthews_correlation",
}
"""The Hub's names for metrics, where they are not ours."""


def front_matter(data: ReportData) -> dict[str, Any]:
    """Return what stands between the dashes; what was not recorded is left out."""
    base, method = base_model(data), method_name(data)
    tags = ["loratory", *([method] if method else []), *([data.task] if data.task else [])]
    pipeline = _pipeline_tag(data)
    front: dict[str, Any] = {
        # A path on somebody's disk is not a name on the Hub, and the Hub refuses the card.
        **({"base_model": base} if base and HUB_NAME.fullmatch(base) else {}),
        "library_name": "peft",
        **({"pipeline_tag": pipeline} if pipeline else {}),
        "tags": list(dict.fromkeys(wording.clean(tag) for tag in tags)),
    }
    undirected = wording.descriptive(data.comparisons)
    tuned = {item.metric: item.tuned for item in data.comparisons}
    tuned |= {item.metric: item.value for item in data.scores.get("tuned", ())}
    results = [
        {
            "type": _hub_metric(metric),
            "name": wording.clean(wording.metric_name(metric)),
            "value": round(value * wording.scale(metric), 4),
        }
        for metric, value in tuned.items()
        if value is not None and math.isfinite(value) and metric not in undirected
    ]
    if results:
        front["metrics"] = list(dict.fromkeys(result["type"] for result in results))
    if results and pipeline:
        name = wording.clean(str(fact(data.manifest, "data", "name") or "unnamed"))
        front["model-index"] = [
            {
                "name": wording.clean(data.name),
                "results": [
                    {
                        "task": {"type": pipeline},
                        "dataset": {"type": "other", "name": name, "split": "test"},
                        "metrics": results,
                    }
                ],
            }
        ]
    return front


def _hub_metric(metric: str) -> str:
    return "rouge" if kind_of(metric) else HUB_METRICS.get(metric, wording.clean(metric))


def base_model(data: ReportData) -> str | None:
    """Return the base model's name as the recipe has it."""
    name = fact(data.manifest, "model", "name") or fact(data.config, "model", "name")
    return str(name) if name else None


def method_name(data: ReportData) -> str | None:
    """Return the method's name as the recipe has it."""
    name = fact(data.config, "method", "name") or fact(data.config, "method")
    return name if isinstance(name, str) else None


def _pipeline_tag(data: ReportData) -> str | None:
    family = fact(data.manifest, "model", "family")
    if family == "classifier" or data.labels:
        return "text-classification"
    if data.task == "summarization":
        return "summarization"
    return "text-generation" if family in ("causal", "seq2seq") else None
