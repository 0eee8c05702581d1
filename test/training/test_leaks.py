"""--augment ada: what the discriminator sees transformed, the generator does not paint so."""
import re

from conftest import command


def test_no_turn_mirror_red_or_dark_shows_in_what_is_generated(tmp_path):
    """At p 0.4, of a set without any of them (bench/leaks.py). At 0.6, where 72 % of real pictures
    are turned, chance decides in so short a run which way is up: docs/training.md."""
    _, said, _ = command("bench/leaks.py", "out", "--augment_p", "0.4", "--kimg", 24, "--images",
                         300, cwd=tmp_path)
    rows = {name: [float(share) for share in re.findall(r"([\d.]+)%", line)]
            for line in said.splitlines() for name in ("real  ", "transformed", "generated")
            if name in line}
    assert max(rows["real  "]) < 3 and min(rows["transformed"]) > 10
    assert len(rows["generated"]) == 4 and max(rows["generated"]) < 5
