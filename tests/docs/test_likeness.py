"""The rule by which pages are compared with what is printed: it forgives what it has to, and nothing else."""

import pytest

from tests.docs.likeness import Ids


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("adam is queued: 8 queued", "adam is running: 8 running\n"),
        ("median steps 212.5 against 3,937.5; p = 0.00781", "median\nsteps 1,200 against 250; p = 1e-05"),
        ("{ … verdict: supported, … }", "{a: 1, verdict: supported, b: 2}"),
        ("sgd   0.01115 ± 0.00088", "sgd 0.2 ± 0.1"),
        ("job_1a20b624f4649148662b63bfa21 is queued", "job_0123456789abcdef0123456789a is queued"),
        ("dk_4be1f70a9c2d83e6_0Xc3-_a", "dk_0123456789abcdef_zZ9"),
    ],
)
def test_numbers_ids_and_the_breaking_of_lines_may_differ(shown: str, printed: str) -> None:
    assert Ids().agree(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("Verdict: SUPPORTED", "Verdict: REFUTED"),
        ("folds succeeded", "folds failed"),
        ("folds succeeded", "folds queued"),
        ("adam is queued", "adam is failed"),
        ("one line", "one line\nand another"),
        ("one line …", "another line"),
        ("0.97 ± 0.01", "0.97"),
        ("run_1a20b624f471fab48f23dec8f01", "job_1a20b624f471fab48f23dec8f01"),
    ],
)
def test_words_may_not(shown: str, printed: str) -> None:
    assert not Ids().agree(shown, printed)


def test_an_id_that_a_page_has_shown_stands_for_the_same_one_from_then_on() -> None:
    ids, shown, real = Ids(), "job_1a20b624f4649148662b63bfa21", "job_0123456789abcdef0123456789a"
    assert ids.agree(f"{shown} is queued", f"{real} is queued")
    assert ids.real(f"descent show {shown}") == f"descent show {real}"
    assert ids.agree(f"{shown} has succeeded", f"{real} has succeeded")
    assert not ids.agree(f"{shown} has succeeded", "job_fedcba9876543210fedcba98765 has succeeded")


def test_an_id_that_comes_twice_has_to_be_the_same_twice() -> None:
    shown = "job_1a20b624f4649148662b63bfa21 job_1a20b624f4649148662b63bfa21"
    assert not Ids().agree(shown, "job_0123456789abcdef0123456789a job_fedcba9876543210fedcba98765")
