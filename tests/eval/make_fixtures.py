#!/usr/bin/env python3
"""Writes tests/eval/fixtures/scores.json: what the packages that the benchmarks use say to texts of ours.

    python3 -m venv --system-site-packages v && v/bin/pip install rouge==1.0.1 fuzzywuzzy==0.18.0 rouge-score==0.1.2
    v/bin/python tests/eval/make_fixtures.py        (and the Debian package python3-jieba)

Same seed, same file. fuzzywuzzy must run without python-Levenshtein.
"""

import importlib.metadata
import json
import logging
import random
import sys
import warnings
from pathlib import Path

sys.path.append("/usr/lib/python3/dist-packages")
warnings.simplefilter("ignore")
import jieba  # noqa: E402
from fuzzywuzzy import fuzz  # noqa: E402
from rouge import Rouge  # noqa: E402
from rouge_score import rouge_scorer  # noqa: E402

SEED = 20
OUT = Path(__file__).parent / "fixtures" / "scores.json"

CHINESE = [
    "今天下午三点我们在图书馆门口见面，不要迟到！",
    "小明把旧自行车修好以后，骑着它去了河边的菜市场。",
    "这台服务器有64个核心，内存占用率是37.5%，比去年低了3.2%左右。",
    "研究生命的起源需要化学、物理和地质学的知识。",
    "南京市长江大桥的两头各有一座公园。",
    "王铁柱和欧阳雪梅在乌鲁木齐开了一家C++培训班，网址是a-b_c.d+e#f&g。",
    "《红楼梦》里的人物很多；“贾宝玉”只是其中之一……",
    "他说：结过婚的和尚未结过婚的都要登记。",
    "工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作",
    "龘靐齉爩 生僻字　也要切开\r\n第二行\t制表符",
    "Hello世界，version 2.0.1和3.14%都在这里。",
    "台灣的夜市很熱鬧，鷄排和珍珠奶茶最受歡迎。",
    "é à 한국어 русский 日本語のテキストも混ざる。",
    "一二三四五六七八九十百千万亿零",
    "",
    " ",
    "。",
    "的",
]


def chinese_texts(rng: random.Random) -> list[str]:
    """The sentences, and mixtures of their characters: words nobody knows."""
    pool = "".join(CHINESE) + "0123456789.%abcXYZ" + "".join(chr(c) for c in range(0x9F00, 0x9FFF, 9))
    mixed = ["".join(rng.choice(pool) for _ in range(rng.randint(2, 60))) for _ in range(150)]
    cut = [text[i:] + text[:i] for text in CHINESE for i in (3, 7) if len(text) > i]
    return CHINESE + cut + mixed


def word_texts(rng: random.Random) -> tuple[str, str]:
    """Two texts of few words with full stops, line feeds and runs of blanks."""
    words = ["a", "b", "c", "d", "Ee", "ff-g", "h'i", "9", "x.y", "Ünder"][: rng.randint(2, 10)]
    ends = [" ", " ", " ", "  ", ". ", ".", ".\n", "\n", "..", " . "]

    def text() -> str:
        return "".join(rng.choice(words) + rng.choice(ends) for _ in range(rng.randint(0, 40)))

    return text(), text()


def code_texts(rng: random.Random) -> tuple[str, str]:
    """A line and a changed copy, or two lines; up to 400 characters of a small or large alphabet."""
    alphabet = "ab" if rng.random() < 0.3 else "abcdefgh (),._=é"
    line = "".join(rng.choice(alphabet) for _ in range(rng.choice([3, 20, 80, 199, 200, 201, 400])))
    other = list(line)
    for _ in range(rng.randint(0, 40)):
        at = rng.randrange(len(other) + 1)
        if rng.random() < 0.5:
            other.insert(at, rng.choice(alphabet))
        elif other:
            other.pop(min(at, len(other) - 1))
    return line, "".join(other)


def rouge_l(prediction: str, answer: str) -> float:
    try:
        return Rouge().get_scores([prediction], [answer], avg=True)["rouge-l"]["f"]
    except (ValueError, RecursionError) as error:
        assert isinstance(error, ValueError), "texts are short"
        return 0.0


def main() -> None:
    jieba.setLogLevel(logging.ERROR)
    rng = random.Random(SEED)
    lsum = rouge_scorer.RougeScorer(["rougeLsum"], use_stemmer=False)
    words = [word_texts(rng) for _ in range(150)]
    codes = [code_texts(rng) for _ in range(120)]
    fixture = {
        "made_by": "tests/eval/make_fixtures.py",
        "seed": SEED,
        "packages": {n: importlib.metadata.version(n) for n in ("rouge", "fuzzywuzzy", "rouge-score")}
        | {"jieba": jieba.__version__},
        "cuts": [{"text": t, "pieces": list(jieba.cut(t))} for t in chinese_texts(rng)],
        "rouge_l": [{"prediction": p, "answer": a, "score": rouge_l(p, a)} for p, a in words],
        "rouge_lsum": [
            {"prediction": p, "answer": a, "score": lsum.score(a, p)["rougeLsum"].fmeasure} for p, a in words
        ],
        "code_sim": [{"prediction": p, "answer": a, "score": fuzz.ratio(p, a) / 100} for p, a in codes],
    }
    OUT.write_text(json.dumps(fixture, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
