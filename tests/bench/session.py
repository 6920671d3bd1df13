"""Rehearse a Kaggle session of the real size on this machine (Linux), and end some of them.

    python tests/bench/session.py fast --data DIR [--patches DIR] [name=value ...]
    python tests/bench/session.py best --data DIR --latency-ms 5 --kills 3
    python tests/bench/session.py midnight --data DIR --images 2000 --kills 0

220,025 + 57,458 patches are laid out once in --data, each a changed copy of a real training
patch (8 GB). Then the recipe's kernel file itself runs with two workers as on Kaggle, under
limits on memory, output and time. Printed are its files, peaks, seconds by stage and log. After
that, sessions are ended at random moments, and each is continued: after a time-out as by
push --resume (an empty output, the earlier one attached), else in its own folder. Every
continued run must end with the submission of the undisturbed one, byte by byte.

Two cores cannot compute the networks of these recipes, so unless --network is `real`:
- best, fast: the text of two functions of the page is replaced, `build_pretrained` and
  `pretrained_body`: a network of two convolutions on the patch shrunk by 4;
- midnight: `weights` is a DINOv2 of one block and random weights at 28 pixels, whose features
  have Midnight's size (3,072 float16 numbers per patch).
"""

import argparse
import ast
import json
import random
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from layout import NUM_TEST, NUM_TRAIN, lay_out  # noqa: E402
from processes import (  # noqa: E402
    ENDINGS,
    Session,
    check_manifest,
    find_broken,
    find_held,
    find_partial,
    list_networks,
)

from kernel.bundle.page import bundle_kernel  # noqa: E402
from kernel.bundle.recipes import parse_words, read_recipe  # noqa: E402
from kernel.folders import RUNS  # noqa: E402

SHIPPED = ROOT / "kernel" / "sandbox" / "patches"
SHOWN_LINES = 60
FEATURES = 1_536  # Midnight's, of the class token and of the mean of the patch tokens each

TINY = {
    "build_pretrained": '''
def build_pretrained(settings: PretrainedSettings) -> keras.Model:
    """A tiny network in place of one of PRETRAINED, at 96 pixels."""
    small = dataclasses.replace(settings, crop_size=96, input_size=96)
    return build_network(settings.architecture, pretrained_body, small, has_base=True)
''',
    "pretrained_body": '''
def pretrained_body(inputs: KerasTensor, settings: PretrainedSettings) -> KerasTensor:
    """Two convolutions on the patch shrunk by 4."""
    x = layers.AveragePooling2D(4)(layers.Rescaling(1 / 255)(inputs))
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, 2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x))
    return pooled_head(x, settings.dropout_rate)
''',
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=("fast", "best", "midnight"))
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    parser.add_argument("--data", type=Path, default=RUNS / "rehearsal", help="the layout")
    parser.add_argument("--patches", type=Path, default=SHIPPED, help="train*.zip and labels")
    parser.add_argument("--images", type=int, default=NUM_TRAIN, help="training patches")
    parser.add_argument("--work", type=Path, help="outputs, cache and log; emptied first")
    parser.add_argument("--network", choices=("tiny", "real"), default="tiny")
    parser.add_argument("--memory", type=float, default=18.0, help="GiB")
    parser.add_argument("--disk", type=float, default=20.0, help="GB of output")
    parser.add_argument("--hours", type=float, default=12.0, help="of one session")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="per opening of an image")
    parser.add_argument("--kills", type=int, default=3, help="sessions that are ended")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_intermixed_args()
    sys.exit(0 if rehearse(args) else 1)


def rehearse(args):
    """Lay out, run undisturbed, end sessions; whether all held."""
    num_test = round(args.images * NUM_TEST / NUM_TRAIN)
    found = lay_out(args.data, args.patches.resolve(), args.images, num_test)
    work = (args.work or RUNS / f"session-{args.recipe}").absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    script = work / "script.py"
    script.write_text(make_page(args, work), "utf-8", newline="\n")
    limits = {
        "memory": args.memory,
        "disk": args.disk,
        "seconds": 3600 * args.hours,
        "latency": args.latency_ms,
    }
    describe_setup(args, found, limits)

    inputs = make_inputs(work / "input", args.data)
    whole = Session(script, inputs, work / "undisturbed", work, **limits).start()
    whole.run()
    whole.close()
    describe_run(whole)
    if whole.process.returncode:
        return False
    rounds = [end_one(args, work, script, limits, whole, number) for number in range(args.kills)]
    if rounds:
        print("\nSessions ended at random moments\n")
        print_records(rounds)
    failed = [row for row in rounds if row["problems"]]
    same = sum(row["same bytes"] == "yes" for row in rounds)
    print(f"\n{same} of {len(rounds)} with the same bytes, {len(failed)} with a problem")
    return not failed and not whole.watch.invalid


def make_page(args, work):
    """The kernel's text, with a tiny network where two cores cannot compute the real one."""
    recipe, words = read_recipe(args.recipe), ["num_workers=2", *args.overrides]
    if args.recipe == "midnight" and args.network == "tiny":
        weights = write_transformer(work / "transformer")
        words = [f"weights={weights}", "input_size=28", *words]
    source = bundle_kernel(args.recipe, parse_words(recipe, words)).source
    if args.recipe != "midnight" and args.network == "tiny":
        for name, text in TINY.items():
            source = replace_function(source, name, text)
    return source


def replace_function(source, name, text):
    """Replace a top-level function of a page by another.

    Raises:
        ValueError: the page has no such function.
    """
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return "\n".join(lines[: node.lineno - 1] + [text.strip()] + lines[node.end_lineno :])
    raise ValueError(f"expected a page with a function {name}. Received: none")


def write_transformer(folder):
    """Write a DINOv2 of one block with random weights, 3,072 features; its folder.

    It is in the format of transformers, which the kernel reads through keras-hub.
    """
    import numpy as np
    from safetensors.numpy import save_file

    numbers, size, patch, side = np.random.default_rng(0), FEATURES, 14, 28
    config = {
        "model_type": "dinov2",
        "image_size": side,
        "patch_size": patch,
        "hidden_size": size,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "mlp_ratio": 1,
        "layerscale_value": 1.0,
        "use_swiglu_ffn": False,
        "hidden_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "num_register_tokens": 0,
    }
    shapes = {
        "embeddings.cls_token": (1, 1, size),
        "embeddings.mask_token": (1, size),
        "embeddings.position_embeddings": (1, 1 + (side // patch) ** 2, size),
        "embeddings.patch_embeddings.projection.weight": (size, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (size,),
        "layernorm.weight": (size,),
        "layernorm.bias": (size,),
    }
    block = "encoder.layer.0."
    dense = [f"attention.attention.{name}" for name in ("query", "key", "value")]
    for name in [*dense, "attention.output.dense", "mlp.fc1", "mlp.fc2"]:
        shapes |= {f"{block}{name}.weight": (size, size), f"{block}{name}.bias": (size,)}
    for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
        shapes[block + name] = (size,)
    shapes |= {f"{block}layer_scale{n}.lambda1": (size,) for n in (1, 2)}
    scale = {name: 0.05 if len(shape) > 1 else 0.3 for name, shape in shapes.items()}
    weights = {
        name: numbers.normal(0, scale[name], shape).astype("float32")
        for name, shape in shapes.items()
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def make_inputs(folder, data, earlier=None):
    """Link the competition, and the output of an earlier version, as Kaggle mounts them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "competitions").symlink_to((data / "competitions").absolute())
    if earlier:
        place = folder / "notebooks" / "me" / "earlier"
        place.parent.mkdir(parents=True)
        place.symlink_to(earlier.absolute())
    return folder


def end_one(args, work, script, limits, whole, number):
    """End a session at a random moment and continue it; a row of the table."""
    chance = random.Random(f"{args.seed} {number}")
    ending = ENDINGS[number % len(ENDINGS)]
    shutil.rmtree(work / "ended", ignore_errors=True)
    shutil.rmtree(work / "continued", ignore_errors=True)
    decoding = sum(s["seconds"] for n, s in read_stages(whole).items() if n.startswith("decode"))
    duration = whole.seconds
    if number:
        duration -= decoding  # the cache is there
    else:
        shutil.rmtree(work / "cache")
    moment = chance.uniform(0.1, 0.95) * duration
    inputs = make_inputs(work / "input", args.data)
    session = Session(script, inputs, work / "ended", work, **limits).start()
    running = session.run(until=lambda s: time.monotonic() - s.started >= moment)
    last = session.log[-1][1] if session.log else ""
    networks = list_networks(session.output)
    ended = {"ending": f"{ending}: had ended before", "left": 0, "seconds": 0}
    if running:
        ended = session.end(ending, chance)
    problems = describe_damage(session, ended)

    output = session.output
    if ending == "timeout":
        output, inputs = work / "continued", make_inputs(work / "input", args.data, output)
    following = Session(script, inputs, output, work, **limits).start()
    following.run()
    following.close()
    problems += judge_end(following, whole)
    return {
        "ending": ended["ending"],
        "at": f"{moment:.0f} of {duration:.0f} s",
        "last line": last[:60],
        "networks": len(networks),
        "first network, valid from": f"{say(session.watch.first_network)}, "
        f"{say(session.watch.first_valid)}",
        "looks, invalid": f"{session.watch.num_looks + following.watch.num_looks}, "
        f"{len(session.watch.invalid) + len(following.watch.invalid)}",
        "processes ended after": f"{ended['seconds']:.1f} s",
        "continued in": f"{following.seconds:.0f} s",
        "same bytes": "yes" if same_submission(following, whole) else "no",
        "problems": "; ".join(problems),
    }


def describe_damage(session, ended):
    """What an ended session left that it must not leave: list of text."""
    problems = [f"{ended['left']} processes stayed"] if ended["left"] else []
    problems += [f"broken {text}" for text in find_broken(session.output)]
    problems += [f"lock {name} stayed" for name in find_held(session.output)]
    problems += session.watch.invalid[:3]
    return problems


def same_submission(session, undisturbed):
    """Whether two runs wrote the same bytes."""
    paths = [run.output / "submission.csv" for run in (session, undisturbed)]
    return paths[0].exists() and paths[0].read_bytes() == paths[1].read_bytes()


def judge_end(session, undisturbed):
    """What is wrong with the end of a continued run: list of text."""
    problems = list(session.watch.invalid[:3])
    if session.process.returncode:
        last = [text for _, text in session.log[-3:]]
        return [*problems, f"exit code {session.process.returncode}: {' / '.join(last)}"]
    if not same_submission(session, undisturbed):
        problems.append("another submission")
    problems += [f"manifest: {text}" for text in check_manifest(session.output)]
    problems += [f"broken {text}" for text in find_broken(session.output)]
    problems += [f"partial file {name}" for name in find_partial(session.output)]
    return problems


def describe_setup(args, found, limits):
    """Print what runs, and what is replaced."""
    rows = [
        ("recipe", " ".join([args.recipe, "num_workers=2", *args.overrides])),
        ("patches", f"{found['train']:,} train, {found['test']:,} test"),
        ("copies", f"of {found['sources']:,} real patches; {found['twins']} pairs of "
         f"near-duplicates among {found['checked']:,} copies"),
        ("network", describe_network(args)),
        ("limits", f"{limits['memory']:g} GiB of memory, {limits['disk']:g} GB of output, "
         f"{args.hours:g} h"),
        ("latency", f"{args.latency_ms:g} ms per opening of an image"),
    ]  # fmt: skip
    print_rows([("setup", ""), *rows])


def describe_network(args):
    """Which network is trained."""
    if args.network == "real":
        return "the recipe's own"
    if args.recipe == "midnight":
        return "replaced: DINOv2 of one block, random weights, 28 pixels, 3,072 features"
    return "replaced: two convolutions on the patch shrunk by 4, in the page's text"


def describe_run(session):
    """Print the files, peaks, stages and log of a run."""
    watch, peaks = session.watch, session.peaks
    gib = {
        name: f"{peaks[name] / 2**30:.2f} GiB" for name in ("counted", "shared", "largest", "file")
    }
    over = f" (killed: {session.died_of})" if session.died_of else ""
    print()
    print_rows(
        [
            ("undisturbed run", ""),
            ("exit code", f"{session.process.returncode}{over}"),
            ("seconds", f"{session.seconds:.0f}"),
            ("peak of anonymous and shared memory", gib["counted"]),
            ("of it shared", gib["shared"]),
            ("largest process, anonymous memory", gib["largest"]),
            ("peak of file-backed pages", gib["file"]),
            ("peak of the output", f"{peaks['output'] / 1e9:.3f} GB"),
            ("peak of the temporary folder and the cache", f"{peaks['temporary'] / 1e9:.3f} GB"),
            ("first network after", say(watch.first_network)),
            ("valid submission and run.json after", say(watch.first_valid)),
            ("looks at them from then on, invalid", f"{watch.num_looks}, {len(watch.invalid)}"),
            ("versions of the submission", watch.num_versions),
        ]
    )
    stages = [
        (name, f"{stage['seconds']:.1f}", f"{stage['images']:,}")
        for name, stage in read_stages(session).items()
    ]
    print()
    print_rows([("stage (networks added up)", "seconds", "images"), *stages])
    print()
    print_rows([("file", "bytes"), *list_files(session.output)])
    print(f"\nLog, {len(session.log)} lines\n")
    lines = [f"{seconds:8.1f} {text}" for seconds, text in session.log]
    half = SHOWN_LINES // 2
    if len(lines) > SHOWN_LINES:
        lines = [*lines[:half], f"         ... {len(lines) - SHOWN_LINES} lines", *lines[-half:]]
    print("\n".join(lines), flush=True)


def read_stages(session):
    """The stages in a run's run.json."""
    path = session.output / "run.json"
    return json.loads(path.read_text("utf-8"))["stages"] if path.exists() else {}


def list_files(output):
    """Rows of names and sizes; the parts of the features as one."""
    sizes = {}
    for path in sorted(output.rglob("*")):
        if path.is_file():
            name = path.relative_to(output).as_posix()
            name = "features/*" if name.startswith("features/") else name
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return [(name, f"{size:,}") for name, size in sizes.items()]


def say(seconds):
    """Seconds, which may be None."""
    return "never" if seconds is None else f"{seconds:.1f} s"


def print_records(records):
    """Print dicts with the same keys as a Markdown table."""
    print_rows([tuple(records[0]), *[tuple(record.values()) for record in records]])


def print_rows(rows):
    """Print rows as a Markdown table, the first as its head."""
    for number, row in enumerate(rows):
        print("|", " | ".join(str(cell).replace("|", "/") for cell in row), "|")
        if not number:
            print("|" + "---|" * len(row))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
