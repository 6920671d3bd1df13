"""What Kaggle's client pushes: titles, inputs, machine, and the owner."""

import json

import pytest
from slugify import slugify

from kernel.bundle.header import make_slug, make_title
from kernel.bundle.metadata import PLACEHOLDER, TEMPLATE, fill_metadata, write_kernel
from kernel.bundle.page import bundle_kernel
from kernel.bundle.recipes import list_recipes

DOWNLOADS = {  # recipes whose networks start from weights of the internet
    "best",
    "course_study",
    "course_vgg16",
    "fast",
    "fast_study",
    "midnight",
    "midnight_study",
    "smoke",
    "vit",
}


@pytest.mark.parametrize("name", list_recipes())
def test_metadata_is_complete_and_private(home, name):
    metadata = fill_metadata(name)
    owner, slug = metadata["id"].split("/")
    assert owner == PLACEHOLDER
    assert slug == slugify(metadata["title"]) == make_slug(name) and len(slug) >= 5
    assert metadata["code_file"] == f"{slug}.py"
    assert metadata["is_private"] is True and metadata["kernel_type"] == "script"
    is_light = name.startswith("expl")  # explore, explain, explain_tokens
    assert metadata["enable_gpu"] is not is_light
    machine = None if is_light else "NvidiaTeslaT4"
    assert metadata.get("machine_shape") == machine
    assert metadata["competition_sources"] == ["histopathologic-cancer-detection"]
    if name.startswith("explain"):
        assert fill_metadata(name, {"require_gpu": True})["enable_gpu"] is True
    assert metadata["enable_internet"] is (name in DOWNLOADS)


@pytest.mark.parametrize(
    "overrides, title",
    [
        (None, "PCam course my vgg16"),
        ({"epochs": 3, "folds": ()}, "PCam course my vgg16"),
        ({"folds": (0, 1)}, "PCam course my vgg16 folds 0 1"),
    ],
)
def test_some_folds_are_a_kernel_of_their_own(overrides, title):
    assert make_title("course_my_vgg16", overrides) == title
    assert make_slug("course_my_vgg16", overrides) == slugify(title)
    assert make_slug("course_my_vgg16", overrides, notebook=True) == slugify(f"{title} notebook")


@pytest.mark.parametrize(
    "name, overrides, datasets, internet",
    [
        ("fast", {}, ["me/densenet"], False),
        ("fast", {"weights": "none"}, [], False),
        ("fast", {"weights": "model.keras"}, [], False),
        ("midnight", {"weights": "hf://a/b"}, [], True),
        ("midnight", {"weights": "hibou-l"}, [], True),
        ("midnight", {"weights": "hibou-l"}, ["me/hibou-l"], False),
        ("midnight", {"weights": "folder"}, [], False),
        ("course_study", {}, ["me/vgg16"], False),
        ("course_vgg16", {"weights": "none"}, [], False),
        ("demo", {}, [], False),
    ],
)
def test_the_internet_is_on_where_weights_are_missing(home, name, overrides, datasets, internet):
    for slides in (None, "someone/slides"):
        metadata = fill_metadata(name, overrides, dataset_sources=datasets, slides=slides)
        assert metadata["enable_internet"] is internet
        assert metadata["dataset_sources"] == [*datasets, *[slides] * bool(slides)]


def test_the_template_at_the_top_is_that_of_its_recipe(home):
    template = json.loads(TEMPLATE.read_text("utf-8"))
    filled = fill_metadata("fast")
    code_file = f"kernel/dist/pcam-fast/{filled['code_file']}"
    assert template == {**filled, "code_file": code_file}


def test_a_kernel_is_a_folder_of_two_files(home, tmp_path):
    script, bundle = write_kernel("demo", {"epochs": 3}, dist=tmp_path)
    assert script == tmp_path / "pcam-demo" / "pcam-demo.py"
    assert script.read_bytes() == bundle.source.encode("utf-8")
    assert bundle == bundle_kernel("demo", {"epochs": 3})
    metadata = script.with_name("kernel-metadata.json")
    assert json.loads(metadata.read_text("utf-8")) == fill_metadata("demo")
    assert sorted(script.parent.iterdir()) == [metadata, script]
