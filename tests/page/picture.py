"""Whether a screenshot shows something: decodes a PNG and counts.

Usage: picture.py FILE, prints JSON: width, height, colours (distinct), inked
(rows that are not of one colour), dark (share of pixels that are dark), and the
bottom row that is inked. Standard library only.
"""
import json
import struct
import sys
import zlib


def chunks(data):
    at = 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        yield kind, data[at + 8:at + 8 + length]
        at += 12 + length


def rows(path):
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
    header, body = None, b""
    for kind, content in chunks(data):
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", content)
        elif kind == b"IDAT":
            body += content
    width, height, depth, colour, _, _, interlace = header
    assert depth == 8 and colour in (2, 6) and interlace == 0, header
    size = 3 if colour == 2 else 4
    body = zlib.decompress(body)
    stride = width * size
    before = bytearray(stride)
    for y in range(height):
        at = y * (stride + 1)
        kind, line = body[at], bytearray(body[at + 1:at + 1 + stride])
        if kind == 1:
            for i in range(size, stride):
                line[i] = (line[i] + line[i - size]) & 255
        elif kind == 2:
            for i in range(stride):
                line[i] = (line[i] + before[i]) & 255
        elif kind == 3:
            for i in range(stride):
                left = line[i - size] if i >= size else 0
                line[i] = (line[i] + (left + before[i]) // 2) & 255
        elif kind == 4:
            for i in range(stride):
                a = line[i - size] if i >= size else 0
                b = before[i]
                c = before[i - size] if i >= size else 0
                p = a + b - c
                pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
                near = a if pa <= pb and pa <= pc else b if pb <= pc else c
                line[i] = (line[i] + near) & 255
        before = line
        yield width, height, [bytes(line[i:i + 3]) for i in range(0, stride, size)]


def main():
    colours, inked, dark, total, bottom, shape = set(), 0, 0, 0, 0, (0, 0)
    for y, (width, height, pixels) in enumerate(rows(sys.argv[1])):
        shape = (width, height)
        here = set(pixels)
        colours |= here
        if len(here) > 1:
            inked += 1
            bottom = y
        total += len(pixels)
        dark += sum(1 for p in pixels if p[0] + p[1] + p[2] < 200)
    print(json.dumps({
        "width": shape[0], "height": shape[1], "colours": len(colours),
        "inked": inked, "bottom": bottom, "dark": dark / total,
    }))


main()
