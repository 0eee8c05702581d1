"""The short form of `make torture`."""
import os
import re
import subprocess
import sys

from conftest import ROOT


def test_nothing_is_lost_when_training_is_killed_filled_damaged_and_poisoned():
    result = subprocess.run([sys.executable, os.path.join(ROOT, "test/torture/torture.py"),
                             "--short"], capture_output=True, text=True, timeout=1200)
    rows = re.findall(r"^\| (.+?) +\| (\d+) \| (\d+) \| (\d+) \|$", result.stdout, re.M)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert len(rows) >= 9 and all(tried == survived and lost == "0" and int(tried) > 0
                                  for _, tried, survived, lost in rows)
