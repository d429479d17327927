"""Writes the model's tokenizer: CLIP's kind, with a small vocabulary.

    python build_tokenizer.py --out models/diorama/tokenizer

The vocabulary is CLIP's 256 byte symbols, the same with </w> (the end of a word), one symbol a
merge, and the two specials. Merges are learned by byte-pair encoding from a list of weighted
words: those of the scene grammar become one token each, frequent English words of this domain
become few, and anything else falls back to bytes.
"""
import argparse
import collections
import json
import pathlib

import captions

MERGES = 900

DOMAIN_WORDS = """
a an and any are as at background base beside big black blue bokeh bottle bright brown by camera
car cartoon cat centre clay clean clear close closeup cold color colorful colour colourful cool
cute dark day depth desk detailed diorama dog evening field figure film floor focus for from front
gentle glass glossy gold grass gray green grey hard high house image in indoor inside is it its
lamp landscape large lawn left lens light lighting little long low macro matte metal miniature
model morning neon night object of old on one orange outdoor over pedestal person photo
photograph photography picture pink plain plastic plate platform portrait product purple quality
realistic red render rendered rendering right road robot rocket room round scene sculpture shadow
sharp shelf shiny shot side silver single sitting sky small smooth snow soft sophisticated square
stage stand standing statue stone street studio style sun sunlight sunny table tall the thing
tilt shift tiny to top toy two under vehicle view violet warm white wide window winter with wood
wooden yellow young man woman child boy girl puppy kitten truck home building jar ship spaceship
machine animal human field blurry blurred background noise bad ugly low worst best
""".split()


def byte_symbols():
    """CLIP's printable stand-in for each of the 256 bytes, in CLIP's order."""
    visible = (list(range(ord("!"), ord("~") + 1)) + list(range(0xA1, 0xAC + 1))
               + list(range(0xAE, 0xFF + 1)))
    hidden = [b for b in range(256) if b not in visible]
    return [chr(b) for b in visible] + [chr(256 + i) for i in range(len(hidden))]


def grammar_words():
    phrases = (captions.SUBJECTS + captions.COLOURS + captions.MATERIALS + captions.BASES
               + captions.BACKGROUNDS + captions.LIGHTS + captions.VIEWS)
    return sorted({w for p in phrases for w in p.split()} | {"a", "miniature", "on", "background"})


def learn_merges(weights, count):
    """Byte-pair encoding: merge the most frequent pair, ties by the alphabet, `count` times."""
    words = {w: list(w[:-1]) + [w[-1] + "</w>"] for w in weights}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, symbols in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += weights[word]
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for word, symbols in words.items():
            merged, i = [], 0
            while i < len(symbols):
                if tuple(symbols[i:i + 2]) == best:
                    merged.append(symbols[i] + symbols[i + 1])
                    i += 2
                else:
                    merged.append(symbols[i])
                    i += 1
            words[word] = merged
    return merges


def build(out):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    weights = dict.fromkeys(DOMAIN_WORDS, 1) | dict.fromkeys(grammar_words(), 1000)
    merges = learn_merges(weights, MERGES)
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols]
    tokens += dict.fromkeys("".join(m) for m in merges)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {t: i for i, t in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise ValueError("a token occurs twice in the vocabulary")
    write = lambda name, text: (out / name).write_text(text + "\n", encoding="utf-8")
    dump = lambda value: json.dumps(value, ensure_ascii=False, indent=1)
    write("vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    write("merges.txt", "\n".join(["#version: 0.2"] + [" ".join(m) for m in merges]))
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>",
                   unk_token="<|endoftext|>", pad_token="<|endoftext|>")
    write("special_tokens_map.json", dump(special))
    write("tokenizer_config.json", dump(dict(
        special, tokenizer_class="CLIPTokenizer", model_max_length=77, do_lower_case=True,
        errors="replace", add_prefix_space=False)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="models/diorama/tokenizer")
    build(parser.parse_args().out)


if __name__ == "__main__":
    main()
