"""What a study says, in sentences. Every word of it follows from the numbers."""

from collections.abc import Sequence
from statistics import fmean

from fedliver.study.federated.comparison import ArmSummary, SiteGain, common_seeds, of_seeds
from fedliver.study.federated.measures import value_name
from fedliver.study.federated.tables import words
from fedliver.study.federated.task import Arm, Task


def verdict(task: Task, summaries: Sequence[ArmSummary], gains: Sequence[SiteGain]) -> list[str]:
    """What is lost by not pooling, what reaches the target where plain averaging does not, what is won over staying alone, and what privacy costs."""
    said = []
    for shared, counted in (
        (False, "Every site taking as many steps as the centralised one, so that n sites compute n times as much"),
        (True, "All sites together taking as many steps as it"),
    ):
        said += _lost(task, [one for one in summaries if _counted(one.arm, shared) and one.difference], counted)
        said += [] if shared else _above(summaries)
        said += _rescued(summaries, shared)
    said += [*_won(task, gains), *_privacy(task, summaries)]
    return said or ["There are not enough results yet to say anything."]


def is_plain(arm: Arm) -> bool:
    """The federation as a hospital would first try it: plain averaging, all sites at work, nothing clipped."""
    bare = not (arm.compressed or arm.privacy or arm.active)
    return arm.way == "federated" and arm.strategy.name == "fedavg" and bare


def _counted(arm: Arm, shared: bool) -> bool:
    return is_plain(arm) and arm.steps_shared is shared


def _lost(task: Task, plain: Sequence[ArmSummary], counted: str) -> list[str]:
    if not plain:
        return []
    inside, outside = [one for one in plain if one.within], [one for one in plain if not one.within]
    lowest = min(plain, key=lambda one: one.difference.mean if one.difference else 0.0)
    said = [
        f"{counted}: plain federated averaging came within its target of centralised {value_name(task)} in {len(inside)} of {len(plain)} arms "
        f"({_seeds(plain)}); the lowest is {words(lowest.arm)}, {_signed(lowest)}."
    ]
    if outside:
        said.append(f"It missed in: {'; '.join(f'{words(one.arm)} ({_signed(one)}, target {one.target:g})' for one in outside)}.")
    for group, sentence in (
        (outside, "Missed on the mean, but with an interval over test patients that reaches within the target, so that such a loss is not shown"),
        (inside, "Within the target, but with an interval over test patients that reaches beyond it, so that a larger loss is not ruled out"),
    ):
        unsure = [words(one.arm) for one in group if _interval_crosses_target(one)]
        said += [f"{sentence}: {'; '.join(unsure)}."] if unsure else []
    return said


def _above(summaries: Sequence[ArmSummary]) -> list[str]:
    """What better numbers than the centralised arm's do not mean."""
    above = [one.difference.mean for one in summaries if _counted(one.arm, shared=False) and one.difference and one.difference.mean > one.target]
    if not above:
        return []
    arms = f"{len(above)} arm{'s' if len(above) > 1 else ''} (up to {max(above):+.4f})"
    return [
        f"Above it by more than the target in {arms}: n sites compute n times as much, and the centralised network may not be done learning after its steps. "
        "This is no gain over pooling the data, and says little about what is lost by not pooling them."
    ]


def _interval_crosses_target(one: ArmSummary) -> bool:
    found = one.difference
    return found is not None and found.low is not None and found.high is not None and found.low < -one.target <= found.high


def _rescued(summaries: Sequence[ArmSummary], shared: bool) -> list[str]:
    said, untried = [], []
    for missed in [one for one in summaries if _counted(one.arm, shared) and one.within is False]:
        rivals = [one for one in summaries if one.arm.strategy.name != "fedavg" and _otherwise_alike(one.arm, missed.arm)]
        reached = [one for one in rivals if one.within]
        tried = ", ".join(f"{one.arm.strategy.name} {_signed(one)}" for one in rivals)
        if reached:
            best = max(reached, key=lambda one: one.value)
            unsure = ", with an interval that reaches beyond it" if _interval_crosses_target(best) else ""
            said.append(f"Where it missed ({words(missed.arm)}), {best.arm.strategy.name} reached the target: {_signed(best)}{unsure}.")
        elif rivals:
            said.append(f"Where it missed ({words(missed.arm)}), none of the strategies tried reached the target: {tried}.")
        else:
            untried.append(words(missed.arm))
    if shared and (said or untried) and any(_counted(one.arm, shared=False) for one in summaries):
        said.append(
            "Where sites share the steps, a model takes only its site's part of them one after another: look at the arms with all steps before the division."
        )
    return said + ([f"No other strategy was tried for: {'; '.join(untried)}."] if untried else [])


def _otherwise_alike(one: Arm, other: Arm) -> bool:
    """Whether two federated arms differ in nothing but the strategy."""
    return one.way == other.way and one.model_copy(update={"strategy": other.strategy}).name == other.name


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
        of_sites = f"{len(mine) - len(losing)} of {len(mine)} sites ({seeds} {'seed' if seeds == 1 else 'seeds'})"
        shown = sum(1 for one in mine if one.gain.low is not None and one.gain.low > 0)
        text = f"{words(of[name]).capitalize()}: {of_sites} gain over staying alone, {mean:+.4f} on average"
        text += f"; {shown} with an interval above 0" if any(one.gain.low is not None for one in mine) else ""
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
        seeds = common_seeds((one.results, without.results)) if without else frozenset()
        if without is None or not seeds:
            continue
        change = fmean(result.value for result in of_seeds(one.results, seeds)) - fmean(result.value for result in of_seeds(without.results, seeds))
        noised = one.arm.privacy is not None and one.arm.privacy.noise_multiplier > 0
        what, verb = ("Clipping and noise", "change") if noised else ("Clipping" if one.arm.privacy else "Compression", "changes")
        spent = next((result.epsilon for result in one.results if result.epsilon is not None), None)
        text = f"{what} ({words(one.arm)}) {verb} {value_name(task)} by {change:+.4f} ({_seeds([one])})"
        if one.arm.compressed and without.cost.megabytes:
            text += f" and the traffic to {100 * one.cost.megabytes / without.cost.megabytes:.0f} %"
        if spent is not None:
            text += f"; epsilon {spent:.3g}" + (", which guarantees nothing" if spent > 100 else "")
        said.append(text + ".")
    return said


def _seeds(summaries: Sequence[ArmSummary]) -> str:
    """How many seeds the arms have: "3 seeds", "1 to 3 seeds"."""
    counts = sorted({len(one.results) for one in summaries})
    return f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else "1 seed" if counts == [1] else f"{counts[0]} seeds"


def _signed(one: ArmSummary) -> str:
    return f"{one.difference.mean:+.4f}" if one.difference else "–"
