"""Hub names without a network: quick, clear, and read from the cache where it is there."""

import json
import shutil
import time
from pathlib import Path

import pytest

from loratory.errors import DataError, MissingDependencyError
from loratory.tasks.source import Source, hub, load_splits

pytest.importorskip("datasets")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Hub at a port where nobody listens."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def fill(cache: Path, rows: list[dict], features) -> None:
    """Lay a data set `me/reviews` where `datasets` keeps one it has loaded."""
    import datasets

    data = datasets.Dataset.from_list(rows, features=features)
    data.save_to_disk(cache / "saved")
    folder = cache / "me___reviews" / "default" / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    shutil.copy(next((cache / "saved").glob("*.arrow")), folder / "reviews-train.arrow")
    info = json.loads((cache / "saved" / "dataset_info.json").read_text())
    info |= {
        "config_name": "default",
        "dataset_name": "reviews",
        "splits": {"train": {"name": "train", "num_examples": len(rows)}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_without_network_and_cache(cache: Path, capfd) -> None:
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        hub.read_hub("me/reviews", "v2", None, "train")
    assert time.monotonic() - start < 5
    assert str(caught.value) == (
        "me/reviews/v2: cannot reach the Hub, and the data set is not in the cache either. "
        "Use a local file, or one of embedded:docstrings, embedded:imdb."
    )
    assert capfd.readouterr() == ("", "")


def test_classes_come_as_names(cache: Path, capfd) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    rows = [{"text": f"Text {i}", "label": i % 2 if i < 9 else -1} for i in range(10)]
    fill(cache, rows, features)
    capfd.readouterr()
    table = hub.read_hub("me/reviews", None, None, "train")
    assert table.columns == ("text", "label")
    assert table.rows[1] == ("me/reviews:train:2", {"text": "Text 1", "label": "good"})
    assert table.rows[9].values["label"] is None
    source = Source("me/reviews", stratify="label")
    splits = load_splits(source, [("text", "label")], Path(), ["text"])
    assert [len(part) for part in splits[:3]] == [7, 1, 2]
    with pytest.raises(DataError, match=r"me/reviews: cannot be .*nknown split.*\)\."):
        hub.read_hub("me/reviews", None, None, "testing")
    assert capfd.readouterr() == ("", "")


def test_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match="pip install 'loratory\\[train\\]'"):
        hub.read_hub("me/reviews", None, None, "train")


def test_a_set_with_splits_of_its_own_uses_them(cache: Path) -> None:
    import datasets

    parts = {
        part: datasets.Dataset.from_list(
            [{"text": f"{part} {i}", "label": i % 2} for i in range(n)]
        )
        for part, n in {"train": 20, "validation": 4, "test": 6}.items()
    }
    folder = cache / "me___reviews" / "default" / "0.0.0" / "abc"
    folder.mkdir(parents=True)
    for part, data in parts.items():
        data.save_to_disk(cache / part)
        shutil.copy(next((cache / part).glob("*.arrow")), folder / f"reviews-{part}.arrow")
    info = json.loads((cache / "train" / "dataset_info.json").read_text())
    counts = {part: {"name": part, "num_examples": len(data)} for part, data in parts.items()}
    info |= {"config_name": "default", "dataset_name": "reviews", "splits": counts}
    (folder / "dataset_info.json").write_text(json.dumps(info))

    def sizes(**given) -> list[int]:
        splits = load_splits(Source("me/reviews", **given), [("text", "label")], Path(), ["text"])
        return [len(part) for part in splits[:3]]

    assert sizes() == [20, 4, 6]
    assert sizes(test_size=5) == [15, 4, 5], "a size asks for rows of the training split"
    assert sizes(test="validation", validation_size=2) == [18, 2, 4]
