"""Wrong input of every kind: a message that names it, exit code 2, no traceback, and no file left behind."""

import pathlib
import re

import numpy as np
import pytest

from barlow_jax.__main__ import main

CONFIG = str(pathlib.Path(__file__).parents[1] / "small_config.py")
FOLDER = (
    "--config.data.name=images",
    "--config.data.data_dir={tmp}/images",
    "--config.data.eval_split=train",
)
ARRAYS = (
    "--config.data.name=images",
    "--config.data.data_dir={tmp}/arrays",
    "--config.data.augment_on=device",
)
FILES = {
    "broken.py": b"def get_config(:\n",
    "empty.py": b"x = 1\n",
    "raises.py": b"def get_config():\n    raise RuntimeError('no internet')\n",
    "number.py": b"def get_config():\n    return 3\n",
    "typo.py": b"from barlow_jax.config.overrides import default_config\ndef get_config():\n"
    b"    config = default_config()\n    config.optm.name = 'sgd'\n    return config\n",
    "truncated/config.json": b'{"data": {"na',
    "list/config.json": b"[1, 2]",
    "garbage.safetensors": b"these are not weights",
    "arrays/train.npz": b"PK\x03\x04 cut off",
    "images/train/a/1.txt": b"no image is here",
}

# Arguments after `pretrain --config CONFIG --workdir NEW`, and words of the message.
PRETRAIN_ARGUMENTS = {
    "an unknown key": (("--config.optim.lr=1",), "Did you mean config.optim.learning_rate?"),
    "a group for a key": (("--config.optim=1",), "config.optim is a group of keys: bias_learning_rate, "),
    "no value": (("--config.seed",), "--config.seed needs a value"),
    "a word for a number": (("--config.network.width=wide",), "config.network.width is 'wide'"),
    "a fraction for a whole number": (
        ("--config.train.batch_size=2.5",),
        "config.train.batch_size is '2.5'",
    ),
    "a word for a boolean": (("--config.network.remat=maybe",), "config.network.remat"),
    "an unknown choice": (("--config.optim.name=adam",), "config.optim.name"),
    "an unknown encoder": (("--config.network.encoder=resnet49",), "config.network.encoder"),
    "an unknown sink": (("--config.monitor.sinks=tensorboard,wandbs",), "each one of tensorboard, wandb"),
    "a negative rate": (
        ("--config.optim.learning_rate=-1",),
        "config.optim.learning_rate is -1.0",
    ),
    "a rate of nan": (
        ("--config.optim.learning_rate=nan",),
        "config.optim.learning_rate is 'nan'",
    ),
    "an infinite weight": (
        ("--config.objective.scale=inf",),
        "config.objective.scale is 'inf'",
    ),
    "a mean of one view alone": (
        ("--config.recipe.views.a.normalize.mean=0.5,0.5,0.5",),
        "config.recipe.views.b.normalize.mean",
    ),
    "a standard deviation of 0..255": (
        ("--config.recipe.views.a.normalize.std=58,57,57",),
        "config.recipe.views.a.normalize.std is (58.0, 57.0, 57.0)",
    ),
    "a batch of 0": (("--config.train.batch_size=0",), "config.train.batch_size"),
    "a batch beyond the data": (
        ("--config.train.batch_size=4096",),
        "has only 1437 images",
    ),
    "a batch that does not divide": (
        ("--config.train.batch_size=100",),
        "config.train.batch_size is 100, but must be divisible by the 8 devices",
    ),
    "microbatches that do not divide": (
        ("--config.train.microbatches=5",),
        "config.train.batch_size is 128, but must be divisible by 5 microbatches",
    ),
    "no microbatch": (("--config.train.microbatches=0",), "config.train.microbatches"),
    "an unknown method": (
        ("--config.objective.name=barlow",),
        "must be one of barlow_twins, byol, classification, ",
    ),
    "a method without its head": (
        ("--config.objective.name=simsiam",),
        "config.network.predictor is (), but simsiam",
    ),
    "a head that the method does not use": (
        ("--config.objective.name=simclr", "--config.network.predictor=16"),
        "simclr does not use it. Set it to ()",
    ),
    "a queue of half batches": (
        ("--config.objective.name=moco", "--config.objective.moco.queue_size=192"),
        "config.objective.moco.queue_size",
    ),
    "sub-batches too small to whiten": (
        ("--config.objective.name=w_mse", "--config.objective.w_mse.sub_batch=16"),
        "config.objective.w_mse.sub_batch",
    ),
    "another encoder for one branch": (
        ("--config.network.second_encoder=resnet18",),
        "config.network.branches=own",
    ),
    "patches that do not divide": (
        ("--config.network.encoder=vit_tiny",),
        "divisible by config.network.patch = 16",
    ),
    "a crop beyond the image": (
        ("--config.data.image_size=99",),
        "config.data.image_size is 99",
    ),
    "no canvas": (("--config.data.canvas=0",), "config.data.canvas is 0"),
    "images too small for the network": (("--config.data.image_size=2",), "config.data.image_size"),
    "a projector without a layer": (("--config.network.projector=",), "config.network.projector"),
    "a projector of width 0": (("--config.network.projector=16,0",), "config.network.projector is (16, 0)"),
    "a probability of 2": (("--config.recipe.views.a.flip.probability=2",), "flip.probability is 2.0"),
    "an order without an op": (("--config.recipe.views.b.order=crop,normalize",), "must name each op once"),
    "colors before the crop on the device": (
        (
            "--config.data.augment_on=device",
            "--config.recipe.views.a.jitter.probability=1",
            "--config.recipe.views.a.order=jitter,crop,rotate,flip,grayscale,blur,solarize,normalize",
        ),
        "config.data.augment_on=host",
    ),
    "crops of area 0": (("--config.recipe.views.a.crop.min_area=0",), "crop.min_area is 0.0"),
    "slices that do not divide": (("--config.mesh.slices=3",), "config.mesh.slices is 3"),
    "a fraction of labels above 1": (
        ("--config.probe.label_fractions=2",),
        "config.probe.label_fractions is (2.0,)",
    ),
    "0 neighbors": (("--config.knn.k=0",), "config.knn.k is (0,)"),
    "a negative number of decode failures": (
        ("--config.data.max_decode_failures=-1",),
        "config.data.max_decode_failures",
    ),
    "decoded images on the host": (("--config.data.cache=decoded",), "config.data.augment_on=device"),
    "an unknown data set": (("--config.data.name=didgits",), "did you mean 'digits'?"),
    "an unknown split": (
        ("--config.data.eval_split=validation",),
        "digits has no split 'validation'",
    ),
    "images without a path": (("--config.data.name=images",), "config.data.data_dir is none"),
    "a missing folder": (
        ("--config.data.name=images", "--config.data.data_dir={tmp}/none"),
        "{tmp}/none does not exist",
    ),
    "a folder without the split": (
        (*FOLDER, "--config.data.train_split=val"),
        "has 0 images; left out: 1 .txt files (train/a/1.txt)",
    ),
    "a folder without an image": (FOLDER, "has 0 images; left out: 1 .txt files (train/a/1.txt)"),
    "images without a class": (
        ("--config.data.name=images", "--config.data.data_dir={tmp}/floats", "--config.data.labels=folders"),
        "labels is folders",
    ),
    "a slice without an end": (("--config.data.train_split=train[:90%",), "train[:90%] and train[90%:]"),
    "a slice beyond the data": (("--config.data.train_split=train[:1438]",), "of 1437"),
    "a slice of arrays with two brackets": (
        (*ARRAYS, "--config.data.data_dir={tmp}/floats", "--config.data.train_split=train[[5:]"),
        "train[:90%] and train[90%:]",
    ),
    "truncated arrays": (
        (*ARRAYS, "--config.data.eval_split=train"),
        "{tmp}/arrays/train.npz is damaged",
    ),
    "missing arrays": (
        (*ARRAYS, "--config.data.data_dir={tmp}/floats", "--config.data.train_split=test"),
        "{tmp}/floats has no split 'test'; it has train",
    ),
    "arrays of floats": (
        (*ARRAYS[:1], "--config.data.data_dir={tmp}/floats", ARRAYS[2], "--config.data.eval_split=train"),
        "set config.data.pixel_dtype=float32",
    ),
    "a missing checkpoint to resume": (("--resume=must",), "--resume"),
    "an unknown flag": (("--workdri=x",), "--workdri=x is no argument"),
    "a process without the others": (("--process-id=1",), "--"),
}

# Numbers that mean nothing, for flags of any command.
NUMBERS = {
    ("report", "--device-hour-price"): ("-1", "inf", "nan", "cheap"),
    ("compare", "--seeds"): ("0", "2.5"),
    ("bench", "checkpoint", "--state-mb"): ("-1", "nan"),
    ("bench", "checkpoint", "--step-seconds"): ("0", "inf"),
    ("plan", "--images-per-chip"): ("0", "-3"),
    ("show-views", "--rows"): ("0",),
    ("embed", "--out", "f.npz", "--nearest"): ("0",),
    ("embed", "--out", "f.npz", "--queries"): ("-1", "many"),
}

WEIGHTS = ("--encoder", "{tmp}/garbage.safetensors")
# Whole command lines, and words of the message.
COMMAND_LINES = {
    "no config": (
        ("pretrain", "--workdir", "{tmp}/run"),
        "holds no run (config.json is missing). Pass --config",
    ),
    "a missing config file": (
        ("pretrain", "--config", "{tmp}/x.py", "--workdir", "{tmp}/run"),
        "{tmp}/x.py does not exist",
    ),
    "a folder for a config": (("pretrain", "--config", "{tmp}", "--workdir", "{tmp}/run"), "{tmp}"),
    "a config that is not Python": (
        ("pretrain", "--config", "{tmp}/broken.py", "--workdir", "{tmp}/run"),
        "broken.py",
    ),
    "a config without get_config": (
        ("pretrain", "--config", "{tmp}/empty.py", "--workdir", "{tmp}/run"),
        "get_config",
    ),
    "a config that fails": (
        ("pretrain", "--config", "{tmp}/raises.py", "--workdir", "{tmp}/run"),
        "no internet",
    ),
    "a config that is a number": (
        ("pretrain", "--config", "{tmp}/number.py", "--workdir", "{tmp}/run"),
        "number.py",
    ),
    "a config with a typo": (("pretrain", "--config", "{tmp}/typo.py", "--workdir", "{tmp}/run"), "optm"),
    "no workdir": (("pretrain", "--config", CONFIG), "--workdir is missing"),
    "a file for a workdir": (("pretrain", "--config", CONFIG, "--workdir", CONFIG), "is not a folder"),
    "a workdir on a web server": (
        ("pretrain", "--config", CONFIG, "--workdir", "https://b/run"),
        "the schemes of buckets",
    ),
    "a run whose config is truncated": (("probe", "--workdir", "{tmp}/truncated"), "config.json"),
    "a run whose config is a list": (("probe", "--workdir", "{tmp}/list"), "config.json"),
    "a run without a checkpoint": (("probe", "--config", CONFIG, "--workdir", "{tmp}/run"), "checkpoint"),
    "a missing encoder": (
        ("knn", "--config", CONFIG, "--workdir", "{tmp}/run", "--encoder", "{tmp}/none"),
        "{tmp}/none",
    ),
    "invalid weights": (
        ("knn", "--config", CONFIG, "--workdir", "{tmp}/run", "--encoder", "{tmp}/garbage.safetensors"),
        "garbage.safetensors",
    ),
    "an unknown topology": (
        ("plan", "--config", CONFIG, "--topology", "v9:2x2"),
        "'v9:2x2'",
    ),
    "no topology": (("plan", "--config", CONFIG), "--topology is missing"),
    "words for rows": (("bench", "loss", "--rows", "16,x"), "--rows is '16,x'"),
    "a flag of another benchmark": (("bench", "input", "--config", CONFIG, "--rows", "16"), "--rows"),
    "another benchmark's optional flag": (("bench", "loss", "--step-seconds", "1"), "--step-seconds"),
    "too few images to time": (
        ("bench", "input", "--config", CONFIG, "--images", "10"),
        "--images is 10",
    ),
    "a sheet in an unknown format": (
        ("show-views", "--config", CONFIG, "--out", "{tmp}/sheet.txt"),
        "ends in .png, .pdf or .svg",
    ),
    "an unknown ablation": (
        ("ablate", "--config", CONFIG, "--workdir", "{tmp}/run", "--only", "x"),
        "--only",
    ),
    "an unknown transfer": (
        ("transfer", "--config", CONFIG, "--workdir", "{tmp}/run", "--only", "x"),
        "--only",
    ),
    "an export without a format": (
        ("export", *WEIGHTS, "--out", "{tmp}/out"),
        "--format is missing. Pass one of orbax, ",
    ),
    "an export without a folder": (("export", *WEIGHTS, "--format", "timm"), "--out is missing"),
    "an export into a folder that is not empty": (
        ("export", *WEIGHTS, "--format", "timm", "--out", "{tmp}/truncated"),
        "--out {tmp}/truncated is not empty",
    ),
    "an export into a file": (
        ("export", *WEIGHTS, "--format", "timm", "--out", CONFIG),
        "small_config.py is not a folder",
    ),
    "an export without an encoder": (
        ("export", "--config", CONFIG, "--format", "timm", "--out", "{tmp}/out"),
        "--workdir",
    ),
    "an export of invalid weights": (
        ("export", *WEIGHTS, "--format", "timm", "--out", "{tmp}/out"),
        "garbage.safetensors",
    ),
    "an export of a missing run": (
        ("export", "--workdir", "{tmp}/run", "--format", "timm", "--out", "{tmp}/out"),
        "{tmp}/run holds no run",
    ),
    "an export of a run without a checkpoint": (
        ("export", "--config", CONFIG, "--workdir", "{tmp}/run", "--format", "timm", "--out", "{tmp}/out"),
        "{tmp}/run holds no checkpoint",
    ),
    "an export of an unknown checkpoint": (
        ("export", *WEIGHTS, "--format", "timm", "--out", "{tmp}/out", "--checkpoint", "last"),
        "--checkpoint is 'last'",
    ),
    "pixels for a network to fine-tune": (
        ("finetune", "--workdir", "{tmp}/run", "--pixels"),
        "--pixels is no argument",
    ),
    "an encoder for pixels": (
        ("knn", "--config", CONFIG, "--workdir", "{tmp}/run", "--pixels", *WEIGHTS),
        "--encoder has no effect with --pixels",
    ),
    "nothing to verify": (("verify", "--workdir", "{tmp}/none"), "{tmp}/none"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("input")
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "floats").mkdir()
    np.savez(root / "floats" / "train.npz", images=np.zeros((300, 8, 8, 3)))
    return root


def _refused(capsys, files, argv, words):
    before = {path: path.stat().st_mtime_ns for path in files.rglob("*")}
    assert main([arg.format(tmp=files) for arg in argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    # A command whose config is valid first names its data and what is read, because that may take seconds.
    assert words.format(tmp=files) in err and re.match(
        r"(\w+: .*; \w+\n)?((preparing|split) .*\n)?error: ", err
    )
    assert {path: path.stat().st_mtime_ns for path in files.rglob("*")} == before, "nothing is left behind"


@pytest.mark.parametrize("case", PRETRAIN_ARGUMENTS)
def test_wrong_arguments_of_pretrain_are_refused_before_it_starts(capsys, files, case):
    argv, words = PRETRAIN_ARGUMENTS[case]
    _refused(capsys, files, ("pretrain", "--config", CONFIG, "--workdir", "{tmp}/run", *argv), words)


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_wrong_command_lines_are_refused(capsys, files, case):
    _refused(capsys, files, *COMMAND_LINES[case])


@pytest.mark.parametrize("command", NUMBERS, ids=" ".join)
def test_flags_take_numbers_that_mean_something(capsys, command):
    for text in NUMBERS[command]:
        with pytest.raises(SystemExit) as stopped:
            main([*command, text])
        assert stopped.value.code == 2
        out, err = capsys.readouterr()
        assert out == "" and f"argument {command[-1]}: " in err and text in err.splitlines()[-1]


def test_devices_that_are_missing_are_named(capsys, monkeypatch, tmp_path):
    """Without a GPU, jax raises an AssertionError that has no message."""
    import jax

    monkeypatch.setattr(jax, "devices", lambda *_: exec("assert False"))
    monkeypatch.setattr(jax, "device_count", jax.devices)
    assert main(["pretrain", "--config", CONFIG, "--workdir", str(tmp_path / "run")]) == 2
    assert "JAX_PLATFORMS is cpu" in capsys.readouterr().err and not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(jax, "device_count", lambda: exec("assert False"))
    with pytest.raises(AssertionError):  # of another cause
        main(["pretrain", "--config", CONFIG, "--workdir", str(tmp_path / "run")])
