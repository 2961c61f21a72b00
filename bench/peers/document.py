"""Puts the text about a comparison, and its pictures, into a page, between two marks."""

import json
import re
import subprocess
import sys
from pathlib import Path

from engines import HERE, PICTURES_PACKAGE, Unavailable, environment
from report import TITLE, text_of

BEGIN = "<!-- written by bench/peers/compare: begin -->"
END = "<!-- written by bench/peers/compare: end -->"


def draw(data: dict, folder: Path) -> list[str]:
    """Names of the pictures; none when matplotlib cannot be had."""
    try:
        python = environment("pictures", PICTURES_PACKAGE)
    except Unavailable as error:
        print(f"compare: no pictures: {error}", file=sys.stderr)
        return []
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([python, HERE / "pictures.py", folder], input=json.dumps(data), stdout=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        print(f"compare: no pictures: pictures.py ended with {done.returncode}", file=sys.stderr)
        return []
    return done.stdout.split()


def folder_of(document: Path) -> Path:
    """Where its pictures are: beside a README, otherwise in a folder of the document's name."""
    return document.parent if document.stem == "README" else document.parent / document.stem


def page_with(section: str, old: str, title: str = TITLE, begin: str = BEGIN, end: str = END) -> str:
    """The page with the section in place of what stands between the marks; at the end when there are none.

    A page that has sections of its own gets one more. One without, or a new one, is about the section alone:
    it has a title already, so there are only sections in it.
    """
    before, marked, rest = old.partition(begin)
    if marked and end not in rest:
        sys.exit(f"{Path(sys.argv[0]).name}: the page has {begin} without {end} behind it; nothing was written")
    after = rest.partition(end)[2].lstrip("\n") if marked else ""
    if not old.strip():
        before = title.removeprefix("#") + "\n\n"
    elif not marked:
        before = old.rstrip() + "\n\n"
    if not re.search("^## ", before + after, re.MULTILINE):
        section = re.sub("^###", "##", section.removeprefix(title).lstrip("\n"), flags=re.MULTILINE)
    return f"{before}{begin}\n{section}{end}\n{after}"


def write_document(data: dict, document: Path, other: dict | None = None) -> None:
    folder = folder_of(document)
    pictures = [str((folder / name).relative_to(document.parent)) for name in draw(data, folder)]
    old = document.read_text(encoding="utf-8") if document.is_file() else ""
    document.write_text(page_with(text_of(data, pictures, other), old), encoding="utf-8")
