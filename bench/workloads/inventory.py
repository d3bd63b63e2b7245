# SPDX-License-Identifier: MIT
#
# inventory.py - a plain Python program: JSON in and out, objects, dictionaries of lists, strings, sorting.
#
# Run with PYTHONMALLOC=malloc, so that every object is a malloc. Prints counts and a checksum.
import collections
import io
import json
import random
import re
import zlib


class Item:
    """An object with a dictionary of its own, as most Python objects are."""

    def __init__(self, number, name, tags):
        self.number = number
        self.name = name
        self.tags = tags
        self.links = []


def words(generator, count):
    syllables = ["ka", "lo", "min", "tor", "es", "vi", "dra", "pul", "on", "qui"]
    return ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(count)]


def main():
    generator = random.Random(11)
    vocabulary = words(generator, 3000)

    by_tag = collections.defaultdict(list)
    items = []
    for number in range(30000):
        item = Item(number, " ".join(generator.choices(vocabulary, k=3)), generator.sample(vocabulary, 4))
        for tag in item.tags:
            by_tag[tag].append(item)
        items.append(item)
    for item in items:
        item.links = [other.number for tag in item.tags[:2] for other in by_tag[tag][:5]]

    # To text and back, in pieces: long strings, and many objects that die young.
    total = 0
    crc = 0
    for start in range(0, len(items), 5000):
        text = json.dumps([vars(item) for item in items[start : start + 5000]])
        crc = zlib.crc32(text.encode(), crc)
        total += sum(len(row["links"]) for row in json.loads(text))

    out = io.StringIO()
    for tag in sorted(by_tag):
        out.write(f"{tag}: {len(by_tag[tag])} {','.join(sorted(i.name for i in by_tag[tag])[:3])}\n")
    report = re.sub(r"([a-z]+)qui", lambda match: match.group(1).upper(), out.getvalue())
    counts = collections.Counter(report.split())

    # A generation goes, another one comes: holes between what stays.
    for start in range(0, 30000, 3):
        items[start] = None
    items = [item for item in items if item is not None]
    matrix = [[(i * j) % 97 + 0.5 for j in range(200)] for i in range(200)]
    trace = sum(sum(a * b for a, b in zip(row, column)) for row, column in zip(matrix, zip(*matrix)))
    print(len(items), total, crc, len(counts), zlib.crc32(report.encode()), int(trace))


main()
