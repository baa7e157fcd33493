"""`runs` through its entry point: complete, damaged, foreign and nested folders, sorting, filters, files."""

import json
import subprocess
import sys
import time

from pyarrow import parquet
import pytest

from barlow_jax.commands.runs import select
from barlow_jax.config import overrides
from barlow_jax.papers.scores import Score


def _write(folder, *, rows, status=None, scores=(), **changes):
    folder.mkdir(parents=True)
    tree = overrides.default_config().to_dict()
    assert not overrides.apply_overrides(tree, changes.items())
    (folder / "config.json").write_text(json.dumps(tree))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fixed = {"state": "finished", "step": 20, "num_steps": 20, "epoch": 2.0, "marks": [], "updated_unix": 0}
    (folder / "status.json").write_text(json.dumps(fixed | {"wall_seconds": 7200.0} | (status or {})))
    devices = {"kind": "TPU v5e", "count": 8, "processes": 2}
    start = {"starts": 1, "first": "", "last": "", "packages": {}, "devices": devices}
    (folder / "provenance.json").write_text(json.dumps([start]))
    if scores:
        (folder / "results").mkdir()
        record = {"step": 20, "scores": [score.to_json() for score in scores]}
        (folder / "results" / "evaluate.json").write_text(json.dumps(record))


def _score(command, value, **fields):
    return Score(command, "linear", "top1", value, "digits", "test", 360, **fields)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "all"
    scores = (_score("probe", 91.0), _score("probe", 70.0, label_fraction=0.1), _score("knn", 90.0, k=20))
    rows = [{"step": 10, "loss": 3.0, "knn_top1": 0.9}, {"step": 20, "loss": 2.0, "knn_top1": 0.75}]
    _write(root / "twins", rows=rows, scores=scores)
    collapsed = {"embedding_spread": 0.0, "embedding_std_mean": 0.0, "epoch": 20.0}
    rows = [{"step": step, "loss": None, "lidar": 7.5, **collapsed} for step in range(16, 21)]
    changes = {"objective.name": "vicreg", "optim.learning_rate": "0.01", "network.projector": "64,32"}
    _write(root / "twins" / "results" / "vicreg", rows=rows, status={"state": "training"}, **changes)
    _write(root / "results" / "seed", rows=[{"step": 1, "loss": 5.0, "knn_top1": 0.7}], seed="1")
    for name, content in {"damaged": "{", "list": "[1]", "timm": '{"architecture": "resnet50"}'}.items():
        (root / name).mkdir()
        (root / name / "config.json").write_text(content)
    (root / "seed.txt").write_text("no run")
    return root


def test_every_run_below_a_folder_is_listed_and_other_folders_are_named(root, run_command):
    results, log = run_command("runs", root)
    rows = {row["run"]: row for row in results["runs"]}
    assert list(rows) == ["results/seed", "twins", "twins/results/vicreg"]
    assert {path.rpartition("/")[2] for path in results["not_read"]} == {"damaged", "list", "timm"}
    twins, vicreg = rows["twins"], rows["twins/results/vicreg"]
    assert (twins["loss"], twins["knn_top1"], twins["best_knn_top1"]) == (2.0, 75.0, 90.0)
    assert (twins["probe_top1"], twins["probe_top1@0.1"], twins["knn20_top1"]) == (91.0, 70.0, 90.0)
    assert (twins["hours"], twins["device_hours"], twins["state"]) == (2.0, 16.0, "finished")
    assert vicreg["loss"] is None and vicreg["lidar"] == 7.5 and vicreg["state"] != "finished"
    assert vicreg["health"] == "full collapse" and twins["health"] != vicreg["health"]
    different = {"objective.name", "optim.learning_rate", "network.projector", "seed"}
    assert {key for key in twins if "." in key and "@" not in key} | {"seed"} == different
    lines = log.splitlines()[-4:]
    assert lines[0].split()[:4] == ["run", "state", "epoch", "loss"] and "64,32" in lines[-1]


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--sort", "knn_top1"), ["twins", "results/seed", "twins/results/vicreg"]),
        (("--sort", "+optim.learning_rate"), ["twins/results/vicreg", "results/seed", "twins"]),
        (("--filter", "best_knn_top1>80"), ["twins"]),
        (("--filter", "knn_top1 <= 75", "--filter", "seed!=1"), ["twins"]),
        (("--filter", "objective.name=vicreg"), ["twins/results/vicreg"]),
        (("--filter", "network.projector=64,32"), ["twins/results/vicreg"]),
        (("--filter", "data.data_dir=none", "--filter", "loss>=2"), ["results/seed", "twins"]),
        (("--filter", "loss>100"), []),
    ],
)
def test_runs_are_sorted_and_filtered_by_fields_and_config_keys(root, run_command, flags, names):
    assert [row["run"] for row in run_command("runs", root, *flags)[0]["runs"]] == names


def test_the_list_is_written_as_json_and_parquet(root, tmp_path, run_command):
    results, _ = run_command("runs", root, "--out", tmp_path / "runs.json")
    assert json.loads((tmp_path / "runs.json").read_text()) == results["runs"]
    run_command("runs", root, "--out", tmp_path / "runs.parquet", "--sort", "loss")
    table = parquet.read_table(tmp_path / "runs.parquet").to_pydict()
    assert table["run"] == ["results/seed", "twins", "twins/results/vicreg"]
    assert table["loss"] == [5.0, 2.0, None] and table["network.projector"][2] == [64, 32]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--sort", "knn_top"), "knn_top1"),
        (("--filter", "knn>80"), "'knn'"),
        (("--filter", "knn_top1"), "comparison"),
        (("--out", "{root}/runs.csv"), ".parquet"),
        (("--config.seed=1",), "--config.seed"),
    ],
)
def test_wrong_flags_are_named(root, run_command, flags, words):
    flags = [flag.format(root=root) for flag in flags]
    before = sorted(root.rglob("*"))
    assert words in run_command("runs", root, *flags, code=2)[1]
    assert sorted(root.rglob("*")) == before


def test_a_folder_without_runs_is_named(tmp_path, run_command):
    assert str(tmp_path) in run_command("runs", tmp_path, code=2)[1]
    assert "missing" in run_command("runs", tmp_path / "missing", code=2)[1]


def test_text_and_missing_values_have_an_order():
    rows = [{"run": "a", "x": "b"}, {"run": "b", "x": None}, {"run": "c", "x": 2.0}, {"run": "d", "x": "a"}]
    assert select(rows, "+x", ()) == [2, 3, 0, 1] and select(rows, "x", ("x!=b",)) == [2, 3, 1]


def test_a_hundred_runs_are_read_in_seconds_without_jax(root):
    for number in range(97):
        (root / f"{number}").symlink_to(root / "twins")  # a link to a folder is not followed
        folder = root / f"run{number}"
        folder.mkdir()
        for path in (root / "twins").glob("*.json*"):
            (folder / path.name).write_bytes(path.read_bytes())
    code = (
        "import sys; from barlow_jax.__main__ import main\n"
        "code = main(['runs', sys.argv[1]])\n"
        "slow = {'tensorflow', 'jax', 'flax', 'orbax', 'pyarrow'} & set(sys.modules)\n"
        "assert not slow, slow; sys.exit(code)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["runs"]) == 100
    assert time.monotonic() - started < 30  # 1.5 s on an idle core
