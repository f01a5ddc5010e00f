"""Do quality targets agree about good candidates, and do models? Over disjoint items.

Inputs:  the score matrices of all models on the data set, candidates and items
Outputs: <results>/agreement/{model}/{dataset}.parquet  a row per target and what it is compared with
"""


rule agreement:
    input:
        evaluations=expand("<results>/evaluation/{model}/{{dataset}}.parquet", model=study.models),
        candidates="<results>/samples/{dataset}/candidates.parquet",
        item_rows="<results>/samples/{dataset}/items.parquet",
    output:
        agreement_out="<results>/agreement/{model}/{dataset}.parquet",
    log:
        "<logs>/agreement/{model}-{dataset}.log",
    benchmark:
        "<benchmarks>/agreement/{model}-{dataset}.jsonl"
    conda:
        "../../envs/analysis.yaml"
    params:
        settings={key: config["selection"][key] for key in ("pool", "splits")},
        targets=lookup("quality/targets", within=config),
        models=study.models,
        seed=config["seed"],
        code=code_digest("agreement"),
    script:
        "../scripts/agreement.py"
