"""A site's rules are its own: the coordinator's policy can make them stricter and never laxer."""

from pathlib import Path

import pytest

from fedliver.errors import FedLiverError
from fedliver.site.rules import FILE_NAME, EgressRules, PrivacyMinimums, changed_rules, read_rules

STRICT = EgressRules(minimum_cases=5, minimum_metric_cases=7, norm_bound=3.0, noise_multiplier=1.5, epsilon_budget=8.0)


def test_a_lax_policy_changes_nothing_of_a_strict_sites_rules() -> None:
    assert STRICT.made_stricter(PrivacyMinimums(minimum_cases=1, minimum_metric_cases=1, norm_bound=1000.0, noise_multiplier=0.0)) == STRICT


def test_a_strict_policy_makes_every_rule_of_a_lax_site_stricter() -> None:
    asked = PrivacyMinimums(minimum_cases=6, minimum_metric_cases=8, norm_bound=2.0, noise_multiplier=0.5)
    made = EgressRules().made_stricter(asked)
    assert (made.minimum_cases, made.minimum_metric_cases, made.norm_bound, made.noise_multiplier) == (6, 8, 2.0, 0.5)


def test_every_rule_that_a_policy_can_ask_is_a_rule_of_the_site() -> None:
    assert PrivacyMinimums.model_fields.keys() < EgressRules.model_fields.keys()


def test_without_a_file_the_defaults_hold_and_a_single_case_is_below_them(tmp_path: Path) -> None:
    assert read_rules(tmp_path) == EgressRules()
    assert EgressRules().minimum_cases > 1
    assert EgressRules().minimum_metric_cases > 1


def test_changed_rules_are_read_back(tmp_path: Path) -> None:
    changed_rules(tmp_path, minimum_cases=4)
    changed_rules(tmp_path, noise_multiplier=0.5, epsilon_budget=3.0)
    assert read_rules(tmp_path) == EgressRules(minimum_cases=4, noise_multiplier=0.5, epsilon_budget=3.0)


@pytest.mark.parametrize("content", ["", "{", '{"minimum_cases": 0}', '{"norm_bound": "inf"}', '{"switched_off": true}', '{"epsilon_budget": 3}'])
def test_rules_that_cannot_be_followed_are_refused_and_never_replaced_by_defaults(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(FedLiverError) as caught:
        read_rules(tmp_path)
    assert caught.value.code == "rules-unreadable"


def test_a_budget_without_noise_is_refused_in_words_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="needs a noise_multiplier") as caught:
        changed_rules(tmp_path, epsilon_budget=3.0)
    assert caught.value.code == "bad-rules"
    assert not (tmp_path / FILE_NAME).exists()


def test_the_rules_in_words_tell_every_number() -> None:
    said = " ".join(STRICT.sentences)
    for number in ("5 patients", "7 patients", "longer than 3", "1.5 times", "1e-05", "pass 8"):
        assert number in said
    assert "nothing is promised" in " ".join(EgressRules().sentences)
