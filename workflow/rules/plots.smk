"""The figures of one model on one data set, and those that compare models, as PNG and SVG.

Inputs:  correlation, headline, quality, reliability and selection of that model and data set
Outputs: <results>/plots/{model}/{dataset}/{figure}.png and .svg
         <results>/plots/{dataset}/{figure}.png and .svg, where there are several models
Which figures there are, and their labels, is read from the chapters of the report.
"""

from iclscope.report import catalogue

FIGURES = catalogue.labels("CHAPTERS")
COMPARISONS = catalogue.labels("ACROSS_MODELS")


rule plots:
    input:
        **study.tables,
    output:
        [
            report(
                f"<results>/plots/{{model}}/{{dataset}}/{figure}.png",
                caption="../report/figure.rst",
                category="{dataset}",
                labels={"model": "{model}", "figure": label},
            )
            for figure, label in FIGURES.items()
        ],
        [f"<results>/plots/{{model}}/{{dataset}}/{figure}.svg" for figure in FIGURES],
    log:
        "<logs>/plots/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/plots/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        study_tables=study.study_tables,
        code=code_digest("plots"),
    script:
        "../scripts/plots.py"


rule comparison:
    input:
        **study.final_tables(["{dataset}"]),
    output:
        [
            report(
                f"<results>/plots/{{dataset}}/{figure}.png",
                caption="../report/figure.rst",
                category="{dataset}",
                labels={"model": "all", "figure": label},
            )
            for figure, label in COMPARISONS.items()
        ],
        [f"<results>/plots/{{dataset}}/{figure}.svg" for figure in COMPARISONS],
    log:
        "<logs>/comparison/{dataset}.log",
    benchmark:
        "<benchmarks>/comparison/{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        models=study.models,
        study_tables=study.study_tables,
        code=code_digest("comparison"),
    script:
        "../scripts/comparison.py"
