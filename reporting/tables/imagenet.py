"""ImageNet's validation images: calibration errors."""

from ..metric_info import quantity_of
from ..model_results import ReportContents
from ..table import Table
from ..table_layout import Row, table_of_rows

CALIBRATION = ("rms_calibration_error", "ece")


def imagenet_tables(contents: ReportContents) -> list[Table]:
    """Calibration, one row a model; the top-1 and top-5 errors are in the first table."""
    models = contents.with_number("imagenet", "ece")
    if not models:
        return []
    rows = [
        Row((results.name,), [results.cell(results.find("imagenet", m)) for m in CALIBRATION])
        for results in models
    ]
    header = ("model", *(quantity_of(metric).heading for metric in CALIBRATION))
    note = (
        "the probability of the likeliest class against how often it is right: root mean square "
        "over bins of 100 images, and (ECE) mean over 15 bins of equal width; of few images both "
        "are large by chance"
    )
    return [table_of_rows("Calibration on ImageNet validation", header, rows, (note,))]
