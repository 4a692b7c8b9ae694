"""A stage for after the line: the adapter at other scales, its gain against what it forgets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loratory.errors import ConfigError
from loratory.pipeline.answering import load_base
from loratory.pipeline.asked import asked
from loratory.pipeline.checking import SILENT
from loratory.pipeline.findings import forgotten
from loratory.pipeline.packages import training_packages
from loratory.pipeline.stages import write_report
from loratory.progress import Progress
from loratory.records import ScalePoint
from loratory.runs import Run
from loratory.runs.stage import stage
from loratory.tasks.probes import load_probes

__all__ = ["SCALES", "scale"]

SCALES = (0.25, 0.5, 0.75, 1.0, 1.25)
TEXTS = "embedded:text"


def scale(
    run: Run, scales: Sequence[float] = SCALES, progress: Progress = SILENT
) -> list[ScalePoint]:
    """Measure what an adapter brings and costs when it is turned down, or up.

    The gain is measured on the validation rows, so that the test rows stay out of the choice, and
    the forgetting on the plain texts among the run's probes, or on embedded:text. The finding on
    forgetting and the report are written anew.

    Args:
        run: trained and probed.
        scales: 0, the base model, and 1, the tuned one, are added where they are missing.
        progress: hears of every scale.

    Returns:
        One point for each scale, by scale.

    Raises:
        ConfigError: a scale that is negative or not a number, or none beside 0 and 1.
        ModelError: an adapter that has no scale; the sentence says why.
        RunError: a stage is missing; the sentence says which.
    """
    for value in scales:
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"--scales: got {value:g}; give numbers from 0, as 0.25,0.5,0.75.")
    wanted = sorted({0.0, 1.0, *scales})
    if len(wanted) < 3:
        raise ConfigError("--scales: 0 and 1 are always taken; give one more, as 0.5.")
    adapter = run.need("adapter", "train")
    run.need("probes", "probe")
    with training_packages("scale"):
        from loratory.tuning.adapter import with_adapter
        from loratory.tuning.preflight import encoder_for
        from loratory.tuning.scale import check_scalable, sweep_scales

        # Before the stage begins: a whole run must not be called failed for this.
        check_scalable(adapter)
        with stage(run, "scale", progress):
            config = run.config
            probes = asked(config, run.examples("test")).probes
            texts = [item for items in probes.values() for item in items if item.plain]
            if not texts:
                (texts,) = load_probes([TEXTS], config.forgetting.rows, config.seed).values()
            loaded = load_base(run, progress)
            points = sweep_scales(
                with_adapter(loaded, adapter),
                loaded.spec,
                encoder_for(loaded.spec, config).all(run.examples("validation")),
                texts,
                wanted,
                batch_size=config.decode.batch_size,
                max_tokens=config.forgetting.max_tokens,
                progress=progress,
            )
            run.write_scales(points)
            if run.compared():
                run.write_finding(forgotten(run, probes))
                write_report(run, progress)
    return points
