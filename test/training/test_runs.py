"""runs.py: one writer, whole files, saving that survives a full disk."""
import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from weight_files import CONFIG, header, random_arrays

from backend.errors import UserError
from networks.config import ModelConfig
from training import estimate, runs
from weights import snapshot


def test_the_resume_file_before_is_kept_and_used_when_the_last_is_damaged(tmp_path, capsys):
    for n in (1, 2):
        runs.save_resume(str(tmp_path), "run", header(images_seen=n), {"a": np.ones(500)})
    assert runs.load_resume(str(tmp_path), "run")[0]["images_seen"] == 2
    path = tmp_path / "run_resume.model"
    path.write_bytes(path.read_bytes()[:100])
    assert runs.load_resume(str(tmp_path), "run")[0]["images_seen"] == 1
    said = capsys.readouterr().err
    assert "run_resume.model" in said and "going on from" in said and "1 images seen" in said
    assert runs.load_resume(str(tmp_path), "other") is None
    (tmp_path / "run_resume.1.model").write_bytes(b"")
    (tmp_path / "run_000000001.model").touch()
    with pytest.raises(UserError, match="cannot go on; .* --init .*run_000000001.model --name"):
        runs.load_resume(str(tmp_path), "run")


def test_generator_files_of_a_run_are_those_of_its_name(tmp_path):
    for name in ("a_000001000.model", "a_000020000.model", "a_b_000001000.model", "a_resume.model"):
        (tmp_path / name).touch()
    found = [os.path.basename(p) for p in runs.model_files(str(tmp_path), "a")]
    assert found == ["a_000001000.model", "a_000020000.model"]


def test_there_is_a_resume_file_at_every_moment_of_saving(tmp_path, monkeypatch):
    folder = str(tmp_path)
    runs.save_resume(folder, "run", header(images_seen=1), {"a": np.ones(5)})
    seen = []

    def look(change):
        def looking(*arguments, **keywords):
            seen.append(os.path.exists(runs.resume_path(folder, "run")))
            change(*arguments, **keywords)
            seen.append(os.path.exists(runs.resume_path(folder, "run")))
        return looking

    for name in ("replace", "remove", "link", "fsync"):
        monkeypatch.setattr(os, name, look(getattr(os, name)))
    for n in (2, 3):
        runs.save_resume(folder, "run", header(images_seen=n), {"a": np.ones(5)})
    assert len(seen) >= 16 and all(seen)
    assert snapshot.load(runs.previous_path(folder, "run"))[0]["images_seen"] == 2


def test_file_systems_without_links_keep_both_files(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    for n in (1, 2, 3):
        runs.save_resume(str(tmp_path), "run", header(images_seen=n), {"a": np.ones(5)})
    assert snapshot.load(runs.resume_path(str(tmp_path), "run"))[0]["images_seen"] == 3
    assert snapshot.load(runs.previous_path(str(tmp_path), "run"))[0]["images_seen"] == 2


def test_leftovers_of_this_run_are_removed_and_nothing_else(tmp_path):
    stay = [".other_resume.model.new.12.tmp", "run_000000080.model", "run_resume.model",
            ".run_b_000000080.model.77.tmp", "run_b_resume.model.new", "notes.new", ".run.lock"]
    go = [".run_resume.model.new.12.tmp", ".run_000000080.model.77.tmp", "run_resume.model.new",
          "run_resume.1.model.new", ".run_000000080_ema0.5.model.77.tmp"]
    for name in stay + go:
        (tmp_path / name).touch()
    runs.remove_leftovers(str(tmp_path), "run")
    assert sorted(os.listdir(tmp_path)) == sorted(stay)


def test_the_second_writer_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    code = ("import sys, time, subprocess\nfrom training import runs\n"
            "held = runs.lock(sys.argv[1], 'run')\n"
            "subprocess.Popen(['sleep', '30'], close_fds=False)\n"      # an orphan to be
            "print('held', flush=True); time.sleep(60)")
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"written by process {first.pid} on "):
            runs.lock(str(tmp_path), "run")
        other = runs.lock(str(tmp_path), "other")
    finally:
        first.kill()
    first.wait()
    assert runs.lock(str(tmp_path), "run") and other


# Saving -------------------------------------------------------------------------------------------


def training(images_seen):
    arrays = random_arrays(CONFIG, ["ema"], images_seen)
    return SimpleNamespace(images_seen=images_seen, averages={10.0: None}, prefix=lambda _: "ema",
                           header=lambda: header(images_seen=images_seen),
                           state=lambda: (header(images_seen=images_seen), arrays))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.EDQUOT])
def test_a_save_that_fails_is_said_and_the_file_before_it_is_whole(tmp_path, monkeypatch, number):
    said = []
    saver = runs.Saver(str(tmp_path), "run", 10, said.append)
    assert saver.save(training(1000)) and not said
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def fsync(_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        assert not saver.save(training(2000))
        with pytest.raises(UserError, match="run_resume.model: make room, then type --resume"):
            saver.save_at_the_end(training(2000))
    assert len(said) == 2 and os.strerror(number) in said[0] and "training goes on" in said[0]
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    assert saver.save(training(2000)) and runs.load_resume(str(tmp_path), "run")[0][
        "images_seen"] == 2000


def test_a_folder_that_vanished_is_made_again(tmp_path):
    saver = runs.Saver(str(tmp_path / "checkpoint"), "run", 10, print)
    assert saver.save(training(1000))
    for name in os.listdir(tmp_path / "checkpoint"):
        os.remove(tmp_path / "checkpoint" / name)
    os.rmdir(tmp_path / "checkpoint")
    assert saver.save(training(2000))
    assert runs.newest(str(tmp_path / "checkpoint"), "run")


def test_space_is_looked_at_before_training(tmp_path, monkeypatch, capsys):
    config = ModelConfig()                              # 0.5 GB to resume from, 0.1 to generate
    for gib, expected in ((100, ""), (2, "will need about"), (0.5, None)):
        monkeypatch.setattr(runs.shutil, "disk_usage",
                            lambda _, gib=gib: SimpleNamespace(free=gib * 2 ** 30))
        settings = {"name": "run", "keep": 10, "kimg": 100.0, "save_kimg": 1.0,
                    "ema_kimg": [10.0]}
        if expected is None:
            with pytest.raises(UserError, match="0.50 GiB are free, one save of this run needs 1"):
                runs.check_space(str(tmp_path), settings, config)
        else:
            runs.check_space(str(tmp_path), settings, config)
            said = capsys.readouterr().err
            assert expected in said and bool(said) == bool(expected)


def test_estimated_sizes_are_those_of_the_files(tmp_path):
    import model
    config = ModelConfig(size=16, latent=32, fmap_max=32)
    count = [sum(p.numel() for _, p in network(config).named_parameters())
             for network in (model.StyledGenerator, model.Discriminator)]
    resume, generator = estimate.file_bytes(config)
    assert generator == 4 * count[0] and resume == 4 * (3 * count[0] + 2 * count[1])
    assert estimate.file_bytes(config, 3) == (resume + 2 * generator, 3 * generator)
