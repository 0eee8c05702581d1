"""The READMEs: both languages say the same, and what they name is there."""
import glob
import os
import re

import pytest
from conftest import ROOT

PAGES = sorted(os.path.relpath(path, ROOT) for pattern in ("*.md", "docs/**/*.md", "bench/*.md")
               for path in glob.glob(os.path.join(ROOT, pattern), recursive=True))


def text_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


def commands(page):
    """Lines of code blocks without their comments, and what stands in `back quotes`."""
    text = text_of(page)
    lines = [line.split("#")[0].strip() for line in re.findall(r"^    (.+)", text, re.M)]
    return lines + sorted(set(re.findall(r"`([^`]+)`", text)))


def links(page):
    return re.findall(r"\]\(([^)]+)\)", text_of(page))


def test_both_languages_have_the_same_commands_pictures_and_links():
    english, chinese = "README.md", "README.zh.md"
    assert commands(english) == commands(chinese)
    other = {"README.md": chinese}
    assert sorted(links(english)) == sorted(other.get(link, link) for link in links(chinese))
    assert text_of(english).count("\n## ") == text_of(chinese).count("\n## ")


def test_the_front_page_is_short():
    assert len(text_of("README.md").splitlines()) <= 150


def headings(page):
    """As a page is linked to: What it is → what-it-is."""
    found = re.findall(r"^#+ (.+)$", text_of(page), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        assert os.path.exists(os.path.join(ROOT, target)), link
        assert not heading or heading in headings(target), link


@pytest.mark.parametrize("page", PAGES)
def test_every_script_that_is_named_is_there(page):
    for script in re.findall(r"python3? ([\w/]+\.py)", text_of(page)):
        assert os.path.exists(os.path.join(ROOT, script)), script
