"""The run folder: every arrow of the pipeline leaves its file here.

config.yaml                        every default written out
manifest.json                      versions, seeds, fingerprints, counts, durations, status
data/{train,validation,test}.jsonl examples, as every model is given them
adapter/                           loads with plain PeftModel.from_pretrained
checkpoints/                       training goes on from the last one
train.jsonl                        one line a logged step
losses.jsonl                       the loss of every row at each validation
predictions/<system>/<task>.jsonl  base, tuned, and each baseline
probes/<system>/<probe>.jsonl      base and tuned: what they make of texts that are not the task's
findings/<question>.json           leakage, overfitting, forgetting, bias
scores.json comparison.json report.html README.md
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loratory.codec import from_dict, read_jsonl, to_dict, to_lines
from loratory.config import RunConfig, load, to_yaml
from loratory.errors import RunError
from loratory.files import explain, write_lines, write_text
from loratory.records import (
    QUESTIONS,
    Comparison,
    Example,
    Finding,
    Judgement,
    Place,
    Prediction,
    ScalePoint,
    Score,
)
from loratory.runs import versioned
from loratory.runs.folder import new_folder

__all__ = ["Run"]

SPLITS = ("train", "validation", "test")


class Run:
    """A run folder, opened. Use `Run.create`, `Run.open`, or `Run.attached`."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder = folder
        self.config = config
        self.leads = True
        """Of the processes that do a stage together, this one writes down what is done."""
        self._holds = False

    @classmethod
    def create(
        cls,
        config: RunConfig,
        facts: Mapping[str, Any],
        examples: Mapping[str, Iterable[Example]] | None = None,
    ) -> Run:
        """Make a run folder named after the time, the run's name and its config's hash.

        Args:
            config: the whole recipe.
            facts: first contents of the manifest.
            examples: of each split.

        Raises:
            RunError: the folder cannot be made, or not filled; then nothing of it is left.
        """
        text = to_yaml(config)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        now = datetime.now(UTC)
        name = f"{now:%Y%m%d-%H%M%S}-{config.name}-{digest}"
        folder = new_folder(Path(config.output_dir).expanduser(), name)
        run = cls(folder, config)
        try:
            write_text(folder / "config.yaml", text)
            for split, rows in (examples or {}).items():
                run.write_examples(split, rows)
            # Last: a folder with a manifest is a run that can be trained.
            run.record(
                status="running",
                run=folder.name,
                created=now.isoformat(timespec="seconds"),
                seed=config.seed,
                **facts,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a folder that `create` made.

        Raises:
            RunError: it is no run folder, or a newer Loratory wrote it.
        """
        if not (folder / "manifest.json").is_file():
            raise RunError(f"{folder}: not a run folder (it has no manifest.json).")
        # Before the config: a newer Loratory's may have fields that this one does not know.
        versioned.read(folder / "manifest.json")
        if not (folder / "config.yaml").is_file():
            raise RunError(f"{folder}: damaged, it has no config.yaml.")
        return cls(folder, load(folder / "config.yaml"))

    @classmethod
    def attached(cls, folder: Path, *, leads: bool) -> Run:
        """Open a folder that the process which has started this one holds.

        Args:
            folder: as for `open`.
            leads: this process writes the manifest, and no other does.

        Raises:
            RunError: as for `open`.
        """
        run = cls.open(folder)
        run.leads, run._holds = leads, True
        return run

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; empty while there is none.

        Raises:
            RunError: the file is damaged.
        """
        path = self.folder / "manifest.json"
        if not path.exists():
            return {}
        return versioned.read(path)

    def record(self, **facts: Any) -> None:
        """Add facts to the manifest; a mapping is merged into the one that is there.

        A process that does not lead leaves it to the one that does.
        """
        if not self.leads:
            return
        data = self.manifest()
        for key, value in facts.items():
            old = data.get(key)
            both = isinstance(old, dict) and isinstance(value, Mapping)
            data[key] = {**old, **value} if both and old is not None else value
        versioned.write(self.folder / "manifest.json", data)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the lock ends with the process, however it ends.

        Raises:
            RunError: another process holds it.
        """
        if self._holds:  # a run holds it throughout, and so does each of its stages
            yield
            return
        try:
            stream = (self.folder / ".lock").open("w")
        except OSError as error:
            raise explain(error, self.folder) from None
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.folder}: in use by another process. Wait for it, or stop it."
                ) from None
            except OSError as error:  # a file system without locks
                raise explain(error, self.folder) from None
            self._holds = True
            try:
                yield
            finally:
                self._holds = False

    def compared(self) -> bool:
        """Return whether the numbers are there."""
        return all((self.folder / name).exists() for name in ("scores.json", "comparison.json"))

    def status(self) -> str:
        """Return `complete` when the last stage has left its file, else `running`."""
        reported = self.compared() and (self.folder / "report.html").exists()
        return "complete" if reported else "running"

    def discard_predictions(self) -> None:
        """Remove the predictions and all that was found from them."""
        for name in ("comparison.json", "scores.json", "report.html", "README.md"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "predictions", ignore_errors=True)
        self.discard_probes()

    def write_examples(self, split: str, examples: Iterable[Example]) -> None:
        """Write one split's examples."""
        write_lines(self.folder / "data" / f"{split}.jsonl", to_lines(examples))

    def examples(self, split: str) -> list[Example]:
        """Read one split's examples."""
        return read_jsonl(self.need(f"data/{split}.jsonl", "prepare"), Example)

    def write_predictions(self, system: str, predictions: Iterable[Prediction]) -> None:
        """Write what one system answered to the test split."""
        write_lines(self._predictions(system), to_lines(predictions))

    def predictions(self, system: str) -> list[Prediction]:
        """Read what one system answered."""
        return read_jsonl(
            self.need(str(self._predictions(system).relative_to(self.folder)), "predict"),
            Prediction,
        )

    def systems(self) -> list[str]:
        """Return the systems with predictions: base, tuned, then the baselines by name."""
        names = sorted(path.parent.name for path in self.folder.glob("predictions/*/*.jsonl"))
        first = [name for name in ("base", "tuned") if name in names]
        return first + [name for name in names if name not in first]

    def write_judgements(self, system: str, probe: str, judgements: Iterable[Judgement]) -> None:
        """Write how likely one system finds the options of a probe's items."""
        write_lines(self.folder / "probes" / system / f"{probe}.jsonl", to_lines(judgements))

    def judgements(self, system: str, probe: str) -> list[Judgement]:
        """Read one system's judgements."""
        return read_jsonl(self.need(f"probes/{system}/{probe}.jsonl", "probe"), Judgement)

    def write_swapped(self, system: str, predictions: Iterable[Prediction]) -> None:
        """Write what one system answered to test rows with their groups swapped."""
        write_lines(self._swapped(system), to_lines(predictions))

    def swapped(self, system: str) -> list[Prediction]:
        """Read what one system answered to swapped rows."""
        path = self.need(str(self._swapped(system).relative_to(self.folder)), "probe")
        return read_jsonl(path, Prediction)

    def _swapped(self, system: str) -> Path:
        return self.folder / "probes" / system / "swapped-rows.jsonl"

    def probed(self) -> bool:
        """Return whether both models were asked what is not the task."""
        return all(self._swapped(system).exists() for system in ("base", "tuned"))

    def discard_probes(self) -> None:
        """Remove what was asked beside the task, and all that was found from it."""
        for name in ("comparison.json", "report.html", "README.md"):
            (self.folder / name).unlink(missing_ok=True)
        for question in QUESTIONS[1:]:
            (self.folder / "findings" / f"{question}.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "probes", ignore_errors=True)

    def write_scales(self, points: Iterable[ScalePoint]) -> None:
        """Write what the adapter brings and costs at several scales."""
        path = self.folder / "probes" / "scales.json"
        versioned.write(path, {"scales": [to_dict(point) for point in points]})

    def scales(self) -> list[ScalePoint]:
        """Read them, by scale; empty where the stage `scale` has not run."""
        path = self.folder / "probes" / "scales.json"
        return versioned.read_records(ScalePoint, path, "scales") if path.exists() else []

    def write_finding(self, finding: Finding) -> None:
        """Write what was found of one question."""
        path = self.folder / "findings" / f"{finding.question}.json"
        versioned.write(path, {"finding": to_dict(finding)})

    def findings(self) -> dict[str, Finding]:
        """Read what was found, by question, in the questions' order; empty where nobody looked."""
        found = {}
        for question in QUESTIONS:
            path = self.folder / "findings" / f"{question}.json"
            if path.exists():
                data = versioned.read_field(path, "finding", dict)
                found[question] = from_dict(Finding, data, str(path))
        return found

    def _predictions(self, system: str) -> Path:
        return self.folder / "predictions" / system / f"{self.config.task.name}.jsonl"

    def write_scores(
        self, scores: Mapping[str, Sequence[Score]], places: Sequence[Place] = ()
    ) -> None:
        """Write the scores of every system, and where base and tuned stand."""
        systems = {name: [to_dict(score) for score in items] for name, items in scores.items()}
        versioned.write(
            self.folder / "scores.json",
            {
                "systems": systems,
                "places": [to_dict(item) for item in places],
            },
        )

    def scores(self) -> dict[str, list[Score]]:
        """Read the scores of every system."""
        path = self.need("scores.json", "score")
        return {
            name: versioned.records(Score, items, path)
            for name, items in versioned.read_field(path, "systems", dict).items()
        }

    def places(self) -> list[Place]:
        """Read where base and tuned stand; empty in a run from before this was computed."""
        path = self.need("scores.json", "score")
        return versioned.records(Place, versioned.read(path).get("places", []), path)

    def write_comparison(self, comparisons: Sequence[Comparison]) -> None:
        """Write the comparison of the tuned with the base model."""
        items = [to_dict(comparison) for comparison in comparisons]
        versioned.write(
            self.folder / "comparison.json",
            {"comparisons": items},
        )

    def comparison(self) -> list[Comparison]:
        """Read the comparison."""
        path = self.need("comparison.json", "compare")
        return versioned.read_records(Comparison, path, "comparisons")

    def need(self, name: str, stage: str) -> Path:
        """Return the path of a file that `stage` makes.

        Raises:
            RunError: it is not there; the sentence says which command to run.
        """
        path = self.folder / name
        if not path.exists():
            what = self.folder / "config.yaml" if stage == "prepare" else self.folder
            raise RunError(f"{self.folder}: has no {name} yet. Run: loratory {stage} {what}")
        return path
