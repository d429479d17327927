"""The grammar of the scenes: its words, how a caption is read, and how training varies it."""
import re

SUBJECTS = ["person", "cat", "dog", "robot", "car", "house", "bottle", "rocket"]
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black"]
MATERIALS = ["plastic", "clay", "metal", "wooden"]
BASES = ["round wooden base", "square stone base", "round black base"]
BACKGROUNDS = ["studio", "desk", "snow", "grass", "neon night"]
LIGHTS = ["soft light", "warm light", "cool light"]
VIEWS = ["front view", "side view", "top view"]

_CAPTION = re.compile(
    r"a miniature (?P<colour>\w+) (?P<material>\w+) (?P<subject>\w+) on a (?P<base>[\w ]+), "
    r"(?P<background>[\w ]+) background, (?P<light>\w+ light), (?P<view>\w+ view)")


def parse(caption):
    """The renderer's caption as a dict of the seven attributes."""
    match = _CAPTION.fullmatch(caption)
    if not match:
        raise ValueError(f"not a scene caption: {caption!r}")
    return match.groupdict()


def labels(caption):
    """Indices of subject, colour and background: what the classifier is asked for."""
    scene = parse(caption)
    return (SUBJECTS.index(scene["subject"]), COLOURS.index(scene["colour"]),
            BACKGROUNDS.index(scene["background"]))


def vary(scene, rng):
    """One of the ways a person may ask for this scene: words dropped, phrases reordered.

    `rng` is a random.Random. Subject and colour stay nearly always; a third of the captions are
    complete and in the renderer's order.
    """
    if rng.random() < 0.35:
        keep = dict.fromkeys(scene, True)
    else:
        keep = {k: rng.random() < p for k, p in dict(
            subject=0.99, colour=0.93, material=0.5, base=0.6, background=0.8, light=0.4,
            view=0.5).items()}
    words = [scene[k] for k in ("colour", "material") if keep[k]]
    words.append(scene["subject"] if keep["subject"] else "thing")
    if rng.random() < 0.8:
        words.insert(0, "miniature")
    elif rng.random() < 0.5:
        words.insert(rng.randrange(len(words)), rng.choice(["tiny", "small", "little", "toy"]))
    subject = " ".join(words)
    if rng.random() < 0.85:
        subject = ("an " if subject[0] in "aeiou" else "a ") + subject
    if rng.random() < 0.1:
        subject = rng.choice(["a photo of ", "a picture of ", "photo of "]) + subject
    if keep["base"]:
        subject += rng.choice([" on a ", " on a ", " on a ", " standing on a "]) + scene["base"]
    phrases = []
    if keep["background"]:
        place = scene["background"]
        phrases.append(f"{place} background" if rng.random() < 0.8 else
                       rng.choice([place, f"{place} scene", f"in front of a {place} background"]))
    if keep["light"]:
        phrases.append(scene["light"])
    if keep["view"]:
        phrases.append(scene["view"])
    if rng.random() < 0.3:
        rng.shuffle(phrases)
    if phrases and rng.random() < 0.05:
        phrases.insert(0, phrases.pop())
        return ", ".join(phrases + [subject])
    return (", " if rng.random() < 0.9 else " ").join([subject] + phrases)
