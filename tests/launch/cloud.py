"""Simulated cloud in a folder: replaces gcloud, and records the arguments of kubectl, docker and xpk.

`plan.json` defines what happens to each slice that is created. The hosts are folders, in which bash executes
the command lines that arrive through ssh. This file is copied into the folder of the cloud.
"""

import contextlib
import json
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
ABSENT = {"lives": 0, "states": ["ABSENT"], "queries": 0}


def main(name, *args):
    with open(f"{FOLDER}/calls.jsonl", "a") as file:
        file.write(json.dumps([name, *args]) + "\n")
    return gcloud(*args) if name == "gcloud" else 0


def read(name, default):
    path = f"{FOLDER}/{name}.json"
    if not os.path.exists(path):
        return default
    with open(path) as file:
        return json.load(file)


def write_now(now):
    with open(f"{FOLDER}/now.json", "w") as file:
        json.dump(now, file)


def gcloud(*args):
    now = read("now", ABSENT)
    if args[2] == "tpu-vm":
        return tpu_vm(now, *args[3:])
    return queued_resources(now, *args[3:])


def queued_resources(now, verb, *args):
    state = now["states"][0]
    if verb == "create":
        life = read("plan", None)[now["lives"]]
        if "refused" in life:
            print(life["refused"], file=sys.stderr)
            return 1
        states = life.get("states", ["ACTIVE"])
        now = {"lives": now["lives"] + 1, "life": life, "states": states, "queries": 0, "starts": 0}
        now["created_by"] = "".join(arg[20:] for arg in args if arg.startswith("--labels=created_by="))
        write_now(now)
        for host in hosts():
            os.makedirs(host)
    elif verb == "delete":
        clear_hosts()
        now["states"] = ["ABSENT"]
    elif state in ("ABSENT", "NO NETWORK"):
        print("ERROR: NOT_FOUND: no such" if state == "ABSENT" else "ERROR: TransportError", file=sys.stderr)
        now["states"] = now["states"][1:] or [state]
        write_now(now)
        return 1
    else:
        print(state, now["created_by"] if "created_by" in args[-1] else "", sep="\t")
        now["states"] = now["states"][1:] or [state]
    write_now(now)
    return 0


def hosts():
    """Return two folders, which differ between slices."""
    return [f"{FOLDER}/hosts/{read('now', ABSENT)['lives']}-{number}" for number in range(2)]


def clear_hosts():
    import shutil
    import signal

    for host in hosts():
        try:
            with open(f"{host}/barlow_jax/run/pid") as file:
                os.killpg(os.getpgid(int(file.read())), signal.SIGKILL)
        except (OSError, ValueError):
            pass
        shutil.rmtree(host, ignore_errors=True)


def plan_run(now):
    """Write to each host what its next run does; the last run of the plan repeats."""
    runs = now["life"]["runs"]
    run = runs[min(now["starts"], len(runs)) - 1]
    for number, host in enumerate(hosts()):
        host_run = run[number] if isinstance(run, list) else run
        with open(f"{host}/plan", "w") as file:
            file.write(
                f"code={host_run['code']}\ncheckpoint={host_run.get('checkpoint', 0)}\n"
                f"after={host_run.get('after', '')}\n"
            )


def hang_up(group):
    """Send SIGHUP to the processes of an ended connection."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 1)


def tpu_vm(now, verb, *args):
    flags = dict(arg.split("=", 1) for arg in args if arg.startswith("--") and "=" in arg)
    command = flags.get("--command", "")
    unreachable = now["states"] != ["ACTIVE"]
    if command.endswith("host.sh status"):
        now["queries"] += 1
        if now["queries"] == now["life"].get("preempted_at_query"):
            clear_hosts()
            now["states"] = ["SUSPENDING", "SUSPENDED"]
            unreachable = True
        unreachable = unreachable or now["queries"] in now["life"].get("unreachable_at_queries", [])
        write_now(now)
    if "host.sh start" in command:
        now["starts"] += 1
        write_now(now)
        plan_run(now)
    if unreachable:
        print("ERROR: cannot connect", file=sys.stderr)
        return 255
    chosen = hosts() if flags["--worker"] == "all" else [hosts()[int(flags["--worker"])]]
    import shutil  # not at the top: most calls are queries, whose time is the start of Python
    import subprocess

    if verb == "scp":
        for host in chosen:
            shutil.copy(args[0], f"{host}/{args[1].partition(':')[2]}")
        return 0
    processes = []
    for host in chosen:
        path = f"{host}/bin:{FOLDER}/host_bin:{os.environ['PATH']}"
        environment = {"HOME": host, "PATH": path, "CLOUD": FOLDER}
        processes.append(
            subprocess.Popen(["bash", "-c", command], cwd=host, env=environment, start_new_session=True)
        )
    codes = [process.wait() for process in processes]
    for process in processes:
        hang_up(process.pid)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
