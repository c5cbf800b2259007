from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import phrases
from baselines.phrases import Phrase, Vocabulary, split, split_phrases
from landmark.synonyms import load_synonyms
from landmark.taxonomy import CLASSES


def shown(found: tuple[Phrase, ...]) -> list[str]:
    return [
        ("not " if phrase.absent else "") + ("or " if phrase.either else "") + phrase.text
        for phrase in found
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("water. trees", ["Water", "Trees"]),
        ("Shrub and Scrub and snow and ice", ["Shrub and Scrub", "Snow and Ice"]),
        ("snow & ice / built-up areas", ["Snow and Ice", "Built"]),
        ("burnt areas", ["Burned Area"]),
        ("a tree, a  Flooded\tArea", ["Trees", "Flooded Area"]),
        ("flooded area next to crops", ["Flooded Area", "Crops"]),
        ("a satellite image of a river, and some houses", ["river", "houses"]),
        ("Sentinel-2 scene showing farmland / a lake;", ["farmland", "lake"]),
        ("houses and roads", ["houses and roads"]),
        ("land and sand", ["land", "sand"]),
        ("between an orchard or vineyard and cities", ["orchard or vineyard", "cities"]),
        ("water trees built", ["Water", "Trees", "Built"]),
        ("rebuilt waterfall", ["rebuilt waterfall"]),
        ("water or trees", ["Water", "or Trees"]),
        ("treeless, ice-free hills", ["not tree", "not ice", "hills"]),
        (" ,;", []),
        ("show me satellite images", []),
    ],
)
def test_queries_fall_into_phrases(text: str, expected: list[str]) -> None:
    found = shown(split_phrases(text))
    assert found == [word.replace("not tree", "not Trees") for word in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forest without water", ["forest", "not Water"]),
        ("no built", ["not Built"]),
        ("burned area; not any grass", ["Burned Area", "not Grass"]),
        ("forest without water and built", ["forest", "not Water", "not Built"]),
        ("without water or trees", ["not Water", "not Trees"]),
        ("no trees and water", ["not Trees", "Water"]),
        ("no trees or water", ["not Trees", "not Water"]),
        ("neither crops nor grass", ["not Crops", "not Grass"]),
        ("without trees, water", ["not Trees", "Water"]),
        ("without trees next to water", ["not Trees", "Water"]),
        ("everything but water", ["not Water"]),
        ("crops but not trees", ["Crops", "not Trees"]),
        ("crops far from water", ["Crops", "not Water"]),
        ("crops not next to water", ["Crops", "not Water"]),
    ],
)
def test_words_of_exclusion_reach_as_far_as_in_speech(text: str, expected: list[str]) -> None:
    assert shown(split_phrases(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crops not surrounded by trees", ["Crops", "not Trees"]),
        ("crops not adjacent to water", ["Crops", "not Water"]),
        ("crops not around water", ["Crops", "not Water"]),
        ("crops not bordered by the water", ["Crops", "not Water"]),
        ("crops not between water and trees", ["Crops", "not Water", "not Trees"]),
        ("crops but not near water", ["Crops", "not Water"]),
        ("crops not located directly  next to water", ["Crops", "not Water"]),
        ("crops not near (water)", ["Crops", "not Water"]),
        ('crops without "water"', ["Crops", "not Water"]),
        ("crops without (water)", ["Crops", "not Water"]),
        ("crops without: water", ["Crops", "not Water"]),
        ("crops without\nwater", ["Crops", "not Water"]),
        ("no (water)", ["not Water"]),
        ("neither near trees nor water", ["not Trees", "not Water"]),
        ("neither near trees nor near water, crops", ["not Trees", "not Water", "Crops"]),
        ("without water or near trees", ["not Water", "not Trees"]),
    ],
)
def test_words_of_exclusion_wait_for_what_they_exclude(text: str, expected: list[str]) -> None:
    assert shown(split_phrases(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('without "water" and "trees"', ["not Water", "not Trees"]),
        ("without (water) or (trees)", ["not Water", "not Trees"]),
        ("without (water and trees) near crops", ["not Water", "not Trees", "Crops"]),
        ('without ("water" or "trees"), crops', ["not Water", "not Trees", "Crops"]),
        ('no "water" and crops', ["not Water", "Crops"]),
        ('without "water" near crops', ["not Water", "Crops"]),
        ('without "water", crops', ["not Water", "Crops"]),
        ('"without water" and crops', ["not Water", "Crops"]),
        ('without water "crops"', ["not Water", "Crops"]),
        ('without "clouds", crops', ["Crops"]),
        ('without "clouds" crops', ["Crops"]),
        ("without trees and near water", ["not Trees", "Water"]),
    ],
)
def test_quotes_and_brackets_end_an_exclusion_where_they_close(
    text: str, expected: list[str]
) -> None:
    assert shown(split_phrases(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("not only trees but also water", ["Trees", "Water"]),
        ("crops but not just near water", ["Crops", "Water"]),
        ("crops not without trees", ["Crops", "Trees"]),
        ("crops not far from water", ["Crops", "Water"]),
        ("crops not too far away from water", ["Crops", "Water"]),
        ("neither far from trees nor outside of crops", ["Trees", "Crops"]),
        ("crops, not in summer 2021, near water", ["Crops", "Water"]),
        ("excluding clouds: crops", ["Crops"]),
        ("neither clouds nor haze, crops", ["Crops"]),
        ("no radar images, crops", ["Crops"]),
    ],
)
def test_not_every_negation_excludes_what_follows(text: str, expected: list[str]) -> None:
    assert shown(split_phrases(text)) == expected


@given(st.sampled_from(["not", "without", "no", "neither", "but not", "except"]), st.data())
def test_no_word_of_place_or_mark_turns_an_exclusion_into_a_wish(
    negation: str, data: st.DataObject
) -> None:
    joints = ["near", "surrounded by", "along", "inside", "touching", ":", "(", '"', "\n"]
    between = data.draw(st.lists(st.sampled_from(joints), max_size=2, unique=True))
    (wanted, excluded) = split_phrases(" ".join(["crops", negation, *between, "water"]))
    assert (wanted.known, wanted.absent) == ("Crops", False)
    assert (excluded.known, excluded.absent) == ("Water", True)


@pytest.mark.parametrize(
    ("text", "words", "why"),
    [
        ("water next to trees", "next to", phrases.PLACE),
        ("crops at the edge of water", "at the edge of", phrases.PLACE),
        ("crops far from water", "far from", phrases.FAR),
        ("crops not surrounded by water", "not surrounded by", phrases.FAR),
        ("neither near crops nor near water", "nor near", phrases.FAR),
        ("crops not far from water", "not far from", phrases.PLACE),
        ("water not in 2021", "not in 2021", phrases.TIME),
        ("show me images of the water", "show me images", phrases.ASKING),
        ("a radar image of water", "a radar image", phrases.SENSOR),
        ("water in summer 2021", "in summer 2021", phrases.TIME),
        ("water on 2021-07-03", "2021-07-03", phrases.TIME),
        ("water without clouds", "without clouds", phrases.CLOUDS),
        ("dark water trees", "dark", phrases.BESIDE),
    ],
)
def test_words_that_do_not_count_are_told_with_the_reason(text: str, words: str, why: str) -> None:
    assert (words, why) in [(left.words, left.why) for left in split(text).ignored]


def test_plain_connecting_words_are_not_worth_a_message() -> None:
    assert split("the water, and some trees with crops").ignored == ()


def test_loose_connectors_are_marked_and_not_cut() -> None:
    (phrase,) = split_phrases("huts in a wood by the shore")
    assert [piece.text for piece in phrase.pieces] == ["huts", "wood", "shore"]
    assert phrase.joints == (" in ", " by ")
    (phrase,) = split_phrases("forest")
    assert phrase.pieces[0].text == "forest"
    assert phrase.known == "Trees"


def test_every_name_and_training_synonym_is_one_phrase_of_its_class() -> None:
    for name, texts in load_synonyms().train.items():
        for text in (name, name.upper(), *texts):
            (phrase,) = split_phrases(f"show me {text} please")
            assert phrase.known == name, text


def test_a_vocabulary_of_one_s_own_replaces_the_synonyms() -> None:
    words = Vocabulary.of({"Water": ("the wide wet thing",)})
    (phrase,) = split("a wide wet thing", words).phrases
    assert phrase.known == "Water"
    assert split("forest", words).phrases[0].known is None


@given(st.text(max_size=60))
def test_any_text_is_split_without_a_fault(text: str) -> None:
    for phrase in split_phrases(text):
        assert phrase.text.strip() == phrase.text != ""
        assert "\x00" not in phrase.text


@given(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=5, unique=True), st.data())
def test_names_survive_any_way_of_connecting_them(names: list[str], data: st.DataObject) -> None:
    joints = st.sampled_from([" ", ", ", " and ", " next to ", " with ", " in a ", ". ", " near "])
    text = names[0]
    for name in names[1:]:
        text += data.draw(joints) + (name if data.draw(st.booleans()) else name.lower())
    pieces = [piece for phrase in split_phrases(text) for piece in phrase.pieces or (phrase,)]
    assert [piece.known for piece in pieces] == names
