from tests.docs.settings_page import page, told_by
from tests.docs.test_pages import ROOT


def test_the_page_has_every_setting_as_it_is_now() -> None:
    assert (ROOT / "docs/settings.md").read_text() == page(), "make settings-page"


def test_a_comment_belongs_to_the_key_beside_or_below_it_or_to_its_section() -> None:
    told = told_by(
        '# Of all.\n[one]\n# More of all.\n# a = "x # y"   # of a\n#                 # and so on\n'
        "# Of b,\n# all of it.\nb = 1\n"
        "\n[two]\n# Of the first.\nfirst = 1\na = 2   # as above\n"
    )
    assert told["one"].of_all == ["Of all.", "More of all."]
    assert told["one"].of_key["a"].meaning() == told["two"].of_key["a"].meaning() == "of a and so on"
    assert told["one"].of_key["b"].meaning() == "Of b, all of it"
    assert (told["two"].of_all, told["two"].of_key["first"].meaning()) == ([], "Of the first")
