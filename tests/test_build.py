"""The command line as a user types it, and the folder that Kaggle's client pushes."""

import ast
import json
import re
import shlex
import tomllib

import pytest
from conftest import run_python
from slugify import slugify

import build
from kernel.arguments import make_parser
from kernel.bundle.metadata import fill_metadata
from kernel.bundle.recipes import list_recipes, read_recipe
from kernel.facts.measurements import describe_result
from kernel.facts.networks import load_networks
from kernel.folders import ROOT

HEAVY = {"tensorflow", "keras", "jax", "torch", "numpy", "pandas", "kaggle"}


@pytest.mark.parametrize("version", [(3, 10, 12), (3, 14, 0)])
def test_a_python_that_is_too_old_or_too_new_is_refused_in_a_sentence(version):
    source = (ROOT / "build.py").read_text("utf-8")
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert requires["requires-python"] == ">=3.11,<3.14"
    ast.parse(source, feature_version=(3, 8))  # an old Python has to read it first
    code = f"import sys; sys.version_info = {version}; exec({source!r})"
    result = run_python(["-S", "-c", code])
    assert result.returncode == 1
    received = ".".join(map(str, version))
    assert f"expected Python 3.11 to 3.13. Received: {received}. Try: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_list_shows_every_recipe_and_every_network(capsys):
    assert build.main(["list"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100 or "hibou" in max(text.splitlines(), key=len)
    for name in list_recipes():
        assert re.search(rf"^{name} .*  {re.escape(read_recipe(name).text)}$", text, re.M)
    for name, network in load_networks().items():
        row = rf"^{name} .* {network.num_parameters:,} +{re.escape(network.text[:20])}"
        assert re.search(row, text, re.M)
    assert re.search(r"^fast +0\.\d{3} +0\.5 ", text, re.M)


def test_list_says_all_that_is_known_of_one(capsys):
    assert build.main(["list", "scratch"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "settings: architecture=wide_cnn epochs=8" in text
    assert describe_result("scratch") in text
    assert build.main(["list", "densenet121"]) == 0
    assert "7,039,553 parameters" in capsys.readouterr().out
    assert build.main(["list", "fas"]) == 1
    assert "Did you mean 'fast'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["build", "course_resnet"], "Did you mean 'course_resnet34'"),
        (["build", "seed_resnet34"], "is now called course_resnet34"),
        (["build", "resnet34"], "is now called scratch architecture=resnet34 learning_rate=1e-3"),
        (["build", "demo", "epoch=3"], "Did you mean 'epochs'"),
        (["build", "demo", "split=hue"], "best"),
        (["build", "demo", "figures=false"], "figures: this setting was removed"),
        (["train", "demo", "--data", ".", "epochs=0"], "at least 1. Received: epochs=0"),
        (["train", "demo", "--epochs", "3"], "--epochs is a setting, not an option. Try: epochs=3"),
        (["train", "--epochs=3", "demo"], "--epochs is a setting, not an option. Try: epochs=3"),
        (["train", "demo", "epochs", "3"], "Try: epochs=3"),
        (["train", "demo_study", "--hours", "1"], "Try: study_hours=1"),
        (["train", "demo", "--trials", "3"], "Expected: a recipe that has it: course_study"),
        (["train", "demo", "--datta", "DIR"], "unknown option '--datta'. Did you mean '--data'?"),
        (["build", "demo", "--fast"], "unknown option '--fast'. Known: --notebook"),
        (["leaderboard", "--json"], "Commands that have it: doctor, status, runs."),
        (["status", "--queue-timeout", "soon"], "expected 1 to 10,000 minutes. Received: soon"),
        (["run", "demo", "--queue-timeout", "nan"], "expected 1 to 10,000 minutes. Received: nan"),
        (["run", "demo", "--queue-timeout", "-5"], "expected 1 to 10,000 minutes. Received: -5"),
        (["push", "demo", "--queue-timeout", "5"], "--queue-timeout: expected with --wait"),
        (["push", "demo", "--folds", "0,1"], "--folds is a setting, not an option. Try: folds=0,1"),
        (["push", "demo", "--timeout", "abc"], "expected 0.6 to 12 hours. Received: abc"),
        (["scratch"], "unknown command 'scratch'. Known: list, build"),
        (["bulid", "demo"], "unknown command 'bulid'. Did you mean 'build'?"),
        (["--halp"], "unknown command '--halp'. Known"),
        (["train"], "the following arguments are required: RECIPE\n"),
        (["eda", "--data", "."], "eda is now: train explore"),
        (["tune", "fast_study"], "tune is now: train STUDY"),
        (["sandbox"], "sandbox is now: python -m kernel.sandbox"),
        (["train", "scratch", "architecture=resnet43"], "did you mean 'resnet34'?"),
        (["demo", "tta=nine"], "tta: expected one of none, flip, dihedral"),
        (["train", "demo", "--data="], "--data: expected a name or a path. Received: an empty"),
        (["train", "demo", "--out", ""], "--out: expected a name or a path"),
        (["predict", "", "patches"], "RUN: expected a name or a path"),
        (["explain", "pcam-demo", ""], "PATH: expected a name or a path"),
        (["card", ""], "RUN: expected a name or a path"),
        (["blend", "pcam-demo", ""], "RUN: expected a name or a path"),
        ([], "COMMAND"),
        (["run", "demo_study"], "Try: push demo_study, then status and output"),
        (["run", "explore"], "explore submits nothing"),
        (["demo", "trials=3"], "trials"),
    ],
)
def test_wrong_usage_exits_2_with_the_reason(capsys, words, message):
    with pytest.raises(SystemExit) as exit_code:
        build.main(words)
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "program, module, words",
    [
        ("build", "kernel.arguments", ["list"]),
        ("kernel.sandbox", "sklearn", ["--data", ".", "--solution", "s.csv"]),
    ],
)
def test_ctrl_c_while_a_program_starts_is_one_line(program, module, words):
    code = f"""
import runpy, sys

class Interrupt:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt)
sys.path.insert(0, {str(ROOT)!r})
runpy.run_module({program!r}, run_name="__main__", alter_sys=True)
"""
    result = run_python(["-c", code, *words])
    assert (result.returncode, result.stdout) == (130, "")
    (line,) = result.stderr.splitlines()
    assert re.match(r"(build.py: interrupted|kernel.sandbox: stopped); ", line)


def test_demo_has_the_options_of_run():
    assert vars(build.parse(["run", "demo"])).keys() == vars(build.parse(["demo"])).keys()


@pytest.mark.parametrize("columns", [40, 80])
def test_help_shows_every_command_and_its_example_can_be_run(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    parser, commands = make_parser()
    text = parser.format_help()
    for heading in ("make", "run on Kaggle", "look", "hand in"):
        assert f"\n{heading}:\n" in text
    for name, command in commands.items():
        assert re.search(rf"^  {name}\b", text, re.M)
        with pytest.raises(SystemExit) as exit_code:
            build.main([name, "--help"])
        shown = capsys.readouterr().out
        _, *parts, example = shown.split("\n\n")  # argparse breaks no part of the usage
        assert exit_code.value.code == 0
        assert max(map(len, "\n".join(parts).splitlines())) <= columns
        python, script, *words = shlex.split(example.removeprefix("example:\n"))
        assert (python, script, words[0]) == ("python", "build.py", name)
        assert build.parse(words).call == command.get_default("call")
    assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize("command", [["--help"], ["list"], ["build", "fast"]])
def test_home_commands_import_no_framework(command):
    result = run_python(["-X", "importtime", ROOT / "build.py", *command])
    assert result.returncode == 0, result.stderr
    imported = set(re.findall(r"\| +([\w.]+)$", result.stderr, re.M))
    assert "kernel.arguments" in imported
    assert not HEAVY & imported


def test_train_imports_nothing_heavy_before_its_kernel_runs(competition, tmp_path):
    words = ["train", "demo", "--resume", "--data", competition, "--out", tmp_path]
    result = run_python(["-X", "importtime", ROOT / "build.py", *words])
    assert result.returncode == 1 and "--resume: expected networks" in result.stderr
    imported = set(re.findall(r"\| +([\w.]+)$", result.stderr, re.M))
    assert "kernel.bundle.page" in imported
    assert not HEAVY & imported


def test_build_writes_and_says_what_a_user_needs(capsys, home):
    assert build.main(["build", "course_resnet34", "epochs=3"]) == 0
    text = capsys.readouterr().out
    folder = ROOT / "kernel" / "dist" / "pcam-course-resnet34"
    script = folder / "pcam-course-resnet34.py"
    source = script.read_text("utf-8")
    build_id = re.search(r"^build id +(\w{10})$", text, re.M).group(1)
    assert f'BUILD_ID = "{build_id}"' in source
    assert "no Kaggle credentials found" in text
    assert str(script) in text and f"{script.stat().st_size:,} bytes" in text
    assert f"kaggle kernels push -p {folder}" in text
    line = int(re.search(r"^ *(\d+)  models/course\.py", text, re.M).group(1))
    assert source.split("\n")[line - 1] == "# %% models/course.py"
    assert {path.name for path in folder.iterdir()} == {script.name, "kernel-metadata.json"}


def test_build_writes_a_notebook_of_the_same_build_with_an_id_of_its_own(capsys, home):
    assert build.main(["build", "explore"]) == 0 == build.main(["build", "explore", "--notebook"])
    text = capsys.readouterr().out
    folder = ROOT / "kernel" / "dist" / "pcam-explore-notebook"
    notebook = folder / "pcam-explore-notebook.ipynb"
    assert len(set(re.findall(r"^build id +(\w{10})$", text, re.M))) == 1
    assert f"wrote     {notebook}\n" in text and "push explore --notebook\n" in text
    metadata = json.loads((folder / "kernel-metadata.json").read_text("utf-8"))
    assert metadata["kernel_type"] == "notebook" and metadata["code_file"] == notebook.name
    assert metadata["id"].endswith("/pcam-explore-notebook")
    assert metadata["title"] == "PCam explore notebook"
    assert {path.name for path in folder.iterdir()} == {notebook.name, "kernel-metadata.json"}
    first = notebook.read_bytes()
    assert build.main(["build", "explore", "--notebook"]) == 0 and notebook.read_bytes() == first


@pytest.mark.parametrize("recipe", list_recipes())
def test_metadata_is_complete_and_private(home, recipe):
    metadata = fill_metadata(recipe)
    owner, slug = metadata["id"].split("/")
    assert owner == "your-kaggle-username"
    assert slug == slugify(metadata["title"]) and len(slug) >= 5
    assert metadata["code_file"] == f"{slug}.py"
    assert metadata["is_private"] is True
    is_light = recipe.startswith("expl")  # explore, explain, explain_tokens
    assert metadata["enable_gpu"] is not is_light
    machine = None if is_light else "NvidiaTeslaT4"
    assert metadata.get("machine_shape") == machine
    assert metadata["competition_sources"] == ["histopathologic-cancer-detection"]
    downloads = {"fast", "best", "course_vgg16", "course_study", "fast_study"}
    downloads |= {"midnight", "midnight_study", "smoke", "vit"}
    assert metadata["enable_internet"] is (recipe in downloads)


def test_the_template_at_the_top_is_that_of_its_recipe(home):
    template = json.loads((ROOT / "kernel-metadata.json").read_text("utf-8"))
    filled = fill_metadata("fast")
    code_file = f"kernel/dist/pcam-fast/{filled['code_file']}"
    assert template == {**filled, "code_file": code_file}


def test_a_study_asks_for_what_its_networks_need(home):
    """Internet for VGG16's weights, or the dataset of them; none for the demo."""
    assert fill_metadata("course_study")["enable_internet"]
    attached = fill_metadata("course_study", dataset_sources=["me/vgg16"])
    assert not attached["enable_internet"]
    assert "me/vgg16" in attached["dataset_sources"]
    assert not fill_metadata("demo_study", {"trials": 3})["enable_internet"]
    assert fill_metadata("demo_study")["title"] == "PCam demo study"
