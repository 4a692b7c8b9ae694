"""Examples to tokens. `batch` makes batches of them.

Three rules keep the loss honest. The prompt is encoded in training exactly as it is when
generating. What is supervised is the answer and the token that ends it, chosen by position:
a mask by token id would drop the end token wherever it doubles as padding. And what does not
fit is cut from the source, never from the instruction around it, and counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from loratory.errors import DataError, ModelError
from loratory.records import Example, Message
from loratory.tasks.base import Task
from loratory.tuning.control import guard, tokens, turn_end
from loratory.tuning.model import Resolved

__all__ = ["Encoded", "Encoder", "check_lengths"]


@dataclass(frozen=True)
class Encoded:
    """One example as tokens of one model."""

    id: str
    prompt: list[int]
    """The encoded prompt; an encoder's whole input."""
    answer: list[int]
    """The supervised tokens, the end token last; empty for a classification head."""
    label: int | None
    cut_prompt: int
    """Tokens of the source removed so that the prompt fits."""
    cut_answer: int
    """Tokens of the answer removed, its end token among them."""

    @property
    def length(self) -> int:
        """Return the tokens a forward pass sees."""
        return len(self.prompt) + len(self.answer)


class Encoder:
    """Encodes examples for one model.

    Args:
        spec: the model; its style words the prompt.
        task: the task; it must be bound to its labels.
        max_prompt: longest prompt, in tokens.
        max_target: longest answer, in tokens, the end token included.
    """

    def __init__(self, spec: Resolved, task: Task, max_prompt: int, max_target: int) -> None:
        self.spec = spec
        self.task = task
        self.max_prompt = max_prompt
        self.max_target = max_target
        self.tokenizer = spec.tokenizer
        # A chat template writes its own special tokens; everything else gets the tokenizer's.
        self._special = spec.style != "chat"

    def encode(self, example: Example) -> Encoded:
        """Encode prompt and answer.

        Raises:
            DataError: the instruction alone is longer than the prompt may be.
        """
        shown, prompt, cut = self._prompt(example)
        if self.spec.family == "classifier":
            return Encoded(example.id, prompt, [], example.label, cut, 0)
        answer = self.answer(shown, self.task.answer(example))
        over = max(0, len(answer) - self.max_target)
        # A cut answer keeps no end token: it would teach the model to stop half-way.
        return Encoded(example.id, prompt, answer[: self.max_target], example.label, cut, over)

    def all(self, examples: Iterable[Example]) -> list[Encoded]:
        """Encode every example."""
        return [self.encode(example) for example in examples]

    def choices(self, example: Example) -> list[list[int]]:
        """Return the encoded answer for each label word, end token included."""
        shown, _, _ = self._prompt(example)
        return [self.answer(shown, word) for word in self.task.choices()]

    def _turns(self, example: Example) -> str | tuple[Message, ...]:
        """Word the prompt, control tokens in the row's own text kept from being any."""
        context = tuple(
            Message(turn.role, guard(self.tokenizer, turn.content)) for turn in example.context
        )
        source = guard(self.tokenizer, example.source)
        example = dataclasses.replace(example, source=source, context=context)
        return self.task.prompt(example, self.spec.style)

    def _worded(self, example: Example) -> str:
        turns = self._turns(example)
        return turns if isinstance(turns, str) else self._template(turns, example.id, generate=True)

    def _prompt(self, example: Example) -> tuple[Example, list[int], int]:
        ids = self._ids(self._worded(example))
        if len(ids) <= self.max_prompt:
            return example, ids, 0
        ends = self._ends(example.source)
        whole, shown = len(ids), example
        keep = len(ends)
        while len(ids) > self.max_prompt:
            # Text cut elsewhere may encode to a token more, so the excess is taken off anew.
            keep -= len(ids) - self.max_prompt
            if keep <= 0:
                raise DataError(
                    f"{example.id}: the prompt is longer than data.max_prompt_tokens = "
                    f"{self.max_prompt} even without its source text. Raise it, or shorten "
                    "what stands around the source."
                )
            text = example.source[: ends[keep - 1]].rstrip()
            shown = dataclasses.replace(example, source=text)
            ids = self._ids(self._worded(shown))
        return shown, ids, whole - len(ids)

    def _ends(self, text: str) -> Sequence[int]:
        """Return where each token of a source text ends, in characters."""
        if not self.tokenizer.is_fast:  # written in Python, it does not tell
            return range(1, len(text) + 1)
        found = self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        return [end for _, end in found["offset_mapping"]]

    def _ids(self, text: str) -> list[int]:
        ids = tokens(self.tokenizer, text, special=self._special)
        if self.spec.style == "plain" and len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]  # nothing can be generated after an end token
        return ids

    def answer(self, example: Example, text: str) -> list[int]:
        """Encode `text` as it continues the prompt of `example`, its end token last."""
        text = guard(self.tokenizer, text)
        if self.spec.style == "chat":
            return self._chat_answer(example, text)
        end = self.tokenizer.eos_token_id
        if self.spec.style == "prefix":
            ids = tokens(self.tokenizer, text, special=True, target=True)
            return ids if ids[-1:] == [end] else [*ids, end]
        prompt = self._worded(example)
        gap = "" if prompt[-1:].isspace() else " "
        # Encoded in one piece, the answer's first token is the one the prompt makes likely.
        before, joint = self._ids(prompt), self._ids(prompt + gap + text)
        if joint[: len(before)] == before:
            return [*joint[len(before) :], end]
        return [*tokens(self.tokenizer, gap + text, special=False), end]

    def _chat_answer(self, example: Example, text: str) -> list[int]:
        turns = self._turns(example)
        assert not isinstance(turns, str)
        prompt = self._template(turns, example.id, generate=True)
        turns = (*turns, Message("assistant", text))
        whole = self._template(turns, example.id, generate=False)
        tail = whole.removeprefix(prompt) if whole.startswith(prompt) else ""
        said = text.strip()  # some templates strip, some write a space before
        if not tail.lstrip().startswith(said):
            # A template that adds a block of its own before the answer is not followed there:
            # the answer must continue the very prompt the model is given when it generates.
            _, found, after = whole.rpartition(said) if said else ("", "", "")
            tail = text + after if found else text
        close = tail.find(said) + len(said)
        end = turn_end(self.tokenizer, tail[close:])
        if end is not None:
            return tokens(self.tokenizer, tail[: close + end], special=False)
        return [*tokens(self.tokenizer, tail, special=False), self.tokenizer.eos_token_id]

    def _template(self, turns: Sequence[Message], row: str, *, generate: bool) -> str:
        from jinja2 import TemplateError

        chat = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            text: str = self.tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=generate
            )
        except TemplateError as error:
            raise DataError(
                f"{row}: the chat template of {self.spec.name} refuses these turns: {error}"
            ) from None
        return text

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end an answer: the tokenizer's, the model's, and the template's."""
        known = {self.tokenizer.eos_token_id, self._probe()}
        configured = getattr(self.spec.config, "eos_token_id", None)
        known |= set(configured) if isinstance(configured, list) else {configured}
        return tuple(sorted(token for token in known if token is not None))

    def _probe(self) -> int | None:
        if self.spec.style != "chat":
            return None
        example = Example(id="probe", source="a", references=("b",), label=0)
        return self._chat_answer(example, "b")[-1]


def check_lengths(spec: Resolved, max_prompt: int, max_target: int, vectors: int = 0) -> None:
    """Refuse limits that lie beyond the model's positions.

    `vectors` is how many trained vectors the method puts before an input.

    Raises:
        ModelError: the sentence names the limits and the model's.
    """
    prompt, target = "data.max_prompt_tokens", "data.max_target_tokens"
    # A decoder sees prompt and answer as one, an encoder-decoder each for itself.
    needs = {
        "causal": {f"{prompt} + {target}": max_prompt + max_target},
        "seq2seq": {prompt: max_prompt, target: max_target},
        "classifier": {prompt: max_prompt},
    }[spec.family]
    for what, need in needs.items():
        need += vectors
        if spec.positions is not None and need > spec.positions:
            own = f" ({vectors} of them the method's num_virtual_tokens)" if vectors else ""
            raise ModelError(
                f"{what}: {need} tokens{own}, but {spec.name} has positions for {spec.positions}. "
                f"Lower {what.partition(' ')[0]}."
            )
