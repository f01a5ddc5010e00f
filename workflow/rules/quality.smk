"""Quality of every candidate as a demonstration, and how reliably the items measure it.

Inputs:  <results>/evaluation/{model}/{dataset}.parquet, the samples (gold labels, and who shares a passage)
Outputs: <results>/quality/{model}/{dataset}.parquet      a row per target and candidate
         <results>/reliability/{model}/{dataset}.parquet  a row per target: alpha and noise ceiling
"""


rule quality:
    input:
        evaluation="<results>/evaluation/{model}/{dataset}.parquet",
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
    output:
        quality_out=ensure("<results>/quality/{model}/{dataset}.parquet", non_empty=True),
        reliability_out=ensure("<results>/reliability/{model}/{dataset}.parquet", non_empty=True),
    log:
        "<logs>/quality/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/quality/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings=lookup("quality", within=config),
        seed=config["seed"],
        code=code_digest("quality"),
    script:
        "../scripts/quality.py"
