"""What a study says, in sentences. Every word of it follows from the numbers."""

from collections.abc import Sequence

from fedliver.study.federated.comparison import ArmSummary, SiteGain
from fedliver.study.federated.measures import value_name
from fedliver.study.federated.tables import words
from fedliver.study.federated.task import Arm, Task


def verdict(task: Task, summaries: Sequence[ArmSummary], gains: Sequence[SiteGain]) -> list[str]:
    """What is lost by not pooling, what reaches the target where plain averaging does not, what is won over staying alone, and what privacy costs."""
    said = [*_lost(task, summaries), *_rescued(summaries), *_won(task, gains), *_privacy(task, summaries)]
    return said or ["There are not enough results yet to say anything."]


def is_plain(arm: Arm) -> bool:
    """The federation as a hospital would first try it: plain averaging, the same steps at every site, nothing clipped."""
    return arm.way == "federated" and arm.strategy.name == "fedavg" and not (arm.steps_shared or arm.compressed or arm.privacy or arm.active)


def _lost(task: Task, summaries: Sequence[ArmSummary]) -> list[str]:
    plain = [one for one in summaries if is_plain(one.arm) and one.difference]
    if not plain:
        return []
    inside, outside = ([one for one in plain if one.within is flag] for flag in (True, False))
    said = []
    if inside:
        worst = min(inside, key=lambda one: one.difference.mean if one.difference else 0.0)
        said.append(
            f"Plain federated averaging came within its target of centralised {value_name(task)} in {len(inside)} of {len(plain)} arms"
            f" (the furthest of them: {words(worst.arm)}, {_signed(worst)})."
        )
    said += [f"It missed the target of {one.target:g} in: {words(one.arm)} ({_signed(one)})." for one in outside]
    unsure = [one for one in inside if one.difference and one.difference.low is not None and one.difference.low < -one.target]
    if unsure:
        listed = "; ".join(words(one.arm) for one in unsure)
        said.append(
            f"In {len(unsure)} of those within the target, the interval over test patients reaches beyond it, so that a larger loss is not ruled out: {listed}."
        )
    return said


def _rescued(summaries: Sequence[ArmSummary]) -> list[str]:
    said = []
    for missed in [one for one in summaries if is_plain(one.arm) and one.within is False]:
        rivals = [
            one
            for one in summaries
            if one.arm.way == "federated"
            and one.arm.partition == missed.arm.partition
            and not is_plain(one.arm)
            and not one.arm.privacy
            and not one.arm.steps_shared
        ]
        reached = [one for one in rivals if one.within]
        if reached:
            best = max(reached, key=lambda one: one.value)
            said.append(f"Where it missed ({words(missed.arm)}), {best.arm.strategy.name} reached the target: {_signed(best)}.")
        elif rivals:
            tried = ", ".join(one.arm.strategy.name for one in rivals)
            said.append(f"Where it missed ({words(missed.arm)}), none of what was tried reached the target: {tried}.")
        else:
            said.append(f"Where it missed ({words(missed.arm)}), no other strategy was tried.")
    return said


def _won(task: Task, gains: Sequence[SiteGain]) -> list[str]:
    said = []
    of = {arm.name: arm for arm in task.arms}
    for name in dict.fromkeys(one.arm for one in gains):
        if not is_plain(of[name]):
            continue
        mine = [one for one in gains if one.arm == name]
        losing = [one for one in mine if one.gain.mean <= 0]
        mean = sum(one.gain.mean for one in mine) / len(mine)
        seeds = len({one.seed for one in mine})
        text = f"{words(of[name]).capitalize()}: {len(mine) - len(losing)} of {len(mine)} sites (over {seeds} seeds) gain over staying alone"
        text += f", {mean:+.4f} on average"
        if losing:
            who = ", ".join(f"site {one.site + 1} of seed {one.seed} ({one.images} images, {one.gain.mean:+.4f})" for one in losing)
            text += f"; these do not: {who}"
        said.append(text + ".")
    return said


def _privacy(task: Task, summaries: Sequence[ArmSummary]) -> list[str]:
    by_name = {one.arm.name: one for one in summaries}
    said = []
    for one in summaries:
        if one.arm.privacy is None and not one.arm.compressed:
            continue
        without = by_name.get(one.arm.model_copy(update={"privacy": None, "compressed": False}).name)
        if without is None:
            continue
        what = "Clipping" + (" and noise" if one.arm.privacy and one.arm.privacy.noise_multiplier else "") if one.arm.privacy else "Compression"
        spent = next((result.epsilon for result in one.results if result.epsilon is not None), None)
        text = f"{what} ({words(one.arm)}) changes {value_name(task)} by {one.value - without.value:+.4f}"
        if one.arm.compressed and without.cost.megabytes:
            text += f" and the traffic to {100 * one.cost.megabytes / without.cost.megabytes:.0f} %"
        if spent is not None:
            text += f"; epsilon {spent:.3g}" + (", which guarantees nothing" if spent > 100 else "")
        said.append(text + ".")
    return said


def _signed(one: ArmSummary) -> str:
    return f"{one.difference.mean:+.4f}" if one.difference else "–"
