"""tpu.sh from the first request to the last deletion, on a simulated cloud."""

import json

import pytest

ROUND = ["scp", "setup", "start"]
PRETRAIN = ["pretrain", "--config", "configs/x.py", "--workdir", "gs://bucket/run/"]


def test_babysit_takes_a_run_from_nothing_to_its_end(cloud):
    states = ["ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    cloud.plan({"states": states, "runs": [{"code": 0, "checkpoint": 7}]})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, SPOT="yes", SERVICE_ACCOUNT="me@x")
    assert cloud.steps() == ["create", *ROUND, "delete"]
    assert all(f"slice is {state}" in output for state in states)
    assert "the run is finished" in output and "slice is deleted" in output and "checkpoint 7" in output
    where = ["--project=project", "--zone=zone"]
    created = next(args for args in cloud.calls("gcloud") if args[3] == "create")
    assert created == [
        "compute",
        "tpus",
        "queued-resources",
        "create",
        "slice",
        *where,
        "--node-id=slice",
        "--accelerator-type=v5litepod-16",
        "--runtime-version=v2-alpha-tpuv5-lite",
        "--labels=created_by=barlow_jax",
        "--spot",
        "--service-account=me@x",
        "--quiet",
    ]
    deleted = next(args for args in cloud.calls("gcloud") if args[3] == "delete")
    assert deleted[3:] == ["delete", "slice", *where, "--force", "--quiet"]
    assert len(cloud.runs()) == 2  # hosts
    logs = [path.read_text() for path in cloud.bucket.glob("run/logs/*.log")]
    assert len(logs) == 2 and all("last line" in log and "exit code 0" in log for log in logs)


def test_a_run_in_a_mounted_bucket(cloud):
    cloud.plan({"runs": [{"code": 0, "checkpoint": 7}]})
    workdir = f"--workdir={cloud.mount}/run/"
    output = cloud.launch("tpu.sh", "babysit", "pretrain", workdir, **cloud.mounted)
    assert "checkpoint 7" in output
    cache = f"--config.train.compilation_cache={cloud.mount}/compiled"
    assert cloud.runs() == [["-m", "barlow_jax", "pretrain", cache, workdir]] * 2
    assert len([*cloud.mount.glob("run/logs/*.log")]) == 2 and not cloud.bucket.exists()


def test_a_bucket_that_was_unmounted_is_not_written_to(cloud):
    """A run does not start, even one that only reads there, and the log of one that has started stays."""

    def unmount():
        for mounted in cloud.folder.glob("hosts/*/mounted"):
            mounted.unlink()

    cloud.plan({"runs": [{"code": "forever"}]})
    cloud.launch("tpu.sh", "create")
    cloud.launch("tpu.sh", "setup", **cloud.mounted)
    unmount()
    output = cloud.launch("tpu.sh", "run", *PRETRAIN, **cloud.mounted, code=1)
    assert f"host-1: no bucket is mounted at {cloud.mount}" in output and cloud.runs() == []
    cloud.launch("tpu.sh", "setup", **cloud.mounted)
    cloud.launch("tpu.sh", "run", "pretrain", f"--workdir={cloud.mount}/run", **cloud.mounted)
    unmount()
    cloud.launch("tpu.sh", "stop")
    assert len(cloud.runs()) == 2 and not (cloud.mount / "run" / "logs").exists()


def test_a_mount_without_effect_ends_the_setup(cloud):
    cloud.plan({})
    cloud.launch("tpu.sh", "create")
    (cloud.folder / "mounts_nothing").touch()
    assert str(cloud.mount) in cloud.launch("tpu.sh", "setup", **cloud.mounted, code=1)
    assert not [*cloud.folder.glob("hosts/*/barlow_jax/current")]


def test_arguments_reach_the_hosts_unchanged(cloud):
    words = ["--config.x=two words", 'print "hi"', "it's", "$HOME `id` \\n & ; *", "", "line\nline", "ünï"]
    cloud.plan({"runs": [{"code": 0}]})
    cloud.launch("tpu.sh", "babysit", *PRETRAIN, *words)
    cache = "--config.train.compilation_cache=gs://bucket/compiled"  # which new hosts find
    assert cloud.runs() == [["-m", "barlow_jax", "pretrain", cache, *PRETRAIN[1:], *words]] * 2


@pytest.mark.parametrize(
    "first",
    [
        {"states": ["PROVISIONING", "SUSPENDED"]},
        {"states": ["FAILED"]},
        {"runs": [{"code": "forever"}], "preempted_at_query": 3},
        {"runs": [{"code": "forever"}], "unreachable_at_queries": list(range(3, 99))},
    ],
    ids=["suspended in the queue", "failed", "preempted in the middle", "hosts that do not answer"],
)
def test_a_slice_that_is_lost_is_deleted_and_created_again(cloud, first):
    cloud.plan(first, {"runs": [{"code": 0}]})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN)
    began = ROUND if "runs" in first else []
    assert cloud.steps() == ["create", *began, "delete", "create", *ROUND, "delete"]
    assert "restart 1 of 10" in output and "the run is finished" in output


@pytest.mark.parametrize("code", [1, 134, 143])
def test_a_run_that_failed_is_started_again_on_the_same_slice(cloud, code):
    # The other host waits for the failed one, and must be stopped.
    cloud.plan({"runs": [[{"code": "forever"}, {"code": code}], {"code": 0}]})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN)
    assert cloud.steps() == ["create", *ROUND, "end", *ROUND, "delete"]
    assert f"exit code {code}" in output and "the last line of the log" in output


def test_an_invalid_config_ends_babysit(cloud):
    cloud.plan({"runs": [[{"code": 2}, {"code": 134, "after": 0}]]})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, code=2)
    assert cloud.steps() == ["create", *ROUND, "end", "delete"]
    assert "the config or the command line is invalid" in output and "last line" in output


def test_babysit_gives_up_after_restarts_without_a_new_checkpoint(cloud):
    # The second run saves a checkpoint, which resets the count of restarts.
    cloud.plan({"runs": [{"code": 1}, {"code": 1, "checkpoint": 5}, {"code": 1}, {"code": 0}]})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, MAX_RESTARTS="1", code=1)
    assert cloud.steps().count("start") == 3 and cloud.steps()[-1] == "delete"
    assert "giving up: the command failed (exit code 1), and 1 restarts" in output


def test_a_refused_first_request_is_not_repeated(cloud):
    cloud.plan({"refused": "ERROR: RESOURCE_EXHAUSTED: quota"})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, code=1)
    assert "RESOURCE_EXHAUSTED" in output and "was not created" in output
    assert cloud.steps() == ["create"]


@pytest.mark.parametrize("states", [["ACTIVE"], ["SUSPENDED"], ["NO NETWORK", "ACTIVE"]])
def test_a_slice_of_another_origin_is_neither_used_nor_deleted(cloud, states):
    cloud.plan({"states": states, "runs": [{"code": 0}]})
    cloud.create_by_hand()
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, code=1)
    assert "created_by=barlow_jax" in output
    assert "created_by=barlow_jax" in cloud.launch("tpu.sh", "delete", code=1)
    assert cloud.steps() == ["create"]


def test_a_run_is_ended_after_its_hours(cloud):
    """A second is over; the run, which would take for ever, receives SIGTERM."""
    cloud.plan({"runs": [{"code": "forever", "checkpoint": 5}]})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, MAX_HOURS="0.0003", code=124)
    assert cloud.steps() == ["create", *ROUND, "end", "delete"] and "checkpoint is 5" in output
    assert "MAX_HOURS is '1h'" in cloud.launch("tpu.sh", "babysit", *PRETRAIN, MAX_HOURS="1h", code=2)


def test_keep_leaves_the_slice_and_warns_of_its_cost(cloud):
    cloud.plan({"runs": [{"code": 0}]})
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, KEEP="yes")
    assert "delete" not in cloud.steps() and "is kept and billed" in output


def test_babysit_joins_an_active_run_and_stop_ends_both(cloud):
    cloud.plan({"runs": [{"code": "forever"}]})
    cloud.launch("tpu.sh", "create")
    cloud.launch("tpu.sh", "setup")
    cloud.launch("tpu.sh", "run", *PRETRAIN)
    assert "already running" in cloud.launch("tpu.sh", "run", *PRETRAIN)
    output = cloud.launch("tpu.sh", "run", *PRETRAIN, "--config.seed=1", code=75)
    assert "is running another command: pretrain" in output
    output = cloud.launch("tpu.sh", "babysit", *PRETRAIN, "--config.seed=1", code=1)
    assert "nothing was changed" in output and "delete" not in cloud.steps()
    assert len(cloud.runs()) == 2
    status = cloud.launch("tpu.sh", "status")
    assert "ACTIVE" in status and "status host-0 0 running" in status and "status host-1 0 running" in status
    cloud.launch("tpu.sh", "stop")
    assert "status host-1 0 exited 130" in cloud.launch("tpu.sh", "status")
    assert {path.read_text() for path in cloud.folder.glob("hosts/*/platforms")} == {"tpu,cpu"}


def test_an_interrupted_network_changes_nothing(cloud):
    states = ["PROVISIONING", *["NO NETWORK"] * 9, "PROVISIONING", "NO NETWORK", "ACTIVE"]
    runs = [[{"code": "forever"}, {"code": 1}], {"code": 0}]
    cloud.plan({"states": states, "runs": runs, "unreachable_at_queries": [1, 2]})
    cloud.launch("tpu.sh", "babysit", *PRETRAIN)
    assert cloud.steps() == ["create", *ROUND, "end", *ROUND, "delete"]


def test_worker_selects_a_host_for_queries_only(cloud):
    for command in (["logs"], ["ssh", "uptime"]):
        assert "--worker=1 " in cloud.launch("tpu.sh", "--dry-run", *command, WORKER="1")
    output = cloud.launch("tpu.sh", "--dry-run", "babysit", *PRETRAIN, WORKER="1")
    assert "--worker=all" in output and "--worker=1" not in output


@pytest.mark.parametrize("state", ["FAILED", "SUSPENDED"])
def test_wait_ends_with_a_reason(cloud, state):
    cloud.plan({"states": ["WAITING_FOR_RESOURCES", state]})
    cloud.launch("tpu.sh", "create")
    assert "error: the" in cloud.launch("tpu.sh", "wait", code=1)


def test_a_mount_that_fails_ends_the_setup(cloud):
    cloud.plan({})
    cloud.launch("tpu.sh", "create")
    cloud.mount.write_text("not a folder")
    assert "mkdir" in cloud.launch("tpu.sh", "setup", **cloud.mounted, code=1)


def test_uncommitted_files_are_reported(cloud):
    (cloud.repo / "configs.py").write_text("")
    output = cloud.launch("tpu.sh", "setup", code=2)
    assert "configs.py" in output and "REF=HEAD" in output
    assert "no commit nowhere" in cloud.launch("tpu.sh", "setup", REF="nowhere", code=2)
    assert cloud.commit in cloud.launch("tpu.sh", "--dry-run", "setup", REF="HEAD")


def test_all_missing_settings_are_named_at_once(cloud):
    none = dict.fromkeys(["NAME", "PROJECT", "ZONE", "ACCELERATOR", "BUCKET"])
    wrong = {"SPOT": "maybe", "POLL": "1m", "MOUNT": "bucket"}
    output = cloud.launch("tpu.sh", "babysit", "pretrain", "--workdir=/tmp/x", **none, **wrong, code=2)
    assert all(f"{name} is not set" in output for name in none)
    assert all(f"{name} is '{value}'" in output for name, value in wrong.items())
    assert "--workdir is '/tmp/x'" in output
    assert "RUNTIME_VERSION" in cloud.launch("tpu.sh", "create", ACCELERATOR="tpu9-8", code=2)
    output = cloud.launch(
        "tpu.sh", "run", "pretrain", "--workdir=gs://bucket/", CACHE_DIR="/dev/shm/x", code=2
    )
    assert "--workdir is 'gs://bucket/'" in output and "CACHE_DIR is '/dev/shm/x'" in output


@pytest.mark.parametrize(
    ("accelerator", "image"),
    [("v4-64", "tpu-ubuntu2204-base"), ("v5p-64", "v2-alpha-tpuv5"), ("v6e-64", "v2-alpha-tpuv6e")],
)
def test_the_image_fits_the_accelerator(cloud, accelerator, image):
    output = cloud.launch("tpu.sh", "--dry-run", "create", ACCELERATOR=accelerator)
    assert f"--runtime-version={image} " in output


@pytest.mark.parametrize("command", ["create", "wait", "setup", "run", "status", "stop", "delete", "babysit"])
def test_a_dry_run_calls_nothing(cloud, command):
    args = PRETRAIN if command in ("run", "babysit") else []
    output = cloud.launch("tpu.sh", "--dry-run", command, *args)
    assert "+ gcloud compute tpus" in output
    assert not (cloud.folder / "calls.jsonl").exists() or not cloud.calls("gcloud")


def test_a_dry_run_of_babysit_is_every_step_in_order(cloud):
    output = cloud.launch("tpu.sh", "--dry-run", "babysit", *PRETRAIN)
    assert "mount" not in output and "gcsfuse" not in output
    output = cloud.launch("tpu.sh", "--dry-run", "babysit", *PRETRAIN, **cloud.mounted)
    steps = [
        "queued-resources create",
        "describe",
        "tpu-vm scp",
        "host.sh setup",
        "gcsfuse --implicit",
        "--constraint launch/constraints.txt",
        "host.sh start",
        "host.sh status",
        "queued-resources delete",
    ]
    positions = [output.index(step) for step in steps]
    assert positions == sorted(positions), json.dumps(output)
