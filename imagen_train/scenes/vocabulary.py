"""Which words and things can a scene hold, and which (color, shape) pairs are kept out of training?"""

SHAPES = ("sphere", "cube", "cylinder", "cone", "ring", "star", "heart", "sign")
COLORS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "gray", "black", "brown")
BACKDROPS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "gray", "black", "sunset", "night")
MATERIALS = ("matte", "shiny", "striped", "checkered")
SIZES = ("small", "medium", "large")
RELATIONS = ("left", "right", "above", "below")
LAYOUTS = ("one", "two", "three", *RELATIONS, "trio", "sign")
LABELS = ("layout", "backdrop", "size", "color_1", "shape_1", "material_1", "color_2", "shape_2")

SIGN = SHAPES.index("sign")
MAX_THINGS = 3
MAX_LETTERS = 6

_SIGN_WORDS = """
    HI YES NO GO UP ON CAT DOG SUN TEA ART FOX JAM BOX ZOO KEY SKY ICE MAP BUS HELLO LOVE OPEN COOL STOP EXIT CAFE
    JAZZ QUIZ PIZZA MILK FISH BOOK HOME PLAY STAR MOON TREE BIRD RAIN WIND SNOW FIRE LAKE ROAD PARK SALE MENU TAXI HOTEL
    MUSIC WATER BREAD QUEEN KING LUCKY WORLD HAPPY THANK SMILE NORTH SOUTH IMAGEN PLEASE COFFEE GARDEN MARKET SCHOOL
    WINTER SUMMER JUNGLE ROCKET VOYAGE BAKERY OXYGEN
"""
WORDS = tuple(_SIGN_WORDS.split())

# How a caption may say each thing. A word stands as often as it is to be drawn; the first one is its canonical name.
SHAPE_WORDS = {
    "sphere": ("sphere",) * 3 + ("ball",),
    "cube": ("cube",) * 3 + ("box",),
    "cylinder": ("cylinder",),
    "cone": ("cone",),
    "ring": ("ring",) * 7 + ("donut",),
    "star": ("star",),
    "heart": ("heart",),
    "sign": ("sign",),
}
COLOR_WORDS = {color: (color,) for color in COLORS} | {
    "gray": ("gray", "grey"),
    "purple": ("purple",) * 9 + ("violet",),
    "teal": ("teal",) * 9 + ("turquoise",),
}
MATERIAL_WORDS = {
    "matte": ("matte",),
    "shiny": ("shiny",) * 3 + ("glossy",),
    "striped": ("striped",),
    "checkered": ("checkered",) * 4 + ("checked",),
}
SIZE_WORDS = {
    "small": ("small",) * 5 + ("little",) * 3 + ("tiny",),
    "medium": ("medium",),
    "large": ("large",) * 5 + ("big",) * 4 + ("huge",),
}
COUNT_WORDS = {
    "two": ("two",) * 6 + ("2",) * 2 + ("a pair of",),
    "three": ("three",) * 3 + ("3",),
}
RELATION_WORDS = {
    "left": ("to the left of",) * 5 + ("left of",) * 2 + ("on the left of", "on the left side of"),
    "right": ("to the right of",) * 5 + ("right of",) * 2 + ("on the right of", "on the right side of"),
    "above": ("above",) * 3 + ("on top of",) * 3 + ("over",),
    "below": ("below",) * 3 + ("under",) * 2 + ("beneath", "underneath"),
}
BESIDE_WORDS = ("and", "and", "next to", "beside")  # side by side, in an order the caption leaves open
BACKDROP_PHRASES = ("on {a} {color} background",) * 6 + (
    "against {a} {color} background",
    "with {a} {color} background",
    "in front of {a} {color} background",
    "on {a} {color} backdrop",
)
TIME_PHRASES = {"sunset": ("at sunset",) * 5 + ("at dusk",), "night": ("at night",)}
SIGN_PHRASES = ("{sign} that says {word}",) * 5 + (
    "{sign} saying {word}",
    "{sign} reading {word}",
    "{sign} with the word {word}",
    "the word {word} on {sign}",
)
OPENINGS = ("a photo of", "a picture of", "an image of", "a render of", "there is")

PARSE_WORDS = (
    *(";", "a", "b", "c", "beside", "word", "backdrop"),
    *dict.fromkeys((*LAYOUTS, *SHAPES, *COLORS, *BACKDROPS, *MATERIALS, *SIZES)),
)


def is_held_out(color: int, shape: int) -> bool:
    """Whether training never shows this pair: one shape in eight for every color, one or two colors for every shape.

    Both are indices, into COLORS and SHAPES.
    """
    return (color + 3 * shape) % 8 == 5


HELD_OUT_PAIRS = tuple((c, s) for c in range(len(COLORS)) for s in range(len(SHAPES)) if is_held_out(c, s))
TRAINING_PAIRS = tuple((c, s) for c in range(len(COLORS)) for s in range(len(SHAPES)) if not is_held_out(c, s))


def plural(noun: str) -> str:
    """The noun for two and more: boxes, spheres."""
    return noun + ("es" if noun.endswith("x") else "s")


def article(phrase: str) -> str:
    """The indefinite article that the phrase takes."""
    return "an" if phrase[0] in "aeiou" else "a"


def _every_caption_word() -> tuple[str, ...]:
    nouns = [noun for options in SHAPE_WORDS.values() for noun in options]
    phrases = [*nouns, *map(plural, nouns), *BESIDE_WORDS, *BACKDROP_PHRASES, *SIGN_PHRASES, *OPENINGS]
    for table in (COLOR_WORDS, MATERIAL_WORDS, SIZE_WORDS, COUNT_WORDS, RELATION_WORDS, TIME_PHRASES):
        phrases += [phrase for options in table.values() for phrase in options]
    phrases += ["a an the one 1", "on the left", "on the right", "from left to right"]
    words = " ".join(phrases).split()
    return tuple(sorted({word for word in words if "{" not in word}))


CAPTION_WORDS = _every_caption_word()  # lower case, without the words on signs: what a tokenizer must know whole
