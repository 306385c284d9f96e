"""Every sentence of docs/semantics.md has a test that shows it: Tests/semantics.txt says which."""

import re

from serverkit import REPOSITORY

TESTS = REPOSITORY / "Tests"


def sentences():
    """The sentences of the document's lists."""
    text = (REPOSITORY / "docs/semantics.md").read_text()
    items = [block for block in re.split(r"\n(?=[-#])|\n\n", text) if block.startswith("- ")]
    for item in items:
        yield from re.split(r"(?<=\.)\s(?=[A-Z`(])", re.sub(r"\s+", " ", item[2:].strip()))


def claims():
    """How each sentence of the table begins, with the lines for its tests."""
    found, beginning = {}, None
    for line in (TESTS / "semantics.txt").read_text().splitlines():
        if line.startswith("    "):
            found[beginning].append(line.strip())
        elif line and not line.startswith("#"):
            beginning = line
            assert beginning not in found, f"twice: {beginning}"
            found[beginning] = []
    return found


def is_there(file, name):
    """Whether a file of tests has a test of a name."""
    text = "".join(path.read_text() for path in TESTS.rglob(file))
    return f"def {name}(" in text if file.endswith(".py") else f'"{name}"' in text


def test_every_sentence_about_semantics_is_claimed_by_a_test():
    beginnings = list(claims())
    unclaimed = [sentence for sentence in sentences() if not any(map(sentence.startswith, beginnings))]
    assert unclaimed == []


def test_every_claim_is_of_one_sentence():
    all_sentences = list(sentences())
    counts = {beginning: sum(map(str.startswith, all_sentences, [beginning] * len(all_sentences)))
              for beginning in claims()}
    assert {beginning: count for beginning, count in counts.items() if count != 1} == {}


def test_every_test_that_is_claimed_is_there():
    missing = []
    for beginning, lines in claims().items():
        assert lines, f"no test: {beginning}"
        for line in lines:
            file, _, name = line.partition(": ")
            if not line.startswith("- ") and not is_there(file, name):
                missing.append(line)
    assert missing == []
