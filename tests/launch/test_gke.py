"""gke.sh: the parsed manifest, and the arguments of kubectl, docker and xpk."""

import pytest
import yaml

PRETRAIN = ["pretrain", "--config", "configs/x.py", "--workdir", "gs://bucket/run"]
SETTINGS = {"IMAGE": "registry/image:1", "ACCELERATOR": "v5litepod", "TOPOLOGY": "8x8", "NAME": "run-1"}


def _render(cloud, *args, **settings):
    jobset = yaml.safe_load(cloud.launch("gke/gke.sh", "render", *args, **SETTINGS | settings))
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    return jobset, job, pod, pod["containers"][0]


def test_the_manifest_has_one_pod_per_host(cloud):
    jobset, job, pod, container = _render(cloud, *PRETRAIN)
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["metadata"]["name"] == "run-1" and jobset["metadata"]["namespace"] == "default"
    assert job["completions"] == job["parallelism"] == 16
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "8x8",
    }
    cache = "--config.train.compilation_cache=gs://bucket/compiled"  # which restarted pods find
    assert container["image"] == "registry/image:1"
    assert container["args"] == ["pretrain", cache, *PRETRAIN[1:]]
    assert "volumes" not in pod and "volumeMounts" not in container and "metadata" not in job["template"]


def test_a_bucket_is_mounted_in_every_pod_only_when_asked_for(cloud):
    workdir = f"--workdir={cloud.mount}/run"
    _, job, pod, container = _render(cloud, "pretrain", workdir, **cloud.mounted)
    assert container["volumeMounts"] == [{"name": "bucket", "mountPath": str(cloud.mount)}]
    assert job["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    (volume,) = pod["volumes"]
    assert volume["name"] == "bucket" and volume["csi"]["driver"] == "gcsfuse.csi.storage.gke.io"
    assert volume["csi"]["volumeAttributes"]["bucketName"] == "bucket"
    assert container["args"][1] == f"--config.train.compilation_cache={cloud.mount}/compiled"


def test_an_invalid_config_fails_the_run_and_other_failures_restart_it(cloud):
    jobset, job, pod, container = _render(cloud, *PRETRAIN, MAX_RESTARTS="7")
    rule = job["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert jobset["spec"]["failurePolicy"] == {
        "maxRestarts": 7,
        "rules": [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
    }
    assert job["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"


def test_arguments_reach_the_pod_unchanged(cloud):
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
    *_, container = _render(cloud, *PRETRAIN, *words)
    # Kubernetes reads $$ as $.
    assert [word.replace("$$", "$") for word in container["args"][2:]] == PRETRAIN[1:] + words
    assert "$$(HOME)" in container["args"][-4]


@pytest.mark.parametrize(
    ("topology", "chips", "hosts", "limit"),
    [("1x1", "", 1, 1), ("2x2", "", 1, 4), ("2x4", "", 2, 4), ("2x4", "8", 1, 8), ("4x4x8", "", 32, 4)],
)
def test_hosts_come_from_the_topology(cloud, topology, chips, hosts, limit):
    _, job, _, container = _render(cloud, *PRETRAIN, TOPOLOGY=topology, CHIPS=chips)
    assert (job["completions"], container["resources"]["limits"]["google.com/tpu"]) == (hosts, limit)


def test_spot_nodes_are_chosen_only_when_asked_for(cloud):
    _, _, pod, _ = _render(cloud, *PRETRAIN, SPOT="yes")
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"


def test_apply_watch_and_delete_go_to_kubectl(cloud):
    for command in [["apply", *PRETRAIN], ["watch"], ["logs"], ["delete"]]:
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


def test_xpk_gets_the_same_run(cloud):
    settings = SETTINGS | {"ACCELERATOR": "v5litepod-64", "CLUSTER": "cluster"}
    cloud.launch("gke/gke.sh", "xpk", *PRETRAIN, "two words", **settings)
    (call,) = cloud.calls("xpk")
    assert call[:2] == ["workload", "create"] and call[-1].endswith("/run 'two words'")
    assert {"--max-restarts=50", "--restart-on-exit-codes=1", "--tpu-type=v5litepod-64"} < set(call)


@pytest.mark.parametrize("command", ["build", "apply", "watch", "delete", "xpk"])
def test_a_dry_run_calls_nothing(cloud, command):
    args = PRETRAIN if command in ("apply", "xpk") else []
    output = cloud.launch("gke/gke.sh", "--dry-run", command, *args, CLUSTER="c", **SETTINGS)
    assert "\n+ " in f"\n{output}" and not (cloud.folder / "calls.jsonl").exists()


def test_all_wrong_settings_are_named_at_once(cloud):
    settings = {"NAME": None, "IMAGE": None, "MOUNT": "bucket", "ACCELERATOR": "h100", "TOPOLOGY": "64"}
    output = cloud.launch("gke/gke.sh", "apply", "pretrain", **settings, code=2)
    for name in [*settings, "BUCKET", "--workdir"]:
        assert f"  {name} is" in output
    assert "must divide" in cloud.launch("gke/gke.sh", "render", **SETTINGS, CHIPS="3", code=2)
