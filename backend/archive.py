"""Zip archives of pictures: what is in one, and how one is written.

The standard library keeps an object of a kilobyte for every file of an archive; here a million
pictures are their names and 30 bytes each. What a file claims of itself is believed only within
MOST_BYTES, and no name in it is ever a path on the disk.
"""
import contextlib
import functools
import os
import struct
import tempfile
import zlib
from typing import NamedTuple

import numpy as np

from backend.errors import UserError
from backend.files import naming, replacing

MOST_BYTES = 1 << 28            # of one picture's file, packed or not
STORED, DEFLATED = 0, 8
# The three records of a zip, and what stands in for two of them where numbers are large
# (PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16).
LOCAL, ENTRY, END = "<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"
END64, LOCATOR64 = "<4sQ2H2L4Q", "<4sLQL"
NEEDED, NEEDED64, UTF8 = 20, 45, 1 << 11
UNIX = 3, 19                    # macOS is the second, and calls itself the first, too
DATE = 1 << 5 | 1               # 1980-01-01, so that the same pictures make the same file
ROW = struct.Struct("<3QLH")    # of a member: where it is, its bytes packed and not, CRC, method
ENCRYPTED = 0xffff              # in place of a method


def is_archive(path):
    return str(path).lower().endswith(".zip") and os.path.isfile(path)


class Member(NamedTuple):
    """A file in an archive, and where its bytes are."""

    archive: str
    name: str
    at: int
    packed: int
    size: int
    crc: int
    method: int

    def __str__(self):
        return f"{self.archive}/{self.name}"

    def read(self):
        """Its bytes. Raises OSError where they are not there or not what they were."""
        try:
            return self.unpack()
        except OSError:                     # another archive may be there since it was opened
            opened.cache_clear()
            return self.unpack()

    def unpack(self):
        if max(self.packed, self.size) > MOST_BYTES:
            raise OSError(f"claims to be {self.size:,} bytes, packed {self.packed:,}")
        if self.method not in (STORED, DEFLATED):
            how = "encrypted" if self.method == ENCRYPTED else \
                f"packed in a way that is not known (method {self.method})"
            raise OSError(f"{how}: unpack the archive into a folder")
        file = opened(self.archive).fileno()
        head = os.pread(file, struct.calcsize(LOCAL), self.at)
        if head[:4] != b"PK\3\4" or len(head) < struct.calcsize(LOCAL):
            raise OSError("is not where the archive says")
        start = self.at + len(head) + sum(struct.unpack(LOCAL, head)[9:])
        data = os.pread(file, self.packed, start)
        if self.method == DEFLATED:
            with contextlib.suppress(zlib.error):               # the checksum will say it
                data = zlib.decompressobj(-15).decompress(data, self.size + 1)
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise OSError("is not what was packed: its bytes are damaged")
        return data


@functools.lru_cache(maxsize=4)
def opened(path):
    return open(path, "rb")


class Contents:
    """The files of one folder of an archive, by name."""

    def __init__(self, archive, folder):
        self.archive, self.folder = archive, folder
        self.names, self.rows = [], bytearray()                 # a ROW each

    def sort(self):
        last = {name: i for i, name in enumerate(self.names)}   # of two with a name, as unzip does
        order = [last[name] for name in sorted(last)]
        self.names = [self.names[i] for i in order]
        self.rows = np.frombuffer(self.rows, f"V{ROW.size}")[order].tobytes()

    def member(self, i):
        name = f"{self.folder}/{self.names[i]}" if self.folder else self.names[i]
        return Member(self.archive, name, *ROW.unpack_from(self.rows, i * ROW.size))

    def members(self):
        return map(self.member, range(len(self.names)))


def contents(path):
    """{folder inside ("" for none): Contents}; raises UserError for what is no whole archive."""
    with naming(path):
        status = os.stat(path)
    return read_contents(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=2)
def read_contents(path, _modified, _size):
    opened.cache_clear()                                        # another file may be there now
    found, same, separator = {}, {}, "/"
    with naming(path), open(path, "rb") as file:
        # Some programs of Windows write backslashes, and then no slash in any file's name. In names
        # whose encoding is not known (Shift JIS, Big5) they may be half of a character.
        if not any("/" in name.rstrip("/") or "\\" in name and not sure
                   for name, sure, _ in entries(file, path)):
            separator = "\\"
        for name, _, row in entries(file, path):
            folder, _, name = name.rpartition(separator)
            if name and not name.endswith("/"):                 # else it is a folder itself
                folder = folder.replace(separator, "/")
                there = found.setdefault(folder, Contents(path, folder))
                there.names.append(same.setdefault(name, name))     # at all sizes the same one
                there.rows += ROW.pack(*row)
    for there in found.values():
        there.sort()
    return found


def entries(file, path):
    """Yields (name, whether it is surely what was written, row) of each file in the archive."""
    count, start, length, shift = find_directory(file, path)
    damaged = UserError(f"{path}: a damaged archive: its list of files is broken; copy it anew, or "
                        "make it anew with resize.py --zip")
    file.seek(start)
    buffer, at, size = b"", 0, struct.calcsize(ENTRY)
    for _ in range(count):
        if len(buffer) - at < size + 3 * 0xffff and length:
            more = file.read(min(length, 1 << 20))
            buffer, at, length = buffer[at:] + more, 0, length - len(more)
        if len(buffer) - at < size or buffer[at:at + 4] != b"PK\1\2":
            raise damaged
        (_, made_by, _, flags, method, _, _, crc, packed, unpacked, named, extra, comment, _, _, _,
         where) = struct.unpack_from(ENTRY, buffer, at)
        name = buffer[at + size:at + size + named]
        if 0xffffffff in (packed, unpacked, where):
            further = buffer[at + size + named:at + size + named + extra]
            unpacked, packed, where = large_numbers(further, unpacked, packed, where)
        at += size + named + extra + comment
        if at > len(buffer) or where >= 1 << 62:
            raise damaged
        yield (*decoded(name, flags, made_by >> 8),
               (where + shift, packed, unpacked, crc, ENCRYPTED if flags & 1 else method))


def decoded(name, flags, host):
    """(name as text, whether that is sure); host: the kind of system that wrote it. Many programs
    do not say that it is UTF-8, as it is from Unix and macOS, and Windows writes it in the code
    page of its language: of these, Chinese (GB 2312, whose bytes come in pairs that Western names
    hardly have) can be told apart, the rest is what the format says, code page 437."""
    if flags & UTF8:
        return name.decode("utf-8", "surrogateescape"), True
    with contextlib.suppress(UnicodeDecodeError):
        return name.decode("utf-8" if host in UNIX else "gb2312"), True
    return name.decode("cp437"), False


def large_numbers(extra, *numbers):
    """The numbers, those that did not fit into 32 bits from the extra field of Zip64."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        field, extra = extra[4:4 + length], extra[4 + length:]
        if kind == 1:
            large = iter(struct.unpack_from(f"<{len(field) // 8}Q", field))
            return [next(large, n) if n == 0xffffffff else n for n in numbers]
    return numbers


def find_directory(file, path):
    """(count of entries, where the first is, their bytes, bytes of the file before the archive)."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 0xffff - struct.calcsize(END)))
    tail = file.read()
    there = tail.rfind(b"PK\5\6")
    broken = UserError(f"{path}: not a whole zip archive: its end is missing or damaged; copy or "
                       "make it anew")
    if there < 0 or len(tail) - there < struct.calcsize(END):
        raise broken
    _, _, _, _, count, length, start, _ = struct.unpack_from(END, tail, there)
    end = end - len(tail) + there
    locator = tail[max(0, there - struct.calcsize(LOCATOR64)):there]
    if locator[:4] == b"PK\6\7" and len(locator) == struct.calcsize(LOCATOR64):
        end = struct.unpack(LOCATOR64, locator)[2]      # also where END's numbers would do
        file.seek(min(end, 1 << 62))
        record = file.read(struct.calcsize(END64))
        if record[:4] != b"PK\6\6" or len(record) < struct.calcsize(END64):
            raise broken
        count, length, start = struct.unpack(END64, record)[7:]
    shift = end - length - start
    if shift < 0 or count * struct.calcsize(ENTRY) > length:
        raise broken
    return count, start + shift, length, shift


@contextlib.contextmanager
def writing(path):
    """An archive that is there only when it is whole; nothing is packed in it, so that it is read
    as fast as files are.

        with writing("data.zip") as archive:
            archive.add("8/0.png", data)
    """
    with replacing(path) as file, tempfile.TemporaryFile() as directory:
        writer = Writer(file, directory)
        yield writer
        writer.finish()


class Writer:
    """See `writing`."""

    def __init__(self, file, directory):
        self.file, self.directory, self.count = file, directory, 0

    def add(self, name, data):
        name, where = name.encode("utf-8", "surrogateescape"), self.file.tell()
        crc = zlib.crc32(data)
        extra = struct.pack("<2HQ", 1, 8, where) if where >= 0xffffffff else b""
        version = NEEDED64 if extra else NEEDED
        both = (UTF8, STORED, 0, DATE, crc, len(data), len(data), len(name))
        self.file.write(struct.pack(LOCAL, b"PK\3\4", version, *both, 0) + name)
        self.file.write(data)
        self.directory.write(
            struct.pack(ENTRY, b"PK\1\2", version, version, *both, len(extra), 0, 0, 0, 0,
                        min(where, 0xffffffff)) + name + extra)
        self.count += 1

    def finish(self):
        start, length = self.file.tell(), self.directory.tell()
        self.directory.seek(0)
        while chunk := self.directory.read(1 << 20):
            self.file.write(chunk)
        if self.count >= 0xffff or start + length >= 0xffffffff:
            self.file.write(struct.pack(END64, b"PK\6\6", struct.calcsize(END64) - 12, NEEDED64,
                                        NEEDED64, 0, 0, self.count, self.count, length, start))
            self.file.write(struct.pack(LOCATOR64, b"PK\6\7", 0, start + length, 1))
        count = min(self.count, 0xffff)
        self.file.write(struct.pack(END, b"PK\5\6", 0, 0, count, count, min(length, 0xffffffff),
                                    min(start, 0xffffffff), 0))
