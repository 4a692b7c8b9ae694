"""`loratory score` and `loratory compare` on files: what is printed, and what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

import psutil
import pytest

from loratory import evaluation
from loratory.codec import to_dict
from loratory.metrics.generation import Length
from loratory.metrics.rouge import Rouge
from loratory.metrics.rouge.rouge155 import Rouge155, Rouge155Options, rouge155
from loratory.records import Prediction

TEXTS = [text.replace("\n", " ")[:400] for text in list(topics.values())[:40]]
ROWS = [
    Prediction(str(i), text, (TEXTS[i - 1], TEXTS[i - 2])) for i, text in enumerate(TEXTS, 1 - 1)
]
RUN = [sys.executable, "-c", "from loratory.cli import main; main()"]


@pytest.fixture(autouse=True)
def files(workshop: Path) -> None:
    """The same rows as records, as columns and as text files, and another system's answers."""
    records = [json.dumps(to_dict(row)) for row in ROWS]
    columns = [json.dumps({"prediction": row.text, "gold": list(row.references)}) for row in ROWS]
    other = [json.dumps({**to_dict(row), "text": row.references[0][:200]}) for row in ROWS]
    for name, lines in {
        "a.jsonl": records,
        "columns.jsonl": columns,
        "b.jsonl": other,
        "a.txt": [row.text for row in ROWS],
        "b.txt": [row.references[0][:200] for row in ROWS],
        "r1.txt": [row.references[0] for row in ROWS],
        "r2.txt": [row.references[1] for row in ROWS],
    }.items():
        Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def values(answer) -> list[dict]:
    assert answer.code == 0, answer.err
    (items,) = json.loads(answer.out)["scores"].values()
    return items


def test_every_kind_of_file_gives_the_scores_of_the_library(cli) -> None:
    expected = [to_dict(item) for item in evaluation.score(ROWS, [Rouge()])]
    assert values(cli("score", "a.jsonl", "--json")) == expected
    columns = ("--reference-column", "gold")
    assert values(cli("score", "columns.jsonl", *columns, "--json")) == expected
    assert values(cli("score", "a.txt", "r1.txt", "r2.txt", "--json")) == expected
    assert values(cli("score", "a.jsonl", "--processes", 2, "--json")) == expected


def test_a_table_has_value_interval_rows_and_signature(cli) -> None:
    answer = cli("score", "a.txt", "r1.txt", "--metric", "length", "--metric", "rouge")
    assert answer.code == 0 and answer.err == ""
    title, *lines = answer.out.splitlines()
    assert title == "a" and len(lines) == 6
    assert lines[0].startswith("  words ") and " n=40 words|v:1" in lines[0]
    assert lines[-1].endswith("] n=40 rougeLsum|ref:rouge_score|stem:yes|split:newline|v:1")


def test_standard_input(cli, monkeypatch) -> None:
    expected = values(cli("score", "a.jsonl", "--json"))
    for name, rest in (("a.jsonl", ()), ("a.txt", ("r1.txt", "r2.txt"))):
        stream = io.TextIOWrapper(io.BytesIO(Path(name).read_bytes()))
        monkeypatch.setattr(sys, "stdin", stream)
        answer = cli("score", "-", *rest, "--json")
        assert values(answer) == expected and "stdin" in json.loads(answer.out)["scores"]


def test_metrics_and_their_fields_by_name(cli) -> None:
    chosen = ("--set", "rouge.types=rouge1,rougeL", "--set", "rouge.stem=false")
    metric = Rouge(types=("rouge1", "rougeL"), stem=False)
    expected = [to_dict(item) for item in evaluation.score(ROWS, [metric, Length()], seed=4)]
    names = ("--metric", "rouge", "--metric", "length", "--seed", 4)
    assert values(cli("score", "a.jsonl", *chosen, *names, "--json")) == expected
    alone = values(cli("score", "a.jsonl", *chosen, "--json", "--seed", 4))
    assert alone == expected[:2]
    few = ("--samples", 50, "--confidence", 90)
    expected = [to_dict(x) for x in evaluation.score(ROWS, [Rouge()], resamples=50, confidence=0.9)]
    assert values(cli("score", "a.jsonl", *few, "--json")) == expected


def test_over_20_000_rows_the_note_is_shown(cli) -> None:
    Path("many.txt").write_text("a b\nc\n" * 10_001)
    words = "Over 20,000 rows: the intervals resample groups of 2 neighbouring rows."
    command = ("score", "many.txt", "many.txt", "--metric", "length", "--samples", 10)
    assert cli(*command).out.splitlines()[-1] == words
    assert json.loads(cli(*command, "--json").out)["note"] == words


def test_what_the_script_prints(cli) -> None:
    options = Rouge155Options(
        max_n=2,
        lcs=False,
        weight=2,
        skip_gap=4,
        skip_units="both",
        stem=True,
        irregular_forms=False,
        remove_stop_words=True,
        max_words=30,
        alpha=0.3,
        references="best",
        jackknife=True,
        average_over="words",
        confidence=90,
        samples=20,
    )
    result = rouge155([(row.text, row.references) for row in ROWS], options)
    command = (
        *("score", "a.jsonl", "--reference", "rouge155", "--max-n", 2, "--no-lcs", "--weight", 2),
        *("--skip-gap", 4, "--skip-units", "both", "--stem", "--no-irregular-forms", "--each"),
        *("--remove-stop-words", "--max-words", 30, "--alpha", 0.3, "--jackknife"),
        *("--combine-references", "best", "--average-over", "words"),
        *("--confidence", 90, "--samples", 20),
    )
    *printed, signature = cli(*command).out.splitlines()
    assert printed == result.text(each=True).splitlines()
    assert signature == f"n=80 {result.signature}"
    assert sum(line.startswith("X ROUGE-W-2 Average_") for line in printed) == 3
    found = json.loads(cli(*command, "--json", "--processes", 2).out)
    assert (found["n"], found["signature"], found["confidence"]) == (80, result.signature, 0.9)
    for name, average in result.averages.items():
        for key, value in zip(("recall", "precision", "f"), average, strict=True):
            shown = {"value": value.mean, "low": value.low, "high": value.high}
            assert found["scores"][name][key] == shown
    assert [one["id"] for one in found["evaluations"]] == result.ids
    first = found["evaluations"][0]["scores"]["ROUGE-S4"]
    assert first == result.scores["ROUGE-S4"][0]._asdict()


def test_the_script_as_a_metric(cli) -> None:
    chosen = ("--metric", "rouge155", "--set", "rouge155.stem=true", "--set", "rouge155.max_n=1")
    expected = [to_dict(x) for x in evaluation.score(ROWS, [Rouge155(stem=True, max_n=1)])]
    assert values(cli("score", "a.jsonl", *chosen, "--json", "--processes", 2)) == expected
    assert [item["metric"] for item in expected] == ["ROUGE-1", "ROUGE-L"]


def test_counts_and_elements_of_the_script(cli) -> None:
    command = ("score", "a.txt", "r1.txt", "--reference", "rouge155", "--average-over", "counts")
    result = rouge155(
        [(row.text, row.references[:1]) for row in ROWS], Rouge155Options(average_over="counts")
    )
    assert result.text() in cli(*command).out
    found = json.loads(cli(*command, "--json").out)
    columns = zip(*result.counts["ROUGE-L"], strict=True)
    assert found["counts"] == {"ROUGE-L": [sum(column) for column in columns]}
    Path("e.txt").write_text("cat|sat|subj<n>mat|on|prep\n")
    answer = cli(
        *("score", "e.txt", "e.txt", "--newline", "<n>", "--reference", "rouge155"),
        *("--basic-elements", "HMR", "--max-bytes", 3),
    )
    assert "X ROUGE-BE-HMR Average_F: 1.00000" in answer.out


def test_two_systems_on_the_same_rows(cli) -> None:
    other = [Prediction(row.id, row.references[0][:200], row.references) for row in ROWS]
    expected = [
        to_dict(item) for item in evaluation.compare(ROWS, other, [Rouge()], resamples=50, seed=2)
    ]
    numbers = ("--samples", 50, "--seed", 2)
    found = json.loads(cli("compare", "a.jsonl", "b.jsonl", *numbers, "--json").out)
    assert (found["base"], found["tuned"]) == ("a", "b")
    assert found["comparison"] == expected
    judged = json.loads(cli("compare", "a.jsonl", "b.jsonl", "--relevant", 30, "--json").out)
    assert {item["relevant"] for item in judged["comparison"]} == {0.3}
    references = ("--references", "r1.txt", "--references", "r2.txt")
    text = json.loads(cli("compare", "a.txt", "b.txt", *references, *numbers, "--json").out)
    assert text["comparison"] == expected
    answer = cli("compare", "a.jsonl", "b.jsonl", *numbers)
    assert answer.code == 0 and "a → b, 40 test rows" in answer.out and "ROUGE-L" in answer.out


BAD = {
    "compare a.jsonl b.jsonl --relevant 0": "--relevant: 0 is not between 0 and 100",
    "compare a.jsonl b.jsonl --relevant nan": "--relevant: nan is not between 0 and 100",
    "score absent.jsonl": "absent.jsonl: neither a run folder nor a file of predictions.",
    "score absent.txt r1.txt": "absent.txt: no such file.",
    "score . r1.txt": ".: a folder, where a file of texts is needed.",
    "score .": "not a run folder",
    "score a.txt": "a.txt:1: not JSON",
    "score a.jsonl b.jsonl": "a.jsonl: JSON lines hold their references themselves.",
    "score short.txt r1.txt": "(short.txt 1, r1.txt 40)",
    "score - -": "-: standard input can be read once",
    "score columns.jsonl": "columns.jsonl:1: no reference: none of the columns",
    "score a.jsonl --metric rough": "--metric: unknown 'rough'. Did you mean 'rouge'?",
    "score a.jsonl --set rouge.typ=x": "--set rouge.typ: unknown field. Did you mean 'types'?",
    "score a.jsonl --set rouge.types=rougeX": "--set rouge.types: unknown 'rougeX'",
    "score a.jsonl --set rouge.stem=maybe": "--set rouge.stem: got 'maybe'; it must be",
    "score a.jsonl --set rouge": "--set rouge: write METRIC.FIELD=VALUE",
    "score a.jsonl --set rough.stem=true": "--set: unknown 'rough'. Did you mean 'rouge'?",
    "score a.jsonl --metric length --set rouge.stem=true": "'rouge' is not among the metrics.",
    "score a.jsonl --newline <n>": "--newline: only for text files",
    "score a.txt r1.txt --source-column x": "--source-column: only for JSON lines",
    "score a.jsonl --processes 0": "processes: 0 is not a number of processes",
    "score a.jsonl --samples 0": "--samples: 0 resamples give no interval",
    "score a.jsonl --confidence 100": "--confidence: 100 is not between 0 and 100",
    "score a.jsonl --max-n 2": "--max-n: only with --reference rouge155",
    "score a.jsonl --no-stem": "--stem: only with --reference rouge155",
    "score a.jsonl --reference rouge": "--reference: unknown 'rouge'.",
    "score a.jsonl --reference rouge155 --seed 1": "--seed: not with --reference rouge155",
    "score a.jsonl --reference rouge155 --metric rouge": "--metric: not with --reference rouge155",
    "score a.jsonl --reference rouge155 --weight 8": "--weight: 8 is not a number, 0.1 to 7.",
    "score a.jsonl --reference rouge155 --no-lcs": "--max-n: nothing to compute",
    "score a.jsonl --reference rouge155 --combine-references bets": "Did you mean 'best'?",
    "score a.jsonl --reference rouge155 --basic-elements H": "a.jsonl: evaluation 0: line 1:",
    "compare a.jsonl": "compare: got 1 file",
    "compare a.jsonl b.jsonl a.jsonl": "compare: got 3 files",
    "compare a.txt b.txt": "a.txt:1: not JSON",
    "compare a.txt short.txt --references r1.txt": "short.txt: the files differ",
    "compare twice.jsonl a.jsonl": "row '1': this id comes twice",
    "compare a.jsonl one.jsonl": "row '0': number 1 of",
    "compare a.jsonl columns.jsonl": "columns.jsonl:1: no reference",
}


@pytest.mark.parametrize("command", BAD)
def test_mistakes_are_one_sentence(command: str, cli) -> None:
    first, second, *_ = Path("a.jsonl").read_text().splitlines(keepends=True)
    Path("short.txt").write_text("one\n")
    Path("twice.jsonl").write_text(second + second)
    Path("one.jsonl").write_text(second + first)
    answer = cli(*command.split())
    assert answer.code == 2 and answer.out == "" and "Traceback" not in answer.err
    (sentence,) = answer.sentences
    assert BAD[command] in sentence
    if "basic-elements" not in command:  # there the file could be read before
        assert answer.err.splitlines()[-1] == sentence
    as_json = cli(*command.split(), "--json")
    assert as_json.code == 2 and "error" in json.loads(as_json.out)


def test_a_run_takes_no_options_of_files(cli, workshop) -> None:
    (workshop / "run").mkdir()
    for command in ("score", "compare"):
        answer = cli(command, "run", "--seed", 1, "--metric", "rouge")
        assert answer.code == 2 and len(answer.sentences) == 2
        assert answer.sentences[0].endswith(": only for files; a run has its recipe's own.")


ODD = {
    "empty": "",
    "blank": " \t ",
    "punctuation": "?!… —",
    "lone surrogate": "\ud800 a",
    "control characters": "a\x00b\x1b[31m\x07",
    "other script": "東京で雨",
    "five megabytes": "the cat sat on a mat " * 250_000,
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if "mega" in case else ()) for case in ODD],
)
@pytest.mark.parametrize("reference", ["rouge_score", "rouge155"])
def test_odd_texts_are_scored(case: str, reference: str, cli) -> None:
    row = json.dumps({"prediction": ODD[case], "reference": "the dog sat on the rug"})
    Path("odd.jsonl").write_text(row)
    answer = cli("score", "odd.jsonl", "--reference", reference, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["scores"]


@pytest.mark.slow
def test_a_pipe_of_a_real_process() -> None:
    done = subprocess.run(
        [*RUN, "score", "-", "--json"],
        input=Path("a.jsonl").read_bytes(),
        capture_output=True,
        check=True,
    )
    expected = [to_dict(item) for item in evaluation.score(ROWS, [Rouge()])]
    assert json.loads(done.stdout)["scores"]["stdin"] == expected
    assert done.stderr == b""


@pytest.fixture
def endless(tmp_path: Path):
    """A file that never ends, as standard input, under two processes."""
    command = [*RUN, "score", "-", "--metric", "length", "--processes", "2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdin is not None
        program.stdin.write(Path("a.jsonl").read_bytes() * 50)
        program.stdin.flush()
        yield program
        program.kill()


def children_of(program: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return its two processes, once they are there."""
    for _ in range(200):
        found = psutil.Process(program.pid).children(recursive=True)
        if len(found) == 2:
            return found
        time.sleep(0.05)
    raise AssertionError("the processes did not start")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "code", "words"),
    [(signal.SIGINT, 130, b"loratory: interrupted."), (signal.SIGKILL, -9, b"")],
)
def test_nothing_is_left_running(endless, stop, code: int, words: bytes) -> None:
    children = children_of(endless)
    time.sleep(0.5)
    os.kill(endless.pid, stop)
    _, err = endless.communicate(timeout=20)
    assert endless.returncode == code and b"Traceback" not in err and words in err
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 2 and not alive


@pytest.mark.slow
def test_a_process_that_is_killed_ends_it_all(endless) -> None:
    children = children_of(endless)
    children[0].kill()
    _, err = endless.communicate(Path("a.jsonl").read_bytes() * 500, timeout=20)
    assert endless.returncode == 2 and b"Traceback" not in err
    assert b"loratory: a scoring process was ended by signal SIGKILL" in err
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    sizes = {}
    # Both many enough for ROUGE's compiled loops, which take more than 100 MB a process.
    for count in (100_000, 300_000):
        file = tmp_path / f"{count}.jsonl"
        with file.open("w") as stream:
            for i in range(count):
                row = {"prediction": TEXTS[i % 40], "reference": TEXTS[(i + 1) % 40]}
                stream.write(json.dumps(row) + "\n")
        program = subprocess.Popen(
            [*RUN, "score", str(file), "--metric", "rouge", "--samples", "10", "--processes", "2"],
            stdout=subprocess.PIPE,
        )
        parent, most = psutil.Process(program.pid), 0
        while program.poll() is None:
            try:
                family = [parent, *parent.children(recursive=True)]
                most = max(most, sum(one.memory_info().rss for one in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.05)
        assert b"n=%d" % count in program.communicate()[0]
        assert program.returncode == 0
        sizes[count] = most
    # On disk the two differ by 160 MB.
    assert sizes[300_000] < sizes[100_000] + 40e6, sizes
