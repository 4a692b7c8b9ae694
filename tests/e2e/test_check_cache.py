"""A recipe that was checked is checked again in a moment, and to the same facts."""

from __future__ import annotations

import pytest

import loratory
from loratory import cache
from loratory.tuning import preflight


@pytest.fixture
def rehearsed(monkeypatch) -> list[str]:
    """Note every rehearsal that is really made."""
    made: list[str] = []
    plain = preflight.rehearse
    monkeypatch.setattr(preflight, "rehearse", lambda *a, **k: made.append("") or plain(*a, **k))
    return made


def test_a_rehearsal_is_made_once_and_told_the_same(recipe, rehearsed) -> None:
    first = loratory.check(recipe()).preflight
    # The rate is no part of what memory hangs on.
    again = loratory.check(recipe(train={"learning_rate": 1e-5})).preflight
    assert len(rehearsed) == 1 and again.account == first.account
    parts = {name: getattr(again.memory, name) for name in vars(first.memory)}
    for name in ("weights", "gradients", "optimizer", "activations", "logits", "heap"):
        assert parts[name] == getattr(first.memory, name)
    told = {"expected_memory_bytes", "expected_memory"}  # with what the process holds by now
    same = {k: v for k, v in again.model.items() if k not in told}
    assert same == {k: v for k, v in first.model.items() if k not in told}


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"per_device_train_batch_size": 2}},
        {"train": {"fused": False}},
        {"train": {"activation_checkpointing": True}},
        {"method": {"r": 3}},
        {"remedy": {"kl_weight": 0.1}},
        {"remedy": {"replay_share": 0.5}},
        {"data": {"max_prompt_tokens": 32}},
        {"model": {"dtype": "bfloat16"}},
    ],
    ids=str,
)
def test_what_memory_hangs_on_is_rehearsed_again(recipe, rehearsed, changes) -> None:
    loratory.check(recipe())
    loratory.check(recipe(**changes))
    assert len(rehearsed) == 2


def test_what_cannot_be_read_is_rehearsed_again(recipe, rehearsed) -> None:
    loratory.check(recipe())
    (file,) = (cache.cache_dir() / preflight.KIND).iterdir()
    whole = file.read_bytes()
    for broken in (b"", whole[:-9], b"{}", b'{"v": 9}'):
        file.write_bytes(broken)
        loratory.check(recipe())
        assert file.read_bytes() == whole
    assert len(rehearsed) == 5


def test_wrong_target_modules_are_refused_however_often(recipe, rehearsed) -> None:
    for _ in range(2):
        with pytest.raises(loratory.LoratoryError, match="nowhere"):
            loratory.check(recipe(method={"target_modules": ["nowhere"]}))
