"""The figures of one model on one data set, and the one that compares models, as PNG and SVG.

Inputs:  correlation, headline, quality, reliability and selection of that model and data set
Outputs: <results>/plots/{model}/{dataset}/{figure}.png and .svg
         <results>/plots/{dataset}/quality_across_models.png and .svg, where there are several models
"""


rule plots:
    input:
        **study.tables,
    output:
        report(
            "<results>/plots/{model}/{dataset}/rho_by_layer.png",
            caption="../report/rho_by_layer.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "correlation by layer"},
        ),
        report(
            "<results>/plots/{model}/{dataset}/rho_heatmap.png",
            caption="../report/rho_heatmap.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "correlation by metric and layer"},
        ),
        report(
            "<results>/plots/{model}/{dataset}/quality_distribution.png",
            caption="../report/quality_distribution.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "quality of the candidates"},
        ),
        report(
            "<results>/plots/{model}/{dataset}/selector_gain.png",
            caption="../report/selector_gain.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "gain of the selectors"},
        ),
        report(
            "<results>/plots/{model}/{dataset}/reliability_curve.png",
            caption="../report/reliability_curve.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "reliability"},
        ),
        report(
            "<results>/plots/{model}/{dataset}/optimism.png",
            caption="../report/optimism.rst",
            category="{dataset}",
            labels={"model": "{model}", "figure": "optimism of the best"},
        ),
        "<results>/plots/{model}/{dataset}/rho_by_layer.svg",
        "<results>/plots/{model}/{dataset}/rho_heatmap.svg",
        "<results>/plots/{model}/{dataset}/quality_distribution.svg",
        "<results>/plots/{model}/{dataset}/selector_gain.svg",
        "<results>/plots/{model}/{dataset}/reliability_curve.svg",
        "<results>/plots/{model}/{dataset}/optimism.svg",
    log:
        "<logs>/plots/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/plots/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_digest("plots"),
    script:
        "../scripts/plots.py"


rule comparison:
    input:
        **study.final_tables(["{dataset}"]),
    output:
        report(
            "<results>/plots/{dataset}/quality_across_models.png",
            caption="../report/quality_across_models.rst",
            category="{dataset}",
            labels={"model": "all", "figure": "quality across models"},
        ),
        "<results>/plots/{dataset}/quality_across_models.svg",
    log:
        "<logs>/comparison/{dataset}.log",
    benchmark:
        "<benchmarks>/comparison/{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lookup("correlation/smallest_useful_effect", within=config),
        models=study.models,
        code=code_digest("comparison"),
    script:
        "../scripts/comparison.py"
