#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""uncovered.py FIGURES LIST - figures by file, and what was not reached, with its reason.

FIGURES is gcovr's JSON. LIST has a reason in lines that begin with "#", and below it what it is
the reason for: "FILE: TEXT", the text being that of the source line, whose number would not last.
Lines of code that were not run and are not listed are told, and a fault if they are more than
BY_CHANCE: some are run or not as processes meet. So are lines of which a branch was not taken,
without being a fault. An entry whose line is no more is a fault.
"""
import json
import sys

BY_CHANCE = 10


def words(text):
    return " ".join(text.split())


def read_list(path):
    """The entries as {(file, text): reason}."""
    entries, reason = {}, []
    within = False
    with open(path, encoding="utf-8") as lines:
        for line in map(str.strip, lines):
            if line.startswith("#"):
                reason = [] if within else reason
                reason.append(line[1:].strip())
                within = False
            elif line:
                file, _, text = line.partition(": ")
                entries[file, words(text)] = " ".join(reason)
                within = True
            else:
                reason = []
    return entries


def counted(lines):
    """(number, whether nothing of it was run, branches, branches not taken) of each line."""
    for line in lines:
        if line.get("gcovr/noncode"):
            continue
        branches = [b for b in line["branches"] if not b.get("gcovr/noncode")]
        untaken = sum(b["count"] == 0 for b in branches)
        yield line["line_number"], line["count"] == 0, len(branches), untaken


def main():
    with open(sys.argv[1], encoding="utf-8") as report:
        files = json.load(report)["files"]
    listed = read_list(sys.argv[2])
    texts, dead_lines, untold, known = set(), [], [], {}

    print(f"\n{'':28}{'lines':>12}{'branches':>16}")
    for file in files:
        name = file["file"]
        with open(name, encoding="utf-8") as lines:
            source = [words(line) for line in lines]
        texts.update((name, text) for text in source)
        rows = list(counted(file["lines"]))
        run, ways = sum(not row[1] for row in rows), sum(row[2] for row in rows)
        taken = ways - sum(row[3] for row in rows)
        print(f"{name:28}{run:>4} of {len(rows):>4}{taken:>8} of {ways:>4}")
        for number, dead, _, untaken in rows:
            text = source[number - 1]
            place = f"{name}:{number}: {text}"
            if not dead and not untaken:
                continue
            if (name, text) in listed:
                known.setdefault(listed[name, text], []).append(place)
            elif dead:
                dead_lines.append(place)
            else:
                untold.append(place)
    for reason, places in known.items():
        print(f"\n{reason}", *places, sep="\n    ")
    if untold:
        print("\nOne way out of these was not taken, for no listed reason:", *untold,
              sep="\n    ")
    if dead_lines:
        print("\nNot reached, for no listed reason:", *dead_lines, sep="\n    ")
    faults = [f"{sys.argv[2]}: no such line: {name}: {text}"
              for name, text in listed if (name, text) not in texts]
    if len(dead_lines) > BY_CHANCE:
        faults.append(f"{len(dead_lines)} lines are neither reached nor listed, at most {BY_CHANCE} "
                      "may be")
    print("", *faults, sep="\n")
    sys.exit(bool(faults))


main()
