"""Where things are: rooms that only know those below them, and few files at the door."""
import ast
import glob
import os

import pytest
from conftest import ROOT

# From the bottom up; a room may ask those before it, and its own.
ROOMS = ("backend", "networks", "door", "weights", "pictures", "page", "measures",
         "training", "commands")
DOOR = {"dataset", "cli"}
# python -m backend is a command that lives there; model.py is for who writes their own.
COMMANDS = {"resize", "symbols", "train", "generate", "project", "convert", "metrics", "plot",
            "avatars", "attributes", "directions", "explore",
            "backend.__main__", "model"}


def modules():
    """{"weights.snapshot": its file} of all but tests and benchmarks."""
    paths = glob.glob(os.path.join(ROOT, "*.py")) + [
        path for room in ROOMS for path in glob.glob(os.path.join(ROOT, room, "*.py"))]
    return {os.path.relpath(path, ROOT)[:-3].replace(os.sep, ".").removesuffix(".__init__"): path
            for path in paths}


def room_of(name):
    top = name.partition(".")[0]
    return "commands" if name in COMMANDS else "door" if top in DOOR else top


def imported(path, known):
    """Names of ours that a file imports, wherever in it."""
    with open(path) as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module


def test_every_room_asks_only_those_below_it():
    known, wrong = modules(), []
    for name, path in known.items():
        for other in set(imported(path, known)) & known.keys():
            own, theirs = map(ROOMS.index, map(room_of, (name, other)))
            if theirs > own or (room_of(name) == room_of(other) == "commands"):
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_there_is_no_circle_of_imports():
    known = modules()
    below = {name: set(imported(path, known)) & known.keys() - {name, "backend"}
             for name, path in known.items()}
    below["backend"] = set()        # brings itself up when jt is first asked for
    while below:
        done = {name for name, others in below.items() if not others & below.keys()}
        assert done, f"a circle among {sorted(below)}"
        below = {name: others for name, others in below.items() if name not in done}


def test_few_files_stand_at_the_door():
    assert {room_of(name) for name in modules() if "." not in name} <= set(ROOMS)
    assert len(glob.glob(os.path.join(ROOT, "*.py"))) <= 15


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for(room):
    path = os.path.join(ROOT, room, "__init__.py")
    if room not in ("door", "commands"):
        with open(path) as file:
            assert ast.get_docstring(ast.parse(file.read()))
