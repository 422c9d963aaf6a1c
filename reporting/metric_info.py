"""Titles, units and intervals of the metrics in a report, and which values are better.

A metric without a row here is reported as a rate under its name in the JSON, with neither direction
called better. So a new benchmark needs no row before it can be reported.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .footnotes import interval_text, percent

MEAN_INTERVAL = "95 % interval over the images, the same ones in all cells"
WILSON_INTERVAL = "95 % Wilson interval"
SEQUENCE_INTERVAL = "95 % interval over the source images, the same ones in all perturbations"
EXEMPLAR_INTERVAL = "95 % interval from a two-way bootstrap over shape and texture exemplars"


@dataclass(frozen=True)
class Quantity:
    """A metric as reports show it.

    Attributes:
        title: Name of the metric, without its unit.
        unit: ``%`` for a rate, which is a fraction in a score; empty if shown as it is.
        interval: Description of its confidence interval.
        better: Which values are better; empty if neither, or if the metric is unknown.
    """

    title: str
    unit: str = "%"
    interval: str = "95 % interval"
    better: Literal["lower", "higher", ""] = ""

    @property
    def heading(self) -> str:
        """The title with the unit, as heading of a column."""
        return f"{self.title} {self.unit}".strip()

    def text(
        self, value: float, low: float | None = None, high: float | None = None, *, sign: str = ""
    ) -> str:
        """A number with its interval; ``sign="+"`` shows the sign of one above zero.

        Example:
            >>> Quantity("T5D", "").text(1.046, 1.0, 1.1), Quantity("mFR").text(0.461)
            ('1.05 [1.00, 1.10]', '46.1')
        """
        if self.unit == "%":
            return percent(value, low, high, sign=sign)
        return interval_text(value, low, high, f"{sign}.2f")


QUANTITIES = {
    "top1_error": Quantity("top-1 error", better="lower", interval=WILSON_INTERVAL),
    "top5_error": Quantity("top-5 error", better="lower", interval=WILSON_INTERVAL),
    "mean_error": Quantity("mean error", better="lower", interval=MEAN_INTERVAL),
    "mce": Quantity("mCE", better="lower", interval=MEAN_INTERVAL),
    "relative_mce": Quantity("relative mCE", better="lower", interval=MEAN_INTERVAL),
    "ce": Quantity("CE", better="lower", interval=MEAN_INTERVAL),
    "relative_ce": Quantity("relative CE", better="lower", interval=MEAN_INTERVAL),
    "accuracy": Quantity("accuracy", better="higher", interval=WILSON_INTERVAL),
    "rms_calibration_error": Quantity("RMS calibration error", better="lower"),
    "ece": Quantity("ECE", better="lower"),
    "aurra": Quantity("AURRA", better="higher"),
    "clean_accuracy": Quantity("clean accuracy", better="higher", interval=WILSON_INTERVAL),
    "accuracy_under_attack": Quantity(
        "accuracy under attack", better="higher", interval=WILSON_INTERVAL
    ),
    "target_reached": Quantity("target reached", better="lower", interval=WILSON_INTERVAL),
    "label_unchanged": Quantity("label unchanged", better="higher", interval=WILSON_INTERVAL),
    "source_clean_accuracy": Quantity("source's clean accuracy", interval=WILSON_INTERVAL),
    "source_accuracy": Quantity("source under its own attack", interval=WILSON_INTERVAL),
    "flip_probability": Quantity("flip probability", better="lower", interval=SEQUENCE_INTERVAL),
    "t5d": Quantity("T5D", "", better="lower", interval=SEQUENCE_INTERVAL),
    "mfr": Quantity("mFR", better="lower", interval=SEQUENCE_INTERVAL),
    "mt5d": Quantity("mT5D", better="lower", interval=SEQUENCE_INTERVAL),
    "shape_bias": Quantity("shape bias", interval=EXEMPLAR_INTERVAL),
    "category_shape_bias": Quantity("shape bias", interval=EXEMPLAR_INTERVAL),
    "decided": Quantity("decided", interval=EXEMPLAR_INTERVAL),
    "category_decided": Quantity("decided", interval=EXEMPLAR_INTERVAL),
    "frac_correct": Quantity("frac_correct", interval=EXEMPLAR_INTERVAL),
}


def quantity_of(metric: str) -> Quantity:
    """The quantity of a metric; an unknown metric is a rate.

    Example:
        >>> quantity_of("mce").heading, quantity_of("new_number").heading
        ('mCE %', 'new number %')
    """
    return QUANTITIES.get(metric) or Quantity(metric.replace("_", " "))


def interval_notes(metrics: Iterable[str]) -> list[str]:
    """Note on the intervals of metrics; empty if there are no metrics.

    Example:
        >>> interval_notes(["mce", "top1_error"])[0].split("; ")[1]
        'for top-1 error: 95 % Wilson interval'
    """
    titles: dict[str, list[str]] = {}
    for metric in dict.fromkeys(metrics):
        quantity = quantity_of(metric)
        titles.setdefault(quantity.interval, []).append(quantity.title)
    if len(titles) < 2:
        return [f"[low, high]: {interval}" for interval in titles]
    general = [MEAN_INTERVAL] if titles.pop(MEAN_INTERVAL, None) else []
    others = [f"for {_joined_titles(names)}: {interval}" for interval, names in titles.items()]
    return [f"[low, high]: {'; '.join((*general, *others))}"]


def _joined_titles(titles: Sequence[str]) -> str:
    if len(titles) == 1:
        return titles[0]
    text = f"{', '.join(titles[:-1])} and {titles[-1]}"
    return text.replace("top-1 error and top-5 error", "top-1 and top-5 error")
