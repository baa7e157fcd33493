"""A cloud in a folder: stands in for gcloud, and notes the arguments of kubectl, docker and xpk.

`plan.json` says what is to happen to each slice that is created; the hosts are folders, in which the
command lines that come through ssh are really run by bash. The file is copied to where the cloud is.
"""

import contextlib
import json
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
ABSENT = {"lives": 0, "states": ["ABSENT"], "looks": 0}


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
    return queued_resources(now, args[3])


def queued_resources(now, verb):
    state = now["states"][0]
    if verb == "create":
        life = read("plan", None)[now["lives"]]
        if "refused" in life:
            print(life["refused"], file=sys.stderr)
            return 1
        states = life.get("states", ["ACTIVE"])
        now = {"lives": now["lives"] + 1, "life": life, "states": states, "looks": 0, "starts": 0}
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
        print(state)
        now["states"] = now["states"][1:] or [state]
    write_now(now)
    return 0


def hosts():
    """Two folders, other ones for each slice."""
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
    """What the program is to do on each host: the last run of the plan goes for all that follow."""
    runs = now["life"]["runs"]
    run = runs[min(now["starts"], len(runs)) - 1]
    for number, host in enumerate(hosts()):
        one = run[number] if isinstance(run, list) else run
        with open(f"{host}/plan", "w") as file:
            file.write(
                f"code={one['code']}\ncheckpoint={one.get('checkpoint', 0)}\nafter={one.get('after', '')}\n"
            )


def hang_up(group):
    """What the end of a connection does to the processes that it left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 1)


def tpu_vm(now, verb, *args):
    flags = dict(arg.split("=", 1) for arg in args if arg.startswith("--") and "=" in arg)
    command = flags.get("--command", "")
    deaf = now["states"] != ["ACTIVE"]
    if command.endswith("host.sh status"):
        now["looks"] += 1
        if now["looks"] == now["life"].get("preempted_at_look"):
            clear_hosts()
            now["states"] = ["SUSPENDING", "SUSPENDED"]
            deaf = True
        deaf = deaf or now["looks"] in now["life"].get("deaf_at_looks", [])
        write_now(now)
    if "host.sh start" in command:
        now["starts"] += 1
        write_now(now)
        plan_run(now)
    if deaf:
        print("ERROR: cannot connect", file=sys.stderr)
        return 255
    chosen = hosts() if flags["--worker"] == "all" else [hosts()[int(flags["--worker"])]]
    import shutil  # only here: most calls are looks at the state, and a start of Python is what they cost
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
