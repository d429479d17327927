"""Writes engine/testdata/tokenizer/ (vocab.json, merges.txt), tokenizer_goldens.json and tokenizer_saved.json beside it.

    python tests/goldens/make_tokenizer_goldens.py      (transformers 5, tokenizers 0.23)

The vocabulary is CLIP's kind in small: every byte, every byte ending a word, some merges learned
from the corpus below, and the two markers. The ids are those of transformers.CLIPTokenizer. What it
saves, tokenizer.json without its vocabulary and merges, is kept of two of the configs.
"""

import collections
import json
import os
import random
import tempfile
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers
from transformers import CLIPTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "../../engine/testdata")
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

ENGLISH = [
    "a miniature red robot on a round wooden base, studio light, soft shadow",
    "a tiny figurine of a cat, glazed ceramic, 3/4 view, f/2.8, 85mm",
    "The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX!",
    "it's we're they've I'm you'll he'd don't rock'n'roll 'tis O'Neill's 'S 'LL",
    "state-of-the-art, e-mail: someone@example.org; price $1,234.56 (50% off!)",
]
TRICKY = [
    "",
    " ",
    "\t\n \u00a0\u3000\u2028 ",
    "a",
    "A",
    "\u00a0a\u2003\u2003b\u0085c\u200bd\ufeffe",
    "caf\u00e9 cafe\u0301 CAFE\u0301 \u212b \u00c5 A\u030a",
    "\u1e9b\u0323 \ufb01 \u017f \u2126 \u00b5",
    "\u0130stanbul I\u0307 \u0131 DI\u0307YARBAKIR",
    "\u03a3\u039f\u03a6\u039f\u03a3 \u03c3\u03bf\u03c6\u03cc\u03c2 \u03a3",
    "stra\u00dfe STRASSE \u1e9e \u01c5 \u01f1 \u0149",
    "12345 1.5e-3 \u00bd \u2167 \u0664\u0665 \u5341\u4e8c \u2460 \u00b2",
    "\u0915\u094d\u0937\u093f \u0928\u092e\u0938\u094d\u0924\u0947",
    "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab\u1100\u116e\u11a8",
    "\u65e5\u672c\u8a9e\u306e\u30df\u30cb\u30c1\u30e5\u30a2\u3001\u534a\u89d2\uff76\uff9e "
    "\u304b\u3099",
    "\u4e2d\u6587\uff0c\u5fae\u578b\u6a21\u578b\u3002",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 "
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05b4\u05d1\u05b0\u05e8\u05b4\u05d9\u05ea",
    "\U0001f916 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f "
    "\U0001f44d\U0001f3fd \u2122 #\ufe0f\u20e3 1\ufe0f\u20e3",
    "\U0001d573\U0001d58a\U0001d591\U0001d591\U0001d594 \U00010400\U00010428 "
    "\U0001e900 \U00020000\U0002f800",
    "a\u0000b\u0001c\u007fd\u009fe \ufffd \ufffe \U0010ffff \ue000",
    "'''s 'sss ''t \u2019s a'b'c'd'e",
    '!!! ??? ... --- ___ *** (((very))) [[good]] {x} <b> "q" \\n / | ~ ` ^',
    "don't<|endoftext|>stop <|startoftext|>go<|ENDOFTEXT|>! <|StartOfText|>!",
    "!<|startoftext|>! <|endoftext| <|endoftext|>>",
    "a" * 300,
    "supercalifragilisticexpialidocious " * 20,
    "\u00e9" * 200,
    "x" * 74 + " y z w",
    "a " * 75,
    "a " * 76,
    "!" * 500,
    " ".join("ab" * i for i in range(1, 40)),
    "<|endoftext|>" * 100,
]


def scripts():
    """Letters, marks and digits of each script, in words of several.

    Python 3.11 knows Unicode 14, as ICU 70 does: with a newer Python the goldens would ask for
    characters that an older ICU does not know. Marks come in canonical order, because the
    tokenizers library orders by Unicode 9.
    """
    assert unicodedata.unidata_version.startswith("14."), "run with Python 3.11"
    groups = {}
    for code in range(0x20000):
        char = chr(code)
        if unicodedata.category(char)[0] in "LMN":
            groups.setdefault(unicodedata.name(char, "").split(" ")[0], []).append(char)
    rng = random.Random(7)
    for name, chars in sorted(groups.items()):
        if len(chars) >= 8:
            words = ("".join(rng.choices(chars, k=rng.randint(1, 6))) for _ in range(6))
            yield unicodedata.normalize("NFC", " ".join(words))


def mixtures():
    """What people paste: pieces of scripts, emoji sequences, contractions, controls and marks without space between."""
    rng = random.Random(11)
    pieces = [
        "'s", "'RE", "\u2019ll", "don't", "I'm", "3/4", "f/2.8", "100%", "(", "))", "[x]", "...", "\u2014", "\u2026",
        "caf\u00e9", "cafe\u0301", "na\u00efve", "\u0130", "\u00df", "\u03a3\u03a3", "\ufb01", "\u2168", "\u00b2",
        "\u4e2d\u6587", "\u304b\u3099", "\uff76\uff9e", "\ud55c\uae00", "\u1112\u1161\u11ab", "\u0e44\u0e17\u0e22",
        "\u0627\u0644\u0639", "\u064b\u0651", "\u05e2\u05b4", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
        "\u10e5\u10d0", "\u1c90", "\u13a0\uab70", "\u1200", "\U00010330", "\U0001e900", "\U0001d54f", "\U00020bb7",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "\u2764\ufe0f", "1\ufe0f\u20e3", "\u0300", "\u0327\u0301", "\u20dd", "\u200b", "\u200d", "\u202e", "\ufeff",
        "\u0000", "\u0007", "\u001b[0m", "\u007f", "\u0085", "\u00ad", "\ufffd", "\ue000", "\t", "\n", "\u00a0", "\u3000", " ",
    ]
    for _ in range(160):
        yield "".join(rng.choices(pieces, k=rng.randint(2, 14)))
    yield "".join(chr(rng.choice((rng.randrange(0x20, 0x250), rng.randrange(0x370, 0x1000)))) for _ in range(40))
    yield "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft " * 3
    yield "".join(f"word{i}" for i in range(400))


def byte_names():
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [b for b in range(256) if b not in printed]
    return [chr(b) for b in printed] + [chr(256 + i) for i in range(len(moved))]


def words(corpus):
    """Each word's symbols, the last with its ending, and how often it stands in the corpus."""
    normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    counts = collections.Counter()
    for text in corpus:
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            counts[(*word[:-1], word[-1] + "</w>")] += 1
    return counts


def train(corpus, size=700):
    """The library's own trainer breaks ties by the order of a hash table; this one by the pair."""
    counts, merges = words(corpus), []
    while len(merges) < size:
        pairs = collections.Counter()
        for word, count in counts.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        joined = collections.Counter()
        for word, count in counts.items():
            symbols = []
            for symbol in word:
                if symbols and (symbols[-1], symbol) == best:
                    symbols[-1] += symbol
                else:
                    symbols.append(symbol)
            joined[tuple(symbols)] += count
        counts = joined
    tokens = byte_names() + [name + "</w>" for name in byte_names()]
    tokens += sorted({left + right for left, right in merges} - set(tokens))
    return {token: i for i, token in enumerate([*tokens, START, END])}, merges


def added(content, normalized):
    return {
        "__type": "AddedToken",
        "content": content,
        "lstrip": False,
        "normalized": normalized,
        "rstrip": False,
        "single_word": False,
    }


CONFIGS = {
    "plain": {"model_max_length": 77},
    "sd15": {
        "model_max_length": 77,
        "bos_token": added(START, True),
        "eos_token": added(END, True),
        "unk_token": added(END, True),
        "pad_token": END,
    },
    "sd2": {
        "model_max_length": 77,
        "bos_token": added(START, True),
        "eos_token": added(END, True),
        "unk_token": added(END, True),
        "pad_token": "!",
    },
    "short": {"model_max_length": 9, "pad_token": "!"},
    "decoder": {
        "model_max_length": 77,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": "!",
        "added_tokens_decoder": {
            "START": {**added(START, False), "special": True},
            "END": {**added(END, True), "special": True},
        },
    },
}


def as_saved(tokenizer, folder):
    """The files of one folder: those that transformers 5 writes."""
    tokenizer.save_pretrained(folder)
    files = {}
    for file in ("tokenizer.json", "tokenizer_config.json"):
        with open(os.path.join(folder, file)) as text:
            files[file] = json.load(text)
    files["tokenizer.json"]["model"].update({"vocab": {}, "merges": []})
    files["tokenizer_config.json"].pop("name_or_path", None)
    return files


def main():
    everything = ENGLISH + TRICKY + list(scripts())
    vocabulary, merges = train(ENGLISH * 8 + everything)
    everything += list(mixtures())
    decoder = CONFIGS["decoder"]["added_tokens_decoder"]
    for name, token in (("START", START), ("END", END)):
        entry = decoder.pop(name)
        entry.pop("__type")
        decoder[str(vocabulary[token])] = entry
    os.makedirs(os.path.join(DATA, "tokenizer"), exist_ok=True)
    vocab_json = json.dumps(vocabulary, ensure_ascii=True)
    merges_txt = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)
    with open(os.path.join(DATA, "tokenizer/vocab.json"), "w") as out:
        out.write(vocab_json + "\n")
    with open(os.path.join(DATA, "tokenizer/merges.txt"), "w") as out:
        out.write(merges_txt)

    goldens, saved = [], {}
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as folder:
            for file, text in (
                ("vocab.json", vocab_json),
                ("merges.txt", merges_txt),
                ("tokenizer_config.json", json.dumps(config)),
            ):
                with open(os.path.join(folder, file), "w") as out:
                    out.write(text)
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            if name in ("plain", "short"):
                saved[name] = as_saved(tokenizer, folder)
        length = config["model_max_length"]
        cases = []
        for text in everything if name == "sd15" else ENGLISH + TRICKY:
            ids = tokenizer(text, padding="max_length", max_length=length, truncation=True)[
                "input_ids"
            ]
            used = min(length, len(tokenizer(text)["input_ids"]))
            assert all(i == tokenizer.pad_token_id for i in ids[used:])
            cases.append({"text": text, "ids": ids[:used]})
        goldens.append({"config": config, "pad": tokenizer.pad_token_id, "cases": cases})
    path = os.path.join(DATA, "tokenizer_goldens.json")
    with open(path, "w") as out:
        out.write("[\n")
        for i, golden in enumerate(goldens):
            head = json.dumps({"config": golden["config"], "pad": golden["pad"]})[:-1]
            lines = ",\n  ".join(json.dumps(case) for case in golden["cases"])
            out.write(
                f'{head}, "cases": [\n  {lines}]}}' + (",\n" if i + 1 < len(goldens) else "\n")
            )
        out.write("]\n")
    with open(os.path.join(DATA, "tokenizer_saved.json"), "w") as out:
        json.dump(saved, out, indent=1)
        out.write("\n")
    print(
        len(vocabulary),
        "tokens,",
        sum(len(g["cases"]) for g in goldens),
        "cases,",
        os.path.getsize(path),
        "bytes",
    )


if __name__ == "__main__":
    main()
