"""The offline model's small lexicon: words that carry no topic, and words that point to well-known labels."""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_STOPWORDS = """
a about above across after again against all almost alone along already also although always am among an and another
any anyone anything are around as ask at away back be became because become becomes been before began begin begins
behind being below best better between beyond both bring brings but by came can cannot come comes could day days did
do does doing done down during each either else even ever every everyone everything face faces far few find finding
finds first for found from full further gave get gets getting give given gives go goes going gone good got great had
has have having he help helps her here hers herself high him himself his how however i if in including inside instead
into is it its itself just keep keeps kept know known knows large last later least left less let life like little live
lives living long look looks made make makes making man many may me might mine more most much must my myself near need
needs never new next no none nor not nothing now of off often old on once one only onto or other others our out
outside over own part past people place put quite rather really right said same saw say says second see seek seeks
seem seems seen set she should show shows since small so some someone something soon still such take taken takes
taking tell tells than that the their them themselves then there these they thing things third this those though three
through time times to together told too took toward towards tries try trying turn turns two under until up upon us use
used uses using very want wants was way ways we well went were what when where whether which while who whom whose why
will with within without woman work works world would year years yet you young your yours
"""
STOPWORDS = frozenset(_STOPWORDS.split())
_TOPICS = """
action: action agent assassin battle bomb chase escape explosion fight fighter gun hero martial mission rescue stunt
adventure: adventure explorer expedition island journey jungle map pirate quest sail sea treasure voyage
animation: animated animation cartoon
biography: biography biographical life-story memoir
comedy: comedy comic funny hilarious humor joke laugh prank satire silly
crime: bank cop criminal crime detective drug gang gangster heist mafia murder officer police prison robber robbery
    thief
documentary: archive documentary footage interview
drama: death divorce drama family father friendship grief illness loss mother poverty struggle
family: boy brother child childhood daughter dog family father girl grandmother kid mother parent pet sister son
fantasy: curse dragon elf fairy fantasy king kingdom magic magical myth queen spell sword witch wizard
history: ancient century emperor empire history historical king medieval queen revolution royal war
horror: blood demon evil fear ghost haunted horror killer monster nightmare terror undead vampire zombie
music: album band concert dance jazz melody music musical musician opera piano rock singer song violin
mystery: clue disappear disappearance investigate investigation mystery mysterious puzzle secret strange vanish
politics: campaign candidate election government law minister party policy political politics president senate vote
romance: affair bride couple date fall-in-love heart kiss love lover marriage marry romance romantic wedding
science_fiction: alien android astronaut clone colony future galaxy moon planet robot science scientist space
    spaceship star
sport: athlete boxer boxing champion coach cup football game goal league match player race sport team tournament
thriller: assassin conspiracy hostage hunt kidnap murder revenge spy suspense terrorist threat thriller
travel: airport city destination flight hotel journey road tourist travel trip vacation
war: army battle battlefield bomb general military navy nazi regiment soldier trench troops veteran war warfare
western: bounty cattle cowboy frontier gunslinger outlaw ranch saloon sheriff western
business: bank business company customer deal invoice market merger office price profit sale shop startup trade
education: class college exam lesson professor pupil school student teach teacher university
food: bake bread breakfast cake chef cook delicious dinner dish flavour food kitchen meal recipe restaurant taste
health: disease doctor health hospital ill medicine nurse patient surgery therapy treatment virus
nature: animal bird climate farm fish flower forest garden mountain nature ocean river tree wild
technology: app code computer data device digital internet machine network phone screen software technology
delivery: arrive box courier deliver delivery late package parcel ship shipment shipping
quality: break broken crack defect durable faulty quality scratch sturdy
billing: bill billing card charge invoice overcharged payment refund
chair: armchair chair rocker seat stool
table: bench desk dining table tabletop
sofa: couch cushion loveseat sofa
bed: bed bedframe headboard mattress
storage: bookcase cabinet chest drawer dresser shelf sideboard storage wardrobe
lighting: bulb lamp lampshade lantern light lighting
positive: amazing beautiful brilliant charming comfortable delight delightful easy enjoy enjoyable excellent fantastic
    glad good great happy helpful impressive love lovely nice perfect pleasant pleased recommend satisfied superb thank
    triumph wonderful
negative: angry annoying awful bad boring broken complain complaint cruel damage dead death defective disappointed
    disappointing dirty fail failure faulty hate horrible late lost mess murder pain poor problem refund rude sad slow
    terrible tragedy tragic unhappy useless violent waste worse worst wrong
"""
_SAME = {
    "sci-fi": "science fiction", "scifi": "science fiction", "sports": "sport", "musical": "music",
    "historical": "history", "political": "politics", "good": "positive", "happy": "positive",
    "favourable": "positive", "bad": "negative", "sad": "negative", "angry": "negative", "seating": "chair",
    "desk": "table", "tables": "table", "lamp": "lighting",
}  # fmt: skip
SENTIMENTS = ("positive", "negative")
UNDECIDED = frozenset(
    ["neutral", "other", "unknown", "none", "mixed", "unclear", "n/a", "misc", "miscellaneous", "general"]
)


@functools.lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return a lower-case word without its commonest English endings."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word[: -len(ending)].rstrip("e")
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


TOPICS: dict[str, frozenset[str]] = {}
for _label, _words in re.findall(r"^([a-z_]+):((?:[^:]|\n)*?)$(?=\n[a-z_]+:|\Z)", _TOPICS.strip(), re.MULTILINE):
    TOPICS[_label.replace("_", " ")] = frozenset(map(stem, _words.split()))
# The topics that each stem indicates, with its points: a topic's own name counts twice.
POINTS: dict[str, list[tuple[str, int]]] = {}
for _topic in [_topic for _topic in TOPICS if _topic not in SENTIMENTS]:
    for _stem in TOPICS[_topic] | {stem(_topic)}:
        POINTS.setdefault(_stem, []).append((_topic, (_stem in TOPICS[_topic]) + (_stem == stem(_topic))))
_PLACES = {_topic: _place for _place, _topic in enumerate(TOPICS)}


def rank(stems: Iterable[str]) -> list[tuple[str, int]]:
    """Return the topics that stems indicate and their points, the strongest first."""
    points: Counter[str] = Counter()
    for found in POINTS.keys() & stems:
        for topic, more in POINTS[found]:
            points[topic] += more
    return sorted(points.items(), key=lambda each: (-each[1], _PLACES[each[0]]))


@functools.lru_cache(maxsize=4_096)
def indicators(label: str) -> frozenset[str]:
    """Return the stems that speak for a label: its own words, and those of the topic of its name."""
    name = label.strip().lower()
    parts = name.replace("_", " ").replace("-", " ").replace("/", " ").split()
    found = {stem(word) for word in parts if word not in STOPWORDS}
    for one in (name, " ".join(parts), *parts):
        found |= TOPICS.get(_SAME.get(one, one), frozenset())
    return frozenset(found)
