"""The word lists that come with Loratory, in English, each with the two groups that a swap has.

`gender` follows the idea of the lists of Zhao et al. 2018, "Gender Bias in Coreference Resolution"
(arXiv 1804.06876), and Lu et al. 2018, "Gender Bias in Neural Natural Language Processing" (arXiv
1807.11714); the words are ours. Left out are words with another common sense (Miss, groom, host)
and names that are also words or surnames (Grace, Mark, Will). `ethnic-names` has the first names
of Bertrand and Mullainathan 2004, "Are Emily and Greg More Employable than Lakisha and Jamal?",
except Kenya, Ebony and Jay, which are also a country, a word, and a name of other groups.
"""

from __future__ import annotations

__all__ = ["LISTS"]

# Of several partners the first is taken; his and her are decided by what follows (`swap`).
_GENDER = """
    he she | him her | his her | his hers | himself herself | man woman | men women | boy girl |
    boys girls | father mother | fathers mothers | dad mom | dads moms | dad mum | dads mums |
    daddy mommy | daddy mummy | son daughter | sons daughters | brother sister | brothers sisters |
    husband wife | husbands wives | boyfriend girlfriend | boyfriends girlfriends |
    uncle aunt | uncles aunts | nephew niece | nephews nieces | grandfather grandmother |
    grandfathers grandmothers | grandpa grandma | grandson granddaughter |
    grandsons granddaughters | stepfather stepmother | stepson stepdaughter |
    gentleman lady | gentlemen ladies | male female | males females | guy gal | guys gals |
    king queen | kings queens | prince princess | princes princesses | duke duchess |
    actor actress | actors actresses | waiter waitress | waiters waitresses |
    hero heroine | heroes heroines | businessman businesswoman | businessmen businesswomen |
    spokesman spokeswoman | spokesmen spokeswomen | chairman chairwoman |
    policeman policewoman | policemen policewomen | salesman saleswoman |
    congressman congresswoman | widower widow | widowers widows | sir madam | Mr Ms | Mr Mrs |
    fatherhood motherhood | brotherhood sisterhood | manhood womanhood | boyhood girlhood |
    masculine feminine
"""

_NAMES = """
    James Mary | John Linda | Robert Patricia | Michael Jennifer | William Elizabeth |
    David Susan | Richard Barbara | Joseph Jessica | Thomas Sarah | Charles Karen |
    Christopher Nancy | Daniel Lisa | Matthew Margaret | Anthony Sandra | Donald Ashley |
    Steven Kimberly | Paul Emily | Andrew Donna | Joshua Michelle | Kenneth Carol |
    Kevin Amanda | Brian Melissa | George Deborah | Edward Stephanie | Ronald Rebecca |
    Timothy Laura | Jason Helen | Jeffrey Cynthia | Ryan Amy | Jacob Kathleen |
    Gary Angela | Nicholas Shirley | Eric Anna | Jonathan Ruth | Stephen Brenda |
    Larry Pamela | Justin Nicole | Scott Katherine | Brandon Christine | Benjamin Samantha |
    Samuel Emma | Gregory Catherine | Alexander Virginia | Patrick Rachel | Raymond Carolyn |
    Dennis Janet | Jerry Maria | Peter Alice
"""

_ETHNIC_NAMES = """
    Brad Darnell | Brendan Hakim | Geoffrey Jamal | Greg Jermaine | Brett Kareem |
    Matthew Leroy | Neil Rasheed | Todd Tremayne | Allison Aisha | Anne Keisha |
    Carrie Lakisha | Emily Latonya | Jill Latoya | Kristen Tamika | Laurie Tanisha |
    Brett Tyrone
"""


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for entry in text.split("|"):
        first, second = entry.split()
        found.append((first, second))
    return tuple(found)


LISTS: dict[str, tuple[tuple[str, str], tuple[tuple[str, str], ...]]] = {
    "gender": (("men", "women"), _pairs(_GENDER)),
    "names": (("men", "women"), _pairs(_NAMES)),
    "ethnic-names": (("White names", "Black names"), _pairs(_ETHNIC_NAMES)),
}
"""Name of a list to its two groups and its pairs of words, one of each group."""
