"""What holds a model near its base: each term against its definition, and what it does."""

from __future__ import annotations

import math

import pytest
import torch

import tiny
from loratory.config import ForgettingConfig, TrainConfig, from_mapping
from loratory.config.remedy import RemedyConfig
from loratory.errors import ConfigError, DataError, ModelError
from loratory.evaluation.forgetting import not_measured
from loratory.evaluation.forgetting.knee import knee, told
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.records import ScalePoint
from loratory.tasks.probes.base import Item, Option
from loratory.tuning.loss import loss_sum, supervised_logits
from loratory.tuning.model import load
from loratory.tuning.regularise import (
    Remedies,
    Update,
    base_logits,
    check_remedies,
    divergence,
)
from loratory.tuning.replay import Replay, encode_texts
from loratory.tuning.scale import scaled, sweep_scales
from loratory.tuning.train import train
from tiny_run import Run

TEXTS = ["the quick brown fox jumps", "a cat sat on the mat.", "write one sentence. good film"]


def batch_of(run):
    return tiny.collated(run.spec, run.model, run.rows[:4])


def replay(run, share=0.5, batch_size=4, seed=1, **fields):
    shift = getattr(run.model, "prepare_decoder_input_ids_from_labels", None)
    return Replay(
        run.spec,
        TEXTS,
        share=share,
        batch_size=batch_size,
        max_tokens=fields.get("max_tokens", 64),
        seed=seed,
        shift_right=shift,
    )


def trained(run, texts=(), remedy=None, **changes):
    return run.train(texts=texts, remedy=remedy, **changes)


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_the_teacher_is_the_base_model(name, tiny_models, tmp_path):
    run = Run(tiny_models(name), tmp_path)
    batch = batch_of(run)
    with torch.no_grad():
        expected, _ = supervised_logits(load(run.spec, (), 0).model, batch)
    tiny.shaken(run.model, 3, 0.3)
    run.model.train()
    found = base_logits(run.model, batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert run.model.training and not found.requires_grad
    with torch.no_grad():
        tuned, _ = supervised_logits(run.model, batch)
    assert (tuned - expected).abs().max() > 0.01
    assert all(p.requires_grad for n, p in run.model.named_parameters() if "lora_" in n)


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_starts_from_the_weights_have_the_base_as_teacher_too(start, tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path, method=Lora(r=2, init_lora_weights=start))
    batch = batch_of(run)
    expected = load(run.spec, (), 0).model
    tiny.shaken(run.model, 3, 0.3)
    with torch.no_grad():
        torch.testing.assert_close(
            base_logits(run.model, batch), supervised_logits(expected, batch)[0]
        )


def test_the_divergence_is_the_mean_over_places_of_its_definition():
    torch.manual_seed(0)
    base, tuned = torch.randn(2, 5, 7, dtype=torch.float64)
    p, q = base.softmax(-1), tuned.softmax(-1)
    expected = (p * (p / q).log()).sum(-1).mean()
    assert float(divergence(base, tuned)) == pytest.approx(float(expected), abs=1e-6)
    assert float(divergence(base, base)) == 0


def test_the_teacher_does_not_disturb_the_gradient(tiny_models, tmp_path):
    """It runs between the forward and the backward pass of the student."""
    run = Run(tiny_models("llama"), tmp_path)
    tiny.shaken(run.model, 3, 0.3)
    batch = batch_of(run)

    def gradients(teacher: bool):
        run.model.zero_grad()
        logits, targets = supervised_logits(run.model, batch)
        if teacher:
            base_logits(run.model, batch)
        torch.nn.functional.cross_entropy(logits, targets).backward()
        return [p.grad.clone() for p in run.model.parameters() if p.requires_grad]

    for one, two in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def norm(update) -> float:
    return float(update.squared_norm().detach())


def dense(model) -> float:
    """The squared size of every layer's update, from its weights merged and not."""
    total = 0.0
    for module in model.modules():
        if hasattr(module, "get_delta_weight"):
            total += float(module.get_delta_weight("default").detach().double().square().sum())
    return total


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
@pytest.mark.parametrize("rslora", [False, True])
def test_the_update_of_lora_is_the_norm_of_its_product(name, rslora, tiny_models, tmp_path):
    run = Run(tiny_models(name), tmp_path, method=Lora(r=3, use_rslora=rslora))
    update = Update(run.model)
    assert norm(update) == 0
    tiny.shaken(run.model, 3, 0.3)
    assert norm(update) == pytest.approx(dense(run.model), rel=1e-5)


def test_the_update_of_pissa_is_counted_from_its_start(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path, method=Lora(r=2, init_lora_weights="pissa"))
    update = Update(run.model)
    assert norm(update) == pytest.approx(0, abs=1e-6)
    tiny.shaken(run.model, 3, 0.3)
    before = norm(update)
    run.method.training(run.model).finish()  # now one plain LoRA of twice the rank
    assert before == pytest.approx(dense(run.model), rel=1e-4)


@pytest.mark.parametrize("method", ["bitfit", "full", "ia3", "vera", "adalora", "lora-dora"])
def test_the_update_of_other_methods_is_their_distance_from_the_start(
    method, tiny_models, tmp_path
):
    made = Lora(r=2, use_dora=True) if method == "lora-dora" else METHODS.get(method)()
    run = Run(tiny_models("llama"), tmp_path, method=made)
    before = {k: p.detach().clone() for k, p in run.model.named_parameters() if p.requires_grad}
    update = Update(run.model)
    assert norm(update) == pytest.approx(0, abs=1e-9)
    tiny.shaken(run.model, 3, 0.1)
    now = dict(run.model.named_parameters())
    others = {k: v for k, v in before.items() if method != "lora-dora" or "magnitude" in k}
    moved = sum(float((now[k] - v).detach().double().square().sum()) for k, v in others.items())
    if method == "lora-dora":  # magnitudes by their distance, directions by the product
        assert others and norm(update) > moved > 0
        return
    assert norm(update) == pytest.approx(moved, rel=1e-5)


def test_a_new_head_has_no_start_to_stay_near(tiny_models, tmp_path):
    run = Run(tiny_models("bert"), tmp_path, classify=True)
    update = Update(run.model)
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            if parameter.requires_grad and "modules_to_save" in name:
                parameter.add_(1)
    assert norm(update) == 0


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_every_token_of_a_replayed_text_is_a_target(name, tiny_models, tmp_path):
    run = Run(tiny_models(name), tmp_path)
    (row,) = encode_texts(run.spec, TEXTS[:1], 64)
    assert row.answer == run.spec.tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"]
    assert len(row.prompt) == 1
    assert len(encode_texts(run.spec, TEXTS[:1], 3)[0].answer) == 3
    batch = tiny.collated(run.spec, run.model, [row])
    with torch.no_grad():
        loss, count = loss_sum(run.model, batch)
    assert int(count) == len(row.answer) and math.isfinite(float(loss))


def test_replay_deals_every_text_equally_and_knows_where_it_stands(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path)
    dealt = replay(run)
    assert dealt.size == 2
    drawn = [dealt._drawn(i) for i in range(30)]
    assert all(sorted(drawn[k : k + 3]) == [0, 1, 2] for k in range(0, 30, 3))
    assert len({tuple(drawn[k : k + 3]) for k in range(0, 30, 3)}) > 1
    again = replay(run)
    for number in (7, 0, 3):  # in any order, as after a resume
        for key, value in dealt.batch(number).items():
            assert torch.equal(value, again.batch(number)[key])
    assert [replay(run, seed=2)._drawn(i) for i in range(30)] != drawn
    assert replay(run, share=0.01).size == 1
    with pytest.raises(ConfigError, match="none of its texts has a token"):
        Replay(run.spec, [""], share=0.5, batch_size=1, max_tokens=8, seed=0)


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_what_is_added_is_the_weighted_sum_of_the_terms(name, tiny_models, tmp_path):
    run = Run(tiny_models(name), tmp_path)
    batch, texts = batch_of(run), replay(run)
    config = RemedyConfig(replay_share=0.5, replay_weight=0.7, kl_weight=0.3, l2_weight=0.1)
    remedies = Remedies(config, run.model, texts, accumulation=2)
    tiny.shaken(run.model, 3, 0.3)
    run.model.eval()
    logits, _ = supervised_logits(run.model, batch)

    def expected(number: int) -> float:
        loss, count = loss_sum(run.model, texts.batch(number))
        near = divergence(base_logits(run.model, batch), logits)
        return float((0.7 * loss / count + 0.3 * near).detach()) + 0.1 * norm(remedies.update)

    for step, number in ((0, 0), (0, 1), (1, 2), (5, 10), (5, 11)):
        found = remedies.added(run.model, batch, logits, step)
        assert float(found.detach()) == pytest.approx(expected(number), rel=1e-5)


def test_without_remedies_training_is_what_it_was(tiny_models, tmp_path):
    plain = Run(tiny_models("llama"), tmp_path / "a")
    plain.train()
    off = Run(tiny_models("llama"), tmp_path / "b")
    trained(off, TEXTS, RemedyConfig(replay_weight=0.0, replay_share=0.5))
    assert plain.bytes() == off.bytes()


def test_each_remedy_keeps_the_model_nearer_to_its_base(tiny_models, tmp_path):
    remedies = {
        "none": RemedyConfig(),
        "replay": RemedyConfig(replay_share=1.0, replay_weight=5.0),
        "kl": RemedyConfig(kl_weight=200.0),
        "l2": RemedyConfig(l2_weight=0.5),
    }
    text, near, size = {}, {}, {}
    for name, remedy in remedies.items():
        run = Run(tiny_models("llama"), tmp_path / name)
        trained(run, TEXTS, remedy, learning_rate=2e-2, num_train_epochs=4.0, eval_steps=10)
        run.model.eval()
        rows = encode_texts(run.spec, TEXTS, 64)
        batch = batch_of(run)
        with torch.no_grad():
            loss, count = loss_sum(run.model, tiny.collated(run.spec, run.model, rows))
            tuned, _ = supervised_logits(run.model, batch)
            near[name] = float(divergence(base_logits(run.model, batch), tuned))
        text[name] = float(loss / count)
        size[name] = dense(run.model)
    assert text["replay"] < text["none"] - 0.1
    assert near["kl"] < 0.5 * near["none"]
    assert size["l2"] < 0.5 * size["none"]


def test_a_resumed_run_with_remedies_ends_as_an_undisturbed_one(tiny_models, tmp_path):
    remedy = RemedyConfig(replay_share=0.5, kl_weight=1.0, l2_weight=0.1)
    halted = Run(tiny_models("llama"), tmp_path / "halted")

    with pytest.raises(KeyboardInterrupt):
        train(
            halted.spec,
            halted.model,
            halted.rows,
            halted.validation,
            TrainConfig(**{**halted.SETTINGS, "eval_steps": 3}),
            seed=3,
            folder=halted.folder,
            progress=_After(3),
            hooks=halted.method.training(halted.model),
            remedy=remedy,
            texts=TEXTS,
        )
    assert [path.name for path in (halted.folder / "checkpoints").iterdir()] == ["checkpoint-3"]
    again = Run(tiny_models("llama"), tmp_path / "halted")
    trained(again, TEXTS, remedy, eval_steps=3)
    other = Run(tiny_models("llama"), tmp_path / "other")
    trained(other, TEXTS, remedy, eval_steps=3)
    assert again.bytes() == other.bytes()


class _After(Silent):
    """Interrupts a training once it has logged a step behind a checkpoint."""

    def __init__(self, steps: int) -> None:
        self.steps, self.seen = steps, 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.seen += steps
        if self.seen > self.steps:
            raise KeyboardInterrupt


def test_remedies_that_cannot_be_had_are_refused():
    config = RemedyConfig(replay_share=0.1, kl_weight=1.0, l2_weight=1.0)
    with pytest.raises(ConfigError) as caught:
        check_remedies(config, "classifier", Lora())
    assert [p.partition(":")[0] for p in caught.value.problems] == [
        "remedy.replay_share",
        "remedy.kl_weight",
    ]
    with pytest.raises(ConfigError, match=r"remedy.kl_weight: method.bias: all trains"):
        check_remedies(config, "causal", Lora(bias="all"))
    check_remedies(config, "causal", Lora())
    check_remedies(RemedyConfig(l2_weight=1.0), "classifier", Lora(bias="all"))


def test_the_section_is_in_a_recipe_and_off_by_default():
    data = {"model": "m", "data": "d.csv", "task": "summarization"}
    assert not from_mapping(data).remedy.active
    assert from_mapping({**data, "remedy": {"kl_weight": 0.5}}).remedy.active
    for field, value in (("replay_share", 1.5), ("kl_weight", -1), ("l2_weight", "a")):
        with pytest.raises(ConfigError, match=f"remedy.{field}: got"):
            from_mapping({**data, "remedy": {field: value}})
    with pytest.raises(
        ConfigError, match=r"remedy.kl_wait: unknown field. Did you mean 'kl_weight'"
    ):
        from_mapping({**data, "remedy": {"kl_wait": 1}})
    assert ForgettingConfig().probes == ["embedded:text", "embedded:choices"]


def test_a_scaled_adapter_is_the_base_at_0_and_itself_at_1(tiny_models, tmp_path):
    for name, method in (("lora", Lora(r=2)), ("ia3", METHODS.get("ia3")())):
        run = Run(tiny_models("llama"), tmp_path / name, method=method)
        tiny.shaken(run.model, 3, 0.3)
        run.model.eval()
        batch = batch_of(run)

        def logits(scale, model=run.model, batch=batch):
            with scaled(model, scale), torch.no_grad():
                return supervised_logits(model, batch)[0]

        before = {key: value.clone() for key, value in run.model.state_dict().items()}
        base = load(run.spec, (), 0).model
        with torch.no_grad():
            torch.testing.assert_close(logits(0.0), supervised_logits(base, batch)[0])
            torch.testing.assert_close(logits(1.0), supervised_logits(run.model, batch)[0])
        assert (logits(0.5) - logits(1.0)).abs().max() > 1e-3
        for key, value in run.model.state_dict().items():
            assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Lora(r=2, use_dora=True), "DoRA's update is not linear"),
        (Lora(r=2, bias="all"), "trained biases or tokens"),
        ("bitfit", "it is .*, and these can be scaled: ADALORA"),
    ],
)
def test_an_adapter_without_a_scale_is_refused(method, said, tiny_models, tmp_path):
    made = METHODS.get(method)() if isinstance(method, str) else method
    model = "gpt2" if method == "bitfit" else "llama"
    run = Run(tiny_models(model), tmp_path, method=made)
    with pytest.raises(ModelError, match=said), scaled(run.model, 0.5):
        pass


def test_the_sweep_begins_at_the_base_model(tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path)
    trained(run, num_train_epochs=4.0, learning_rate=2e-2)
    texts = [Item(str(i), (Option("", text),)) for i, text in enumerate(TEXTS)]
    points = sweep_scales(run.model, run.spec, run.validation, texts, (0.5, 1.0))
    assert [point.scale for point in points] == [0.0, 0.5, 1.0]
    assert (points[0].gain, points[0].forgetting) == (0.0, 0.0)
    batch = tiny.collated(run.spec, run.model, run.validation)
    with torch.no_grad():
        loss, count = loss_sum(run.model, batch)
        with run.model.disable_adapter():
            before, _ = loss_sum(run.model, batch)
    assert points[2].gain == pytest.approx(float((before - loss) / count), abs=1e-4)
    with pytest.raises(ConfigError, match="no rows of the task"):
        sweep_scales(run.model, run.spec, [], texts)
    asked = Item("q", (Option("a", " b"), Option("a", " c")), gold=0)
    with pytest.raises(ConfigError, match="measured on plain texts"):
        sweep_scales(run.model, run.spec, run.validation, [asked])


def points(*values: tuple[float, float, float]) -> list[ScalePoint]:
    return [ScalePoint(*value) for value in values]


def test_the_knee_is_where_more_scale_costs_more_than_it_wins():
    # Gains that level off, costs that grow: heights 0, 0.5, 0.68, 0.43, 0.
    curve = points((0, 0, 0), (0.25, 6, 0.1), (0.5, 9, 0.22), (0.75, 9.8, 0.55), (1, 10, 1.0))
    found = knee(curve[::-1])
    assert found is not None and found.scale == 0.5
    straight = points((0, 0, 0), (0.5, 1, 1), (1, 2, 2))
    found = knee(straight)
    assert found is not None and found.scale == 0  # nowhere is it above the diagonal
    free = points((0, 0, 0), (0.5, 1, -0.1), (1, 2, -0.2))
    found = knee(free)
    assert found is not None and found.scale == 1
    assert knee(points((0, 0, 0), (0.5, -1, 0), (1, -2, 0))) is None
    with pytest.raises(DataError, match="at least three"):
        knee(points((0, 0, 0), (1, 1, 1)))
    with pytest.raises(DataError, match="given twice"):
        knee(points((0, 0, 0), (1, 1, 1), (1, 2, 2)))


def test_a_finding_tells_the_scales():
    curve = points((0, 0, 0), (0.5, 9, 0.22), (1, 10, 1.0))
    found = told(not_measured("x."), curve)
    assert found.facts["knee"] == 0.5 and len(found.facts["scales"]) == 3
    assert "--scale 0.5" in found.sentences[-1] and "9.000 nats better" in found.sentences[-1]
    free = told(not_measured("x."), points((0, 0, 0), (0.5, 1, 0), (1, 2, 0)))
    assert "its own scale of 1 is the knee" in free.sentences[-1]
    straight = told(not_measured("x."), points((0, 0, 0), (0.5, 1, 1), (1, 2, 2)))
    assert "no scale between base and tuned model" in straight.sentences[-1]
    worse = told(not_measured("x."), points((0, 0, 0), (0.5, -1, 1), (1, -2, 2)))
    assert worse.facts["knee"] is None and "none is recommended" in worse.sentences[-1]
    with pytest.raises(DataError, match="1, the tuned model, is not among them"):
        told(not_measured("x."), points((0, 0, 0), (0.5, 1, 0), (0.7, 2, 0)))
