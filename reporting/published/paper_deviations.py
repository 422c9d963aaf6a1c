"""How an attack by the paper's protocol differs from the paper's attack.

Users can change any setting of an attack, and the protocol keeps its name. So a step size, an
epsilon or restarts that are not the paper's are reported wherever the numbers are next to the
paper's.
"""

from collections.abc import Iterable, Iterator

from ...contracts import BENCHMARK_INFO, PAPERS_STEP, Score, epsilon_text
from ..attack_numbers import UNDER_ATTACK, WHITE_BOX
from ..model_results import ModelResults

PUBLISHED_ITEMS = BENCHMARK_INFO[WHITE_BOX].published_items
RELATIVE = "epsilon is a share of each image's largest value"


def paper_deviations(score: Score) -> list[str]:
    """Settings of an attack by the paper's protocol that are not the paper's.

    Example:
        >>> paper_deviations(Score(attack_protocol="paper", step_size=2 / 225, restarts=5))
        ['5 starts, not 1', 'steps of 2/225, not of 2/255']
    """
    if score.attack_protocol != "paper":
        return []
    deviations = []
    if score.restarts not in (None, 1):
        deviations.append(f"{score.restarts} starts, not 1")
    if score.step_size not in (None, PAPERS_STEP):
        step = epsilon_text(score.step_size)
        deviations.append(f"steps of {step}, not of {epsilon_text(PAPERS_STEP)}")
    if score.relative_epsilon:
        deviations.append(RELATIVE)
    if score.handed_image == "last":
        deviations.append("the last iterate is handed on, whether or not the target was reached")
    return deviations


def image_deviations(score: Score) -> list[str]:
    """Deviation of a white-box attack on more images than the paper's; a mark shows fewer."""
    own_images = score.benchmark != WHITE_BOX or score.n <= PUBLISHED_ITEMS
    if own_images or score.attack_protocol != "paper":
        return []
    return [f"{score.n:,} images, not every second, {PUBLISHED_ITEMS:,}"]


def is_like_papers(scores: Iterable[Score]) -> bool:
    """Whether all numbers, each under an attack, were made as in the paper."""
    return all(s.attack_protocol == "paper" and not paper_deviations(s) for s in scores)


def deviation_notes(models: Iterable[ModelResults], benchmark: str) -> Iterator[str]:
    """A line for each model whose attack has the paper's protocol and differs from its attack."""
    for results in models:
        scores = list(results.of(benchmark, UNDER_ATTACK))
        words = dict.fromkeys(
            word for score in scores for word in paper_deviations(score) + image_deviations(score)
        )
        if words:
            yield f"{results.name}: unlike the paper's attack: {'; '.join(words)}"
        elif any(score.relative_epsilon for score in scores):
            yield f"{results.name}: {RELATIVE}"
