"""Random texts of a given number of tokens, counted by the model's own tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

# Common words, most of them one token in the vocabulary of any model that has seen English.
_WORDS = (
    "able about above across after again air all along also always and another answer any area around ask away back "
    "base because become been before began being below best better between big book both bring build business but "
    "call came can car carry case change child city class clear close cold come common could country course cut "
    "dark data day deep did different does done door down draw drive during each early earth east easy eat end "
    "enough even ever every example eye face fact fall family far fast father feel few field final find fine fire "
    "first five follow food for form found four free friend from full game gave general girl give gold good got "
    "great green ground group grow had half hand hard has have head hear heart heat help here high hold home hot "
    "hour house how hundred idea if inside is island it job just keep kind king know land language large last late "
    "law lay lead learn left less let letter life light like line list little live long look lost love low made "
    "main make man many map mark may mean measure might mind money moon more morning most mother move much music "
    "must name near need never new next night north note nothing now number object of off often old on once one "
    "only open or order other our out over own page paper part pass past people perhaps person picture place plan "
    "plant play point power problem public pull put question quick rain ran reach read real record red rest right "
    "river road rock room round rule run said same saw say school science sea second see seem self sentence set "
    "several shape she ship short should show side simple since sing sit six size sleep slow small snow so some "
    "song soon sound south space special spell stand star start state stay step still stone stood stop story street "
    "strong study such sun sure system table take talk teach team tell ten test than that the their them then there "
    "these they thing think this those though thought thousand three through time to together told too took top "
    "town travel tree true try turn two under unit until up us use usual very voice walk want war warm was watch "
    "water way we week well went were west what wheel when where which while white who whole why will wind with "
    "without woman wonder wood word work world would write year yes yet you young "
)
_FEWEST = 16
_ATTEMPTS = 8


class Texts:
    """Makes texts of random common words. ``count`` returns the number of tokens of a text, special tokens included.

    Most tokenizers split at spaces first, so that a text has the tokens of its words. With another tokenizer, the
    tokens of each text are counted. ``specials`` is the number of special tokens that it adds to any text.
    """

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        once, twice = count(" the"), count(" the the")
        self.specials = 2 * once - twice
        self._costs: dict[str, int] = {}
        self._weigh(_WORDS.split())
        self._single = [word for word, cost in self._costs.items() if cost == 1]
        sample = self._single or list(self._costs)
        self._additive = self._count_tokens(sample) == sum(self._costs[word] for word in sample)

    def generate(self, random: Random, tokens: int) -> str:
        """Generates a text of ``tokens`` tokens without special ones, or the nearest number that words allow."""
        words = self._choose_words(random, tokens)
        if self._additive:
            return _join(words)
        return self._adjust(random, words, tokens)

    def _count_tokens(self, words: Sequence[str]) -> int:
        return self._count(_join(words)) - self.specials

    def _weigh(self, words: list[str]) -> None:
        """Finds the number of tokens of each word. Most have one, so that one count often settles many words."""
        tokens = self._count_tokens(words)
        if tokens == len(words) or len(words) == 1:
            self._costs.update(dict.fromkeys(words, max(1, tokens // len(words))))
        else:
            middle = len(words) // 2
            self._weigh(words[:middle])
            self._weigh(words[middle:])

    def _choose_words(self, random: Random, tokens: int) -> list[str]:
        if len(self._single) >= _FEWEST:
            return random.choices(self._single, k=tokens)
        words: list[str] = []
        while fitting := [word for word, cost in self._costs.items() if cost <= tokens]:
            words.append(random.choice(fitting))
            tokens -= self._costs[words[-1]]
        return words

    def _adjust(self, random: Random, words: list[str], tokens: int) -> str:
        best, off = words, tokens
        for _ in range(_ATTEMPTS):
            missing = tokens - self._count_tokens(words)
            if abs(missing) < off:
                best, off = list(words), abs(missing)
            if missing == 0:
                break
            while missing < 0 and words:
                missing += self._costs[words.pop()]
            words += self._choose_words(random, missing)
        return _join(best)


def _join(words: Sequence[str]) -> str:
    return "".join(f" {word}" for word in words)
