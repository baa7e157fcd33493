"""Files, lines and checksums in a bucket: what holds there without rename, append and lock."""

from functools import partial
import shutil
import time
import types

import pytest

from barlow_jax.errors import UserError
from barlow_jax.io import checksums, files, jsonl, paths
from barlow_jax.io.paths import Path


def _wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_one_object_and_a_folder_is_written_and_moved_whole(bucket):
    files.write_json(bucket / "deep" / "a.json", {"a": [1, None]})
    assert files.read_json(bucket / "deep" / "a.json") == {"a": [1, None]}
    with files.new_folder(bucket / "new") as draft:
        files.write_text(draft / "sub" / "text", "é")
        assert not (bucket / "new").exists()
    assert (bucket / "new" / "sub" / "text").read_text() == "é"
    with pytest.raises(FileExistsError), files.new_folder(bucket / "new"):
        pass
    paths.move_folder(bucket / "new", bucket / "moved" / "3")
    assert (bucket / "moved" / "3" / "sub" / "text").exists() and not (bucket / "new").exists()
    paths.remove_folder(bucket / "moved")
    assert _names(bucket) == ["deep"]
    assert [walked[1:] for walked in paths.walk(bucket)] == [(["deep"], []), ([], ["a.json"])]


def test_an_unreachable_bucket_and_a_refused_request_are_errors_of_a_disk(bucket, inject, impatient):
    inject(unreachable=True)
    with pytest.raises(OSError, match=r"Google Cloud Storage|Cannot connect|disconnected"):
        files.write_text(bucket / "a", "a")
    assert "cannot be reached" in paths.problem(str(bucket))
    inject()
    assert paths.problem(str(bucket)) is None
    assert "does not exist" in paths.problem("gs://other/run")
    with pytest.raises(FileNotFoundError):
        (bucket / "a").read_text()


def test_requests_that_fail_now_and_then_are_repeated(bucket, inject, impatient):
    inject(failing=0.2)
    for number in range(10):
        files.write_text(bucket / str(number), str(number))
    assert [(bucket / str(number)).read_text() for number in range(10)] == [str(n) for n in range(10)]


def test_appended_lines_are_read_while_the_file_is_open_and_merged_when_it_is_closed(bucket, monkeypatch):
    monkeypatch.setattr(jsonl, "_INTERVAL_S", 0.0)
    monkeypatch.setattr(jsonl, "_MAX_PARTS", 3)
    path, seen = bucket / "m.jsonl", [0]
    file = jsonl.open_append(path)

    def is_read(step):
        seen.append(len(jsonl.read(path)[0]))
        assert seen[-1] >= seen[-2]
        return seen[-1] > step

    for step in range(10):
        file.append(f'{{"step": {step}}}')
        _wait_for(partial(is_read, step))
    file.close()
    assert path.read_text() == "".join(f'{{"step": {step}}}\n' for step in range(10))
    assert _names(bucket) == ["m.jsonl"]


def test_lines_of_a_killed_process_are_kept_and_those_to_be_dropped_do_not_return(bucket, monkeypatch):
    path = bucket / "m.jsonl"
    killed = jsonl.open_append(path)
    killed._write(b'{"step": 1}\n')
    killed._write(b'{"step": 2}\n')
    assert [row["step"] for row in jsonl.read(path)[0]] == [1, 2]
    jsonl.open_append(path).close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n' and _names(bucket) == ["m.jsonl"]

    # A merge that is killed before it removes the parts, and a resumed run that drops their rows.
    monkeypatch.setattr(jsonl, "_remove_parts", lambda *_, **__: None)
    killed = jsonl.open_append(path)
    killed._write(b'{"step": 3}\n')
    killed._merge()
    monkeypatch.undo()
    assert [row["step"] for row in jsonl.read(path)[0]] == [1, 2, 3]
    assert [row["step"] for row in jsonl.reopen(path, lambda row: row["step"] <= 2)] == [1, 2]
    assert [row["step"] for row in jsonl.read(path)[0]] == [1, 2]
    for kept in (2, 0):  # a run that resumes at the text that was merged last, and one that starts again
        killed = jsonl.open_append(path)
        killed._write(b'{"step": 3}\n')
        rows = jsonl.reopen(path, lambda row, kept=kept: row["step"] <= kept)
        assert rows == jsonl.read(path)[0] and len(rows) == kept
    jsonl.remove(path)
    killed = jsonl.open_append(path)
    killed._write(b'{"step": 1}\n')
    assert jsonl.reopen(path, lambda row: False) == jsonl.read(path)[0] == []
    jsonl.remove(path)
    assert not path.exists() and jsonl.read(path) == ([], 0)


def test_lines_wait_for_a_bucket_that_cannot_be_reached(bucket, inject, impatient, monkeypatch, capsys):
    monkeypatch.setattr(jsonl, "_INTERVAL_S", 0.1)
    path = bucket / "m.jsonl"
    file = jsonl.open_append(path)
    inject(unreachable=True)
    file.append("1")
    file.append("2")
    _wait_for(lambda: file._failure)
    inject()
    file.append("3")
    file.close()
    assert path.read_text() == "1\n2\n3\n"
    logged = capsys.readouterr().err  # at the end: a message that is written meanwhile could be lost
    assert "cannot be written" in logged and "can be written again" in logged


def test_checksums_are_those_that_the_bucket_keeps_and_hold_on_a_disk(bucket, count_requests, tmp_path):
    folder = bucket / "step"
    for name in ("a", "b/c"):
        files.write_bytes(folder / name, name.encode() * 1000)
    before = count_requests()
    checksums.write(folder, exclude=("none",))
    assert checksums.verify(folder) == []
    assert count_requests() - before <= 8, "no file is read"
    shutil.copytree(paths.on_disk(str(folder)), tmp_path / "copy")
    assert checksums.verify(tmp_path / "copy") == []
    (tmp_path / "copy" / "a").write_bytes(b"b" * 1000)
    files.write_bytes(folder / "a", b"b" * 1000)
    for place in (folder, tmp_path / "copy"):
        assert checksums.verify(place) == ["a has another CRC32C than when it was written"]
    files.write_bytes(folder / "a", b"b")
    (folder / "b" / "c").unlink()
    assert checksums.verify(folder) == ["a has 1 bytes instead of 1000", "b/c is missing"]
    # A checkpoint of a disk, copied to a bucket.
    checksums.write(tmp_path / "copy")
    folder.fs.put(str(tmp_path / "copy"), (bucket / "back").path, recursive=True)
    assert checksums.verify(bucket / "back") == []


def test_a_copy_on_disk_follows_the_bucket(bucket, count_requests, monkeypatch):
    def copy():
        paths.on_disk.cache_clear()
        return Path(paths.on_disk(str(bucket / "images")))

    with pytest.raises(FileNotFoundError):
        copy()
    for name in ("a.png", "deep/b.png"):
        files.write_text(bucket / "images" / name, name)
    here = copy()
    assert [(here / name).read_text() for name in ("a.png", "deep/b.png")] == ["a.png", "deep/b.png"]
    before = count_requests()
    copy()
    assert count_requests() - before <= 2, "nothing is copied again"
    files.write_text(bucket / "images" / "a.png", "A.png")  # of the same size
    (bucket / "images" / "deep" / "b.png").unlink()
    copy()
    assert (here / "a.png").read_text() == "A.png" and not (here / "deep" / "b.png").exists()
    files.write_text(bucket / "images" / "c.png", "c")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=0))
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        copy()
    assert paths.on_disk("/a/path") == "/a/path"


def test_an_object_whose_name_leads_out_of_its_folder_is_refused(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket.fs, "find", lambda path, **_: {f"{path}/../../evil": {"size": 0}})
    with pytest.raises(UserError, match="rename"):
        paths.on_disk(str(bucket / "images"))
    assert not list(tmp_path.rglob("evil"))
