"""Made-up text: sentences of seeded words, so that no two rows are alike and each answer fits its prompt.

Every text of a case speaks of the case's own topic, as a real answer speaks of what was asked. The fixed
parts of the patterns are short: rows share few runs of five words, and a step that looks for near-duplicates
or for the items of an evaluation leaves them alone.
"""

from __future__ import annotations

from functools import cache, cached_property
from random import Random
from typing import Literal

Style = Literal["chat", "code", "math", "list"]
STYLES: tuple[Style, ...] = ("chat", "code", "math", "list")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words("""
    anchor apron archive atlas bakery balcony bamboo barrel basket beacon beetle bicycle blanket
    blossom bottle bridge broom bucket button cabin cactus camera candle canoe canvas carpet castle
    cellar chalk cherry chimney circus clay clock cloud cobalt coffee comet compass copper coral
    cradle crane crystal curtain daisy desert diary donkey dragon drawer drum easel echo ember
    engine falcon feather fence ferry fiddle forest fossil fountain furnace galaxy garden garlic
    ginger glacier glove granite guitar hammer hammock harbor harvest hazel helmet heron hollow
    honey igloo island ivory jacket jasmine journal kettle kitchen kite ladder lagoon lantern laurel
    lemon library lighthouse linen lobster locket magnet mango maple marble market meadow melon
    meteor mirror mitten monsoon mosaic mountain museum napkin needle nettle notebook nutmeg oasis
    ocean olive onion orchard otter oven paddle palace panther paper parcel pebble pencil pepper
    piano pigeon pillow planet plum pocket poem pottery prairie puzzle quarry quartz quilt rabbit
    raft railway rainbow raven recipe reef ribbon river rocket saddle saffron sail sandal satchel
    scarf seashell shadow shelter signal silver sketch sled sparrow spice spiral squirrel stable
    statue stove sugar sundial sweater tablet tango teapot temple thimble thistle thunder ticket
    tiger timber toast tower tractor trumpet tulip tunnel turnip umbrella valley vase velvet village
    vinegar violin volcano wagon walnut waltz water whistle willow window winter wizard wolf wool
    zebra zipper
""")
ADJECTIVES = _words("""
    ancient bitter bold brave brief bright broken calm careful clever cloudy coarse cold common
    crisp curious damp dense distant dusty eager early empty faint fancy fast fragile fresh gentle
    golden grand heavy hidden hollow humble idle jolly kind large late lively lonely loose lucky
    mellow mild modern narrow nimble noisy odd pale patient plain polite proud quick quiet rapid
    rare rough round sharp shiny silent simple slow smooth soft solid sour steady steep strange
    strong sturdy subtle tall tender thick thin tidy tiny tough vast vivid warm weary wide wild wise
    young
""")
VERBS = _words("""
    admire assemble balance borrow brush build carry carve catch chase clean climb collect compare
    cook count cover decorate deliver describe design draw drop examine explore fasten fetch fill
    find fold follow gather guard hang heat hold improve inspect join keep label lift light measure
    mend mix move notice open paint paste place plant polish prepare press protect pull push raise
    record repair replace rescue roll sell send shake shape share show sketch slice sort spin split
    stack steer stir store study teach tie touch trace trade turn wash watch weigh wrap write
""")
PLACES = _words("""
    Aarhus Bergen Bilbao Braga Bristol Cork Cusco Delft Dijon Essen Fez Galway Ghent Graz Hobart
    Izmir Jaipur Kobe Kyoto Leeds Lima Linz Lviv Lyon Malmo Mysore Nantes Oaxaca Odense Oslo Padua
    Perth Plovdiv Porto Quito Riga Salta Sapporo Seville Siena Split Tampere Tartu Toledo Trieste
    Turin Utrecht Varna Vigo Zadar
""")
PEOPLE = _words("""
    Ada Amir Anouk Asha Bela Bruno Carla Chidi Dana Davor Elif Emeka Esther Farid Freya Gita Hana
    Hugo Ines Ivan Jonas Jun Kaito Kofi Lara Leila Lena Luca Mabel Mateo Mira Nadia Nils Noor Olga
    Omar Paula Petra Priya Rafael Rosa Samir Sofia Taro Tessa Tomas Uma Vera Wanda Yusuf
""")

_POOLS = {
    "n": NOUNS,
    "d": ADJECTIVES,
    "v": VERBS,
    "p": PLACES,
    "w": PEOPLE,
    "i": tuple(str(i) for i in range(2, 98)),
}
"""Slots of the patterns: any word of a list. The topic's own words are `A`, `B`, `C`, `P` and `W`."""

_ASKS = (
    "How would {W} {v} the {d} {A} near {P} before the {B} arrives?",
    "Explain why a {d} {A} can {v} a {B}, and what the {C} has to do with it.",
    "I found a {A} and {i} {d} {B}s in {P}; should I {v} the {C} first?",
    "Write a short story in which {W} must {v} a {d} {A} while the {B} sleeps.",
    "Which {A} suits a {d} {B}, if {W} wants to {v} it every {n}?",
    "Compare the {A} of {P} with the {B}; mention the {d} {C} too.",
    "My {A} broke when {W} tried to {v} a {d} {B}. What now?",
    "Plan a {d} weekend in {P} around one {A}, a {B} and the {C}.",
    "Can you {v} this note about the {A} so that {W} likes the {d} {B}?",
    "Tell me three {d} facts about the {A} that nobody in {P} knows, apart from the {C}.",
)
_MORE_ASKS = (
    "Keep the {n} {d}, please.",
    "{w} in {p} asked for {i} {n}s as well.",
    "Do not {v} the {n}.",
    "Assume the {C} stays {d} and the {n} does not.",
    "A {d} tone would suit {w}.",
    "The {B} was {d} yesterday.",
)
_OPENINGS = (
    "For the {A}, the {B} and the {C}, {W} has a {d} plan.",
    "A {A} in {P} needs its {B}, and the {C} comes {d}.",
    "With a {d} {A}, both {B} and {C} will do.",
    "{W}'s {A} is {d}, but the {C} of a {B} never is.",
    "Think of {P}: one {d} {C}, one {B}, and a {A} to {v}.",
)
_ANSWERS = (
    "Start with the {A}: {v} it until the {n} looks {d}.",
    "In {P}, a {d} {B} will {v} almost any {n}.",
    "{W} could {v} the {C} with {i} {d} {n}s.",
    "The {A} and the {B} rarely meet, since one is {d} and the other {d}.",
    "Most people {v} their {n} too early, and then the {A} turns {d}.",
    "A {d} {n} helps the {C} more than {i} {n}s ever would.",
    "Ask {w} to {v} the {B}; it takes about {i} minutes.",
    "Near {p} the {n} is {d}, so the {A} must stay {d}.",
    "Never {v} a {B} beside a {d} {n}.",
    "Once the {C} is {d}, {v} every {n} from {p}.",
    "{w} wrote that a {d} {A} can {v} {i} {n}s a day.",
    "This works because the {B} keeps its {n} {d}.",
    "If the {n} fails, {v} the {A} by hand and {v} the {d} {C} later.",
    "There is a {d} {n} under each {B} of {P}.",
    "Remember: {d} {n}s, {d} {C}s, and one {A}.",
)
_FOLLOW_UPS = (
    "And what about the {d} {n} that {w} left in {p}?",
    "Thanks. Could you {v} the {B} with {i} {n}s instead?",
    "Why does the {C} need a {d} {n}?",
    "Now {v} it for a {d} reader like {w}.",
    "Is the {n} of {p} also {d}, or only the {A}?",
)
_MATH = (
    "{W} has {i} {A}s and buys {i} boxes of {i} {B}s in {P}. Each {C} costs {i} coins. How many are left?",
    "A {d} {A} rolls {i} metres while the {B} rolls {i}. After {i} turns near {P}, how far apart are they?",
    "Let $x$ be the number of {d} {A}s, with ${i}x + {i} = {i}{i}$ per {B}. Find $x$ and the {C}s left.",
)
_STEPS = (
    "First, the {A}s give {i} + {i} {n}s.",
    "Multiplying by the {d} {B}s, we have {i} times {i}.",
    "The {C} adds {i}, as {w} says.",
    "So {i} {d} {n}s remain in {P}.",
)


@cache
def _parsed(pattern: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What stands before the first slot; and each slot with what stands behind it."""
    head, *slots = pattern.split("{")
    return head, tuple((slot[0], slot[2:]) for slot in slots)


class Talk:
    """The texts of one case: all of one topic, each other than the last.

    >>> from random import Random
    >>> talk = Talk(Random(1))
    >>> talk.topic == Talk(Random(1)).topic, talk.answer() == talk.answer()
    (True, False)
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self._random = rng.random

    @cached_property
    def topic(self) -> dict[str, str]:
        """The words that every text of the case may use."""
        place = int(self._random() * len(NOUNS))
        steps = (0, 1 + int(self._random() * 60), 61 + int(self._random() * 60))
        a, b, c = (NOUNS[(place + step) % len(NOUNS)] for step in steps)
        return {"A": a, "B": b, "C": c, "P": self.pick(PLACES), "W": self.pick(PEOPLE)}

    def pick(self, words: tuple[str, ...]) -> str:
        """Any of them."""
        return words[int(self._random() * len(words))]

    def fill(self, pattern: str) -> str:
        """The pattern with a word in each slot."""
        head, slots = _parsed(pattern)
        topic, random = self.topic, self._random
        out = [head]
        for slot, text in slots:
            if slot in topic:
                out.append(topic[slot])
            else:
                words = _POOLS[slot]
                out.append(words[int(random() * len(words))])
            out.append(text)
        filled = "".join(out)
        return filled[0].upper() + filled[1:]

    def ask(self, style: Style = "chat") -> str:
        """What a user asks."""
        if style == "math":
            return self.fill(self.pick(_MATH))
        if style == "code":
            name = f"{self.pick(VERBS)}_{self.topic['A']}s"
            return f"Write a Python function `{name}(items)`. " + self.fill(self.pick(_ASKS))
        return " ".join([self.fill(self.pick(_ASKS)), *self._several(_MORE_ASKS, 0, 3)])

    def follow_up(self) -> str:
        """What a user says next."""
        return " ".join([self.fill(self.pick(_FOLLOW_UPS)), *self._several(_MORE_ASKS, 0, 1)])

    def answer(self, style: Style = "chat", least: int = 2, most: int = 7) -> str:
        """What an assistant says."""
        parts = self._several(_STEPS if style == "math" else _ANSWERS, least - 1, most - 1)
        parts.insert(0, self.fill(self.pick(_OPENINGS)))
        if style == "list":
            return "\n".join([parts[0], "", *(f"{i}. {part}" for i, part in enumerate(parts[1:], 1))])
        if style == "code":
            return f"{parts[0]}\n\n{self.code()}\n{' '.join(parts[1:])}"
        return ("\n\n" if len(parts) > 4 else " ").join(parts)

    def code(self) -> str:
        """A block of Python."""
        verb, a, b = self.pick(VERBS), self.topic["A"], self.topic["B"]
        body = [
            f"    {b} = [{self.pick(NOUNS)} for {self.pick(NOUNS)} in items if len({a}) > {self.number()}]"
        ]
        body += [f"    {self.pick(NOUNS)}_{i} = {b}[{self.number()} :]" for i in range(1 + self.number() % 4)]
        return "\n".join(["```python", f"def {verb}_{a}s(items, {a}):", *body, f"    return {b}", "```"])

    def number(self) -> int:
        """A number of one or two digits."""
        return 2 + int(self._random() * 96)

    def _several(self, patterns: tuple[str, ...], least: int, most: int) -> list[str]:
        count = least + int(self._random() * (most - least + 1))
        begun = int(self._random() * len(patterns))  # one after the other, so that none comes twice
        return [self.fill(patterns[(begun + i) % len(patterns)]) for i in range(count)]
