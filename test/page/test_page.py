"""The page in a browser: what hands and keys do there, in both languages and on a telephone;
painted by explore.py and, exported, by the browser itself."""
import contextlib
import functools
import http.server
import re
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
from conftest import command
from explored import DEMO, explored, two_directions
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def painted_here(chromium, tmp_path_factory):
    with explored(tmp_path_factory.mktemp("explored")) as (port, _):
        yield port


@pytest.fixture(scope="module")
def exported(chromium, tmp_path_factory):
    """The port of a plain web server of an exported page."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("exported")
    npm = shutil.which("npm")
    if npm is None or subprocess.run([npm, "pack", "onnxruntime-web@1.30.0"], cwd=folder,
                                     capture_output=True).returncode:
        pytest.skip("no npm package onnxruntime-web")
    _, said, _ = command("explore.py", DEMO, "--directions", two_directions(folder), "--export",
                         "p", "--runtime", "onnxruntime-web-1.30.0.tgz", cwd=folder)
    assert "http.server" in said
    handler = functools.partial(Quiet, directory=str(folder / "p"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(params=["painted_here", "exported"])
def port(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def page(chromium, port):
    with opened(chromium, port) as page:
        yield page


@contextlib.contextmanager
def opened(chromium, port):
    """A page that has painted its first picture; it may not ask anyone else, nor fail."""
    context = chromium.new_context(locale="en-US", accept_downloads=True)
    page = context.new_page()
    elsewhere, wrong = [], []
    page.on("request", lambda request: elsewhere.append(request.url) if not re.match(
        rf"(http://localhost:{port}/|blob:|data:)", request.url) else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_default_timeout(60_000)
    page.goto(f"http://localhost:{port}/")
    painted(page)
    yield page
    assert not elsewhere and not wrong
    context.close()


def wait(page, condition, seconds=60):
    """Until a JavaScript expression is true. Playwright's own wait evaluates strings in the page,
    which that forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, page.evaluate("location.hash"))
        page.wait_for_timeout(30)


def painted(page, address=None):
    """Wait until the large picture is of the address in the browser (and that is `address`)."""
    if address is not None:
        wait(page, f"location.hash.slice(1) === {address!r}")
    wait(page, "document.getElementById('picture').dataset.shows === location.hash.slice(1) && "
         "document.getElementById('picture').complete")


def shown(page):
    return page.evaluate("location.hash.slice(1)")


def slide(page, name, value):
    page.locator(name).evaluate("""(input, value) => {
        input.value = value;
        input.dispatchEvent(new Event("input", {bubbles: true}));
        input.dispatchEvent(new Event("change", {bubbles: true}));
    }""", str(value))


def test_a_picture_of_the_wall_is_seen_when_it_is_clicked(page):
    page.locator("#wall .show").nth(5).click()
    painted(page, "seed=5&psi=0.7&noise=const")
    page.locator("#later").click()
    page.locator("#wall .show").first.focus()
    page.keyboard.press("Enter")
    painted(page, "seed=24&psi=0.7&noise=const")


def test_one_is_mixed_into_another_by_dragging_keyboard_and_button(page):
    page.locator("#wall .show").nth(3).drag_to(page.locator("#picture"))
    painted(page, "seed=0&psi=0.7&noise=const&mix=3:0-2")
    page.locator("#level").select_option("fine")
    page.locator("#wall .show").nth(4).focus()
    page.keyboard.press("m")
    painted(page, "seed=0&psi=0.7&noise=const&mix=3:0-2,4:6-7")
    page.locator("#first").fill("1")
    page.locator("#last").fill("2")
    page.locator("#wall li").nth(6).get_by_role("button", name="mix").click()
    painted(page, "seed=0&psi=0.7&noise=const&mix=3:0-2,4:6-7,6:1-2")
    page.locator("#wall .show").nth(8).drag_to(page.locator("#wall .show").nth(2))
    painted(page, "seed=2&psi=0.7&noise=const&mix=8:1-2")
    page.locator("#undo").click()
    page.locator("#mixes button").first.click()
    painted(page, "seed=0&psi=0.7&noise=const&mix=4:6-7,6:1-2")


def test_sliders_steer_and_steps_are_undone(page):
    slide(page, "#psi", 0.3)
    painted(page, "seed=0&psi=0.3&noise=const")
    slide(page, "input[name=warm]", 2)
    painted(page, "seed=0&psi=0.3&noise=const&go=warm:2")
    page.locator("#noise").select_option("none")
    painted(page, "seed=0&psi=0.3&noise=none&go=warm:2")
    page.keyboard.press("Escape")
    page.locator("#undo").click()
    page.locator("#undo").click()
    painted(page, "seed=0&psi=0.3&noise=const")
    page.locator("#redo").click()
    painted(page, "seed=0&psi=0.3&noise=const&go=warm:2")
    page.locator("#plain").click()
    painted(page, "seed=0&psi=0.7&noise=const")


def test_while_a_slider_moves_the_last_value_is_what_is_painted(page):
    page.locator("input[name=warm]").evaluate("""input => {
        for (let i = 1; i <= 40; i++) {
            input.value = i / 10;
            input.dispatchEvent(new Event("input", {bubbles: true}));
        }
        input.dispatchEvent(new Event("change", {bubbles: true}));
    }""")
    painted(page, "seed=0&psi=0.7&noise=const&go=warm:4")
    page.locator("#undo").click()
    painted(page, "seed=0&psi=0.7&noise=const")


def test_an_address_shows_the_same_to_whoever_opens_it(page, port):
    address = "seed=7&psi=0.5&noise=none&mix=9:3-5&go=round:-1.5"
    page.goto(f"http://localhost:{port}/#{address}")
    page.reload()
    painted(page, address)
    assert page.locator("input[name=round]").input_value() == "-1.5"
    assert page.locator("#mixes").inner_text().startswith("layers 3-5 of 9")
    page.goto(f"http://localhost:{port}/#seed=<b>&psi=9&mix=x:y,1:99&go=no:1&noise=%22")
    page.reload()
    painted(page)
    assert shown(page) == "seed=0&psi=1.5&noise=const"


def test_an_address_given_just_after_a_move_is_not_lost(page):
    page.locator("input[name=warm]").evaluate("""input => {
        input.value = 2;
        input.dispatchEvent(new Event("input", {bubbles: true}));
        setTimeout(() => { location.hash = "seed=3&psi=0.2&noise=none"; }, 1);
        const end = Date.now() + 400;           // until what the page does at rest is due as well
        while (Date.now() < end);
    }""")
    painted(page, "seed=3&psi=0.2&noise=none")


def test_what_is_seen_is_downloaded(page, tmp_path):
    page.locator("#wall .show").nth(2).click()
    painted(page, "seed=2&psi=0.7&noise=const")
    for link, ending in ("#png", "png"), ("#npz", "npz"):
        with page.expect_download() as download:
            page.locator(link).click()
        download.value.save_as(tmp_path / f"x.{ending}")
    assert Image.open(tmp_path / "x.png").size == (32, 32)
    with np.load(tmp_path / "x.npz") as file:
        assert file["w"].shape == (1, 8, 64)


def test_kept_pictures_come_back_and_are_walked_through(page):
    for seed in 1, 2:
        page.locator("#wall .show").nth(seed).click()
        painted(page)
        page.locator("#keep").click()
    page.locator("#frames").fill("3")
    page.locator("#walk").click()
    wait(page, "(film => film && (film.naturalWidth || film.videoWidth) === 32)"
         "(document.querySelector('#film img, #film video'))")
    page.locator("#shelf .show").first.click()
    painted(page, "seed=1&psi=0.7&noise=const")
    page.locator("#shelf").get_by_role("button", name="remove").first.click()
    assert page.locator("#shelf li").count() == 1 and page.locator("#walk").is_disabled()


def test_a_picture_is_projected_before_ones_eyes(page, tmp_path, request):
    if "exported" in request.node.name:
        assert page.locator("#projecting").is_hidden()
        return
    picture = np.full((40, 60, 3), 200, "uint8")
    picture[10:30, 20:40] = 60, 30, 160
    Image.fromarray(picture).save(tmp_path / "mine.png")
    page.locator("#upload").set_input_files(tmp_path / "mine.png")
    wait(page, "location.hash.startsWith('#seed=p')")
    page.wait_for_selector("#progress", state="visible")
    page.wait_for_selector("#progress", state="hidden", timeout=300_000)
    assert "dB" in page.locator("#nearness").inner_text()
    (tmp_path / "no.png").write_text("no picture")
    page.locator("#upload").set_input_files(tmp_path / "no.png")
    wait(page, "document.getElementById('message').innerText.includes('not a picture')")


def test_it_speaks_chinese_and_english(page, chromium, port):
    assert page.locator("#walk").inner_text() == "Walk through the shelf"
    page.locator("#language").click()
    assert page.locator("#walk").inner_text() == "漫游收藏架"
    assert page.locator("html").get_attribute("lang") == "zh"
    left = page.evaluate("""() => [...document.querySelectorAll("[data-text]")]
        .filter(one => !one.textContent).length""")
    assert left == 0
    context = chromium.new_context(locale="zh-CN")
    other = context.new_page()
    other.goto(f"http://localhost:{port}/")
    wait(other, "document.getElementById('keep').textContent === '收藏'")
    context.close()


def test_both_languages_say_the_same_things(page):
    keys = page.evaluate("""async () => {
        const { TEXTS } = await import("./texts.js");
        return Object.values(TEXTS).map(one => Object.keys(one).sort());
    }""")
    assert keys[0] == keys[1]


def test_it_fits_a_telephone(page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#wall li").nth(1).get_by_role("button", name="mix").click()
    painted(page, "seed=0&psi=0.7&noise=const&mix=1:0-2")


def test_a_large_picture_comes_in_full_when_the_slider_rests(chromium, painted_here):
    """As a network of 512 would be shown by a painter that takes a third of a second."""
    page, sides = chromium.new_page(locale="en-US"), []

    def large(route):
        route.fulfill(json=route.fetch().json() | {"size": 512})

    def slow(route):
        time.sleep(0.3)
        route.continue_()

    page.route("**/about", large)
    page.route("**/small*place=stage*", slow)
    page.on("request", lambda request: sides.extend(
        re.findall(r"side=(\d+).*place=stage", request.url)))
    page.goto(f"http://localhost:{painted_here}/")
    end = time.monotonic() + 60
    while "512" not in sides and time.monotonic() < end:
        page.wait_for_timeout(100)
    assert sides[0] == "256" and sides[-1] == "512"
    page.close()


@pytest.mark.parametrize("address", [
    "seed=7&psi=0.7&noise=const", "seed=4294967295&psi=-0.5&noise=none",
    "seed=3&psi=1&noise=const&mix=9:3-5,12:0&go=warm:-2.5,round:3"])
def test_both_painters_paint_the_same(chromium, painted_here, exported, address, tmp_path):
    found = []
    for port in painted_here, exported:
        with opened(chromium, port) as page:
            page.goto(f"http://localhost:{port}/#{address}")
            painted(page, address)
            for kind in "png", "npz":
                with page.expect_download() as download:
                    page.locator(f"#{kind}").click()
                download.value.save_as(tmp_path / f"x.{kind}")
        with np.load(tmp_path / "x.npz") as file:
            found.append((np.asarray(Image.open(tmp_path / "x.png").convert("RGB")), file["w"]))
    (here, w_here), (there, w_there) = found
    assert np.abs(w_here - w_there).max() < 1e-4
    assert np.abs(here.astype(int) - there).max() <= 1 and here.std() > 10
    command("generate.py", DEMO, "--w", "x.npz", "--out", "again", cwd=tmp_path)


def test_it_says_so_when_the_painter_is_gone(chromium, tmp_path):
    with explored(tmp_path) as (port, _):
        page = chromium.new_page(locale="en-US")
        page.goto(f"http://localhost:{port}/")
        painted(page)
    page.locator("#other").click()
    wait(page, "document.getElementById('message').innerText.includes('explore.py')")
    page.close()
