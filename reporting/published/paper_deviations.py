"""In what an attack that has a protocol's name is another one than its numbers stand beside.

Any choice of a protocol can be named otherwise, and the protocol keeps its name. So a step, an
epsilon or starts that are not the paper's are told wherever its numbers stand beside.
"""

from collections.abc import Iterable, Iterator

from ...contracts import BENCHMARK_INFO, Score, epsilon_text
from ..model_results import ModelResults

PAPERS_STEP = 2 / 255
"""Of its code; its text prints 2/225. Source: ``evaluate_whitebox.py`` of eminorhan/resnext-wsl."""

UNDER_ATTACK = "accuracy_under_attack"
PUBLISHED_ITEMS = BENCHMARK_INFO["whitebox"].published_items
RELATIVE = "epsilon is a share of each image's largest value"


def made_otherwise(score: Score) -> list[str]:
    """In what an attack by the paper's protocol was made otherwise than the paper's.

    Example:
        >>> made_otherwise(Score(protocol="whitebox-1-paper", step_size=2 / 225, restarts=5))
        ['5 starts, not 1', 'steps of 2/225, not of 2/255']
    """
    if not _by_papers_protocol(score):
        return []
    found = []
    if score.restarts not in (None, 1):
        found.append(f"{score.restarts} starts, not 1")
    if score.step_size not in (None, PAPERS_STEP):
        found.append(
            f"steps of {epsilon_text(score.step_size)}, not of {epsilon_text(PAPERS_STEP)}"
        )
    if score.relative_epsilon:
        found.append(RELATIVE)
    if "-last-" in str(score.protocol):
        found.append("the last iterate is handed on, whether or not the target was reached")
    return found


def of_other_images(score: Score) -> list[str]:
    """That a white-box attack is of more than the paper's photos; of fewer a mark says so."""
    if (
        not _by_papers_protocol(score)
        or score.benchmark != "whitebox"
        or score.n <= PUBLISHED_ITEMS
    ):
        return []
    return [f"{score.n:,} images, not every second, {PUBLISHED_ITEMS:,}"]


def is_like_papers(scores: Iterable[Score]) -> bool:
    """Whether numbers, each under an attack, were made as the paper's."""
    return all(_by_papers_protocol(score) and not made_otherwise(score) for score in scores)


def deviation_notes(models: Iterable[ModelResults], benchmark: str) -> Iterator[str]:
    """A line for each model whose attack is another one than its protocol's name says."""
    for results in models:
        scores = list(results.of(benchmark, UNDER_ATTACK))
        words = dict.fromkeys(
            word for score in scores for word in (*made_otherwise(score), *of_other_images(score))
        )
        if words:
            yield f"{results.name}: unlike the paper's attack: {'; '.join(words)}"
        elif any(score.relative_epsilon for score in scores):
            yield f"{results.name}: {RELATIVE}"


def _by_papers_protocol(score: Score) -> bool:
    return str(score.protocol).rpartition("-")[2] == "paper"
