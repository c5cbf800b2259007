from __future__ import annotations

import numpy as np
import pytest

from baselines import phrases, translation
from baselines.translation import Translator
from baselines.understanding import lines_of
from landmark.errors import InputError
from landmark.synonyms import Synonyms
from landmark.taxonomy import CLASSES

EYE = np.eye(12)


class Sense:
    """A text tower whose space is the taxonomy: words point at classes as a table says.

    `words` maps a word to (class, strength); the rest of its unit length lies in a direction of its
    own, far from all classes. A text is the sum of its words.
    """

    def __init__(self, words: dict[str, tuple[str, float]]) -> None:
        self.words = words
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return np.stack([self._vector(text) for text in texts]).astype(np.float32)

    def _vector(self, text: str) -> np.ndarray:
        vector = np.full(14, 1e-3)
        text = text.removeprefix("a satellite image of ").lower()
        for place, name in enumerate(CLASSES):
            vector[place] += text == name.lower()
        for word in text.split():
            name, strength = self.words.get(word, ("", 0.0))
            if name:
                vector[CLASSES.index(name)] += strength
                vector[13] += np.sqrt(1 - strength**2)
        return vector / np.linalg.norm(vector)


#: No synonym but the names themselves, so that prototypes are the axes.
BARE = Synonyms(dict.fromkeys(CLASSES, ()), dict.fromkeys(CLASSES, ()))
WORDS = {
    "brook": ("Water", 0.95),
    "huts": ("Built", 0.95),
    "oaks": ("Trees", 0.9),
    "rushing": ("Water", 0.9),
    "tents": ("Built", 0.49),
    "chess": ("Built", 0.1),
}


@pytest.fixture
def sense() -> Sense:
    return Sense(WORDS)


@pytest.fixture
def translator(sense: Sense) -> Translator:
    return Translator(sense, BARE)  # type: ignore[arg-type]


def test_names_are_one_hot_and_ask_no_encoder(sense: Sense) -> None:
    opened = []

    def opens() -> Sense:
        opened.append(1)
        return sense

    translator = Translator(opens)  # type: ignore[arg-type, return-value]
    request = translator.translate("Water and flooded vegetation without woodland")
    assert request.wanted.tolist() == EYE[[0, 3]].tolist()
    assert request.absent.tolist() == EYE[[1]].tolist()
    assert request.understood == ("Water", "Flooded Vegetation", "not Trees")
    assert (request.classes, request.excluded) == (("Water", "Flooded Vegetation"), ("Trees",))
    assert [reading.how for reading in request.readings] == ["name", "name", "synonym"]
    assert request.nearness == 1
    assert opened == []


def test_other_words_are_spread_over_the_classes_by_meaning(translator: Translator) -> None:
    request = translator.translate("brook")
    (row,) = request.wanted
    assert row.sum() == pytest.approx(1)
    assert row.argmax() == CLASSES.index("Water")
    assert 0.5 < row.max() < 1
    assert request.understood == ("Water",)
    assert request.readings[0].how == "meaning"
    assert translation.SURE <= request.nearness < 1


def test_softness_decides_how_far_the_weights_are_spread(sense: Sense) -> None:
    sharp, soft = (
        Translator(sense, BARE, softness).translate("brook").wanted[0].max()  # type: ignore[arg-type]
        for softness in (0.01, 1.0)
    )
    assert sharp > 0.999
    assert soft < 0.5


def test_a_phrase_falls_apart_where_its_parts_are_clearly_other_classes(
    translator: Translator,
) -> None:
    assert translator.translate("huts in oaks").understood == ("Built", "Trees")
    # Both parts say water: one thing.
    assert translator.translate("brook with rushing").understood == ("Water",)
    # One part says nothing: it stays with the other.
    assert translator.translate("brook in chess").understood == ("Water",)
    # A name stands for itself, whatever is around it.
    assert translator.translate("huts in water with oaks").understood == ("Built", "Water", "Trees")


def test_a_guess_counts_only_alone(translator: Translator) -> None:
    alone = translator.translate("tents")
    assert (alone.readings[0].how, alone.understood) == ("guess", ("Built",))
    assert len(alone.wanted) == 1
    beside = translator.translate("water, tents")
    assert beside.wanted.tolist() == EYE[[0]].tolist()
    assert beside.understood == ("Water",)
    assert beside.free == ("tents",)
    assert beside.nearness == alone.nearness


def test_a_sure_class_replaces_an_earlier_guess_at_it(translator: Translator) -> None:
    request = translator.translate("tents, built and water")
    assert request.wanted.tolist() == EYE[[6, 0]].tolist()
    assert request.understood == ("Built", "Water")
    assert (request.free, request.nearness) == ((), 1)
    without = translator.translate("water without tents and built")
    assert without.absent.tolist() == EYE[[6]].tolist()
    assert without.understood == ("Water", "not Built")


def test_a_guess_counts_beside_exclusions(translator: Translator) -> None:
    request = translator.translate("tents without water")
    alone = translator.translate("tents")
    assert request.wanted.tolist() == alone.wanted.tolist()
    assert request.absent.tolist() == EYE[[0]].tolist()
    assert lines_of(request, "classes") == (
        'looking for Built ("tents": a guess)',
        "without Water",
    )


def test_a_guess_gives_way_where_its_class_is_surely_excluded(translator: Translator) -> None:
    request = translator.translate("tents without built")
    assert (request.wanted.shape, request.absent.tolist()) == ((0, 12), EYE[[6]].tolist())
    assert (request.understood, request.free) == (("not Built",), ("tents",))


def test_free_text_has_no_weight_beside_a_guess_or_an_exclusion(translator: Translator) -> None:
    alone = translator.translate("tents")
    beside = translator.translate("tents, chess")
    assert beside.wanted.tolist() == alone.wanted.tolist()
    assert beside.free == ("tents", "chess")
    assert translator.translate("chess without water").wanted.shape == (0, 12)


@pytest.mark.parametrize("text", ["tents", "tents, chess", "tents without water", "water, tents"])
def test_what_is_said_to_be_looked_for_is_what_weighs(translator: Translator, text: str) -> None:
    request = translator.translate(text)
    assert {CLASSES[int(row.argmax())] for row in request.wanted} == set(request.classes)


def test_free_text_is_no_class(translator: Translator) -> None:
    request = translator.translate("chess")
    assert request.understood == ()
    assert request.free == ("chess",)
    assert len(request.wanted) == 1
    assert translator.translate("water, chess").wanted.tolist() == EYE[[0]].tolist()


def test_or_makes_one_wish_of_two(translator: Translator) -> None:
    request = translator.translate("crops near water or trees")
    assert request.wanted.tolist() == [EYE[4].tolist(), ((EYE[0] + EYE[1]) / 2).tolist()]
    assert request.understood == ("Crops", "Water or Trees")
    assert request.classes == ("Water", "Trees", "Crops")
    assert translator.translate("no water or trees").absent.tolist() == EYE[[0, 1]].tolist()


def test_a_class_counts_once(translator: Translator) -> None:
    assert translator.translate("water, brook, water").wanted.tolist() == EYE[[0]].tolist()


def test_what_is_asked_for_and_excluded_is_asked_for(translator: Translator) -> None:
    request = translator.translate("water without water")
    assert (request.understood, request.absent.shape) == (("Water",), (0, 12))
    assert [left.why for left in request.ignored] == [translation.BOTH]


def test_only_classes_can_be_excluded(translator: Translator) -> None:
    request = translator.translate("water without chess")
    assert (request.understood, request.absent.shape) == (("Water",), (0, 12))
    assert [(left.words, left.why) for left in request.ignored] == [
        ("not chess", translation.NO_CLASS)
    ]


@pytest.mark.parametrize("text", [" . ", "and", "next to", "show me images of", "no chess"])
def test_a_text_that_names_nothing_is_refused(translator: Translator, text: str) -> None:
    with pytest.raises(InputError, match="names nothing to look for"):
        translator.translate(text)


def test_the_refusal_says_which_words_did_not_count(translator: Translator) -> None:
    with pytest.raises(InputError, match=phrases.CLOUDS):
        translator.translate("clouds")
