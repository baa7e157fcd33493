"""gke.sh: the parsed manifest, and the arguments of kubectl, docker and xpk."""

import pytest
import yaml

SETTINGS = {"IMAGE": "registry/image:1", "ACCELERATOR": "v5litepod", "TOPOLOGY": "8x8", "NAME": "run-1"}


@pytest.fixture
def pretrain(cloud):
    return ["pretrain", "--config", "configs/x.py", "--workdir", f"{cloud.mount}/run"]


def _render(cloud, *args, **settings):
    jobset = yaml.safe_load(cloud.launch("gke/gke.sh", "render", *args, **SETTINGS | settings))
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    return jobset, job, pod, pod["containers"][0]


def test_the_manifest_has_one_pod_per_host_with_the_bucket(cloud, pretrain):
    jobset, job, pod, container = _render(cloud, *pretrain)
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["metadata"]["name"] == "run-1" and jobset["metadata"]["namespace"] == "default"
    assert job["completions"] == job["parallelism"] == 16
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "8x8",
    }
    cache = f"--config.train.compilation_cache={cloud.mount}/compiled"  # which restarted pods find
    assert container["image"] == "registry/image:1" and container["args"] == [
        "pretrain",
        cache,
        *pretrain[1:],
    ]
    assert container["volumeMounts"][0]["mountPath"] == str(cloud.mount)
    volume = pod["volumes"][0]["csi"]
    assert volume["driver"] == "gcsfuse.csi.storage.gke.io"
    assert volume["volumeAttributes"]["bucketName"] == "bucket"


def test_an_invalid_config_fails_the_run_and_other_failures_restart_it(cloud, pretrain):
    jobset, job, pod, container = _render(cloud, *pretrain, MAX_RESTARTS="7")
    rule = job["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert jobset["spec"]["failurePolicy"] == {
        "maxRestarts": 7,
        "rules": [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
    }
    assert job["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"


def test_arguments_reach_the_pod_unchanged(cloud, pretrain):
    words = [
        "two words",
        'print "hi"',
        "it's",
        "back\\slash & more &",
        "$HOME $(HOME)",
        "",
        "line\nline",
        "@NAME@",
    ]
    *_, container = _render(cloud, *pretrain, *words)
    # Kubernetes reads $$ as $.
    assert [word.replace("$$", "$") for word in container["args"][2:]] == pretrain[1:] + words
    assert "$$(HOME)" in container["args"][-4]


@pytest.mark.parametrize(
    ("topology", "chips", "hosts", "limit"),
    [("1x1", "", 1, 1), ("2x2", "", 1, 4), ("2x4", "", 2, 4), ("2x4", "8", 1, 8), ("4x4x8", "", 32, 4)],
)
def test_hosts_come_from_the_topology(cloud, pretrain, topology, chips, hosts, limit):
    _, job, _, container = _render(cloud, *pretrain, TOPOLOGY=topology, CHIPS=chips)
    assert (job["completions"], container["resources"]["limits"]["google.com/tpu"]) == (hosts, limit)


def test_spot_nodes_are_chosen_only_when_asked_for(cloud, pretrain):
    _, _, pod, _ = _render(cloud, *pretrain, SPOT="yes")
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"


def test_apply_watch_and_delete_go_to_kubectl(cloud, pretrain):
    for command in [["apply", *pretrain], ["watch"], ["logs"], ["delete"]]:
        cloud.launch("gke/gke.sh", *command, **SETTINGS)
    apply, watch, logs, delete = cloud.calls("kubectl")
    assert apply == ["apply", "--filename=-"]
    assert watch[1:3] == ["get", "pods"] and logs[1] == "logs"
    assert delete == ["--namespace=default", "delete", "jobset", "run-1"]


def test_the_image_is_built_from_the_commit_and_pushed(cloud):
    assert cloud.commit in cloud.launch("gke/gke.sh", "build", **SETTINGS)
    build, push = cloud.calls("docker")
    assert build[0] == "build" and "--tag=registry/image:1" in build and build[-1] == "-"
    assert push == ["push", "registry/image:1"]


def test_xpk_gets_the_same_run(cloud, pretrain):
    settings = SETTINGS | {"ACCELERATOR": "v5litepod-64", "CLUSTER": "cluster"}
    cloud.launch("gke/gke.sh", "xpk", *pretrain, "two words", **settings)
    (call,) = cloud.calls("xpk")
    assert call[:2] == ["workload", "create"] and call[-1].endswith("/run 'two words'")
    assert {"--max-restarts=50", "--restart-on-exit-codes=1", "--tpu-type=v5litepod-64"} < set(call)


@pytest.mark.parametrize("command", ["build", "apply", "watch", "delete", "xpk"])
def test_a_dry_run_calls_nothing(cloud, pretrain, command):
    args = pretrain if command in ("apply", "xpk") else []
    output = cloud.launch("gke/gke.sh", "--dry-run", command, *args, CLUSTER="c", **SETTINGS)
    assert "\n+ " in f"\n{output}" and not (cloud.folder / "calls.jsonl").exists()


def test_all_wrong_settings_are_named_at_once(cloud):
    settings = {"NAME": None, "IMAGE": None, "BUCKET": None, "ACCELERATOR": "h100", "TOPOLOGY": "64"}
    output = cloud.launch("gke/gke.sh", "apply", "pretrain", **settings, code=2)
    for name in [*settings, "--workdir"]:
        assert f"  {name} is" in output
    assert "must divide" in cloud.launch("gke/gke.sh", "render", **SETTINGS, CHIPS="3", code=2)
