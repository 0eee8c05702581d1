"""The page's server: it paints what is asked, believes nobody, and one bad client stops nobody."""
import contextlib
import io
import json
import os
import socket
import threading
import time
import zlib

import numpy as np
import pytest
from conftest import ROOT, command
from explored import DEMO, ask, explored
from PIL import Image

from model import load
from page import server
from pictures.grid import to_pixels


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with explored(tmp_path_factory.mktemp("explored")) as (port, _):
        yield port


@pytest.fixture(scope="module")
def G():
    return load(DEMO)


def picture(body):
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(int)


def test_it_knows_the_network(port):
    status, _, body = ask(port, "/about")
    about = json.loads(body)
    assert status == 200 and about["size"] == 32
    assert [one["name"] for one in about["directions"]] == ["warm", "round"]
    assert about["levels"] == {"coarse": [0, 2], "middle": [3, 5], "fine": [6, 7]}


def test_pictures_and_styles_are_those_of_the_generator(port, G, tmp_path):
    view = "seed=3&mix=9:3-5&psi=0.5"
    w = G.mix(G.styles([3], 0.5), G.styles([9], 0.5), "middle")
    expected = np.asarray(G.pictures(w=w)[0]).astype(int)
    status, headers, body = ask(port, f"/png?{view}")
    assert status == 200 and headers["Content-Type"] == "image/png"
    assert np.abs(picture(body) - expected).max() <= 1
    made = json.loads(Image.open(io.BytesIO(body)).text["Comment"])
    assert made["explore"] == view and "demo.model" in made["checkpoint"]
    assert np.abs(picture(ask(port, f"/small?{view}&side=64")[2]) - expected).mean() < 8
    body = ask(port, f"/npz?{view}")[2]
    (tmp_path / "w.npz").write_bytes(body)
    with np.load(tmp_path / "w.npz") as file:
        assert np.allclose(file["w"], w, atol=1e-5)
    command("generate.py", DEMO, "--w", "w.npz", "--out", "again", cwd=tmp_path)
    again = np.asarray(Image.open(next((tmp_path / "again").glob("*.png"))))
    assert np.abs(again.astype(int) - expected).max() <= 1


def test_classes_and_noise_of_stylegan2_too(tmp_path):
    path = os.path.join(ROOT, "test/golden/sg2_r16c.pkl")
    G, data = load(path), io.BytesIO()
    with explored(tmp_path, model=path) as (port, _):
        about = json.loads(ask(port, "/about")[2])
        assert about["labels"] == 4 and "pca1" in [one["name"] for one in about["directions"]]
        for label in 0, 2:
            for noise in "const", "none", "random":
                expected = G.arrays_of(w=G.styles([5], label=label),
                                       noise=G.painter.noise_of(5, noise))
                found = picture(ask(port, f"/png?seed=5&label={label}&noise={noise}")[2])
                assert np.abs(found - to_pixels(expected)[0]).max() <= 1
        G.pictures([1], label=0)[0].save(data, "PNG")
        assert ask(port, "/project?label=3", "POST", data.getvalue())[0] == 200
        assert ask(port, "/project?label=4", "POST", data.getvalue())[0] == 400


def test_the_newest_counts_and_all_are_answered(port):
    """Many at once from one slider: each gets a picture or hears that a newer one was asked for."""
    found = []
    film = threading.Thread(target=ask, args=(port, "/film", "POST", "100\nseed=1\nseed=2"))

    def slide(i):
        found.append(ask(port, f"/small?seed=1&go=warm:{i / 10}&client=me&place=stage"))
    threads = [film] + [threading.Thread(target=slide, args=(i,)) for i in range(40)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    statuses = [status for status, *_ in found]
    assert set(statuses) == {200, 409} and len(statuses) == 40


def test_a_picture_is_projected_while_others_are_painted(port, G):
    target = G.pictures([5])[0].resize((100, 80))
    data = io.BytesIO()
    target.save(data, "PNG")
    status, _, body = ask(port, "/project?space=w", "POST", data.getvalue())
    name = json.loads(body)["name"]
    assert status == 200
    state, end = {"step": 0}, time.monotonic() + 300
    while state["step"] < 60 and time.monotonic() < end:
        assert ask(port, "/small?seed=2")[0] == 200
        state = json.loads(ask(port, f"/project?name={name}")[2])
    assert state["step"] == 60 and state["psnr"] > 8
    assert ask(port, f"/png?seed={name}")[0] == 200
    assert ask(port, f"/png?seed=4&mix={name}:0-3")[0] == 200
    with np.load(io.BytesIO(ask(port, f"/npz?seed={name}")[2])) as file:
        assert file["w"].shape == (1, 8, 64) and file["noise7"].shape == (1, 1, 32, 32)
    assert ask(port, "/png?seed=p99")[0] == 400


def test_a_walk_is_a_film_of_all_its_frames(port):
    body = "5\nseed=1\nseed=2\nseed=3&psi=1"
    status, headers, film = ask(port, "/film", "POST", body)
    assert status == 200 and headers["Content-Type"] == "image/gif"
    assert Image.open(io.BytesIO(film)).n_frames == 15


# Who may ask, and what ---------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "localhost"}, {"Host": "localhost:1"}, {"Host": ""},
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://localhost"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}])
def test_foreign_hosts_and_origins_are_turned_away(port, headers):
    for address, method in ("/", "GET"), ("/png?seed=1", "GET"), ("/project", "POST"):
        assert ask(port, address, method, headers=headers)[0] == 403


def test_its_own_origin_may_ask(port):
    origin = {"Origin": f"http://localhost:{port}", "Sec-Fetch-Site": "same-origin"}
    assert ask(port, "/small?seed=1", headers=origin)[0] == 200
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(port, "/", headers=followed)[0] == 200           # a link on another page
    assert ask(port, "/png?seed=1", headers=followed)[0] == 403


@pytest.mark.parametrize("path", [
    "/../explore.py", "/..%2fexplore.py", "/static/page.js", "//etc/passwd", "/page.js/", "/.",
    "/etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.css%00", "/PAGE.CSS"])
def test_only_the_pages_own_files_are_served(port, path):
    assert ask(port, path)[0] == 404
    assert ask(port, "/page.css", "POST", b"")[0] == 404


def test_answers_forbid_scripts_from_elsewhere_and_are_not_kept(port):
    for address in "/", "/page.js", "/about", "/nothing":
        headers = ask(port, address)[1]
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def bomb():
    """A PNG of a few kB that says 10,000 × 6,000 pixels, which Pillow would read."""
    def chunk(kind, data):
        return (len(data).to_bytes(4, "big") + kind + data
                + zlib.crc32(kind + data).to_bytes(4, "big"))
    head = b"".join(side.to_bytes(4, "big") for side in (10_000, 6_000)) + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9000)))


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"no picture", 400), (b"\x89PNG\r\n\x1a\n" + bytes(100), 400), (b"GIF89a", 400)])
def test_what_is_no_picture_is_one_line(port, body, status):
    found, _, said = ask(port, "/project", "POST", body)
    assert found == status and len(said) < 200 and b"Traceback" not in said


def test_a_picture_that_unpacks_to_gigabytes_is_refused_unread(port):
    status, _, said = ask(port, "/project", "POST", bomb())
    assert status == 413 and b"pixels" in said and len(said) < 200


def test_an_uploaded_program_is_no_picture(tmp_path):
    """Pillow would have Ghostscript run PostScript."""
    gs = tmp_path / "bin" / "gs"
    gs.parent.mkdir()
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    gs.chmod(0o755)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"
    with explored(tmp_path, path=gs.parent) as (port, _):
        assert ask(port, "/project", "POST", eps)[0] == 400
    assert not (tmp_path / "ran").exists()


def test_bodies_are_limited_before_they_are_read(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"POST /project HTTP/1.1\r\nHost: localhost:{port}\r\n"
                       "Content-Length: 99999999999\r\n\r\n".encode())
        assert b" 413 " in client.recv(100)
    for length in "x", "-1", "1e3", "", "9" * 5000:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(f"POST /film HTTP/1.1\r\nHost: localhost:{port}\r\n"
                           f"Content-Length: {length}\r\n\r\n".encode())
            assert b" 411 " in client.recv(100)


@pytest.mark.parametrize("body", [
    "", "{}", "[" * 65_536, "\n" * 65_536, "4", "4\nseed=1", "1\nseed=1\nseed=2",
    "-4\nseed=1\nseed=2", "1e3\nseed=1\nseed=2", "1000000\nseed=1\nseed=2",
    "4\nseed=1\nseed=x"])
def test_films_that_make_no_sense_are_one_line(port, body):
    status, _, said = ask(port, "/film", "POST", body)
    assert status == 400 and len(said) < 200


def test_sides_that_make_no_sense_are_a_usual_one(port):
    for side in "0", "00", "-3", "x", "9" * 3000, "1":
        assert ask(port, f"/small?seed=1&side={side}")[0] == 200


def test_two_hundred_clients_at_once_and_one_that_stops_reading(port):
    stuck = []
    for _ in range(20):                         # ask again and again, and never read
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.settimeout(1)
        client.connect(("127.0.0.1", port))
        with contextlib.suppress(socket.timeout):
            client.sendall(f"GET /page.js HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()
                           * 2000)
        stuck.append(client)
    found = []
    threads = [threading.Thread(target=lambda i=i: found.append(ask(port, f"/small?seed={i}")[0]))
               for i in range(200)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 200 and set(found) <= {200, 503} and found.count(200) >= 60
    assert ask(port, "/small?seed=1")[0] == 200
    for client in stuck:
        client.close()


def left_after(client, piece, seconds):
    """Whether the server has closed the connection of a client that sends pieces of a head."""
    client.settimeout(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            client.sendall(piece)
            if client.recv(1) == b"":
                return True
        except socket.timeout:
            continue
        except OSError:
            return True
    return False


def test_a_head_has_to_come_in_time_and_in_size(port):
    """One byte now and then, or lines without end, hold no place."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert left_after(client, b"x", 3 * server.SECONDS)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for _ in range(90):
                client.sendall(b"X: %s\r\n" % (b"x" * 65_000))
        assert left_after(client, b"x", 2)
    # A body may take its time.
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"POST /film HTTP/1.1\r\nHost: localhost:{port}\r\n"
                       f"Content-Length: 40\r\n\r\n".encode())
        for _ in range(server.SECONDS + 4):
            client.sendall(b"x")
            time.sleep(1)
        client.sendall(b"x" * 40)
        assert b" 400 " in client.recv(100)


def test_others_need_the_token(tmp_path):
    token = "a-very-long-secret"
    with explored(tmp_path, "--host", "0.0.0.0", "--token", token) as (port, said):
        assert said == token
        for address in "/", "/about", "/small?seed=1", "/?token=wrong", "/?token=%C3%A9":
            assert ask(port, address)[0] == 401
        status, headers, _ = ask(port, f"/?token={token}")
        assert status == 200
        cookie = headers["Set-Cookie"]
        for address in "/page.css", "/icon.svg":            # a page may show these before
            status, headers, _ = ask(port, address)
            assert status == 200 and token not in str(headers)
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        kept = cookie.split(";")[0]
        for cookies in kept, 'prefs={"a":1}; ' + kept, "token=theirs; " + kept:
            assert ask(port, "/about", headers={"Cookie": cookies})[0] == 200
        assert ask(port, "/about", headers={"Cookie": f"token={token}"})[0] == 401


@pytest.mark.parametrize("flags, said", [
    (["--host", "0.0.0.0"], "--token"), (["--token", "short"], "16"),
    (["--port", "70000"], "65535"), (["--directions", "missing.npz"], "missing.npz"),
    (["--host", "no.such.host.invalid"], "--token"),
    (["--host", "no.such.host.invalid", "--token", "new"], "another, --port 0"),
    (["--export", "x"], "npm pack"), (["--export", ""], "--export"), (["--overwrite"], "--export"),
    (["--export", "x", "--runtime", "missing.tgz"], "missing.tgz"),
    (["--export", "x", "--runtime", "."], "npm pack"),
    (["--export", "x", "--runtime", DEMO], "npm pack")])
def test_wrong_flags_are_one_line(flags, said, tmp_path):
    code, _, told = command("explore.py", DEMO, "--no_browser", *flags, cwd=tmp_path, check=False)
    assert code == 2 and said in told and "Traceback" not in told
