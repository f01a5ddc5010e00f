"""Correlation of every signal with every quality target: noise ceiling, intervals, corrected tests.

Inputs:  metrics of all masks and SAEs, features, the score matrix, reliability, the samples (labels, and who shares a
         passage); for the screen, the features that an SAE finds
Outputs: <results>/correlation/{model}/{dataset}.parquet  a row per target and signal
         <results>/headline/{model}/{dataset}.parquet     a row per target
         <results>/sae_screen/{model}/{dataset}/{sae}.parquet  a row per feature of an SAE that is tried, and pooling
"""


rule correlation:
    input:
        metrics=expand("<results>/metrics/{{model}}/{{dataset}}/{mask}.parquet", mask=study.masks),
        features="<results>/features/{model}/{dataset}.parquet",
        saes=study.sae_metrics,
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        reliability="<results>/reliability/{model}/{dataset}.parquet",
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
    output:
        correlation_out=ensure("<results>/correlation/{model}/{dataset}.parquet", non_empty=True),
        headline_out=ensure("<results>/headline/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/correlation/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/correlation/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    threads: model_threads
    params:
        settings=lookup("correlation", within=config),
        masks=study.masks,
        seed=config["seed"],
        code=code_digest("correlation"),
    script:
        "../scripts/correlation.py"


rule sae_screen:
    input:
        sae_features="<results>/sae_features/{model}/{dataset}/{sae}.parquet",
        dictionary=lambda wildcards: study.sae_part(wildcards.model, wildcards.sae, "features.parquet"),
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        reliability="<results>/reliability/{model}/{dataset}.parquet",
        features="<results>/features/{model}/{dataset}.parquet",
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
    output:
        sae_screen_out=ensure("<results>/sae_screen/{model}/{dataset}/{sae}.parquet", non_empty=True),
    log:
        "<logs>/sae_screen/{model}-{dataset}-{sae}.log",
    benchmark:
        "<benchmarks>/sae_screen/{model}-{dataset}-{sae}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    threads: model_threads
    params:
        settings=lambda wildcards: study.screen_settings(wildcards.sae),
        seed=config["seed"],
        code=code_digest("sae_screen"),
    script:
        "../scripts/sae_screen.py"
