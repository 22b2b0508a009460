import pytest
from shop.search import Index


@pytest.fixture
def index():
    with Index(refresh=0.4) as index:
        index.put("apple", "A red apple from the old orchard")
        index.put("pear", "A green pear, old and sweet")
        yield index


def test_find(index):
    assert index.wait()
    assert index.find("red") == ["apple"]


def test_every_word_counts(index):
    assert index.wait()
    assert index.find("old") == ["apple", "pear"]
    assert index.find("old sweet") == ["pear"]


def test_case_does_not_count(index):
    assert index.wait()
    assert index.find("GREEN") == ["pear"]


def test_nothing_found(index):
    assert index.wait()
    assert index.find("blue") == []
    assert index.find("") == []


def test_not_before_the_refresh():
    with Index(refresh=0.4) as index:
        assert index.wait()
        index.put("plum", "A blue plum")
        assert index.wait()
        assert index.find("plum") == ["plum"]


@pytest.mark.parametrize("text", ["A yellow apple", None])
def test_change(index, text):
    if text is None:
        index.drop("apple")
    else:
        index.put("apple", text)
    assert index.wait()
    assert index.find("red") == []
