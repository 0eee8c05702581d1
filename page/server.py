"""The page's server: HTTP from this machine, or with a token from others.

It reads nothing but page/static, writes nothing, and believes nobody: the names under which it may
be asked are known, what is sent to it is limited before it is read, and a client that is slow or
stops reading has one of the CLIENTS places, and after SECONDS of silence no more; nor where what it
wants is not said by then.
"""
import functools
import hmac
import io
import json
import os
import re
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from backend.errors import UserError
from page import view as views
from page.studio import Busy, Superseded
from pictures import film
from pictures.projection import read_picture
from pictures.reading import open_picture

STATIC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
UPLOAD, PIXELS, TEXT = 20 << 20, 50_000_000, 64 << 10   # bytes, pixels, bytes of what is asked
CLIENTS, SECONDS, HEAD = 256, 20, 128 << 10     # at a time; of silence; bytes before the body
STOPS, FRAMES = 64, 600         # of a film: pictures that it goes through, and all its frames
FILM, FILMS = 64 << 20, 2       # bytes of one, and films at a time
OPEN = "/page.css", "/icon.svg" # without the token
POLICY = ("default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
          "form-action 'none'; frame-ancestors 'none'")


class Refused(Exception):
    """(HTTP status, one line)."""


class Server(ThreadingHTTPServer):
    """token: what each request has to bring, or None. Raises OSError where it cannot listen."""

    daemon_threads, block_on_close, request_queue_size = True, False, CLIENTS

    def __init__(self, host, port, token=None):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.token, self.places = token, threading.BoundedSemaphore(CLIENTS)
        # Each takes memory while it lasts.
        self.decoding, self.films = threading.Lock(), threading.BoundedSemaphore(FILMS)
        self.studio = self.about = None

    def open(self, studio, about):
        """studio: the page.studio.Studio that paints; about: what the page has to know of it."""
        self.studio, self.about = studio, about

    def process_request(self, request, client_address):
        if not self.places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.places.release()
            raise

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class Incoming(io.RawIOBase):
    """What a client sends. Where a request begins, `begin` gives its head SECONDS and HEAD bytes in
    all, until `end`: one byte now and then is no way to hold a place."""

    def __init__(self, connection):
        self.connection, self.until, self.left = connection, None, 0

    def begin(self):
        self.until, self.left = time.monotonic() + SECONDS, HEAD

    def end(self):
        self.until = None
        self.connection.settimeout(SECONDS)

    def readable(self):
        return True

    def readinto(self, buffer):
        if self.until is None:
            return self.connection.recv_into(buffer)
        seconds = self.until - time.monotonic()
        if seconds <= 0 or self.left <= 0:
            raise socket.timeout                        # for which the connection is closed
        self.connection.settimeout(seconds)
        count = self.connection.recv_into(buffer)
        self.left -= count
        return count


class Handler(BaseHTTPRequestHandler):
    protocol_version, timeout, server_version, sys_version = "HTTP/1.1", SECONDS, "page", ""
    # Else an answer's body waits 40 ms for word that its head has come.
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.incoming = Incoming(self.connection)
        self.rfile = io.BufferedReader(self.incoming)

    def handle_one_request(self):
        self.incoming.begin()
        super().handle_one_request()

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer({"/about": self.about, "/small": self.small, "/png": self.png, "/npz": self.npz,
                     "/project": self.progress})

    def do_POST(self):
        self.answer({"/project": self.project, "/film": self.film})

    def answer(self, routes):
        self.incoming.end()
        try:
            self.path, _, self.query = self.path.partition("?")
            self.check_origin()
            kind, body, headers = routes.get(self.path, self.static)()
            self.reply(200, kind, body, headers)
        except Refused as error:
            self.reply(error.args[0], "text/plain; charset=utf-8", error.args[1].encode())
        except UserError as error:
            self.reply(400, "text/plain; charset=utf-8", str(error).encode())
        except Superseded:
            self.reply(409, "text/plain", b"a newer one was asked for")
        except Busy:
            self.reply(503, "text/plain", b"too much to paint at the moment, try again")
        except OSError:                         # it went away, or does not read
            self.close_connection = True
        except Exception as error:
            line = str(error).strip().split("\n")[0][:200] or type(error).__name__
            self.reply(500, "text/plain; charset=utf-8", f"painting failed: {line}".encode())

    def reply(self, status, kind, body, headers=()):
        if status >= 400:
            self.close_connection = True        # what else it sent is not read
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)),
                            "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
                            "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer",
                            "Cross-Origin-Resource-Policy": "same-origin", **dict(headers)}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def check_origin(self):
        """Another page in the same browser, or a name that leads here by a trick, may not ask."""
        host, port = self.server.server_address[:2]
        names = {host, "127.0.0.1", "localhost", "[::1]", f"[{host}]"}
        names = {f"{name}:{port}" for name in names} | (names if port == 80 else set())
        asked = self.headers.get("Host", "")
        if self.server.token is None and asked not in names:
            raise Refused(403, f"Host: found {asked[:80]!r}, wanted localhost:{port}")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{asked}":
            raise Refused(403, f"Origin: found {origin[:80]!r}, wanted this page's own")
        followed = self.path == "/" and self.headers.get("Sec-Fetch-Mode") == "navigate"
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none") and \
                not followed:
            raise Refused(403, "asked for by the page of another site")
        if self.server.token is not None and self.path not in OPEN:
            given = self.asked().get("token") or self.kept_token()
            if not hmac.compare_digest(given.encode(), self.server.token.encode()):
                raise Refused(401, "the address needs ?token= with what explore.py was given")

    def cookie(self):
        return f"explore_{self.server.server_port}"     # all ports of a name share their cookies

    def kept_token(self):
        pairs = [part.strip().partition("=") for part in self.headers.get("Cookie", "").split(";")]
        return next((value for name, _, value in pairs if name == self.cookie()), "")

    def asked(self):
        if len(self.query) > views.LONGEST:
            raise Refused(414, f"address: found {len(self.query)} characters, wanted at most "
                          f"{views.LONGEST}")
        return dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True))

    def view(self, query=None):
        return views.parse(self.query if query is None else query, self.server.studio.layers,
                           self.server.studio.painter.generator.config.labels)

    def body(self, most):
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,15}", length):
            raise Refused(411, "Content-Length: wanted the number of bytes")
        if int(length) > most:
            raise Refused(413, f"found {int(length):,} bytes, wanted at most {most:,}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused(400, "the request ended early")
        return body

    # What can be asked for --------------------------------------------------------------------

    def static(self):
        name = {"/": "/index.html"}.get(self.path, self.path)[1:]
        if self.command != "GET" or name not in os.listdir(STATIC):
            raise Refused(404, "no such page")
        with open(os.path.join(STATIC, name), "rb") as file:
            body = file.read()
        headers = {}
        if self.server.token is not None and self.path not in OPEN:     # then it was brought
            headers["Set-Cookie"] = (f"{self.cookie()}={self.server.token}; HttpOnly; "
                                     "SameSite=Strict; Path=/")
        return KINDS[os.path.splitext(name)[1]], body, headers

    def about(self):
        return "application/json", json.dumps(self.server.about).encode(), ()

    def small(self):
        """A picture to look at; `place` is where on the page, `client` who: the newest counts."""
        asked, view = self.asked(), self.view()
        side = asked.get("side", "")
        side = min(max(int(side), 1), 1024) if re.fullmatch("[0-9]{1,4}", side) else 128
        key = asked.get("client", "")[:40], asked.get("place", "")[:40]
        return "image/webp", self.server.studio.ask(
            key if all(key) else None, lambda: self.server.studio.small(view, side)), ()

    def png(self):
        view = self.view()
        return self.download("png", "image/png", lambda: self.server.studio.png(view, self.said()))

    def npz(self):
        view = self.view()
        return self.download("npz", "application/octet-stream",
                             lambda: self.server.studio.npz(view, self.said()))

    def said(self):
        """The address of a picture alone, to be written into its file."""
        return "&".join(part for part in self.query.split("&") if not part.startswith("token="))

    def download(self, ending, kind, make):
        return kind, self.server.studio.ask(None, make), {
            "Content-Disposition": f'attachment; filename="picture.{ending}"'}

    def project(self):
        """The name of a picture that was sent, as it will be projected."""
        asked, config = self.asked(), self.server.studio.painter.generator.config
        data = io.BytesIO(self.body(UPLOAD))
        with self.server.decoding:
            try:
                picture = open_picture(data)
                if picture.width * picture.height > PIXELS:
                    raise Refused(413, f"found {picture.width}×{picture.height} pixels, wanted at "
                                  f"most {PIXELS:,}")
                picture.load()
            except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
                raise Refused(400, "not a picture that can be read") from None
            target = read_picture(picture, self.server.studio.painter.size, config.channels)
        space = "w+" if asked.get("space") == "w+" else "w"
        label = views.label(asked.get("label", ""), config.labels)
        name = self.server.studio.begin(target, space, label)
        return "application/json", json.dumps({"name": name}).encode(), ()

    def progress(self):
        studio, name = self.server.studio, self.asked().get("name", "")
        state = studio.projected.get(name)
        if state is None:
            raise Refused(404, "no picture of that name was projected")
        if state.failed:
            raise Refused(500, f"projecting failed: {state.failed}")
        state.watched = time.monotonic()
        return "application/json", json.dumps({
            "step": state.step, "steps": studio.steps, "psnr": state.psnr,
            "seen": state.styles is not None}).encode(), ()

    def film(self):
        """An endless GIF through pictures, so many frames from each to the next; it is asked for
        frame by frame, so that others are served between. Wanted is a line for each picture's
        address, and before them one with the number of frames."""
        count, *stops = self.body(TEXT).decode(errors="replace").split("\n")
        frames = int(count) if re.fullmatch("[0-9]{1,4}", count) else 0
        if not 2 <= len(stops) <= STOPS or frames < 2 or frames * len(stops) > FRAMES:
            raise Refused(400, f"wanted 2 to {STOPS} pictures, 2 frames or more from each to the "
                          f"next, and at most {FRAMES} in all")
        stops, studio = [self.view(stop) for stop in stops], self.server.studio
        if not self.server.films.acquire(blocking=False):
            raise Busy
        try:
            data = io.BytesIO()
            write = film.gif_writer(data)
            for first, last in zip(stops, stops[1:] + stops[:1]):
                for i in range(frames):
                    write(studio.ask(None, functools.partial(studio.frame, first, last,
                                                             i / frames)))
                    if data.tell() > FILM:
                        raise Refused(413, f"the film is larger than {FILM:,} bytes: ask for "
                                      "fewer frames")
            data.write(film.GIF_END)
            return "image/gif", data.getvalue(), {
                "Content-Disposition": 'attachment; filename="walk.gif"'}
        finally:
            self.server.films.release()
