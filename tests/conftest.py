"""Fixtures for every folder of tests."""

from __future__ import annotations

import functools
import gc
import importlib
import signal
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import jinja2
import pytest
from hypothesis import settings

import tiny
from loratory.cache import cache_dir
from loratory.tuning.process import run_module

# The same examples in every run, so that a failure is of the change at hand. New ones are drawn
# with `--hypothesis-profile default`.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory):
    """Return a function: the name of a builder in `tiny` to the folder of its model."""
    root = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tiny.BUILDERS[name](root / name)
        return made[name]

    return get


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_collect():
    """Let the collections that every training asks for pass over what was there before.

    The modules of torch, transformers and peft are some hundred thousand objects.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def templates_compiled_once():
    """Compile each template once: peft writes a model card into every checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", functools.cache(jinja2.Environment.compile))
        yield


@pytest.fixture(autouse=True)
def alone(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Keep base predictions out of the user's cache, and the network out of the tests."""
    monkeypatch.setenv("LORATORY_CACHE", str(own_cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def prove_here(monkeypatch: pytest.MonkeyPatch):
    """Prove saved adapters in this process: a fresh one takes seconds to load torch."""

    def run_here(module: str, *arguments: str) -> None:
        importlib.import_module(module).main(*arguments)

    monkeypatch.setattr("loratory.tuning.process.run_module", run_here)


@pytest.fixture
def fresh_process(prove_here: None, monkeypatch: pytest.MonkeyPatch):
    """Prove saved adapters as a user's run does, in a process of its own."""
    monkeypatch.setattr("loratory.tuning.process.run_module", run_module)


class Answer(NamedTuple):
    """What a command left: its exit status and both of its streams."""

    code: int
    out: str
    err: str

    @property
    def sentences(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("loratory:")]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs one command in this process."""
    from loratory.cli import main

    def run(*argv: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["loratory", *map(str, argv)])
        capsys.readouterr()
        # As a user's process has it: what libraries deprecate is no concern of a run.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(SystemExit) as stop:
                main()
        return Answer(stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder that knows the user's dequantised models, which take long to make."""
    models, folder = cache_dir() / "models", tmp_path_factory.mktemp("cache")
    if models.is_dir():
        (folder / "models").symlink_to(models)
    return folder


def pytest_collection() -> None:
    """Collect without looking for garbage: what is imported and collected here stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Let pass what peft and transformers say of each other, and nothing else."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # Started in the background of a script: programs under test would not hear it either.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in (
        "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
        "ignore:`loss_type=None` was set:UserWarning",
    ):
        config.addinivalue_line("filterwarnings", line)
