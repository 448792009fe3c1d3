"""Task files: the shipped ones hold together, a hospital's own may build on them, and a mistake is said in words."""

from pathlib import Path

import pytest

from fedliver.errors import FedLiverError
from fedliver.study.federated.tables import words
from fedliver.study.federated.task import Arm, Privacy, Task, read_task, shipped_tasks

MINE = """
base = "heart-small"
name = "mine"
[training]
steps = 40
[[arms]]
way = "centralised"
[[arms]]
way = "federated"
clients = 3
division = "sizes"
sizes = [4, 2, 1]
strategy = { name = "fedprox", mu = 0.5 }
"""


def _task(tmp_path: Path, text: str) -> Task:
    (tmp_path / "mine.toml").write_text(text)
    return read_task(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("name", shipped_tasks())
def test_a_shipped_task_is_whole_and_asks_for_the_arms_that_the_question_needs(name: str):
    task = read_task(name)
    ways = {(arm.way, arm.clients) for arm in task.arms}
    assert ("centralised", 1) in ways
    assert {("federated", 2), ("federated", 4), ("federated", 8)} <= ways
    assert any(arm.way == "alone" for arm in task.arms)
    assert any(arm.division == "unbalanced" for arm in task.arms)
    assert task.seeds >= 3


def test_the_chest_x_rays_confounding_is_said_in_the_task_itself():
    for name in ("chest-xray", "chest-xray-small"):
        assert any("another source" in caution for caution in read_task(name).cautions)


def test_a_task_takes_over_what_it_does_not_say_anew(tmp_path: Path):
    task = _task(tmp_path, MINE)
    base = read_task("heart-small")
    assert (task.training.steps, task.training.rounds) == (40, base.training.rounds)
    assert task.network == base.network
    assert [arm.name for arm in task.arms] == ["centralised", "federated-3-sizes-4-2-1-fedprox-mu0.5"]
    assert task.published == base.published


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("steps = 41", "multiple of rounds"),
        ("sizes = [4, 2]", "one size for every client"),
        ('strategy = { name = "wishful" }', "strategy"),
        ('way = "alone"\nclients = 1\n[[arms]]\nway = "alone"', "the same"),
    ],
)
def test_a_mistake_in_a_task_is_said_with_its_place(tmp_path: Path, change: str, why: str):
    key = change.split(" =")[0]
    lines = [change if line.startswith(f"{key} =") else line for line in MINE.splitlines()]
    with pytest.raises(FedLiverError) as refusal:
        _task(tmp_path, "\n".join(lines))
    assert refusal.value.code == "bad-task"
    assert why in refusal.value.sentence


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ('target_from = { "many" = 0.1 }', "target_from"),
        ("[data]\nspacing_mm = [3.0, 0.0, 3.0]", "spacing_mm"),
        ("[data]\nwindow = [200.0, -100.0]", "window"),
        ('[data]\nlabels = { "ventricle" = 1 }', "labels"),
        ("[training]\npatch_size = [15, 15, 15]", "multiple of"),
        ("[training]\nlearning_rate = inf", "learning_rate"),
        ('[[arms]]\nway = "centralised"\n[[arms]]\nway = "federated"\nclients = 3\ndivision = "unbalanced"\nalpha = inf', "alpha"),
        ('[[structures]]\nname = "wall"\nlabels = [500]', "labels"),
        ("real = true", "generated images are not real"),
    ],
)
def test_a_value_that_no_study_can_use_is_refused_before_anything_runs(tmp_path: Path, change: str, why: str):
    with pytest.raises(FedLiverError, match=why) as refusal:
        _task(tmp_path, f'base = "heart-small"\n{change}\n')
    assert refusal.value.code == "bad-task"


def test_a_task_with_other_images_than_its_base_must_say_whether_they_are_real(tmp_path: Path):
    ours = 'base = "heart-small"\n{}\n[data]\nreader = "csv"\n'
    with pytest.raises(FedLiverError, match="whether they are real"):
        _task(tmp_path, ours.format('name = "ours"\nabout = "Ours."'))
    assert _task(tmp_path, ours.format('name = "ours"\nabout = "Ours."\nreal = true')).real


def test_a_study_without_a_centralised_arm_is_refused(tmp_path: Path):
    with pytest.raises(FedLiverError, match="centralised"):
        _task(tmp_path, MINE.replace('way = "centralised"', 'way = "alone"\nclients = 2'))


def test_an_unknown_task_names_the_shipped_ones_and_a_circle_ends(tmp_path: Path):
    with pytest.raises(FedLiverError, match="chest-xray"):
        read_task("nothing-like-it")
    with pytest.raises(FedLiverError, match="circle"):
        _task(tmp_path, 'base = "mine.toml"')


def test_arms_that_differ_have_names_that_differ():
    arms = [
        Arm(way="federated", clients=4),
        Arm(way="federated", clients=4, division="unbalanced"),
        Arm(way="federated", clients=4, division="unbalanced", alpha=0.1),
        Arm(way="federated", clients=4, steps_shared=True),
        Arm(way="federated", clients=4, compressed=True),
        Arm(way="federated", clients=4, active=2),
        Arm(way="federated", clients=4, privacy=Privacy(norm_bound=1)),
        Arm(way="federated", clients=4, privacy=Privacy(norm_bound=1, noise_multiplier=0.5)),
        Arm(way="federated", clients=4, privacy=Privacy(norm_bound=1, noise_multiplier=0.5, delta=0.1)),
        Arm(way="alone", clients=4),
    ]
    assert len({arm.name for arm in arms}) == len(arms)
    assert len({words(arm) for arm in arms}) == len(arms)


def test_sixteen_clients_have_the_wider_target():
    task = read_task("heart")
    assert [task.target_of(Arm(way="federated", clients=n)) for n in (8, 16)] == [0.010, 0.015]
