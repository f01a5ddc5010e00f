"""The numbers of docs/explanation/moonshot.md: `shortlist_4` beside `search_200`, from results of config/moonshot.yaml.

PYTHONPATH=workflow/scripts python docs/moonshot_numbers.py results-moonshot [MODEL …]
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

from iclscope.matrix.quality import read_scores
from iclscope.selection import trial
from iclscope.statistics.gains.agreement import TrueVariance
from iclscope.tables import SELECTION

OURS, SEARCH, MARGIN = "shortlist_4", "search_200", 0.05
CONFIG = Path(__file__).parents[1] / "config/moonshot.yaml"


def main(results: Path, models: list[str]) -> None:
    """Print a row per model, data set and target: gains, their difference with its interval, share of the tokens."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for model in models or config["models"]:
        for dataset in config["datasets"]:
            sys.stdout.writelines(f"{row}\n" for row in rows_of(results, model, dataset, config))


def rows_of(results: Path, model: str, dataset: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield rows of a table in Markdown."""
    files = trial.Files(
        evaluation=results / f"evaluation/{model}/{dataset}.parquet",
        candidates=results / f"samples/{dataset}/candidates.parquet",
        item_rows=results / f"samples/{dataset}/items.parquet",
        metrics={"causal": results / f"metrics/{model}/{dataset}/causal.parquet"},
        features=results / f"features/{model}/{dataset}.parquet",
        embeddings=results / f"embeddings/{model}/{dataset}.parquet",
    )
    settings = config["selection"]
    costs = SELECTION.read(results / f"selection/{model}/{dataset}.parquet")
    scores, groups = read_scores(files, config["quality"]["targets"])
    for target, one in scores.items():
        clusters = trial.clusters_of(groups, len(one.matrix))
        materials = trial.read_materials(files, one.matrix.shape, groups.gold, None)
        tried = trial.Trial.of(settings, materials, clusters[1], config["seed"])
        reliability = TrueVariance.of(one.matrix, *clusters).reliability
        compared = tried.compare(one.matrix, reliability, settings["pool"])
        ours, search = compared.place(OURS), compared.place(SEARCH)
        gains = compared.gains.at(settings["pool"])
        covariance = gains.covariance(settings["pool"], *clusters)
        error = np.sqrt(covariance[ours, ours] + covariance[search, search] - 2 * covariance[ours, search])
        errors = gains.errors(*clusters)
        freedom = float(errors.freedom[[ours, search], 0].min())
        worth_finding = errors.interval(gains.gain)[0][search, 0] > MARGIN
        difference = float(gains.gain[ours, 0] - gains.gain[search, 0])
        low, high = difference + stats.t.ppf([0.025, 0.975], freedom) * error
        cost = dict(costs.filter(target=target).select("selector", "cost").iter_rows())
        said = "as good" if low > -MARGIN else "worse" if high < 0 else "undecided"
        said = said if worth_finding else "nothing to match"
        yield (
            f"| {model} | {dataset} | {target} | {gains.gain[ours, 0]:+.3f} | {gains.gain[search, 0]:+.3f} "
            f"| {difference:+.3f} ({low:+.3f} to {high:+.3f}) | {cost[OURS] / cost[SEARCH]:.1%} | {said} |"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
